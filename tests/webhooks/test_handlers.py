"""Every type of event that means something to us: what the ledger keeps of it, and what it has read again."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from billing.models import CustomerSync, SubscriptionEvent
from billing.sandbox.event_types import EVENT_TYPES
from tests.factories import OrganizationFactory
from tests.webhooks.signing import deliver, make_event
from webhooks.handlers import HANDLERS

pytestmark = pytest.mark.django_db

_SUBSCRIPTION = {
    "id": "sub_1",
    "object": "subscription",
    "customer": "cus_1",
    "status": "active",
    "currency": "usd",
    "items": {"data": [{"id": "si_1", "quantity": 12}]},
}
_INVOICE = {
    "id": "in_1",
    "object": "invoice",
    "customer": "cus_1",
    "status": "open",
    "total": 34800,
    "currency": "usd",
    "parent": {"subscription_details": {"subscription": "sub_1"}},
}
_MONEY = {"amount": 34800, "currency": "usd", "status": "succeeded"}
_CHARGE = {"id": "ch_1", "object": "charge", "customer": "cus_1", "amount_refunded": 500, **_MONEY}
_REFUND = {"id": "re_1", "object": "refund", "charge": "ch_1", **_MONEY}

# The object of an event, by what its type begins with (the longest that fits), and what is read again because of it.
FIXTURES: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "customer.": ({"id": "cus_1", "object": "customer"}, "cus_1", ["cus_1"]),
    "customer.subscription.": (_SUBSCRIPTION, "cus_1", ["sub_1"]),
    "customer.discount.": (
        {"id": "di_1", "object": "discount", "customer": "cus_1", "subscription": "sub_1"},
        "cus_1",
        ["sub_1"],
    ),
    "subscription_schedule.": (
        {
            "id": "sub_sched_1",
            "object": "subscription_schedule",
            "customer": "cus_1",
            "subscription": "sub_1",
        },
        "cus_1",
        ["sub_1"],
    ),
    "invoice.": (_INVOICE, "cus_1", ["in_1", "sub_1"]),
    "invoice.upcoming": ({**_INVOICE, "id": None}, "cus_1", ["sub_1"]),
    "invoice_payment.": (
        {
            "id": "inpay_1",
            "object": "invoice_payment",
            "invoice": "in_1",
            "amount_paid": 5,
            "currency": "usd",
        },
        "in_1",
        ["in_1"],
    ),
    "credit_note.": (
        {"id": "cn_1", "object": "credit_note", "customer": "cus_1", "invoice": "in_1", "total": 500},
        "cus_1",
        ["in_1"],
    ),
    "payment_intent.": (
        {"id": "pi_1", "object": "payment_intent", "customer": "cus_1", "latest_charge": "ch_1", **_MONEY},
        "cus_1",
        ["pi_1", "ch_1"],
    ),
    "charge.": (_CHARGE, "cus_1", ["ch_1"]),
    "charge.dispute.": (
        {"id": "du_1", "object": "dispute", "charge": "ch_1", **_MONEY},
        "ch_1",
        ["du_1", "ch_1"],
    ),
    "charge.refund.": (_REFUND, "ch_1", ["re_1", "ch_1"]),
    "refund.": (_REFUND, "ch_1", ["re_1", "ch_1"]),
    "payment_method.": (
        {"id": "pm_1", "object": "payment_method", "customer": "cus_1"},
        "cus_1",
        ["pm_1"],
    ),
    # Accounts may choose the ids of what they sell.
    "product.": ({"id": "gold", "object": "product", "name": "Gold"}, "product/gold", ["gold"]),
    "price.": ({"id": "gold-monthly", "object": "price"}, "price/gold-monthly", ["gold-monthly"]),
}


def fixture_of(type_: str) -> tuple[dict[str, Any], str, list[str]]:
    return FIXTURES[max((begin for begin in FIXTURES if type_.startswith(begin)), key=len)]


@pytest.mark.parametrize("type_", HANDLERS)
def test_each_type_is_kept_and_has_what_it_is_about_read_again(client: Client, type_: str) -> None:
    organization = OrganizationFactory(stripe_customer_id="cus_1")
    item, key, objects = fixture_of(type_)

    response = deliver(client, make_event(type_, item))

    assert response.status_code == 200
    row = SubscriptionEvent.objects.get()
    assert (row.type, row.state, row.objects_to_read) == (type_, "pending", objects)
    assert row.organization == (organization if key == "cus_1" else None)
    sync = CustomerSync.objects.get()
    assert (sync.customer_id, set(sync.objects_wanted)) == (key, set(objects))


def test_only_types_that_stripe_sends_have_a_handler() -> None:
    assert set(HANDLERS) <= EVENT_TYPES


def test_a_discount_of_the_customer_has_the_customer_read_again(client: Client) -> None:
    held = {"id": "di_1", "object": "discount", "customer": "acme", "subscription": None}
    deliver(client, make_event("customer.discount.created", held))
    assert SubscriptionEvent.objects.get().objects_to_read == ["acme"]


def test_an_event_of_another_type_leaves_open_what_is_to_be_read(client: Client) -> None:
    item = {"id": "txi_1", "object": "tax_id", "customer": "cus_1"}
    deliver(client, make_event("customer.tax_id.created", item))
    row = SubscriptionEvent.objects.get()
    assert (row.state, row.objects_to_read, row.stripe_customer_id) == ("ignored", None, "cus_1")
