"""Where what we hold of a customer is not what Stripe says: compared, and told. Nothing is written.

The answer to "what would reading it again change?": it projects what was read the way the sync would.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from billing import mirror
from billing.projection import is_paid_up, project
from billing.stripe_api import StripeObject
from organizations.models import Hold, Organization

ORGANIZATION = "organization"

# What of each kind people act on. Amounts are minor units of the object's currency.
COMPARED: dict[str, tuple[str, ...]] = {
    "customer": ("name", "email", "balance", "deleted"),
    "subscription": ("status",),
    "charge": ("status", "amount", "amount_refunded", "disputed"),
    "invoice": ("status", "total", "amount_paid", "amount_remaining"),
    "refund": ("status", "amount"),
    "dispute": ("status", "amount"),
    "payment_method": (),
}


@dataclass(frozen=True)
class Difference:
    """One thing that we hold otherwise than Stripe."""

    kind: str
    """`ORGANIZATION` for a column of ours, else Stripe's word for the object."""
    id: str
    """Which object of Stripe's; empty for the organization."""
    field: str
    ours: Any
    stripes: Any
    currency: str = ""
    """Of amounts."""


@dataclass(frozen=True)
class Count:
    """How many objects of a kind."""

    kind: str
    n: int


@dataclass(frozen=True)
class Differences:
    """All that reading these objects again would change."""

    found: tuple[Difference, ...]
    missing: tuple[Count, ...]
    """What Stripe has and we do not."""
    detached: int
    """Payment methods that the customer no longer has."""
    lifts_hold: bool
    """Whether the hold for non-payment would be lifted, because nothing is owed."""

    @property
    def number(self) -> int:
        """How many they are."""
        return len(self.found) + sum(each.n for each in self.missing) + self.detached


def compare(
    organization: Organization,
    customer_id: str,
    read: list[StripeObject],
    now: datetime.datetime,
    *,
    everything: bool,
) -> Differences:
    """What we hold, held against what was just `read` from Stripe; `everything` says that it is all there is."""
    known = mirror.known(read)
    compared = [each for each in read if each["object"] in COMPARED]
    missing = Counter(each["object"] for each in compared if each["id"] not in known)
    columns = _columns(organization, customer_id, read, now, everything=everything)
    owed = organization.open_holds().filter(kind=Hold.Kind.NON_PAYMENT)
    held = mirror.payment_methods_of(customer_id) if everything else []
    attached = {each["id"] for each in read}
    return Differences(
        found=(
            *_of_columns(organization, columns),
            *(
                difference
                for each in compared
                if each["id"] in known
                for difference in _of_object(known[each["id"]], each, organization)
            ),
        ),
        missing=tuple(Count(kind, n) for kind, n in sorted(missing.items())),
        detached=sum(1 for each in held if each["id"] not in attached),
        lifts_hold=is_paid_up(columns) and owed.exists(),
    )


def _columns(
    organization: Organization,
    customer_id: str,
    read: list[StripeObject],
    now: datetime.datetime,
    *,
    everything: bool,
) -> dict[str, Any]:
    """The organization's columns as the sync would write them after reading these objects."""

    def present(kind: str, mirrored: Iterable[StripeObject]) -> list[StripeObject]:
        fresh = {each["id"]: each for each in read if each["object"] == kind}
        return list(({each["id"]: each for each in mirrored} | fresh).values())

    [customer] = present("customer", []) or [{}]
    # A deleted customer says nothing but that it is deleted; what we knew of it stays.
    ours = mirror.customer(customer_id) or {"id": customer_id, "object": "customer"}
    customer = {**ours, **customer} if customer.get("deleted") else customer or ours
    subscriptions = mirror.with_products(
        present("subscription", mirror.subscriptions_of(customer_id)), read=read
    )
    return project(
        customer,
        subscriptions,
        present("payment_method", [] if everything else mirror.payment_methods_of(customer_id)),
        present("invoice", mirror.open_invoices_of(customer_id)),
        now,
        organization.billing_issue_since,
    )


def _of_columns(organization: Organization, columns: dict[str, Any]) -> Iterable[Difference]:
    ours = {name: getattr(organization, name) for name in columns}
    columns = dict(columns)
    if (ours["billing_issue_since"] is None) is not (columns["billing_issue_since"] is None):
        # Only whether there is one: one that begins now begins at another moment in each comparison.
        ours["has_billing_issue"] = ours.pop("billing_issue_since") is not None
        columns["has_billing_issue"] = columns.pop("billing_issue_since") is not None
    for name, stripes in columns.items():
        if ours[name] != stripes:
            yield Difference(ORGANIZATION, "", name, ours[name], stripes, columns["currency"])


def _of_object(ours: StripeObject, read: StripeObject, organization: Organization) -> Iterable[Difference]:
    kind, id_ = read["object"], read["id"]
    if kind == "subscription" and id_ == organization.stripe_subscription_id:
        return  # its columns tell
    for field in COMPARED[kind]:
        if field not in read and read.get("deleted"):
            continue
        if (ours.get(field) or None) != (read.get(field) or None):
            currency = read.get("currency") or ours.get("currency") or ""
            yield Difference(kind, id_, field, ours.get(field), read.get(field), currency)
