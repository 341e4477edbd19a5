"""Brings operations whose outcome is unknown to their truth: after a timeout, a crash, a killed server."""

from __future__ import annotations

import datetime

from django.db import transaction
from django.db.models.functions import Now

from billing.models import SubscriptionEvent
from billing.operations import COURSES
from billing.operations.settlement import carry_out, longest_call

# The one or two looks at Stripe that come before a step is sent again.
_LOOKING = datetime.timedelta(seconds=120)


def settle_pending(limit: int = 50) -> int:
    """Take up operations that nobody can still be waiting on, one after the other. Returns how many were looked at."""
    looked_at = 0
    while looked_at < limit and (event := _claim()) is not None:
        looked_at += 1
        carry_out(event, COURSES[event.type], resend=True)
    return looked_at


def _claim() -> SubscriptionEvent | None:
    """One row that is due, taken over from whoever had it, and put off for everybody else."""
    with transaction.atomic():
        event = (
            SubscriptionEvent.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(state=SubscriptionEvent.State.PENDING, next_attempt_at__lte=Now(), type__in=list(COURSES))
            .order_by("next_attempt_at")
            .first()
        )
        if event is not None:
            event.claim += 1
            event.next_attempt_at = Now() + longest_call(event.steps.count()) + _LOOKING
            event.save(update_fields=["claim", "next_attempt_at"])
            event.refresh_from_db()
    return event
