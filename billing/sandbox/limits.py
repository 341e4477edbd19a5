"""Rate limits as Stripe documents them, when they are switched on: so many calls a second of real time."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

DOCUMENTED = {"endpoint": 25, "all": 100}
WINDOW = 1.0


@dataclass
class Limits:
    """The calls of the last second. An endpoint is a method and a URL without its ids."""

    calls: dict[str, deque[float]] = field(default_factory=dict)

    def exceeded(self, endpoint: str, most: dict[str, int] | None) -> str | None:
        """Note a call; which limit it breaks (`Stripe-Rate-Limited-Reason`), if any. A refused call does not count."""
        if not most:
            return None
        now = time.monotonic()
        for name, limit, reason in (
            ("", most["all"], "global-rate"),
            (endpoint, most["endpoint"], "endpoint-rate"),
        ):
            seen = self.calls.setdefault(name, deque())
            while seen and seen[0] <= now - WINDOW:
                seen.popleft()
            if len(seen) >= limit:
                return reason
        self.calls[""].append(now)
        self.calls[endpoint].append(now)
        return None


def wanted(value: Any) -> dict[str, int] | None:
    """The setting `rate_limits`: false, true (as documented), or `{"endpoint", "all"}` of one's own."""
    if value in (None, False):
        return None
    most = DOCUMENTED if value is True else value
    if not isinstance(most, dict) or set(most) - set(DOCUMENTED):
        raise ValueError("rate_limits is true, false, or whole numbers under endpoint and all")
    most = {**DOCUMENTED, **most}
    if not all(type(each) is int and each > 0 for each in most.values()):
        raise ValueError("rate_limits are whole numbers from 1")
    return most
