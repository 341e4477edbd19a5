"""Rows of the lists of invoices, payments, refunds and disputes: whose they are, and how they stand, in words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.functions import JSONObject
from django.utils import timezone

from adminops.pages.badges import Badge, overdue_badge, stripe_badge
from adminops.pages.customer.payments import card_in_words
from billing.attempts import DECLINES
from billing.mirror import stored
from organizations.models import Organization

OVERDUE = stored.OVERDUE


def with_organization(rows: QuerySet[Any]) -> QuerySet[Any]:
    """With the id of the customer as `owner`, and the key and the name of its organization, in the same query."""
    owner = stored.owner_of(rows.model)
    known = Organization.objects.filter(stripe_customer_id=OuterRef(owner)).order_by()
    told = known.values(told=JSONObject(key="pk", name="name"))[:1]
    owned: QuerySet[Any] = rows.annotate(owner=F(owner), organization=Subquery(told))
    return owned


def with_refunded(invoices: QuerySet[Any]) -> QuerySet[Any]:
    """With what went back of each invoice besides, as `refunded`, in minor units."""
    return with_organization(invoices.annotate(refunded=stored.refunded_of_invoice()))


def name_of(row: Any) -> str:
    """The name of the organization; empty where none here is that customer."""
    return str(row.organization["name"]) if row.organization else ""


def badge_of(row: Any) -> Badge | None:
    """How it stands, as everywhere else; of what is overdue, for how long."""
    since = overdue_since(row) if row._meta.model_name == "invoice" else None
    return overdue_badge(since) if since else _state(row)


def _state(row: Any) -> Badge | None:
    item = {"object": row._meta.model_name, "status": row.bo_status}
    if item["object"] == "charge":
        back = row.bo_amount_refunded or 0
        item |= {
            "disputed": row.bo_disputed,
            "amount_refunded": back,
            "refunded": back > 0 and back >= (row.bo_amount_captured or 0),
        }
    return stripe_badge(item)


def state_of(row: Any) -> str:
    """Stripe's state in our word."""
    badge = _state(row)
    return str(badge.word) if badge else ""


def reason_of(row: Any) -> str:
    """Why money was asked back: Stripe's word for it, without its underscores."""
    return (row.bo_reason or "").replace("_", " ")


def failure_of(row: Any) -> str:
    """Why it failed, in our words where we have any; empty where it did not."""
    code = row.bo_failure or ""
    return str(DECLINES[code]) if code in DECLINES else code.replace("_", " ")


def card_of(row: Any) -> str:
    """ "Visa •••• 4242"; empty for what was not paid by card."""
    brand, _space, last4 = (row.bo_card or "").rpartition(" ")
    return card_in_words({"brand": brand, "last4": last4})


def overdue_since(invoice: Any) -> datetime | None:
    """Since when an invoice is overdue, None for one that is not."""
    due = invoice.bo_due_at
    is_owed = invoice.bo_status == "open" and (invoice.bo_amount_remaining or 0) > 0
    return due if is_owed and due and due < timezone.now() else None
