"""Gunicorn's own lines are JSON where ours are: from the first to the last, and after it loads everything anew."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings

from adminops.demo.supervisor import http_answers
from tests.environment import free_port
from tests.test_road import eventually

CONFIGURATION = "gunicorn.conf.py"
CANARY = "canary-of-a-secret-key-that-is-long-enough-0123456789"


def lines(directory: Path, *, dotenv: str = "", **told: str) -> list[str]:
    """What gunicorn writes while it starts, answers, loads everything anew and stops, in a place with this `.env`."""
    shutil.copy(settings.BASE_DIR / CONFIGURATION, directory)
    (directory / ".env").write_text(dotenv)
    port, log = free_port(), directory / "log"
    environment = {name: value for name, value in os.environ.items() if name != "LOG_FORMAT"}
    with log.open("w") as file:
        server = subprocess.Popen(
            [
                *[sys.executable, "-m", "gunicorn", "adminops.wsgi", "--bind", f"127.0.0.1:{port}"],
                *["--workers", "1", "--no-control-socket", "--access-logfile", "-"],
            ],
            cwd=directory,
            # The application finds another `.env`, its own, so what it is to do is told here.
            env={**environment, "LOG_LEVEL": "DEBUG", "PYTHONPATH": str(settings.BASE_DIR), **told},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}/static/nothing-here?email=canary@northwind.example"
        eventually(lambda: http_answers(url) or "nothing-here" in log.read_text(), seconds=60)
        server.send_signal(signal.SIGHUP)
        eventually(lambda: log.read_text().count("Booting worker") == 2, seconds=30)
    finally:
        server.terminate()
        server.wait(30)
    return log.read_text().splitlines()


def test_every_line_is_json_and_no_secret_is_in_any(tmp_path: Path) -> None:
    written = lines(tmp_path, LOG_FORMAT="json", SECRET_KEY=CANARY)
    said: list[dict[str, Any]] = [json.loads(line) for line in written]
    messages = " ".join(line["message"] for line in said)
    for words in (
        "Starting gunicorn",
        "Listening at",
        "Booting worker",
        "Handling signal: hup",
        "Shutting down",
    ):
        assert words in messages
    assert {line["logger"] for line in said} >= {"gunicorn.error", "gunicorn.access"}
    assert "canary" not in "\n".join(written)


def test_gunicorn_finds_the_format_in_the_dotenv_file_as_the_settings_do(tmp_path: Path) -> None:
    first, *_others = lines(tmp_path, dotenv="# how we log\nLOG_FORMAT='json'\n")
    assert "Starting gunicorn" in json.loads(first)["message"]


def test_lines_are_for_people_where_nobody_asks_for_json(tmp_path: Path) -> None:
    assert "[INFO] Starting gunicorn" in lines(tmp_path, dotenv="LOG_FORMAT=plain\n")[0]
