"""What each type of Stripe's events means to us: which objects are to be read again, and what the ledger shows of it.

An event is only a trigger. Its body may be older than what we have, so nothing of it reaches an organization; the
sync reads the object's present state. What is taken from the body is evidence: ids, amounts, before and after.

To handle another type, add its row to `HANDLERS` and a signed fixture to the tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from billing import mirror
from billing.ledger import StripeEvent
from billing.reading import catalogue_key
from billing.stripe_api import CATALOGUE, path_of

type Json = dict[str, Any]
type Describe = Callable[[Json, Json], Json]
"""From an event's object and its previous attributes to columns of evidence."""


def _id(value: Any) -> str | None:
    return value.get("id") if isinstance(value, dict) else value or None


def describe_customer(item: Json, previous: Json) -> Json:
    """A customer: nothing but who it is."""
    return {"stripe_customer_id": item["id"]}


def describe_subscription(item: Json, previous: Json) -> Json:
    """A subscription: its status and seats, before and after."""
    items = (item.get("items") or {}).get("data") or []
    before = (previous.get("items") or {}).get("data") or []
    quantity = items[0].get("quantity") if len(items) == 1 else None
    was = before[0].get("quantity") if len(before) == 1 else previous.get("quantity")
    return {
        "stripe_subscription_id": item["id"],
        "status": item.get("status"),
        "previous_status": previous.get("status"),
        "quantity": quantity,
        "previous_quantity": was if was != quantity else None,
        "currency": item.get("currency"),
    }


def describe_schedule(item: Json, previous: Json) -> Json:
    """A schedule: the subscription it manages, or managed until it let go of it. It is read along with that."""
    return {
        "stripe_subscription_id": _id(item.get("subscription")) or _id(item.get("released_subscription")),
        "status": item.get("status"),
        "previous_status": previous.get("status"),
    }


def describe_invoice(item: Json, previous: Json) -> Json:
    """An invoice: what it comes to, and what became of it."""
    details = (item.get("parent") or {}).get("subscription_details") or {}
    return {
        "stripe_invoice_id": item.get("id"),
        "stripe_subscription_id": _id(details.get("subscription")) or _id(item.get("subscription")),
        "amount": item.get("total"),
        "currency": item.get("currency"),
        "status": item.get("status"),
        "previous_status": previous.get("status"),
    }


def describe_credit_note(item: Json, previous: Json) -> Json:
    """A credit note: how much of which invoice. It is read as part of its invoice."""
    return {
        "stripe_invoice_id": _id(item.get("invoice")),
        "amount": item.get("total"),
        "currency": item.get("currency"),
        "status": item.get("status"),
        "previous_status": previous.get("status"),
    }


def describe_discount(item: Json, previous: Json) -> Json:
    """A discount: on which subscription, or on the customer. It is read as part of that."""
    return {
        "stripe_subscription_id": _id(item.get("subscription")),
        "stripe_invoice_id": _id(item.get("invoice")),
    }


def describe_invoice_payment(item: Json, previous: Json) -> Json:
    """A payment of an invoice: how much of which. It is read as part of its invoice."""
    return {
        "stripe_invoice_id": _id(item.get("invoice")),
        "amount": item.get("amount_paid"),
        "currency": item.get("currency"),
        "status": item.get("status"),
        "previous_status": previous.get("status"),
    }


def describe_catalogue(item: Json, previous: Json) -> Json:
    """A product or a price: nothing but which; it is nobody's, and read under a lease of its own."""
    return {}


def describe_charge(item: Json, previous: Json) -> Json:
    """A charge: how much, and whether it went through."""
    return {
        "stripe_charge_id": item["id"],
        "amount": item.get("amount"),
        "currency": item.get("currency"),
        "status": item.get("status"),
        "previous_status": previous.get("status"),
    }


def describe_refunded_charge(item: Json, previous: Json) -> Json:
    """A charge of which something went back: how much this time."""
    back = item.get("amount_refunded")
    if back is not None:
        back -= previous.get("amount_refunded") or 0
    return {**describe_charge(item, previous), "amount": back}


def describe_refund(item: Json, previous: Json) -> Json:
    """A refund: how much of which charge, and how far it is."""
    return {
        **describe_charge(item, previous),
        "stripe_charge_id": _id(item.get("charge")),
        "stripe_refund_id": item["id"],
    }


def describe_dispute(item: Json, previous: Json) -> Json:
    """A dispute: about which charge, how much, and how it stands."""
    return {**describe_charge(item, previous), "stripe_charge_id": _id(item.get("charge"))}


def describe_payment(item: Json, previous: Json) -> Json:
    """A payment intent: how much, and how far it is."""
    return {**describe_charge(item, previous), "stripe_charge_id": _id(item.get("latest_charge"))}


def describe_payment_method(item: Json, previous: Json) -> Json:
    """A payment method: nothing but whose it is; a detached one says so among its previous attributes."""
    return {"stripe_customer_id": _id(item.get("customer")) or _id(previous.get("customer"))}


_FAMILIES: dict[Describe, tuple[str, ...]] = {
    describe_customer: ("customer.created", "customer.updated", "customer.deleted"),
    describe_subscription: (
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.trial_will_end",
        "customer.subscription.pending_update_applied",
        "customer.subscription.pending_update_expired",
    ),
    describe_schedule: (
        "subscription_schedule.created",
        "subscription_schedule.updated",
        "subscription_schedule.released",
        "subscription_schedule.canceled",
        "subscription_schedule.completed",
        "subscription_schedule.aborted",
        "subscription_schedule.expiring",
    ),
    describe_invoice: (
        "invoice.created",
        "invoice.finalized",
        "invoice.finalization_failed",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice.payment_failed",
        "invoice.payment_action_required",
        "invoice.overdue",
        "invoice.voided",
        "invoice.marked_uncollectible",
        "invoice.sent",
        "invoice.upcoming",
        "invoice.deleted",
        "invoice.overpaid",
        "invoice.payment_attempt_required",
        "invoice.will_be_due",
    ),
    describe_invoice_payment: ("invoice_payment.paid",),
    describe_discount: (
        "customer.discount.created",
        "customer.discount.updated",
        "customer.discount.deleted",
    ),
    describe_catalogue: (
        "product.created",
        "product.updated",
        "product.deleted",
        "price.created",
        "price.updated",
        "price.deleted",
    ),
    describe_credit_note: ("credit_note.created", "credit_note.updated", "credit_note.voided"),
    describe_payment: (
        "payment_intent.created",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "payment_intent.requires_action",
        "payment_intent.processing",
        "payment_intent.partially_funded",
        "payment_intent.amount_capturable_updated",
        "payment_intent.canceled",
    ),
    describe_charge: (
        "charge.succeeded",
        "charge.failed",
        "charge.pending",
        "charge.captured",
        "charge.updated",
        "charge.expired",
    ),
    describe_refunded_charge: ("charge.refunded",),
    describe_refund: ("refund.created", "refund.updated", "refund.failed", "charge.refund.updated"),
    describe_dispute: (
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
    ),
    describe_payment_method: (
        "payment_method.attached",
        "payment_method.detached",
        "payment_method.updated",
        "payment_method.automatically_updated",
    ),
}

HANDLERS: dict[str, Describe] = {type_: describe for describe, types in _FAMILIES.items() for type_ in types}


def interpret(event: Json, body: str) -> StripeEvent:
    """What the ledger keeps of an event. KeyError, TypeError or AttributeError where it has not Stripe's shape."""
    item: Json = event["data"]["object"]
    previous: Json = event["data"].get("previous_attributes") or {}
    request = event.get("request") or {}
    describe = HANDLERS.get(event["type"])
    columns: Json = {"stripe_customer_id": _id(item.get("customer"))}
    if describe is not None:
        columns |= describe(item, previous)
    unowned = columns.get("stripe_charge_id") or columns.get("stripe_invoice_id")
    if columns["stripe_customer_id"] is None and unowned:
        # Refunds and disputes name a charge and no customer, payments of invoices an invoice; what we know of it tells.
        columns["stripe_customer_id"] = mirror.customer_of(unowned)
    if describe is describe_catalogue:
        unowned = catalogue_key(item["object"], item["id"])
    return StripeEvent(
        stripe_event_id=event["id"],
        type=event["type"],
        occurred_at=event["created"],
        livemode=event.get("livemode"),
        body=_without_secrets(event, body),
        handled=describe is not None,
        sync_key=columns["stripe_customer_id"] or unowned,
        objects=_to_read(item, columns) if describe else (),
        stripe_object_id=item.get("id"),
        stripe_request_id=request.get("id"),
        idempotency_key=request.get("idempotency_key"),
        **columns,
    )


# What opens something to whoever reads it, by the type of event: it is not kept.
_SECRETS: dict[str, tuple[str, ...]] = {"billing_portal.session.created": ("url", "flow")}


def _without_secrets(event: Json, body: str) -> str:
    """The body as the ledger keeps it: as Stripe sent it, but for what would open a customer's portal."""
    secrets = _SECRETS.get(event["type"])
    if secrets is None:
        return body
    item = {name: None if name in secrets else value for name, value in event["data"]["object"].items()}
    return json.dumps({**event, "data": {**event["data"], "object": item}})


def _to_read(item: Json, columns: Json) -> list[str]:
    """The object itself and those that changed with it; ids of kinds that are never read again are left out."""
    related = [
        item.get("id"),
        columns.get("stripe_subscription_id"),
        columns.get("stripe_charge_id"),
        columns.get("stripe_invoice_id"),
    ]
    kind = item.get("object")
    # Accounts may give these ids of their own, which tell nothing.
    told: set[Any] = {item["id"]} if kind == "customer" or kind in CATALOGUE else set()
    if kind == "discount" and not columns.get("stripe_subscription_id"):
        related.append(columns["stripe_customer_id"])
        told.add(columns["stripe_customer_id"])
    return [id_ for id_ in dict.fromkeys(related) if isinstance(id_, str) and (id_ in told or path_of(id_))]
