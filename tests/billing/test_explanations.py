"""Why an invoice comes to what it does: every explanation ends in Stripe's own amount due, part by part."""

from __future__ import annotations

from typing import Any

import pytest

from billing import mirror
from billing.explanations import Explanation, explain
from tests.conftest import Sandbox
from tests.stripe_world import World, make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)


def newest_invoice(world: World) -> dict[str, Any]:
    """As the mirror has it, after reading all there is."""
    make_organization(world)
    return mirror.invoices_of(world.customer)[0]


def said(explanation: Explanation) -> str:
    return " | ".join(f"{part.why} {part.amount}" for part in explanation.parts)


def test_a_plain_invoice_is_seats_times_their_price(sandbox: Sandbox) -> None:
    explanation = explain(newest_invoice(make_customer(sandbox)))
    assert "8 at $29.00 each. 23200" in said(explanation)
    assert explanation.parts[-1].why == "Amount due"
    assert explanation.parts[-1].amount == 23200
    assert "$232.00 was paid on" in explanation.afterwards[0]


def test_prorations_are_told_as_time_that_was_not_used_and_time_that_is_left(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    sandbox.control("POST", "clock", {"advance": 10 * 86400})
    sandbox.client.v1.subscriptions.update(
        world.subscription,
        {"items": [{"id": world.item, "quantity": 12}], "proration_behavior": "always_invoice"},
    )
    invoice = newest_invoice(world)
    text = said(explain(invoice))
    assert "Seats went from 8 to 12, so time that was paid for and not used is credited" in text
    assert "Seats went from 8 to 12, so the rest of the period is charged as it is now" in text
    assert text.endswith(f"Amount due {invoice['amount_due']}")


def test_a_coupon_and_credit_are_taken_off_before_the_amount_due(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    coupon = sandbox.client.v1.coupons.create({"percent_off": 25, "duration": "forever", "name": "Launch"})
    sandbox.client.v1.subscriptions.update(world.subscription, {"discounts": [{"coupon": coupon.id}]})
    sandbox.client.v1.customers.balance_transactions.create(
        world.customer, {"amount": -5000, "currency": "usd"}
    )
    sandbox.control("POST", "clock", {"advance": 32 * 86400})
    invoice = newest_invoice(world)
    text = said(explain(invoice))
    for expected in (
        "All lines together 23200",
        "takes this off. -5800",
        "Total 17400",
        "The customer's credit pays this. -5000",
        "Amount due 12400",
    ):
        assert expected in text


def test_an_invoice_that_comes_to_less_than_nothing_goes_to_the_balance(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    sandbox.control("POST", "clock", {"advance": 86400})
    sandbox.client.v1.subscriptions.update(
        world.subscription,
        {"items": [{"id": world.item, "quantity": 1}], "proration_behavior": "always_invoice"},
    )
    invoice = newest_invoice(world)
    assert invoice["total"] < 0
    explanation = explain(invoice)
    assert f"goes to the customer's balance for later. {-invoice['total']}" in said(explanation)
    assert explanation.parts[-1].amount == 0
    assert explanation.afterwards == ("Nothing had to be paid.",)


def test_credit_notes_are_told_before_and_after_the_payment(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    invoice = sandbox.client.v1.subscriptions.retrieve(world.subscription).latest_invoice
    sandbox.client.v1.credit_notes.create({"invoice": str(invoice), "amount": 2900, "credit_amount": 2900})
    paid = explain(newest_invoice(world))
    assert "After it was paid, $29.00 was given back by credit notes." in paid.afterwards


@pytest.mark.parametrize(
    ("balance", "due"), [(-5000, 18200), (-50000, 0), (700, 23900)], ids=["part", "all", "owed"]
)
def test_the_parts_add_up_to_the_amount_due_whatever_waits_on_the_balance(
    sandbox: Sandbox, balance: int, due: int
) -> None:
    world = make_customer(sandbox)
    sandbox.client.v1.customers.balance_transactions.create(
        world.customer, {"amount": balance, "currency": "usd"}
    )
    sandbox.control("POST", "clock", {"advance": 32 * 86400})
    parts = explain(newest_invoice(world)).parts
    assert parts[-1].amount == due
    assert sum(part.amount for part in parts if not part.is_sum) == due


def test_a_free_trial_says_so(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    sandbox.control("POST", "clock", {"advance": 86400})
    sandbox.client.v1.subscriptions.create(
        {
            "customer": world.customer,
            "items": [{"price": world.price, "quantity": 2}],
            "trial_period_days": 14,
        }
    )
    text = said(explain(newest_invoice(world)))
    assert text.startswith("Free for ")
    assert text.endswith("Amount due 0")


def test_units_stand_in_their_right_number(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    price = sandbox.client.v1.prices.retrieve(world.price)
    sandbox.client.v1.products.update(str(price.product), {"unit_label": "seat"})
    sandbox.control("POST", "clock", {"advance": 10 * 86400})
    sandbox.client.v1.subscriptions.update(
        world.subscription,
        {"items": [{"id": world.item, "quantity": 12}], "proration_behavior": "always_invoice"},
    )
    written = " | ".join(part.written for part in explain(newest_invoice(world)).parts)
    assert "on 8 seats × " in written
    assert "on 12 seats × " in written
    assert "seat ×" not in written
