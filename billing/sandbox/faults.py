"""Misbehaviour on request: which of the next calls or webhooks go wrong, and how."""

import fnmatch
import random
import re
from dataclasses import asdict, dataclass, field

CALLS = (
    "error_400",
    "error_429",
    "error_500",
    "error_500_after",
    "timeout_before",
    "timeout_after",
    "drop_connection",
    "drop_connection_after",
    "latency",
    "truncated_body",
    "not_json",
)
WEBHOOKS = (
    "webhook_drop",
    "webhook_delay",
    "webhook_duplicate",
    "webhook_reorder",
    "webhook_wrong_signature",
)
KINDS = (*CALLS, *WEBHOOKS)


@dataclass
class Fault:
    """One misbehaviour.

    `path` is a glob (`/v1/refunds*`) or, with `^`, a regular expression; for webhooks it is the event's type
    (`invoice.*`). `object` is an id that the call or the event has to mention. `times` -1 is always. `percent` of what
    fits goes wrong, the same ones each time for the same `seed`.
    """

    kind: str
    method: str | None = None
    path: str | None = None
    object: str | None = None
    times: int = 1
    percent: float = 100
    seed: int = 0
    retry_after: float | None = None
    seconds: float | None = None
    jitter: float = 0
    _random: random.Random = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if not 0 < self.percent <= 100:
            raise ValueError("percent is more than 0 and at most 100")
        if self.path and self.path.startswith("^"):
            try:
                re.compile(self.path)
            except re.error as error:
                raise ValueError(f"path is no regular expression: {error}") from error
        self._random = random.Random(self.seed)  # noqa: S311 (the same misfortune each time, no secret)

    def fits(self, method: str | None, path: str, content: str) -> bool:
        """Whether a call or an event is one of those that may go wrong."""
        if self.times == 0 or (self.method and self.method.upper() != method):
            return False
        if self.object and self.object not in path and self.object not in content:
            return False
        if not self.path:
            return True
        if self.path.startswith("^"):
            return re.search(self.path, path) is not None
        return fnmatch.fnmatchcase(path, self.path)

    def strikes(self) -> bool:
        """Whether this time is one of the `percent`."""
        return self.percent >= 100 or self._random.random() * 100 < self.percent

    def wait(self, default: float) -> float:
        """How long to take, in seconds."""
        seconds = default if self.seconds is None else self.seconds
        return seconds + self._random.uniform(0, self.jitter)


class Faults:
    """The misbehaviours in force."""

    def __init__(self) -> None:
        self.active: list[Fault] = []

    def take(self, method: str, path: str, content: str = "") -> Fault | None:
        """The first fault that strikes a call, used up by one."""
        return self._take(CALLS, method, path, content)

    def take_webhook(self, type: str, content: str) -> Fault | None:
        """The first fault that strikes an event on its way to an endpoint, used up by one."""
        return self._take(WEBHOOKS, None, type, content)

    def _take(self, kinds: tuple[str, ...], method: str | None, path: str, content: str) -> Fault | None:
        for fault in self.active:
            if fault.kind in kinds and fault.fits(method, path, content) and fault.strikes():
                fault.times -= 1 if fault.times > 0 else 0
                if fault.times == 0:
                    self.active.remove(fault)
                return fault
        return None

    def shown(self) -> list[dict[str, object]]:
        """For the control API."""
        return [
            {key: value for key, value in asdict(fault).items() if key[0] != "_"} for fault in self.active
        ]
