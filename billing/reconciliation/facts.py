"""What a check is told, and what it finds: plain values, so that each check can be read and tried alone."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

from billing.metrics import monthly_recurring
from billing.stripe_api import StripeObject
from organizations.models import Hold, Organization
from organizations.querysets import ENDED_STATUSES


@dataclass(frozen=True)
class LedgerRefund:
    """A refund that our ledger says was made by us; the amount in minor units."""

    id: str
    amount: int | None
    currency: str


@dataclass(frozen=True)
class Facts:
    """One organization of ours beside what the mirror has of its customer; or a customer that nobody here owns."""

    organization: Organization | None
    now: datetime.datetime
    customer: StripeObject | None = None
    subscriptions: tuple[StripeObject, ...] = ()
    """All of them, the newest first."""
    refunds: tuple[StripeObject, ...] = ()
    columns: dict[str, Any] = field(default_factory=dict)
    """The organization's columns as the mirror has them; empty where it has no such customer."""
    holds: tuple[Hold, ...] = ()
    """Those that are open."""
    members: int = 0
    """Active ones, who occupy seats."""
    refunds_in_ledger: frozenset[str] = frozenset()
    """Ids of the customer's refunds that any line of the ledger names."""
    refunds_of_ours: tuple[LedgerRefund, ...] = ()
    known_since: datetime.datetime | None = None
    """When the customer was taken in; what is older is history that no line of the ledger tells."""
    claimed_by: str = ""
    """The other organization that the customer's metadata name, if any."""


@dataclass(frozen=True)
class Finding:
    """One thing in which Stripe and we differ: values as JSON holds them, amounts in minor units."""

    type: str
    object_id: str = ""
    ours: Any = None
    theirs: Any = None
    amount: int | None = None
    currency: str = ""


def of_subscription(type_: str, subscription: StripeObject, ours: Any, theirs: Any) -> Finding:
    """A finding about one of Stripe's subscriptions, with what it comes to a month."""
    worth, currency = monthly_worth(subscription), subscription.get("currency") or ""
    return Finding(type_, subscription["id"], ours, theirs, worth, currency)


def of_customer(type_: str, organization: Organization, ours: Any, theirs: Any) -> Finding:
    """A finding about an organization's customer, with what the organization brings a month."""
    customer_id = organization.stripe_customer_id or ""
    return Finding(type_, customer_id, ours, theirs, organization.mrr, organization.currency)


def live(facts: Facts) -> list[StripeObject]:
    """The subscriptions that Stripe has and that have not ended."""
    return [
        each for each in facts.subscriptions if each["status"] not in ENDED_STATUSES and not is_gone(each)
    ]


def is_gone(found: StripeObject | None) -> bool:
    """Whether the mirror has it as deleted at Stripe."""
    return bool(found and found.get("deleted"))


def has_lost_subscription(facts: Facts) -> bool:
    """Whether our row names a subscription that lives, and Stripe has neither it nor another."""
    ours = facts.organization
    if ours is None or not ours.has_live_subscription:
        return False
    named = next((each for each in facts.subscriptions if each["id"] == ours.stripe_subscription_id), None)
    return is_gone(named) if named else all(is_gone(each) for each in facts.subscriptions)


def monthly_worth(subscription: StripeObject) -> int | None:
    """What a subscription is worth a month, in minor units; None where its tiers were never read."""
    try:
        return monthly_recurring(subscription)
    except ValueError:
        return None
