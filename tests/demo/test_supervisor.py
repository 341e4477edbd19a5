"""The supervisor, as a process of its own that is asked, told and forced to end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adminops.demo.supervisor import Program, ProgramFailed, Supervisor

# A program with a child of its own, one that does not listen to SIGTERM, and their supervisor and guardian.
TREE = """
import sys, pathlib
from adminops.demo.supervisor import Program, StopRequested, Supervisor

place = pathlib.Path(sys.argv[1])
with Supervisor() as supervisor:
    shell = "sleep 300 & echo $! $$ > {}/family; wait"
    deaf = "trap '' TERM; echo $$ > {}/deaf; while :; do sleep 0.1; done"
    for name, script in (("family", shell), ("deaf", deaf)):
        supervisor.start_ready(
            Program(
                name=name,
                command=["sh", "-c", script.format(place)],
                log=place / "log",
                ready=lambda name=name: (place / name).exists() and (place / name).read_text().strip() != "",
                stop_within=float(sys.argv[2]),
            )
        )
    print(supervisor._guardian.pid, flush=True)
    try:
        supervisor.keep()
    except StopRequested:
        print("stopping", flush=True)
"""


class Tree:
    """A running supervisor with its processes."""

    def __init__(self, place: Path, patience: float) -> None:
        command = [sys.executable, "-c", TREE, str(place), str(patience)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.guardian = int(self.process.stdout.readline())
        pids = f"{(place / 'family').read_text()} {(place / 'deaf').read_text()}".split()
        self.pids = [self.guardian, *map(int, pids)]

    def is_gone_within(self, seconds: float) -> bool:
        """Whether every one of its processes has ended by then."""
        deadline = time.monotonic() + seconds
        while any(map(is_alive, self.pids)):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


@pytest.fixture(params=[0.5])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path, patience=request.param)
    assert all(map(is_alive, tree.pids))
    yield tree
    for pid in [tree.process.pid, *tree.pids]:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
    tree.process.communicate()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be noticed (a zombie) does not."""
    try:
        os.kill(pid, 0)
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_stop_ends_every_process_and_the_exit_status_is_0(
    tree: Tree, number: signal.Signals
) -> None:
    tree.process.send_signal(number)
    assert tree.process.wait(timeout=10) == 0
    assert tree.is_gone_within(1)


@pytest.mark.parametrize("tree", [60], indirect=True)
def test_a_second_request_cuts_the_waiting_short(tree: Tree) -> None:
    tree.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    tree.process.send_signal(signal.SIGTERM)
    assert tree.process.wait(timeout=10) == 0
    assert tree.is_gone_within(1)


def test_a_killed_supervisor_leaves_nothing_behind(tree: Tree) -> None:
    tree.process.kill()
    assert tree.is_gone_within(6)


def test_a_killed_guardian_stops_everything(tree: Tree) -> None:
    os.kill(tree.guardian, signal.SIGKILL)
    assert tree.process.wait(timeout=10) != 0
    assert tree.is_gone_within(1)


def program(tmp_path: Path, script: str, *, restarts: int = 0) -> Program:
    return Program(
        name="the program", command=["sh", "-c", script], log=tmp_path / "program.log", restarts=restarts
    )


def test_a_failed_program_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Supervisor(take_signals=False) as supervisor:
        child = supervisor.start(program(tmp_path, "echo no such table; exit 3"))
        with pytest.raises(ProgramFailed, match="the program ended with status 3") as failure:
            supervisor.wait(child)
    assert failure.value.tail == "no such table"


def test_a_program_that_never_gets_ready_is_told(tmp_path: Path) -> None:
    lazy = Program(
        name="the program",
        command=["sleep", "60"],
        log=tmp_path / "log",
        ready=lambda: False,
        ready_within=0.2,
    )
    with Supervisor(take_signals=False) as supervisor:
        with pytest.raises(ProgramFailed, match="was not ready within 0 s"):
            supervisor.start_ready(lazy)


def test_a_crash_is_forgiven_as_often_as_the_program_says(tmp_path: Path) -> None:
    said: list[str] = []
    with Supervisor(take_signals=False, say=said.append) as supervisor:
        supervisor.start(program(tmp_path, f"echo started >> {tmp_path}/starts; kill -9 $$", restarts=1))
        with pytest.raises(ProgramFailed, match="was killed by SIGKILL"):
            supervisor.keep()
    assert (tmp_path / "starts").read_text().split() == ["started"] * 2
    assert [line.split(";")[1].split(" (")[0] for line in said] == [" starting it again in 1 s"]
