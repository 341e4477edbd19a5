"""How often one person, or one address, may do one thing. Counted in PostgreSQL, so for all processes together."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from django_ratelimit.core import ALL, get_usage


@dataclass(frozen=True)
class Usage:
    """Where somebody stands with a limit after this request was counted."""

    allowed: int
    exceeded: bool
    seconds_left: int


def count(
    request: HttpRequest, *, group: str, rate: str, key: str | Callable[[str, HttpRequest], str] = "user"
) -> Usage:
    """Count this request against the limit of `group`, and say whether that was too many.

    Counted for its user; with `key="ip"` for its address; or for whatever `key(group, request)` returns.
    """
    usage = get_usage(request, group=group, key=key, rate=rate, method=ALL, increment=True)
    if usage is None:
        return Usage(allowed=0, exceeded=False, seconds_left=0)
    return Usage(
        allowed=usage["limit"],
        exceeded=usage["should_limit"],
        seconds_left=max(1, math.ceil(usage["time_left"])),
    )


def address_of(request: HttpRequest) -> str:
    """The address a request came from; behind a proxy of ours, what that proxy wrote down last.

    What stands before it in the header is the stranger's own word.
    """
    told = [request.META.get("REMOTE_ADDR", "")]
    if settings.BEHIND_PROXY:
        told.insert(0, request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip())
    for address in told:
        try:
            return str(ipaddress.ip_address(address))
        except ValueError:
            continue
    return "::"  # a socket without an address: one counter for all of them
