"""The way of a webhook through the sync, in the log and in numbers: which reading answers it, what became of it.

Ids and kinds only. Why something failed is in its row, where only those may read it who may.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from django.utils import timezone

from billing.log_context import about
from billing.models import SubscriptionEvent
from billing.telemetry import EVENT_SECONDS, EVENTS_PROCESSED

log = logging.getLogger(__name__)

# A line names so many events at most; each is told by a line of its own in the end.
NAMED = 20


@contextmanager
def following(customer_id: str, waiting: Sequence[int], objects: Collection[str]) -> Iterator[None]:
    """Follow the webhooks `waiting` (keys of rows) through one round of reading `objects`, written down when it ends.

    Where the round breaks off, nothing is told: whoever carries it on tells it.
    """
    events = SubscriptionEvent.objects.filter(id__in=waiting, objects_to_read__overlap=list(objects))
    ids = list(events.order_by("id").values_list("stripe_event_id", flat=True)[:NAMED]) if waiting else []
    with about(customer=customer_id, events=ids):
        # What no webhook asked for is of use to whoever looks for a fault only.
        level = logging.INFO if ids else logging.DEBUG
        log.log(level, "Reading %s of %s", ", ".join(objects), customer_id, extra={"objects": list(objects)})
        yield
        if ids:
            for event in events.order_by("id").only(*_TOLD):
                _tell(event)


_TOLD = ("stripe_event_id", "type", "stripe_customer_id", "state", "created_at", "processed_at")


def _tell(event: SubscriptionEvent) -> None:
    if event.state == SubscriptionEvent.State.PENDING:
        return  # asked for again meanwhile, or handed over to its customer
    seconds = ((event.processed_at or timezone.now()) - event.created_at).total_seconds()
    EVENTS_PROCESSED.add(event.state)
    if event.processed_at:
        EVENT_SECONDS.observe(max(seconds, 0))
    log.info(
        "Event %s (%s) %s after %.2f s",
        *(event.stripe_event_id, event.type, event.state, seconds),
        extra={
            "event": event.stripe_event_id,
            "type": event.type,
            "customer": event.stripe_customer_id,
            "state": event.state,
            "seconds": round(seconds, 3),
        },
    )
