"""Cards that refuse, refunds within limits, disputes, and what invoices can become."""

import pytest
import stripe

from tests.sandbox.conftest import charge_of

START = 1_767_225_600
DAY = 86_400


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
    ],
)
def test_a_card_that_declines_cannot_be_attached(api, shop, card, code, decline_code):
    customer = shop.customer(card=None)
    with pytest.raises(stripe.CardError) as caught:
        api.payment_methods.attach(card, {"customer": customer.id})
    error = caught.value
    assert (error.http_status, error.code, error.error.decline_code) == (402, code, decline_code)
    assert api.payment_methods.list({"customer": customer.id}).data == []


def test_attaching_a_test_card_makes_a_fresh_one_for_the_customer(api, shop):
    customer = shop.customer(card=None)
    first, second = (api.payment_methods.attach("pm_card_visa", {"customer": customer.id}) for _ in range(2))
    assert first.id != second.id
    assert (first.card.brand, first.card.last4) == ("visa", "4242")
    assert [each.id for each in api.payment_methods.list({"customer": customer.id}).data] == [
        second.id,
        first.id,
    ]
    assert api.payment_methods.detach(first.id).customer is None
    assert [each.id for each in api.payment_methods.list({"customer": customer.id}).data] == [second.id]


def test_without_a_card_money_that_is_due_refuses_the_subscription(api, shop):
    customer = shop.customer(card=None)
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source") as caught:
        shop.subscription(customer=customer)
    assert (caught.value.code, caught.value.param) == ("resource_missing", None)
    assert api.subscriptions.list({"customer": customer.id, "status": "all"}).data == []
    assert api.invoices.list({"customer": customer.id}).data == []


def test_a_first_payment_that_fails_leaves_it_incomplete_until_it_expires(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(customer=shop.customer("pm_card_chargeCustomerFail"))
    invoice = subscription.latest_invoice
    assert (subscription.status, invoice.status, invoice.attempt_count) == ("incomplete", "open", 1)
    charge = api.charges.list({"customer": subscription.customer}).data[0]
    assert (charge.status, charge.failure_code, charge.outcome.type) == (
        "failed",
        "card_declined",
        "issuer_declined",
    )
    sandbox.clock(START + 23 * 3600)
    assert api.subscriptions.retrieve(subscription.id).status == "incomplete_expired"
    assert api.invoices.retrieve(invoice.id).status == "void"


def test_an_incomplete_subscription_becomes_active_when_it_is_paid(api, shop):
    subscription = shop.subscription(payment_behavior="default_incomplete")
    assert (subscription.status, subscription.latest_invoice.attempted) == ("incomplete", False)
    invoice = api.invoices.retrieve(subscription.latest_invoice.id, {"expand": ["confirmation_secret"]})
    assert "_secret_" in invoice.confirmation_secret.client_secret
    assert api.invoices.pay(invoice.id).status == "paid"
    assert api.subscriptions.retrieve(subscription.id).status == "active"


def test_error_if_incomplete_keeps_nothing(api, shop):
    customer = shop.customer("pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError):
        shop.subscription(customer=customer, payment_behavior="error_if_incomplete")
    assert api.subscriptions.list({"customer": customer.id, "status": "all"}).data == []
    assert api.charges.list({"customer": customer.id}).data == []


def test_an_update_whose_payment_fails_stays_and_is_past_due_or_is_undone(api, shop):
    subscription = shop.subscription(8)
    shop.give_card(subscription.customer, "pm_card_chargeCustomerFail")
    items = [{"id": subscription["items"].data[0].id, "quantity": 12}]
    change = {"items": items, "proration_behavior": "always_invoice"}
    with pytest.raises(stripe.CardError):
        api.subscriptions.update(subscription.id, {**change, "payment_behavior": "error_if_incomplete"})
    same = api.subscriptions.retrieve(subscription.id)
    assert (same.status, same["items"].data[0].quantity) == ("active", 8)
    kept = api.subscriptions.update(subscription.id, change)
    assert (kept.status, kept["items"].data[0].quantity) == ("past_due", 12)


def test_paying_by_hand_reports_the_decline_and_keeps_its_traces(api, shop):
    subscription = shop.subscription(payment_behavior="default_incomplete")
    bad = shop.give_card(subscription.customer, "pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError) as caught:
        api.invoices.pay(subscription.latest_invoice.id, {"payment_method": bad.id})
    assert caught.value.error.charge.startswith("ch_")
    assert len(api.charges.list({"customer": subscription.customer}).data) == 1
    assert api.events.list({"type": "invoice.payment_failed"}).data


def test_refunds_never_exceed_the_charge(api, shop):
    subscription = shop.subscription(8)
    charge = charge_of(api, subscription.latest_invoice.id)
    part = api.refunds.create({"charge": charge.id, "amount": 15_000, "metadata": {"why": "goodwill"}})
    assert (part.status, part.amount, part.payment_intent) == ("succeeded", 15_000, charge.payment_intent)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        api.refunds.create({"charge": charge.id, "amount": 5_001})
    assert caught.value.param == "amount"
    assert caught.value.user_message == (
        "Refund amount ($50.01) is greater than unrefunded amount on charge ($50.00)"
    )
    rest = api.refunds.create({"payment_intent": charge.payment_intent, "reason": "requested_by_customer"})
    assert rest.amount == 5_000
    with pytest.raises(stripe.InvalidRequestError) as caught:
        api.refunds.create({"charge": charge.id})
    assert caught.value.code == "charge_already_refunded"
    after = api.charges.retrieve(charge.id, {"expand": ["refunds", "balance_transaction"]})
    assert (after.amount_refunded, after.refunded) == (20_000, True)
    assert [each.id for each in after.refunds.data] == [rest.id, part.id]
    assert after.balance_transaction.net == 20_000 - after.balance_transaction.fee
    [second, first] = api.events.list({"type": "charge.refunded"}).data
    assert first.data.previous_attributes.to_dict() == {"amount_refunded": 0}
    assert second.data.previous_attributes.to_dict() == {"amount_refunded": 15_000, "refunded": False}


@pytest.mark.parametrize("amount", [0, -5, "0.5"])
def test_a_refund_is_at_least_one_minor_unit(api, shop, amount):
    charge = charge_of(api, shop.subscription().latest_invoice.id)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        api.refunds.create({"charge": charge.id, "amount": amount})
    assert (caught.value.code, caught.value.param) == ("parameter_invalid_integer", "amount")


def test_refunds_can_be_pending_and_can_fail_later(sandbox, api, shop):
    sandbox.clock(START)
    made = {}
    for card in ("pm_card_pendingRefund", "pm_card_refundFail"):
        subscription = shop.subscription(customer=shop.customer(card))
        charge = charge_of(api, subscription.latest_invoice.id)
        made[card] = api.refunds.create({"charge": charge.id})
    assert [each.status for each in made.values()] == ["pending", "succeeded"]
    sandbox.tell("/clock", advance=DAY)
    arrived, failed = (api.refunds.retrieve(each.id) for each in made.values())
    assert (arrived.status, failed.status) == ("succeeded", "failed")
    assert failed.failure_reason == "unknown"
    assert api.charges.retrieve(failed.charge).amount_refunded == 0


def test_a_disputed_charge_cannot_be_refunded(sandbox, api, shop):
    charge = charge_of(api, shop.subscription().latest_invoice.id)
    opened = sandbox.tell("/disputes", charge=charge.id, reason="fraudulent")
    dispute = api.disputes.retrieve(opened["id"])
    assert (dispute.status, dispute.amount, dispute.charge) == ("needs_response", 20_000, charge.id)
    assert dispute.evidence_details.due_by > dispute.created
    assert api.charges.retrieve(charge.id).disputed is True
    with pytest.raises(stripe.InvalidRequestError, match="has been charged back") as caught:
        api.refunds.create({"charge": charge.id})
    assert caught.value.code == "charge_disputed"
    assert api.disputes.close(dispute.id).status == "lost"
    late = sandbox.control.post("/disputes", json={"dispute": dispute.id, "won": True})
    assert (late.status_code, "lost already" in late.text) == (400, True)


def test_the_bank_may_decide_a_dispute_at_any_time(sandbox, api, shop):
    for won, status in ((True, "won"), (False, "lost")):
        charge = charge_of(api, shop.subscription().latest_invoice.id)
        opened = sandbox.tell("/disputes", charge=charge.id)
        assert sandbox.tell("/disputes", dispute=opened["id"], won=won)["status"] == status
        assert api.disputes.retrieve(opened["id"]).is_charge_refundable is won


def test_a_card_that_disputes_does_so_and_evidence_decides(sandbox, api, shop):
    sandbox.clock(START)
    shop.subscription(customer=shop.customer("pm_card_createDispute"))
    sandbox.tell("/clock", advance=60)
    [dispute] = api.disputes.list().data
    answered = api.disputes.update(dispute.id, {"evidence": {"uncategorized_text": "winning_evidence"}})
    assert answered.status == "under_review"
    sandbox.tell("/clock", advance=DAY)
    assert api.disputes.retrieve(dispute.id).status == "won"
    assert len(api.disputes.retrieve(dispute.id).balance_transactions) == 2


def test_an_invoice_by_hand_goes_from_draft_to_paid_or_void(api, shop):
    customer = shop.customer()
    for end in ("paid", "void", "uncollectible"):
        invoice = api.invoices.create({"customer": customer.id, "currency": "usd"})
        assert (invoice.status, invoice.auto_advance, invoice.number) == ("draft", False, None)
        api.invoice_items.create(
            {"customer": customer.id, "amount": 1234, "currency": "usd", "invoice": invoice.id}
        )
        opened = api.invoices.finalize_invoice(invoice.id)
        assert (opened.status, opened.amount_due) == ("open", 1234)
        act = {
            "paid": api.invoices.pay,
            "void": api.invoices.void_invoice,
            "uncollectible": api.invoices.mark_uncollectible,
        }[end]
        assert act(invoice.id).status == end
    with pytest.raises(stripe.InvalidRequestError):
        api.invoices.finalize_invoice(invoice.id)


@pytest.mark.parametrize(("currency", "amount", "words"), [("jpy", 2500, "¥2,500"), ("eur", 2500, "€25.00")])
def test_each_currency_keeps_its_own_minor_units(api, shop, currency, amount, words):
    subscription = shop.subscription(3, price=shop.price(amount, currency=currency))
    line = subscription.latest_invoice.lines.data[0]
    assert (line.amount, line.currency) == (3 * amount, currency)
    assert line.description == f"3 × Team (at {words} / month)"


def test_graduated_tiers_and_packages_add_up(api, shop):
    tiers = [{"up_to": 5, "unit_amount": 1000}, {"up_to": "inf", "unit_amount": 500}]
    tiered = api.prices.create(
        {
            "currency": "usd",
            "billing_scheme": "tiered",
            "tiers_mode": "graduated",
            "tiers": tiers,
            "recurring": {"interval": "month"},
            "product_data": {"name": "Team"},
        }
    )
    packaged = shop.price(1000, transform_quantity={"divide_by": 5, "round": "up"})
    assert shop.subscription(8, price=tiered).latest_invoice.total == 6_500
    assert shop.subscription(8, price=packaged).latest_invoice.total == 2_000


def test_deleting_a_customer_ends_what_runs(api, shop):
    subscription = shop.subscription()
    assert api.customers.delete(subscription.customer).deleted is True
    assert api.customers.retrieve(subscription.customer).deleted is True
    assert api.subscriptions.retrieve(subscription.id).status == "canceled"
    assert api.customers.list().data == []


def test_the_hosted_invoice_and_its_pdf_open(api, shop):
    import httpx

    invoice = shop.subscription().latest_invoice
    assert invoice.number in httpx.get(invoice.hosted_invoice_url).text
    assert httpx.get(invoice.invoice_pdf).content.startswith(b"%PDF-1.4")
    session = api.billing_portal.sessions.create(
        {"customer": invoice.customer, "return_url": "https://x.test"}
    )
    assert "Ada" in httpx.get(session.url).text
