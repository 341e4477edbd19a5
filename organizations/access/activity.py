"""When somebody was last seen, written at most once in five minutes however often they come."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Model, Q
from django.utils import timezone

from organizations.models import Membership

EVERY = timedelta(minutes=5)


def note_activity(membership: Membership) -> bool:
    """Say that this member is at work now, and with them their organization; whether anything was written."""
    if not touch(membership, "last_activity_at"):
        return False
    touch(membership.organization, "last_activity_at")
    return True


def touch(row: Model, column: str) -> bool:
    """Write the time into a column unless it was within the last five minutes; whether it was written.

    One statement, whoever else does the same; none where the row at hand says so already.
    """
    now = timezone.now()
    seen = getattr(row, column)
    if seen and seen > now - EVERY:
        return False
    due = Q(**{f"{column}__isnull": True}) | Q(**{f"{column}__lte": now - EVERY})
    return bool(type(row)._default_manager.filter(due, pk=row.pk).update(**{column: now}))
