"""Billing periods: unix seconds in UTC, months that keep the anchor's day where the month has it."""

from calendar import monthrange
from datetime import UTC, datetime

DAY = 86_400


def period_end(start: int, interval: str, count: int, anchor: int) -> int:
    """The end of the period that begins at `start`; the day of the month is the anchor's, clamped."""
    if interval in ("day", "week"):
        return start + DAY * count * (7 if interval == "week" else 1)
    begun, anchored = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(anchor, UTC)
    months = begun.year * 12 + begun.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(anchored.day, monthrange(year, month + 1)[1])
    return int(begun.replace(year=year, month=month + 1, day=day).timestamp())


def day_name(moment: int) -> str:
    """The day as Stripe writes it in a proration's description: 01 Sep 2026."""
    return datetime.fromtimestamp(moment, UTC).strftime("%d %b %Y")
