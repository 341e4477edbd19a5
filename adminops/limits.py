"""How often one colleague may do one thing. Counted in PostgreSQL, so for all processes together."""

from __future__ import annotations

import math
from dataclasses import dataclass

from django.http import HttpRequest
from django_ratelimit.core import ALL, get_usage


@dataclass(frozen=True)
class Usage:
    """Where a colleague stands with a limit after this request was counted."""

    allowed: int
    exceeded: bool
    seconds_left: int


def count(request: HttpRequest, *, group: str, rate: str) -> Usage:
    """Count this request against the limit of `group` for its user, and say whether that was too many."""
    usage = get_usage(request, group=group, key="user", rate=rate, method=ALL, increment=True)
    if usage is None:
        return Usage(allowed=0, exceeded=False, seconds_left=0)
    return Usage(
        allowed=usage["limit"],
        exceeded=usage["should_limit"],
        seconds_left=max(1, math.ceil(usage["time_left"])),
    )
