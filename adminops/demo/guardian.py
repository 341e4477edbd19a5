"""The supervisor's last will: stops what it left behind, should it die without a word.

Run by file name, as a script of the standard library only, so that it starts in milliseconds. The supervisor writes
`+ PGID SIGNAL KILL_SIGNAL` for every process group it starts and `- PGID` for every one that has ended. When the pipe
closes, however that came about (SIGKILL included), each group still listed gets its signal, then, should it linger,
its kill signal.
"""

import contextlib
import os
import signal
import sys
import time

PATIENCE_SECONDS = 3.0


def guard() -> None:
    """Listen until the pipe closes, then end every process group that is still listed."""
    # A Ctrl-C in the terminal is the supervisor's business; we only ever follow the pipe.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, tuple[int, int]] = {}
    for line in sys.stdin:
        sign, *numbers = line.split()
        if sign == "+":
            group, polite, deadly = map(int, numbers)
            groups[group] = (polite, deadly)
        else:
            groups.pop(int(numbers[0]), None)
    for group, (polite, _) in groups.items():
        _send(group, polite)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and any(_send(group, 0) for group in groups):
        time.sleep(0.05)
    for group, (_, deadly) in groups.items():
        _send(group, deadly)


def _send(group: int, number: int) -> bool:
    """Signal a process group; whether it was there to hear it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    guard()
