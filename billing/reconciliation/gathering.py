"""The facts of many organizations at once: our rows and the mirror, as they are at one moment.

What somebody is changing or reading just now is not told: it would only look like a difference.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import F, Max, Q
from django.db.models.functions import Now
from django.utils import timezone

from billing import mirror
from billing.importing import EVENT_TYPE as TAKEN_IN
from billing.importing import METADATA_KEY
from billing.mirror import listing as mirrored
from billing.models import CustomerSync, SubscriptionEvent
from billing.projection import project
from billing.reconciliation.facts import Facts, LedgerRefund
from billing.stripe_api import StripeObject
from organizations.models import Hold, Organization, seats_used_of

Event = SubscriptionEvent


@dataclass
class Gathered:
    """Facts of those that can be compared now."""

    facts: list[Facts] = field(default_factory=list)
    busy: set[int] = field(default_factory=set)
    """Keys of organizations that are left alone, because they are being changed or read."""
    broken: dict[int, str] = field(default_factory=dict)
    """Why the facts of an organization cannot be told, by its key."""


def gather(organization_ids: Sequence[int]) -> Gathered:
    """The facts of these organizations. Run inside a transaction that sees one moment (`comparing.one_moment`)."""
    organizations = list(Organization.objects.filter(pk__in=organization_ids))
    customer_ids = [each.stripe_customer_id for each in organizations if each.stripe_customer_id]
    gathered = Gathered(busy=busy_among(organizations))
    now = timezone.now()
    customers = mirrored.customers_of_many(customer_ids)
    subscriptions = mirror.subscriptions_of_many(customer_ids)
    methods = mirrored.payment_methods_of_many(customer_ids)
    invoices = mirror.open_invoices_of_many(customer_ids)
    refunds = mirrored.refunds_of_many(customer_ids)
    in_ledger = _refunds_in_ledger(refunds)
    ours = _refunds_of_ours(organizations)
    members = seats_used_of(organizations)
    holds = _holds(organizations)
    taken_in = known_since(customer_ids)
    claimed = _claims(organizations, customers)
    for each in organizations:
        if each.pk in gathered.busy:
            continue
        customer_id = each.stripe_customer_id or ""
        customer, theirs = customers.get(customer_id), subscriptions.get(customer_id, [])
        try:
            columns: dict[str, Any] = (
                project(
                    customer,
                    theirs,
                    methods.get(customer_id, ()),
                    invoices.get(customer_id, ()),
                    now,
                    each.billing_issue_since,
                )
                if customer is not None
                else {}
            )
        except Exception as error:  # one poison object is not to hide the other organizations
            gathered.broken[each.pk] = f"{type(error).__name__}: {error}"
            continue
        gathered.facts.append(
            Facts(
                organization=each,
                now=now,
                customer=customer,
                subscriptions=tuple(theirs),
                refunds=tuple(refunds.get(customer_id, ())),
                columns=columns,
                holds=tuple(holds.get(each.pk, ())),
                members=members.get(each.pk, 0),
                refunds_in_ledger=in_ledger,
                refunds_of_ours=tuple(ours.get(each.pk, ())),
                known_since=taken_in.get(customer_id),
                claimed_by=claimed.get(each.pk, ""),
            )
        )
    return gathered


def gather_unowned(customer_ids: Sequence[str]) -> dict[str, Facts]:
    """The facts of customers whom no organization owns, by their ids."""
    now = timezone.now()
    customers = mirrored.customers_of_many(customer_ids)
    subscriptions = mirror.subscriptions_of_many(customer_ids)
    return {
        each: Facts(None, now, customer=customers.get(each), subscriptions=tuple(subscriptions.get(each, ())))
        for each in customer_ids
    }


def busy_among(organizations: Iterable[Organization]) -> set[int]:
    """Keys of those with an operation in progress, or something that is being read or is still to be read."""
    by_customer = {each.stripe_customer_id: each.pk for each in organizations if each.stripe_customer_id}
    busy: set[int] = set(
        Event.objects.filter(organization__in=[each.pk for each in organizations], state=Event.State.PENDING)
        .exclude(source=Event.Source.STRIPE)
        .values_list("organization_id", flat=True)
    )
    reading = CustomerSync.objects.filter(customer_id__in=by_customer).filter(
        Q(wanted__gt=F("done"), last_error="") | Q(lease_until__gt=Now())
    )
    busy.update(by_customer[each] for each in reading.values_list("customer_id", flat=True))
    return busy


def _holds(organizations: Sequence[Organization]) -> dict[int, list[Hold]]:
    found: dict[int, list[Hold]] = {}
    for hold in Hold.objects.open().filter(organization__in=organizations):
        found.setdefault(hold.organization_id, []).append(hold)
    return found


def _refunds_in_ledger(refunds: dict[str, list[StripeObject]]) -> frozenset[str]:
    ids = [each["id"] for theirs in refunds.values() for each in theirs]
    if not ids:
        return frozenset()
    named = Event.objects.filter(stripe_refund_id__in=ids).values_list("stripe_refund_id", flat=True)
    return frozenset(each for each in named if each)


def _refunds_of_ours(organizations: Sequence[Organization]) -> dict[int, list[LedgerRefund]]:
    rows = refunds_made_here().filter(organization__in=organizations)
    found: dict[int, list[LedgerRefund]] = {}
    for key, refund, amount, currency in rows.values_list(
        "organization_id", "stripe_refund_id", "amount", "currency"
    ):
        found.setdefault(key or 0, []).append(LedgerRefund(refund or "", amount, currency or ""))
    return found


def refunds_made_here() -> Any:
    """Lines of the ledger about refunds that staff made and that Stripe confirmed."""
    return Event.objects.filter(
        source=Event.Source.STAFF, state=Event.State.DONE, stripe_refund_id__isnull=False
    )


def known_since(customer_ids: Iterable[str]) -> dict[str, datetime.datetime]:
    """When each customer was taken in, by its id; what is older is no news."""
    rows = Event.objects.filter(type=TAKEN_IN, stripe_customer_id__in=list(customer_ids))
    latest = rows.values("stripe_customer_id").annotate(at=Max("created_at"))
    return {str(row["stripe_customer_id"]): row["at"] for row in latest}


def _claims(organizations: Sequence[Organization], customers: dict[str, StripeObject]) -> dict[int, str]:
    """The slug of another organization that a customer's metadata name, by the key of the one it is connected to."""
    told = {
        each.pk: str((customers[each.stripe_customer_id].get("metadata") or {}).get(METADATA_KEY) or "")
        for each in organizations
        if each.stripe_customer_id in customers
    }
    slugs = {each.pk: each.slug for each in organizations}
    other = {key: slug for key, slug in told.items() if slug and slug != slugs[key] and "\0" not in slug}
    there = set(Organization.objects.filter(slug__in=other.values()).values_list("slug", flat=True))
    return {key: slug for key, slug in other.items() if slug in there}
