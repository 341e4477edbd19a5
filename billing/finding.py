"""Whose is this? For whoever pastes an id or an address from Stripe's dashboard, a log, or an invoice's number."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from billing import mirror
from billing.models import SubscriptionEvent
from billing.stripe_ids import normal, prefix_of
from organizations.models import Organization

_SHAPE = re.compile(r"^[a-z]{1,12}_[A-Za-z0-9_]+$")

# With these Stripe's ids begin. Anything else with an underscore may as well be a slug or half an e-mail.
_PREFIXES = frozenset(
    "acct card ch cn cus dp du evt ii il in li pi pm price prod promo py pyr re req seti si sub sub_sched txn".split()
)

# An invoice's number, as Stripe makes them: the customer's prefix, or the account's, and four digits or more.
_NUMBER = re.compile(r"^[A-Z0-9]{3,12}-[0-9]{4,12}$")

# Which column of the ledger has an id, by its prefix, if not that of the object itself. Each has an index.
_LEDGER_COLUMNS = {
    "evt": "stripe_event_id",
    "cus": "stripe_customer_id",
    "sub": "stripe_subscription_id",
    "in": "stripe_invoice_id",
    "ch": "stripe_charge_id",
    "py": "stripe_charge_id",
    "re": "stripe_refund_id",
    "pyr": "stripe_refund_id",
    "req": "stripe_request_id",
}


@dataclass(frozen=True)
class Found:
    """What an id led to: an organization, or a line of the ledger. Exactly one is set."""

    organization_id: int | None = None
    event_id: int | None = None


def may_name_one(term: str) -> bool:
    """Whether this may be what one thing is called by: an id, its address at Stripe, or the number of an invoice."""
    return is_an_id(id_in(term)) or bool(_NUMBER.match(term.upper()))


def id_in(term: str) -> str:
    """The id with which an address of Stripe's dashboard ends; what was typed where it is no such address."""
    path = term.partition("?")[0].partition("#")[0].rstrip("/")
    last = path.rpartition("/")[2]
    return last if "/" in path and is_stripe_id(last) else term


def is_an_id(term: str) -> bool:
    """Whether this looks like an id, of Stripe's or of one of our operations, rather than like a name."""
    return is_stripe_id(term) or _uuid(term) is not None


def is_stripe_id(term: str) -> bool:
    """Whether this looks like an id of Stripe's: one of its prefixes, an underscore, letters and digits."""
    stripe_id = normal(term)
    return bool(_SHAPE.match(stripe_id)) and prefix_of(stripe_id) in _PREFIXES


def ledger_column_of(stripe_id: str) -> str:
    """The column of the ledger in which an id of Stripe's is looked up."""
    return _LEDGER_COLUMNS.get(prefix_of(stripe_id), "stripe_object_id")


def find(term: str) -> Found | None:
    """What belongs to an id, an address of Stripe's or an invoice's number; None where nobody here knows it.

    An event's id, or one of our operations, leads to its line of the ledger; anything else to its organization.
    """
    term = id_in(term)
    if _NUMBER.match(term.upper()):
        return _organization_of(mirror.payer_of_number(term.upper()))
    operation = _uuid(term)
    if operation is not None:
        return _event(uuid=operation)
    stripe_id = normal(term)
    if stripe_id.startswith("evt_"):
        return _event(stripe_event_id=stripe_id)
    return _owner(stripe_id) or _named_in_ledger(stripe_id)


def _uuid(term: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(term)
    except ValueError:
        return None


def _event(**lookup: object) -> Found | None:
    key = SubscriptionEvent.objects.filter(**lookup).values_list("pk", flat=True).first()
    return None if key is None else Found(event_id=key)


def _owner(stripe_id: str) -> Found | None:
    organizations = Organization.objects.order_by()
    for column in ("stripe_customer_id", "stripe_subscription_id"):
        key = organizations.filter(**{column: stripe_id}).values_list("pk", flat=True).first()
        if key is not None:
            return Found(organization_id=key)
    return _organization_of(mirror.customer_of(stripe_id) or mirror.payer_of(stripe_id))


def _organization_of(customer_id: str | None) -> Found | None:
    if customer_id is None:
        return None
    organizations = Organization.objects.order_by().filter(stripe_customer_id=customer_id)
    key = organizations.values_list("pk", flat=True).first()
    return None if key is None else Found(organization_id=key)


def _named_in_ledger(stripe_id: str) -> Found | None:
    events = SubscriptionEvent.objects.filter(**{ledger_column_of(stripe_id): stripe_id}).order_by("-id")
    newest = events.values_list("pk", "organization_id").first()
    if newest is None:
        return None
    event_id, organization_id = newest
    return Found(organization_id=organization_id) if organization_id else Found(event_id=event_id)
