"""Events that Stripe never managed to deliver: read from its list, and taken in as if they had come.

Stripe lists the events of thirty days. Each goes through the same door as a delivered one, oldest first, and is marked
as recovered; one that the ledger has already changes nothing.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from django.conf import settings
from django.db import DataError
from django.utils import timezone

from billing import stripe_api
from billing.importing import read_in_full_at
from billing.ledger import StripeEvent, record_stripe_event
from billing.reconciliation.replay import TakenIn
from billing.stripe_api import StripeObject
from webhooks.handlers import interpret

# Stripe's list is read in slices, oldest first, because within one it is newest first.
SLICE = datetime.timedelta(days=1)
LISTED = datetime.timedelta(days=30)
# How far Stripe's clock and ours may differ.
CLOCK_SKEW = datetime.timedelta(minutes=1)


@dataclass(frozen=True)
class Backfill:
    """How far a backfill has come."""

    since: datetime.datetime
    until: datetime.datetime
    new: int = 0
    settled: int = 0
    """Of the new ones, those whose customer was read in full since; nothing is left to do for them."""
    known: int = 0
    unreadable: list[str] = field(default_factory=list)
    """Events that have not the shape of Stripe's events; they are left out."""

    @property
    def read(self) -> int:
        """How many events Stripe listed."""
        return self.new + self.known + len(self.unreadable)


def backfill_events(since: datetime.datetime) -> Iterator[Backfill]:
    """Take in the events since `since` (aware). Yields how far it is after each slice of time; the last is the result.

    Raises StripeError when the list cannot be read; what was taken in until then stays.
    """
    until = timezone.now()
    progress = Backfill(max(since, until - LISTED), until)
    begin = progress.since
    while begin < until:
        end = min(begin + SLICE, until)
        events = _listed(begin, end if end < until else None)
        progress = _take_in(events, progress)
        yield progress
        begin = end


def _listed(begin: datetime.datetime, end: datetime.datetime | None) -> list[StripeObject]:
    """The events created from `begin` until before `end`, or until now, oldest first."""
    created = {"gte": int(begin.timestamp())}
    if end is not None:
        created["lt"] = int(end.timestamp())
    found = [event for page in stripe_api.list_pages("/v1/events", {"created": created}) for event in page]
    found.reverse()
    return found


def _take_in(events: list[StripeObject], progress: Backfill) -> Backfill:
    taken = take_in(events)
    return replace(
        progress,
        new=progress.new + len(taken.new),
        settled=progress.settled + sum(each.handled for each in taken.settled),
        known=progress.known + len(taken.known),
        unreadable=[*progress.unreadable, *taken.unreadable],
    )


def take_in(events: Sequence[StripeObject]) -> TakenIn:
    """Store listed events that the ledger does not have, oldest first, and ask for what they call for."""
    taken = TakenIn()
    readable: list[StripeEvent] = []
    for event in events:
        try:
            if event.get("livemode") is not settings.STRIPE_LIVE_MODE:
                raise ValueError("the other mode (live or test)")
            readable.append(interpret(event, json.dumps(event)))
        except (ValueError, KeyError, TypeError, AttributeError, DataError):
            taken.unreadable.append(str(event.get("id")))
    read_at = read_in_full_at({each.stripe_customer_id for each in readable if each.stripe_customer_id})
    for each in readable:
        at = read_at.get(each.stripe_customer_id or "")
        happened = datetime.datetime.fromtimestamp(each.occurred_at, datetime.UTC)
        is_settled = at is not None and happened + CLOCK_SKEW < at
        try:
            if not record_stripe_event(each, recovered=True, settled=is_settled):
                taken.known.append(each)
                continue
        except DataError:  # a word where a number belongs
            taken.unreadable.append(each.stripe_event_id)
            continue
        taken.new.append(each)
        if is_settled:
            taken.settled.append(each)
    return taken
