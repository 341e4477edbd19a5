"""How whoever types a command says a moment, or how long ago it was."""

from __future__ import annotations

import datetime
import re
from argparse import ArgumentTypeError

from django.utils import timezone

UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def age(text: str) -> datetime.timedelta:
    """`7d`, `12h` or `45m`."""
    match = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not like 7d, 12h or 45m")
    return datetime.timedelta(**{UNITS[match[2]]: int(match[1])})


def moment(text: str) -> datetime.datetime:
    """`7d`, `12h` or `45m` ago, or an ISO date or time (in the current time zone where it names none); aware."""
    try:
        return timezone.now() - age(text)
    except ArgumentTypeError:
        pass
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is neither like 7d, 12h or 45m nor an ISO date") from None
    return timezone.make_aware(found) if timezone.is_naive(found) else found
