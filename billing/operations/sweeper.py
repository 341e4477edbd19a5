"""Brings operations whose outcome is unknown to their truth: after a timeout, a crash, a killed server."""

from __future__ import annotations

import datetime
import logging

from django.db import transaction
from django.utils import timezone

from billing.models import SubscriptionEvent
from billing.operations import OPERATIONS
from billing.operations.base import carry_out

log = logging.getLogger(__name__)

# While one sweeper is at a row, others leave it alone for this long.
_CLAIM = datetime.timedelta(seconds=60)


def settle_pending(limit: int = 50) -> int:
    """Take up operations that nobody can still be waiting on, one after the other. Returns how many were looked at."""
    looked_at = 0
    while looked_at < limit and (event := _claim()) is not None:
        looked_at += 1
        try:
            carry_out(event, OPERATIONS[event.type], resend=True)
        except Exception:
            log.exception("Settling operation %s failed; it will be tried again", event.pk)
    return looked_at


def _claim() -> SubscriptionEvent | None:
    """One row that is due, put off for everybody else."""
    now = timezone.now()
    with transaction.atomic():
        event = (
            SubscriptionEvent.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(
                state=SubscriptionEvent.State.PENDING,
                source=SubscriptionEvent.Source.STAFF,
                next_attempt_at__lte=now,
                type__in=list(OPERATIONS),
            )
            .order_by("next_attempt_at")
            .first()
        )
        if event is not None:
            event.next_attempt_at = now + _CLAIM
            event.save(update_fields=["next_attempt_at"])
    return event
