"""The embedded PostgreSQL: started, taken over, stopped."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from adminops.demo.postgres import EmbeddedPostgres
from adminops.demo.supervisor import Supervisor
from tests.demo.test_supervisor import is_alive

# A supervisor that starts a server, kills its own guardian, and dies without a word: the worst that can happen.
# Only where the kernel has no parent-death signal does the server outlive that; here we switch it off.
ABANDON = """
import os, pathlib, signal, sys
from adminops.demo import supervisor as keeper
from adminops.demo.postgres import EmbeddedPostgres, _as_nobody

place = pathlib.Path(sys.argv[1])
keeper._libc = None
program = EmbeddedPostgres(place / "data", durable=False).program(place / "log")
command = [word for word in program.command if not word.startswith("--pdeathsig")]
object.__setattr__(program, "command", command)
with keeper.Supervisor() as supervisor:
    supervisor.start_ready(program)
    supervisor._guardian.kill()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path is too long for a socket."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / ("deep" * 25)
        path.mkdir()
        yield path


def test_a_server_left_behind_is_stopped_and_its_data_are_taken_over(place: Path) -> None:
    subprocess.run([sys.executable, "-c", ABANDON, str(place)], check=False)
    left = int((place / "data" / "postmaster.pid").read_text().split()[0])
    assert is_alive(left)
    try:
        server = EmbeddedPostgres(place / "data", durable=False)
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE kept")
        with Supervisor(take_signals=False) as supervisor:
            child = supervisor.start_ready(server.program(place / "log"))
            assert not is_alive(left)
            psycopg.connect(server.url("kept")).close()
        assert not is_alive(child.process.pid)
    finally:
        if is_alive(left):
            os.kill(left, signal.SIGKILL)
    assert len(str(server.socket_directory)) < len(str(place))
    server.remove()
    assert not server.data.exists()
    assert not server.socket_directory.exists()
