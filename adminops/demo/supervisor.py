"""A small keeper of processes: starts them, waits until they are ready, restarts a few, and leaves none behind.

Every child leads a process group of its own, so a Ctrl-C in the terminal reaches only the supervisor, which then stops
them in order. Should the supervisor itself be killed, two things remain: a guardian that watches a pipe
(`guardian.py`), and on Linux the kernel's parent-death signal, which also covers the instant between starting a child
and telling the guardian about it.

Nothing here raises from a signal handler: a handler only takes a note, and the loops look at it every few hundredths of
a second. So no child is lost between its start and its being written down.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

GUARDIAN = Path(__file__).with_name("guardian.py")
TICK_SECONDS = 0.05
# A program that has run this long is in good health again: its earlier crashes no longer count.
HEALTHY_AFTER_SECONDS = 60.0
TAIL_LINES = 12
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class ProgramFailed(Exception):
    """A program ended, or was not ready in time. The message says it in one line; `tail` is the end of its log."""

    def __init__(self, message: str, tail: str = "") -> None:
        super().__init__(message)
        self.tail = tail


class StopRequested(Exception):
    """Somebody asked the supervisor to stop: Ctrl-C, SIGTERM, SIGHUP, or make going away."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run and how to treat it.

    `ready` is asked repeatedly until it says yes; `restarts` is how often a crash is forgiven, each time after twice
    the wait of the time before (1, 2, 4 … seconds). `stop_last` programs are stopped only when all others have ended.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path
    ready: Callable[[], bool] | None = None
    ready_within: float = 30.0
    restarts: int = 0
    stop_signal: signal.Signals = signal.SIGTERM
    kill_signal: signal.Signals = signal.SIGKILL
    stop_within: float = 10.0
    stop_last: bool = False


class Child:
    """One start of a program."""

    def __init__(self, program: Program, process: subprocess.Popen[bytes]) -> None:
        self.program = program
        self.process = process
        self.started = time.monotonic()

    def tail(self) -> str:
        """The last lines of the program's log."""
        try:
            lines = self.program.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-TAIL_LINES:])


class Supervisor:
    """Owns every process it starts, until it has stopped it. A context manager; not for use by several threads.

    With `take_signals`, Ctrl-C, SIGTERM and SIGHUP make the waiting methods raise `StopRequested`; a second one
    cuts the stopping short. With `follow_parent`, so does the death of the process that started us (that is make:
    killed with SIGKILL, it cannot say goodbye).
    """

    def __init__(
        self,
        *,
        take_signals: bool = True,
        follow_parent: bool = False,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._take_signals = take_signals
        self._parent = os.getppid() if follow_parent else None
        self._say = say
        self._children: list[Child] = []
        self._crashes: dict[str, int] = {}
        self._signals = 0
        self._handlers: dict[signal.Signals, Any] = {}
        self._guardian: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._take_signals:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._handlers[number] = signal.signal(number, self._note_signal)
        self._guardian = subprocess.Popen(
            [sys.executable, "-IS", str(GUARDIAN)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    # -- Starting -----------------------------------------------------------------------------------------

    def start(self, program: Program) -> Child:
        """Start a program and write it down; does not wait until it is ready."""
        program.log.parent.mkdir(parents=True, exist_ok=True)
        supervisor = os.getpid()

        def die_with_supervisor() -> None:
            if _libc is not None:
                _libc.prctl(PR_SET_PDEATHSIG, int(program.stop_signal))
                if os.getppid() != supervisor:
                    os._exit(1)

        with program.log.open("ab") as log:
            process = subprocess.Popen(
                program.command,
                env={**os.environ, **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_supervisor,
            )
        child = Child(program, process)
        self._children.append(child)
        self._tell_guardian(f"+ {process.pid} {int(program.stop_signal)} {int(program.kill_signal)}")
        return child

    def start_ready(self, program: Program) -> Child:
        """Start a program and wait until it is ready.

        Raises ProgramFailed when it ends before, or is not ready within `program.ready_within` seconds.
        """
        child = self.start(program)
        self.wait_ready(child)
        return child

    def wait_ready(self, child: Child) -> None:
        """Wait until a started program says that it is ready; see `start_ready`."""
        program = child.program
        deadline = child.started + program.ready_within
        while program.ready is not None and not program.ready():
            if child.process.poll() is not None:
                raise self._buried(child)
            if time.monotonic() > deadline:
                raise ProgramFailed(
                    f"{program.name} was not ready within {program.ready_within:.0f} s", child.tail()
                )
            self._watch_others([child])
            self._tick()

    def wait(self, *children: Child) -> None:
        """Wait until these one-off programs have ended well. Raises ProgramFailed at the first that did not."""
        waiting = list(children)
        while waiting:
            for child in list(waiting):
                if child.process.poll() is None:
                    continue
                waiting.remove(child)
                if child.process.returncode != 0:
                    raise self._buried(child)
                self._forget(child)
            if waiting:
                self._watch_others(waiting)
                self._tick()

    # -- Keeping ------------------------------------------------------------------------------------------

    def keep(self) -> NoReturn:
        """Keep everything running until asked to stop.

        Raises StopRequested, or ProgramFailed when a program has crashed more often than its `restarts` forgive.
        """
        while True:
            self._watch_others([])
            self._tick()

    def _watch_others(self, besides: Sequence[Child]) -> None:
        for child in [child for child in self._children if child not in besides]:
            if child.process.poll() is None:
                continue
            failure = self._buried(child)
            program = child.program
            if time.monotonic() - child.started > HEALTHY_AFTER_SECONDS:
                self._crashes[program.name] = 0
            crashes = self._crashes[program.name] = self._crashes.get(program.name, 0) + 1
            if crashes > program.restarts:
                raise failure
            delay = 2.0 ** (crashes - 1)
            self._say(f"{failure}; starting it again in {delay:.0f} s (log: {program.log})")
            resume = time.monotonic() + delay
            while time.monotonic() < resume:
                self._tick()
            self.start(program)

    def _buried(self, child: Child) -> ProgramFailed:
        """Take a dead child off the list, with whatever it left in its group, and say how it ended."""
        code = child.process.wait()
        self._signal(child, child.program.kill_signal)
        self._forget(child)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return ProgramFailed(f"{child.program.name} {how}", child.tail())

    def _forget(self, child: Child) -> None:
        self._children.remove(child)
        self._tell_guardian(f"- {child.process.pid}")

    def _tick(self) -> None:
        """Pause for an instant, then notice signals and a lost parent or guardian."""
        time.sleep(TICK_SECONDS)
        if self._signals or (self._parent is not None and os.getppid() != self._parent):
            raise StopRequested
        if self._guardian is not None and self._guardian.poll() is not None:
            raise ProgramFailed("the guardian process was killed")

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1

    # -- Stopping -----------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop every program and wait until it is gone: the last started first, `stop_last` ones at the end."""
        for last in (False, True):
            self._stop_all([child for child in reversed(self._children) if child.program.stop_last is last])
        if self._guardian is not None and self._guardian.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._guardian.stdin.close()
            self._guardian.wait()
            self._guardian = None

    def _stop_all(self, children: Sequence[Child]) -> None:
        heard = self._signals
        for child in children:
            self._signal(child, child.program.stop_signal)
        asked = time.monotonic()
        for child in children:
            while child.process.poll() is None:
                impatient = self._signals > heard
                if impatient or time.monotonic() - asked > child.program.stop_within:
                    self._signal(child, child.program.kill_signal)
                    child.process.wait()
                    break
                time.sleep(TICK_SECONDS)
            # The leader is gone; so is, now, anybody it left behind.
            self._signal(child, child.program.kill_signal)
            self._forget(child)

    def _signal(self, child: Child, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, number)

    def _tell_guardian(self, line: str) -> None:
        if self._guardian is None or self._guardian.stdin is None:
            raise RuntimeError("A supervisor starts programs inside its with block only.")
        with contextlib.suppress(BrokenPipeError):
            self._guardian.stdin.write(f"{line}\n".encode())
            self._guardian.stdin.flush()


def http_answers(url: str) -> bool:
    """Whether a server answers at this address with anything but an error of its own (5xx)."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status < 500)
    except urllib.error.HTTPError as error:
        with error:
            return error.code < 500
    except OSError:
        return False
