"""Events that Stripe lists and we never received: taken in as if they had come, and told.

What an event means to us is known at Stripe's door, which lies above; it hangs itself in here when it starts.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from django.db.models import Min
from django.utils import timezone

from billing import stripe_api
from billing.importing import EVENT_TYPE as TAKEN_IN
from billing.ledger import StripeEvent
from billing.models import ReconciliationRun, SubscriptionEvent
from billing.reconciliation import breaker, recording
from billing.reconciliation.facts import Finding
from billing.reconciliation.gathering import known_since
from billing.stripe_api import StripeObject
from organizations.models import Organization

# Stripe lists events of so many days, and some of them late.
LISTED = datetime.timedelta(days=30)
OVERLAP = datetime.timedelta(minutes=10)
# What is younger may still be on its way to us.
ON_ITS_WAY = datetime.timedelta(seconds=60)


@dataclass(frozen=True)
class TakenIn:
    """What became of listed events."""

    new: list[StripeEvent] = field(default_factory=list)
    settled: list[StripeEvent] = field(default_factory=list)
    """Of the new ones, those that are older than what was read since, and have nothing left to tell."""
    known: list[StripeEvent] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


class TakeIn(Protocol):
    """What takes listed events in; a dry one only says what would become of them."""

    def __call__(self, events: Sequence[StripeObject], *, is_dry: bool = False) -> TakenIn: ...


_doors: list[TakeIn] = []


def take_in_with(door: TakeIn) -> None:
    """Name the function that takes listed events in."""
    _doors[:] = [door]


@dataclass
class Replayed:
    """What the list of events told."""

    watermark: datetime.datetime | None
    """Every event until then is in the ledger."""
    calls: int = 0
    events: int = 0
    missing: int = 0
    customers: set[str] = field(default_factory=set)
    """Whom the events were about."""
    unowned: set[str] = field(default_factory=set)
    """Charges and invoices that events named without a customer, and that nobody here had read."""
    held_back: int = 0
    """Lost events that were not taken in, because they were of more organizations than may change unasked."""
    missed_by: set[str] = field(default_factory=set)
    """The customers here that events had never been received of."""


def replay(run: ReconciliationRun, go_on: Callable[[], None], at_most: int | None) -> Replayed:
    """Take in what was never received since the last run that knew. Raises StripeError.

    From the page on with which more than `at_most` organizations had missed something, it is counted only.
    """
    until = timezone.now()
    since = _since(until)
    replayed = Replayed(watermark=until)
    only_looks = breaker.only_looks(run)
    if since is None:
        return replace(replayed, watermark=None) if only_looks else replayed
    created = {"gte": int(since.timestamp()), "lte": int((until - ON_ITS_WAY).timestamp())}
    # Newest first, as they come: those of a month do not fit into memory.
    for page in stripe_api.list_pages("/v1/events", {"created": created}):
        go_on()
        listed = page[::-1]
        taken = _doors[0](listed, is_dry=True)
        missed = _missed(taken)
        replayed.missed_by.update(organization.stripe_customer_id or "" for _each, organization in missed)
        replayed.missing += len(missed)
        if only_looks or replayed.held_back or (at_most is not None and len(replayed.missed_by) > at_most):
            replayed.held_back += len(taken.new)
        elif taken.new:
            taken = _doors[0](listed)
            _record(run, missed)
        replayed.calls += 1
        replayed.events += len(page)
        for each in (*taken.new, *taken.known):
            if each.stripe_customer_id:
                replayed.customers.add(each.stripe_customer_id)
            elif payment := each.stripe_charge_id or each.stripe_invoice_id:
                replayed.unowned.add(payment)
    replayed.calls = max(replayed.calls, 1)
    # What is not in the ledger the next run is to list again.
    return replace(replayed, watermark=None) if replayed.held_back or only_looks else replayed


def _since(until: datetime.datetime) -> datetime.datetime | None:
    """From where on to read: a little before the last run; at first, from when the first customer was taken in."""
    done = ReconciliationRun.objects.filter(
        state=ReconciliationRun.State.DONE, watermark__isnull=False
    ).order_by("-watermark")
    mark: datetime.datetime | None = done.values_list("watermark", flat=True).first()
    if mark is not None:
        mark -= OVERLAP + ON_ITS_WAY
    else:
        mark = SubscriptionEvent.objects.filter(type=TAKEN_IN).aggregate(first=Min("created_at"))["first"]
    return None if mark is None else max(mark, until - LISTED)


def _missed(taken: TakenIn) -> list[tuple[StripeEvent, Organization]]:
    """The new events that an organization here missed."""
    settled = {each.stripe_event_id for each in taken.settled}
    told = [
        each
        for each in taken.new
        if each.handled and each.stripe_customer_id and each.stripe_event_id not in settled
    ]
    organizations = Organization.objects.in_bulk(
        {each.stripe_customer_id for each in told}, field_name="stripe_customer_id"
    )
    taken_in = known_since(organizations)
    missed = []
    for each in told:
        organization = organizations.get(each.stripe_customer_id or "")
        since = taken_in.get(each.stripe_customer_id or "")
        if organization is not None and not (since and each.occurred_at <= since.timestamp()):
            missed.append((each, organization))
    return missed


def _record(run: ReconciliationRun, missed: Sequence[tuple[StripeEvent, Organization]]) -> None:
    """Tell of each event that it was missed, now that it is in the ledger."""
    ids = [each.stripe_event_id for each, _organization in missed]
    rows = {row.stripe_event_id: row for row in SubscriptionEvent.objects.filter(stripe_event_id__in=ids)}
    for each, organization in missed:
        finding = Finding("event_missing", each.stripe_event_id, None, each.type)
        recording.record_mended(run, organization, finding, rows.get(each.stripe_event_id))
