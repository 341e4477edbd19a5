"""Benchmarks: what we promise about speed, measured. Never part of the test suite.

`python -m tests.bench [--only NAME]` runs them, prints a table and writes `var/bench.json`. To add one, write a module
with a `measure()` that yields rows, and name it in `BENCHMARKS` (tests/bench/__main__.py); what it stands on is
`tests/bench/ground.py`. A comparison with a peer is made side by side, in the same run.
"""

from dataclasses import asdict, dataclass
from typing import Any

# Less is better for what is counted in these.
TIMES = ("s", "ms", "kB")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement: ours, the peer's where there is one, and what we want to reach."""

    name: str
    measure: str
    ours: float
    unit: str
    goal: float | None = None
    most: float | None = None
    """A goal to stay below, of what is counted and not timed."""
    peer: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer we are; below 1 is worse."""
        if not self.peer or not self.ours:
            return None
        return self.peer / self.ours if self.unit in TIMES else self.ours / self.peer

    @property
    def reached(self) -> bool:
        """Whether the goal is reached, as far as there is one."""
        if self.most is not None:
            return self.ours <= self.most
        if self.goal is None:
            return True
        return self.ours <= self.goal if self.unit in TIMES else self.ours >= self.goal

    def as_dict(self) -> dict[str, Any]:
        """The row as it is written to var/bench.json."""
        return asdict(self) | {"ratio": self.ratio}
