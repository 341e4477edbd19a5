"""Events that Stripe never managed to deliver: read from its list, and taken in as if they had come.

Stripe lists the events of thirty days. Each goes through the same door as a delivered one, oldest first, and is marked
as recovered; one that the ledger has already changes nothing. A job does it every ten minutes, and
`manage.py backfill_events` when asked.
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
from billing.ledger import StripeEvent, kept_among, record_stripe_event
from billing.models import Watermark
from billing.reconciliation.replay import TakenIn
from billing.stripe_api import StripeObject
from webhooks.handlers import interpret

# Stripe's list is read in slices, oldest first, because within one it is newest first.
SLICE = datetime.timedelta(days=1)
LISTED = datetime.timedelta(days=30)
# How far Stripe's clock and ours may differ.
CLOCK_SKEW = datetime.timedelta(minutes=1)
# So many events are held in memory at most, unless a single second has more.
AT_ONCE = 2_000

# Until when the job has read, in our own table; it reads again what Stripe may have listed late.
WATERMARK = "events"
OVERLAP = datetime.timedelta(hours=1)
# What is younger may still be on its way to us.
ON_ITS_WAY = datetime.timedelta(minutes=1)
# How far the very first job looks back; older ones are for the command.
AT_FIRST = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Backfill:
    """How far a backfill has come."""

    since: datetime.datetime
    until: datetime.datetime
    reached: datetime.datetime
    """Until when everything was read."""
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


def recover() -> Backfill | None:
    """What the job does: take in what never arrived since the last time. None where there is nothing to read yet.

    Raises StripeError; then the next time begins where this one did.
    """
    until = timezone.now() - ON_ITS_WAY
    reached = Watermark.objects.filter(name=WATERMARK).values_list("reached_at", flat=True).first()
    progress = None
    for progress in backfill_events(reached - OVERLAP if reached else until - AT_FIRST, until):
        Watermark.objects.update_or_create(name=WATERMARK, defaults={"reached_at": progress.reached})
    return progress


def backfill_events(since: datetime.datetime, until: datetime.datetime | None = None) -> Iterator[Backfill]:
    """Take in the events since `since` (aware), until now or `until`. Yields how far it is after each slice of time.

    The last is the result. Raises StripeError when the list cannot be read; what was taken in until then stays.
    """
    now = timezone.now()
    end_of_all = until or now
    since = max(since, now - LISTED)
    progress = Backfill(since, end_of_all, since)
    begin, span = since, SLICE
    while begin < end_of_all:
        end = min(begin + span, end_of_all)
        # The last slice has no end: events of this very second are among it.
        events = _listed(begin, end if end < end_of_all or until else None)
        if events is None:
            # Newest first, so a day that is too full is read in parts.
            span = max((end - begin) / 2, datetime.timedelta(seconds=1))
            continue
        progress = replace(_take_in(events, progress), reached=end)
        yield progress
        begin, span = end, min(span * 2, SLICE)


def _listed(begin: datetime.datetime, end: datetime.datetime | None) -> list[StripeObject] | None:
    """The events created from `begin` until before `end`, or until now, oldest first; None where they are too many."""
    created = {"gte": int(begin.timestamp())}
    if end is not None:
        created["lt"] = int(end.timestamp())
        if created["lt"] <= created["gte"]:
            return []
    is_short = (end or timezone.now()) - begin <= datetime.timedelta(seconds=2)
    found: list[StripeObject] = []
    for page in stripe_api.list_pages("/v1/events", {"created": created}):
        found += page
        if len(found) > AT_ONCE and not is_short:
            return None
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


def take_in(events: Sequence[StripeObject], *, is_dry: bool = False) -> TakenIn:
    """Store listed events that the ledger does not have, oldest first, and ask for what they call for.

    A dry one only says which these are.
    """
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
    kept = kept_among([each.stripe_event_id for each in readable]) if is_dry else set()
    for each in readable:
        at = read_at.get(each.stripe_customer_id or "")
        happened = datetime.datetime.fromtimestamp(each.occurred_at, datetime.UTC)
        is_settled = at is not None and happened + CLOCK_SKEW < at
        try:
            if is_dry:
                is_new = each.stripe_event_id not in kept
            else:
                is_new = record_stripe_event(each, recovered=True, settled=is_settled)
            if not is_new:
                taken.known.append(each)
                continue
        except DataError:  # a word where a number belongs
            taken.unreadable.append(each.stripe_event_id)
            continue
        taken.new.append(each)
        if is_settled:
            taken.settled.append(each)
    return taken
