"""What gunicorn reads as it starts here: its own lines are JSON where the application's are (`LOG_FORMAT=json`).

Nothing of the project is imported in gunicorn's first process: what is imported there would stay as it was when it is
told by HUP to load everything anew. So it looks for `LOG_FORMAT` itself, where the settings do: in the environment,
else in `.env`. Once a worker has loaded the application, its lines go through the application's formatter, which cuts
secrets.
"""

import json
import logging
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

_DOTENV = Path(__file__).with_name(".env")
_LINE = re.compile(r"^\s*(?:export\s+)?LOG_FORMAT\s*=\s*['\"]?(\w*)", re.M)


def _is_json() -> bool:
    found = _LINE.search(_DOTENV.read_text()) if _DOTENV.is_file() else None
    return os.environ.get("LOG_FORMAT", found[1] if found else "") == "json"


class _JsonFormatter(logging.Formatter):
    """The lines of `adminops.logs.JsonFormatter`, as far as gunicorn's first process has anything to say."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def _format_with(log: Any, formatter: logging.Formatter) -> None:
    for handler in (*log.error_log.handlers, *log.access_log.handlers):
        handler.setFormatter(formatter)


class ServerLogger(Logger):  # type: ignore[misc]
    """Gunicorn's, in the format that is asked for; set up anew at every HUP."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        if _is_json():
            _format_with(self, _JsonFormatter())


logger_class = ServerLogger


def post_worker_init(worker: Any) -> None:
    """The application is loaded: from here on its own formatter."""
    if _is_json():
        from adminops.logs import JsonFormatter

        _format_with(worker.log, JsonFormatter())
