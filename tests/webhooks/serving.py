"""The door as it is in production: gunicorn with processes and threads, over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adminops.demo.supervisor import Program, Supervisor, http_answers
from tests.environment import VAR, free_port
from tests.webhooks.signing import DOOR, signature


@dataclass(frozen=True)
class Server:
    """A running web server and its log."""

    port: int
    log: Path

    def post(self, event: Any, header: str | None = None) -> int:
        """Deliver `event` (bytes are sent as they are), rightly signed unless told; the answer's status.

        0 when the connection broke: it was refused before all was sent.
        """
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json", "Stripe-Signature": header or signature(body)}
        try:
            connection.request("POST", DOOR, body, headers)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()


@contextmanager
def serving(database_url: str, *, name: str, **environment: str) -> Iterator[Server]:
    """A web server on this database, as long as the block runs."""
    port = free_port()
    log = _new_log(name)
    program = Program(
        name="the web server",
        command=[
            *[sys.executable, "-m", "gunicorn", "adminops.wsgi", "--bind", f"127.0.0.1:{port}"],
            *["--workers", "2", "--threads", "4", "--no-control-socket"],
        ],
        environment={"DATABASE_URL": database_url, "CONN_MAX_AGE": "60", **environment},
        log=log,
        ready=lambda: http_answers(f"http://127.0.0.1:{port}/login/"),
        ready_within=90,
    )
    with Supervisor(take_signals=False) as supervisor:
        supervisor.start_ready(program)
        yield Server(port, log)


@contextmanager
def working(database_url: str, *, name: str, processes: int = 1, **environment: str) -> Iterator[Path]:
    """Workers on this database, as long as the block runs; their log."""
    log = _new_log(name)
    program = Program(
        name="a worker",
        command=[sys.executable, "manage.py", "work"],
        environment={"DATABASE_URL": database_url, **environment},
        log=log,
        stop_within=2,
    )
    with Supervisor(take_signals=False) as supervisor:
        for _number in range(processes):
            supervisor.start(program)
        yield log


def _new_log(name: str) -> Path:
    log = VAR / "log" / "tests" / f"{name}-{os.getpid()}.log"
    log.unlink(missing_ok=True)
    return log


def together(acts: Sequence[Callable[[], int]]) -> list[int]:
    """What came of doing all these at the same moment, each in a thread."""
    barrier, outcomes = threading.Barrier(len(acts)), []

    def do(act: Callable[[], int]) -> None:
        barrier.wait()
        outcomes.append(act())

    threads = [threading.Thread(target=do, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
