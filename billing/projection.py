"""From Stripe's objects to the columns of an organization: pure, so that it can be read and tried alone."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

from billing.metrics import licensed_items, monthly_recurring, seat_item
from billing.schedules import planned_seats
from billing.stripe_api import StripeObject
from organizations.querysets import ENDED_STATUSES

# What an organization without a subscription has in the projected columns.
_NO_SUBSCRIPTION: dict[str, Any] = {
    "stripe_subscription_id": None,
    "subscription_status": "",
    "plan": "",
    "price_id": "",
    "unit_amount": None,
    "interval": "",
    "interval_count": 1,
    "seats": None,
    "mrr": 0,
    "current_period_start": None,
    "current_period_end": None,
    "cancel_at_period_end": False,
    "cancel_at": None,
    "trial_end": None,
    "scheduled_seats": None,
    "scheduled_at": None,
}


def choose_subscription(subscriptions: Iterable[StripeObject]) -> StripeObject | None:
    """The subscription of an organization: the newest that has not ended, else the newest ended one."""
    ranked = sorted(
        subscriptions,
        key=lambda sub: (sub["status"] not in ENDED_STATUSES, sub["created"], sub["id"]),
        reverse=True,
    )
    return ranked[0] if ranked else None


def project(
    customer: StripeObject,
    subscriptions: Iterable[StripeObject],
    payment_methods: Iterable[StripeObject],
    invoices: Iterable[StripeObject],
    now: datetime.datetime,
    known_issue_since: datetime.datetime | None,
) -> dict[str, Any]:
    """The organization's columns, by name, as Stripe's present objects say them.

    An issue that goes on is as old as we have known it to be: `known_issue_since`.
    """
    subscription = choose_subscription(subscriptions)
    columns = dict(_NO_SUBSCRIPTION) if subscription is None else _of_subscription(subscription)
    columns.update(_of_card(customer, subscription, payment_methods))
    columns["currency"] = (subscription or customer).get("currency") or customer.get("currency") or ""
    troubled = subscription is not None and subscription["status"] in {"past_due", "unpaid"}
    overdue = overdue_invoices(invoices, now)
    since = min((at for at, _invoice in overdue), default=now if troubled else None)
    columns["amount_overdue"] = sum(
        invoice["amount_remaining"] for _at, invoice in overdue if invoice["currency"] == columns["currency"]
    )
    columns["billing_issue_since"] = min(since, known_issue_since) if since and known_issue_since else since
    return columns


def is_paid_up(columns: dict[str, Any]) -> bool:
    """Whether nothing is owed: no overdue invoice is open, and the subscription is neither past due nor unpaid."""
    return columns["billing_issue_since"] is None


def overdue_invoices(
    invoices: Iterable[StripeObject], now: datetime.datetime
) -> list[tuple[datetime.datetime, StripeObject]]:
    """Open invoices that are overdue, each with since when: its failed attempt's invoice date, or its due date."""
    found = []
    for invoice in invoices:
        if invoice["status"] != "open" or not invoice.get("amount_remaining"):
            continue
        due = from_unix(invoice.get("due_date"))
        if due is None and invoice.get("attempted"):
            due = from_unix(invoice["created"])
        if due is not None and due < now:
            found.append((due, invoice))
    return found


def from_unix(seconds: int | None) -> datetime.datetime | None:
    """Stripe's unix seconds as an aware UTC datetime."""
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _of_subscription(subscription: StripeObject) -> dict[str, Any]:
    items = (subscription.get("items") or {}).get("data", [])
    seat = seat_item(subscription)
    # Periods are the items' since the API's basil versions; a plan's words come from the item that is the seats.
    lead = seat or (licensed_items(subscription) or items or [None])[0]
    price = lead["price"] if lead else {}
    recurring = price.get("recurring") or {}
    planned = planned_seats(subscription)
    return {
        "stripe_subscription_id": subscription["id"],
        "subscription_status": subscription["status"],
        "plan": plan_name(price),
        "price_id": price.get("id", ""),
        "unit_amount": price.get("unit_amount"),
        "interval": recurring.get("interval", ""),
        "interval_count": recurring.get("interval_count", 1),
        "seats": seat["quantity"] if seat else None,
        "mrr": monthly_recurring(subscription),
        "current_period_start": from_unix(lead.get("current_period_start") if lead else None),
        "current_period_end": from_unix(lead.get("current_period_end") if lead else None),
        "cancel_at_period_end": bool(subscription.get("cancel_at_period_end")),
        "cancel_at": from_unix(subscription.get("cancel_at")),
        "trial_end": from_unix(subscription.get("trial_end")),
        "scheduled_seats": planned.seats if planned else None,
        "scheduled_at": from_unix(planned.at) if planned else None,
    }


def plan_name(price: StripeObject) -> str:
    """What staff call a price: its nickname, else its product's name, else its id."""
    product = price.get("product")
    name = product.get("name") if isinstance(product, dict) else None
    return str(price.get("nickname") or name or price.get("id") or "")[:250]


def _of_card(
    customer: StripeObject, subscription: StripeObject | None, payment_methods: Iterable[StripeObject]
) -> dict[str, Any]:
    """The card that the next invoice will be charged to: the subscription's own, else the customer's default."""
    default = (subscription or {}).get("default_payment_method") or (
        customer.get("invoice_settings") or {}
    ).get("default_payment_method")
    if isinstance(default, str):
        default = next((method for method in payment_methods if method["id"] == default), None)
    card = (default or {}).get("card") or {}
    return {
        "card_brand": card.get("brand") or "",
        "card_last4": card.get("last4") or "",
        "card_exp_month": card.get("exp_month"),
        "card_exp_year": card.get("exp_year"),
    }
