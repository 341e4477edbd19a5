"""When somebody was last seen, written at most once in five minutes however often they come."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Model, Q
from django.utils import timezone

from organizations.models import Membership, Organization

EVERY = timedelta(minutes=5)


def note_activity(membership: Membership) -> bool:
    """Say that this member is at work now, and with them their organization; whether anything was written.

    Needs no query at all where they were seen a moment ago, as far as the row at hand tells.
    """
    if membership.last_activity_at and membership.last_activity_at > timezone.now() - EVERY:
        return False
    if not touch(Membership, membership.pk, "last_activity_at"):
        return False
    touch(Organization, membership.organization_id, "last_activity_at")
    return True


def touch(model: type[Model], pk: int, column: str) -> bool:
    """Write the time into a column unless it was within the last five minutes: one statement, whoever else does."""
    now = timezone.now()
    due = Q(**{f"{column}__isnull": True}) | Q(**{f"{column}__lte": now - EVERY})
    return bool(model._default_manager.filter(due, pk=pk).update(**{column: now}))
