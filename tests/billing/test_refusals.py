"""What Stripe refuses is said in words of ours, and what it said itself is kept."""

from __future__ import annotations

from typing import Any

import pytest

from billing import refusals, stripe_api
from billing.errors import ObjectMissing, StripeBusy, StripeRefused
from tests.conftest import Sandbox
from tests.stripe_world import World, charges_at_stripe, make_customer


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


def refused(path: str, **params: Any) -> StripeRefused:
    with pytest.raises(StripeRefused) as caught:
        stripe_api.call("POST", path, params)
    assert "Nothing was changed" in str(caught.value)
    return caught.value


pytestmark = pytest.mark.django_db(transaction=True)


def test_what_is_refunded_already_disputed_or_too_much(sandbox: Sandbox, world: World) -> None:
    (charge,) = charges_at_stripe(sandbox, world)
    error = refused("/v1/refunds", charge=charge.id, amount=charge.amount + 1)
    assert str(error) == "More than is left of this payment cannot be refunded. Nothing was changed."
    assert "is greater than unrefunded amount" in error.raw["error"]["message"]

    stripe_api.call("POST", "/v1/refunds", {"charge": charge.id})
    error = refused("/v1/refunds", charge=charge.id)
    assert str(error) == "This payment was refunded in full already. Nothing was changed."
    assert error.raw["error"]["code"] == "charge_already_refunded"

    other = make_customer(sandbox)
    (charge,) = charges_at_stripe(sandbox, other)
    sandbox.control("POST", "disputes", {"charge": charge.id})
    assert "(a dispute)" in str(refused("/v1/refunds", charge=charge.id))


def test_what_is_missing_or_over(sandbox: Sandbox, world: World) -> None:
    error = refused("/v1/refunds", payment_intent="pi_nobody")
    assert isinstance(error, ObjectMissing)
    assert "Stripe does not know what this was about" in str(error)
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    error = refused(f"/v1/subscriptions/{world.subscription}", cancel_at_period_end=True)
    assert "This subscription has ended" in str(error)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "too little money"),
        ("pm_card_visa_chargeDeclined", "was declined"),
        ("pm_card_chargeDeclinedExpiredCard", "has expired"),
    ],
)
def test_a_card_that_does_not_pay(sandbox: Sandbox, world: World, card: str, words: str) -> None:
    error = refused(f"/v1/payment_methods/{card}/attach", customer=world.customer)
    assert words in str(error)
    assert error.raw["error"]["type"] == "card_error"


def test_a_bank_that_wants_the_customer_to_confirm() -> None:
    said = {"code": "card_declined", "decline_code": "authentication_required", "message": "Declined."}
    for code, each in (("card_declined", said), ("authentication_required", {})):
        assert "wants the customer to confirm" in str(refusals.words_for(code, each))


def test_too_many_calls(sandbox: Sandbox, world: World) -> None:
    sandbox.control("POST", "faults", {"kind": "error_429", "method": "POST", "path": "/v1/refunds"})
    with pytest.raises(StripeBusy, match="asked us to wait"):
        stripe_api.call("POST", "/v1/refunds", {"charge": "ch_1"})


def test_every_word_of_ours_says_what_happened_and_that_nothing_changed() -> None:
    for words in (*refusals.WORDS.values(), *refusals.UNCODED.values()):
        assert "Nothing was changed" in str(words)
        assert str(words).endswith(".")
        assert "!" not in str(words)


def test_what_has_no_word_of_ours_keeps_stripes(sandbox: Sandbox, world: World) -> None:
    draft = sandbox.client.v1.invoices.create({"customer": world.customer})
    error = refused("/v1/credit_notes", invoice=draft.id, amount=100)
    assert str(error).startswith("Stripe refused: You can only create credit notes for finalized invoices.")
