"""Misbehaviour on request: which of the next calls go wrong, and how."""

import fnmatch
import re
from dataclasses import asdict, dataclass

KINDS = (
    "error_429",
    "error_500",
    "error_500_after",
    "timeout_before",
    "timeout_after",
    "drop_connection",
    "latency",
)


@dataclass
class Fault:
    """One misbehaviour. `path` is a glob (`/v1/refunds*`) or, with `^`, a regular expression; `times` -1 is always."""

    kind: str
    method: str | None = None
    path: str | None = None
    times: int = 1
    retry_after: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if self.path and self.path.startswith("^"):
            re.compile(self.path)

    def fits(self, method: str, path: str) -> bool:
        """Whether a call is one of those that go wrong."""
        if self.times == 0 or (self.method and self.method.upper() != method):
            return False
        if not self.path:
            return True
        if self.path.startswith("^"):
            return re.search(self.path, path) is not None
        return fnmatch.fnmatchcase(path, self.path)


class Faults:
    """The misbehaviours in force."""

    def __init__(self) -> None:
        self.active: list[Fault] = []

    def take(self, method: str, path: str) -> Fault | None:
        """The first fault that fits a call, used up by one."""
        for fault in self.active:
            if fault.fits(method, path):
                fault.times -= 1 if fault.times > 0 else 0
                if fault.times == 0:
                    self.active.remove(fault)
                return fault
        return None

    def shown(self) -> list[dict[str, object]]:
        """For the control API."""
        return [asdict(fault) for fault in self.active]
