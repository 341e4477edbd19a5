"""What Stripe refuses of parameters that look right, and what lists leave out."""

import time

import pytest
import stripe

START = 1_767_225_600  # 2026-01-01
DAY = 86_400
TIER = {"up_to": "inf", "unit_amount": 900}


def refusal(call, *args):
    with pytest.raises(stripe.InvalidRequestError) as caught:
        call(*args)
    return caught.value.code, caught.value.param


def test_only_a_refund_that_waits_for_the_customer_can_be_cancelled(sandbox, api, shop):
    shop.subscription(customer=shop.customer("pm_card_pendingRefund"))
    refund = api.refunds.create({"charge": api.charges.list().data[0].id})
    assert refund.status == "pending"
    refusal(api.refunds.cancel, refund.id)
    sandbox.tell("/refunds", refund=refund.id, status="requires_action")
    assert api.refunds.cancel(refund.id).status == "canceled"


@pytest.mark.parametrize("how", ["deleted", "expired", "used up"])
def test_a_promotion_code_is_active_only_while_its_coupon_is_valid(sandbox, api, shop, how):
    sandbox.clock(START)
    coupon = api.coupons.create(
        {"percent_off": 10, "duration": "once", "redeem_by": START + DAY, "max_redemptions": 1}
    )
    code = api.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}})
    if how == "deleted":
        api.coupons.delete(coupon.id)
    elif how == "expired":
        sandbox.clock(START + DAY)
    else:
        shop.subscription(discounts=[{"coupon": coupon.id}])
    assert api.promotion_codes.retrieve(code.id).active is False
    assert api.promotion_codes.list({"active": True}).data == []


def test_lists_of_money_leave_out_what_lives_on_a_test_clock(sandbox, api, shop):
    clock = api.test_helpers.test_clocks.create({"frozen_time": int(time.time())})
    subscription = shop.subscription(customer=shop.customer(test_clock=clock.id))
    charge = api.charges.list({"customer": subscription.customer}).data[0]
    refund = api.refunds.create({"charge": charge.id, "amount": 100})
    assert api.balance_transactions.list().data == []
    assert api.invoice_payments.list().data == []
    assert api.refunds.list().data == []
    assert len(api.balance_transactions.list({"source": charge.id}).data) == 1
    assert len(api.invoice_payments.list({"invoice": subscription.latest_invoice.id}).data) == 1
    assert api.refunds.list({"charge": charge.id}).data[0].id == refund.id


def test_webhook_endpoints_name_events_that_exist(api):
    url = "https://example.com/hook"
    wrong = {"url": url, "enabled_events": ["invoice.paid", "invoice.payed"]}
    assert refusal(api.webhook_endpoints.create, wrong)[1] == "enabled_events[1]"
    made = api.webhook_endpoints.create({"url": url, "enabled_events": ["*"]})
    refusal(api.webhook_endpoints.update, made.id, {"enabled_events": ["invoice.*"]})
    assert (
        refusal(api.webhook_endpoints.update, made.id, {"enabled_events": ["*", "paid"]})[1]
        == "enabled_events[1]"
    )
    known = [
        "customer.subscription.pending_update_applied",
        "invoice.upcoming",
        "treasury.received_debit.created",
    ]
    assert api.webhook_endpoints.update(made.id, {"enabled_events": known}).enabled_events == known


@pytest.mark.parametrize("email", ["ada", "ada@", "ada@example", "ada b@example.com", "@example.com"])
def test_an_address_that_is_none_is_refused(api, shop, email):
    with pytest.raises(stripe.InvalidRequestError, match=f"Invalid email address: {email}") as caught:
        api.customers.create({"email": email})
    assert (caught.value.http_status, caught.value.code, caught.value.param) == (
        400,
        "email_invalid",
        "email",
    )
    customer = shop.customer()
    assert refusal(api.customers.update, customer.id, {"email": email}) == ("email_invalid", "email")
    assert api.customers.update(customer.id, {"email": ""}).email is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"tiers": [{"up_to": 10, "unit_amount": 900}]},
        {"tiers": [{"up_to": 10, "unit_amount": 900}, {"up_to": 5, "unit_amount": 800}, TIER]},
        {"tiers": [TIER, {"up_to": 10, "unit_amount": 900}]},
        {"tiers": [{"up_to": "inf"}]},
        {"tiers": [TIER], "unit_amount": 900},
        {"tiers": [TIER], "transform_quantity": {"divide_by": 2, "round": "up"}},
        {"billing_scheme": "per_unit", "tiers": [TIER], "unit_amount": 900},
    ],
)
def test_tiers_that_make_no_sense_are_refused(api, wrong):
    tiered = {"billing_scheme": "tiered", "tiers_mode": "volume", "currency": "usd"}
    more = {"recurring": {"interval": "month"}, "product_data": {"name": "Team"}}
    api.prices.create({**tiered, **more, "tiers": [TIER]})
    refusal(api.prices.create, {**tiered, **more, **wrong})


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (49, "usd", "amount_too_small"),
        (29, "gbp", "amount_too_small"),
        (100_000_000, "usd", "amount_too_large"),
    ],
)
def test_an_intent_asks_neither_too_little_nor_too_much(api, amount, currency, code):
    wish = {"amount": amount, "currency": currency}
    assert refusal(api.payment_intents.create, wish) == (code, "amount")


def test_days_until_due_belong_to_invoices_that_are_sent(api, shop):
    price, customer = shop.price(), shop.customer()
    wish = {"customer": customer.id, "items": [{"price": price.id}]}
    assert refusal(api.subscriptions.create, {**wish, "days_until_due": 9})[1] == "days_until_due"
    subscription = shop.subscription(price=price, customer=customer)
    change = api.subscriptions.update
    assert refusal(change, subscription.id, {"days_until_due": 9})[1] == "days_until_due"
    assert refusal(change, subscription.id, {"collection_method": "send_invoice"})[1] == "days_until_due"
    sent = change(subscription.id, {"collection_method": "send_invoice", "days_until_due": 9})
    assert sent.days_until_due == 9
    assert change(subscription.id, {"days_until_due": 8}).days_until_due == 8
    back = change(subscription.id, {"collection_method": "charge_automatically"})
    assert back.days_until_due is None


@pytest.mark.parametrize("currency", ["isk", "mad", "cny", "try", "ngn", "kes"])
def test_many_currencies_are_known(shop, currency):
    assert shop.price(2500, currency=currency).currency == currency


def test_an_unknown_currency_is_refused(shop):
    with pytest.raises(stripe.InvalidRequestError, match="Invalid currency: xyz"):
        shop.price(2500, currency="xyz")
