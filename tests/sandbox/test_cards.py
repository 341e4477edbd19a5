"""Cards by token and number, banks that ask the customer first, cards that expire, and payments made by hand."""

import httpx
import pytest
import stripe

from tests.sandbox.conftest import charge_of

START = 1_767_225_600
DAY = 86_400


def kinds(api, **params):
    """The types of the events there are, oldest first."""
    return [event.type for event in reversed(api.events.list({"limit": 100, **params}).data)]


def intent_of(api, invoice):
    return api.invoice_payments.list({"invoice": invoice}).data[0].payment.payment_intent


@pytest.mark.parametrize(
    ("given", "brand", "last4"),
    [
        ({"number": "4242424242424242"}, "visa", "4242"),
        ({"number": "5555 5555 5555 4444"}, "mastercard", "4444"),
        ({"number": "378282246310005"}, "amex", "0005"),
        ({"token": "tok_visa"}, "visa", "4242"),
        ({"token": "tok_mastercard"}, "mastercard", "4444"),
    ],
)
def test_a_card_is_made_from_its_number_or_token(api, given, brand, last4):
    dates = {"exp_month": 7, "exp_year": 2039, "cvc": "123"} if "number" in given else {}
    made = api.payment_methods.create({"type": "card", "card": {**given, **dates}})
    assert (made.card.brand, made.card.last4, made.customer) == (brand, last4, None)


@pytest.mark.parametrize(
    ("number", "code", "decline_code"),
    [
        ("4000000000000002", "card_declined", "generic_decline"),
        ("4000000000009995", "card_declined", "insufficient_funds"),
        ("4000000000009987", "card_declined", "lost_card"),
        ("4000000000009979", "card_declined", "stolen_card"),
        ("4000000000006975", "card_declined", "card_velocity_exceeded"),
        ("4000000000000069", "expired_card", None),
        ("4000000000000127", "incorrect_cvc", None),
        ("4000000000000119", "processing_error", None),
    ],
)
def test_each_declining_number_says_its_own_no_when_it_is_attached(api, shop, number, code, decline_code):
    card = {"number": number, "exp_month": 7, "exp_year": 2039}
    method = api.payment_methods.create({"type": "card", "card": card})
    with pytest.raises(stripe.CardError) as caught:
        api.payment_methods.attach(method.id, {"customer": shop.customer(card=None).id})
    assert (caught.value.code, caught.value.error.decline_code) == (code, decline_code)


@pytest.mark.parametrize(("month", "year", "part"), [(13, 2039, "month"), (1, 2001, "year")])
def test_a_date_that_cannot_be_is_refused(api, month, year, part):
    card = {"number": "4242424242424242", "exp_month": month, "exp_year": year}
    with pytest.raises(stripe.CardError) as caught:
        api.payment_methods.create({"type": "card", "card": card})
    assert (caught.value.code, caught.value.param) == (f"invalid_expiry_{part}", f"card[exp_{part}]")


def test_a_detached_card_cannot_come_back(api, shop):
    customer = shop.customer()
    method = api.payment_methods.list({"customer": customer.id}).data[0]
    api.payment_methods.detach(method.id)
    assert api.customers.retrieve(customer.id).invoice_settings.default_payment_method is None
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        api.payment_methods.attach(method.id, {"customer": customer.id})


def test_a_card_past_its_date_fails_a_renewal_and_a_new_date_pays_it(sandbox, api, shop):
    sandbox.clock(START)
    customer = shop.customer(card=None)
    card = {"number": "4242424242424242", "exp_month": 1, "exp_year": 2026}
    method = api.payment_methods.create({"type": "card", "card": card})
    api.payment_methods.attach(method.id, {"customer": customer.id})
    subscription = shop.subscription(customer=customer, default_payment_method=method.id)
    sandbox.tell("/clock", advance=32 * DAY)
    assert api.subscriptions.retrieve(subscription.id).status == "past_due"
    assert api.charges.list({"customer": customer.id}).data[0].failure_code == "expired_card"
    api.payment_methods.update(method.id, {"card": {"exp_month": 1, "exp_year": 2030}})
    sandbox.tell("/clock", advance=DAY)
    assert api.subscriptions.retrieve(subscription.id).status == "active"


def test_a_first_payment_waits_for_the_customers_authentication(sandbox, api, shop):
    subscription = shop.subscription(customer=shop.customer("pm_card_authenticationRequired"))
    invoice = subscription.latest_invoice
    assert (subscription.status, invoice.status, invoice.attempted) == ("incomplete", "open", True)
    assert (invoice.attempt_count, invoice.auto_advance, invoice.next_payment_attempt) == (0, True, None)
    intent = api.payment_intents.retrieve(intent_of(api, invoice.id))
    assert (intent.status, intent.next_action.type) == ("requires_action", "use_stripe_sdk")
    assert {"payment_intent.requires_action", "invoice.payment_action_required"} <= set(kinds(api))
    assert not {"invoice.payment_failed", "charge.failed"} & set(kinds(api))
    sandbox.tell("/authenticate", payment_intent=intent.id, passed=True)
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    assert api.invoices.retrieve(invoice.id).status == "paid"
    secure = charge_of(api, invoice.id).payment_method_details.card.three_d_secure
    assert secure.result == "authenticated"


def test_who_fails_to_authenticate_needs_another_card(sandbox, api, shop):
    subscription = shop.subscription(customer=shop.customer("pm_card_authenticationRequired"))
    intent = intent_of(api, subscription.latest_invoice.id)
    sandbox.tell("/authenticate", payment_intent=intent, passed=False)
    failed = api.payment_intents.retrieve(intent)
    assert (failed.status, failed.last_payment_error.code) == (
        "requires_payment_method",
        "payment_intent_authentication_failure",
    )
    assert api.subscriptions.retrieve(subscription.id).status == "incomplete"
    better = shop.give_card(subscription.customer, "pm_card_visa")
    assert api.payment_intents.confirm(intent, {"payment_method": better.id}).status == "succeeded"
    assert api.subscriptions.retrieve(subscription.id).status == "active"


def test_error_if_incomplete_refuses_a_card_that_asks(api, shop):
    customer = shop.customer("pm_card_authenticationRequired")
    with pytest.raises(stripe.CardError) as caught:
        shop.subscription(customer=customer, payment_behavior="error_if_incomplete")
    assert caught.value.code == "subscription_payment_intent_requires_action"
    assert api.payment_intents.list({"customer": customer.id}).data == []


def test_paying_with_a_card_that_asks_is_an_error_whose_traces_stay(api, shop):
    subscription = shop.subscription(payment_behavior="default_incomplete")
    method = shop.give_card(subscription.customer, "pm_card_authenticationRequired")
    with pytest.raises(stripe.CardError) as caught:
        api.invoices.pay(subscription.latest_invoice.id, {"payment_method": method.id})
    assert (caught.value.http_status, caught.value.code) == (402, "invoice_payment_intent_requires_action")
    assert api.payment_intents.retrieve(intent_of(api, subscription.latest_invoice.id)).status == (
        "requires_action"
    )


def test_a_renewal_that_needs_the_customer_counts_its_retries_but_makes_none(sandbox, api, shop):
    sandbox.clock(START)
    sandbox.tell("/settings", retry_delays=[DAY, DAY, DAY], final_outcome="unpaid")
    subscription = shop.subscription()
    shop.give_card(subscription.customer, "pm_card_authenticationRequired")
    sandbox.tell("/clock", advance=31 * DAY + 3601)
    invoice = api.invoices.retrieve(api.subscriptions.retrieve(subscription.id).latest_invoice)
    assert api.subscriptions.retrieve(subscription.id).status == "past_due"
    assert invoice.attempt_count == 1
    sandbox.tell("/clock", advance=2 * DAY)
    assert api.invoices.retrieve(invoice.id).attempt_count == 3
    asked = kinds(api, type="invoice.payment_action_required")
    assert len(asked) == 1
    shop.give_card(subscription.customer, "pm_card_visa")
    sandbox.tell("/clock", advance=DAY)
    assert api.subscriptions.retrieve(subscription.id).status == "active"


def test_a_card_authenticated_once_pays_alone_from_then_on(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(customer=shop.customer("pm_card_authenticationRequiredOnSetup"))
    assert subscription.status == "incomplete"
    intent = intent_of(api, subscription.latest_invoice.id)
    sandbox.tell("/authenticate", payment_intent=intent, passed=True)
    sandbox.tell("/clock", advance=32 * DAY)
    later = api.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
    assert (later.status, later.latest_invoice.status) == ("active", "paid")


def test_authentication_does_not_help_an_empty_account(sandbox, api, shop):
    card = "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds"
    subscription = shop.subscription(customer=shop.customer(card))
    intent = intent_of(api, subscription.latest_invoice.id)
    sandbox.tell("/authenticate", payment_intent=intent, passed=True)
    error = api.payment_intents.retrieve(intent).last_payment_error
    assert (error.code, error.decline_code) == ("card_declined", "insufficient_funds")


def test_a_bank_may_change_its_mind_about_a_card(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription()
    [method] = api.payment_methods.list({"customer": subscription.customer}).data
    sandbox.tell("/cards", payment_method=method.id, refuses="stolen_card")
    sandbox.tell("/clock", advance=32 * DAY)
    charge = api.charges.list({"customer": subscription.customer}).data[0]
    assert (charge.status, charge.outcome.reason) == ("failed", "stolen_card")
    sandbox.tell("/cards", payment_method=method.id, refuses=None)
    assert api.invoices.pay(api.subscriptions.retrieve(subscription.id).latest_invoice).status == "paid"


def test_a_payment_by_hand_is_made_confirmed_and_cancelled(api, shop):
    customer = shop.customer()
    [method] = api.payment_methods.list({"customer": customer.id}).data
    ask = {"amount": 1500, "currency": "usd", "customer": customer.id, "payment_method": method.id}
    paid = api.payment_intents.create({**ask, "confirm": True, "expand": ["latest_charge"]})
    assert (paid.status, paid.amount_received, paid.latest_charge.amount) == ("succeeded", 1500, 1500)
    waiting = api.payment_intents.create(ask)
    assert waiting.status == "requires_confirmation"
    gone = api.payment_intents.cancel(waiting.id, {"cancellation_reason": "duplicate"})
    assert (gone.status, gone.cancellation_reason) == ("canceled", "duplicate")
    for id, word in ((paid.id, "succeeded"), (gone.id, "canceled")):
        with pytest.raises(stripe.InvalidRequestError, match=word) as caught:
            api.payment_intents.cancel(id)
        assert caught.value.code == "payment_intent_unexpected_state"


def test_the_page_of_the_bank_can_be_answered(api, shop):
    customer = shop.customer("pm_card_authenticationRequired")
    [method] = api.payment_methods.list({"customer": customer.id}).data
    ask = {"amount": 1500, "currency": "usd", "customer": customer.id, "payment_method": method.id}
    intent = api.payment_intents.create({**ask, "confirm": True, "return_url": "https://shop.test/back"})
    url = intent.next_action.redirect_to_url.url
    assert "Authenticate" in httpx.get(url).text
    answered = httpx.post(url, data={"passed": "yes"})
    assert (answered.status_code, answered.headers["location"]) == (303, "https://shop.test/back")
    assert api.payment_intents.retrieve(intent.id).status == "succeeded"
