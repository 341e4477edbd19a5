"""Changes that wait for their invoice, and ends in the middle of a period."""

import pytest
import stripe

START = 1_767_225_600  # 2026-01-01
DAY = 86_400
HOUR = 3600
MONTH = 31 * DAY
PENDING = {"payment_behavior": "pending_if_incomplete", "proration_behavior": "always_invoice"}


def told(api, word):
    return [event.type for event in api.events.list({"type": f"customer.subscription.{word}"}).data]


@pytest.fixture
def waiting(sandbox, api, shop):
    """A subscription of 4 whose change to 8 could not be paid, half a month in."""
    sandbox.clock(START)
    customer = shop.customer()
    subscription = shop.subscription(4, customer=customer)
    shop.give_card(customer.id, "pm_card_chargeCustomerFail")
    sandbox.clock(START + MONTH // 2)
    items = [{"id": subscription["items"].data[0].id, "quantity": 8}]
    return api.subscriptions.update(
        subscription.id, {**PENDING, "items": items, "expand": ["latest_invoice"]}
    )


def test_an_unpaid_change_waits_and_changes_nothing_yet(waiting):
    assert (waiting.status, waiting["items"].data[0].quantity) == ("active", 4)
    assert waiting.pending_update.expires_at == START + MONTH // 2 + 23 * HOUR
    assert waiting.pending_update.subscription_items[0].quantity == 8
    assert (waiting.latest_invoice.status, waiting.latest_invoice.amount_due) == ("open", 5_000)


def test_a_change_that_waits_is_applied_when_its_invoice_is_paid(sandbox, api, shop, waiting):
    shop.give_card(waiting.customer, "pm_card_visa")
    api.invoices.pay(waiting.latest_invoice.id)
    applied = api.subscriptions.retrieve(waiting.id)
    assert (applied.pending_update, applied["items"].data[0].quantity) == (None, 8)
    assert told(api, "pending_update_applied") == ["customer.subscription.pending_update_applied"]
    at = START + MONTH * 3 // 4
    sandbox.clock(at)
    fewer = [{"id": applied["items"].data[0].id, "quantity": 4}]
    change = {"items": fewer, "proration_behavior": "always_invoice", "proration_date": at}
    changed = api.subscriptions.update(waiting.id, {**change, "expand": ["latest_invoice"]})
    assert [line.amount for line in changed.latest_invoice.lines.data] == [-5_000, 2_500]


def test_a_change_that_waits_too_long_is_forgotten_with_its_invoice(sandbox, api, shop, waiting):
    sandbox.clock(START + MONTH // 2 + 23 * HOUR)
    kept = api.subscriptions.retrieve(waiting.id)
    assert (kept.status, kept.pending_update, kept["items"].data[0].quantity) == ("active", None, 4)
    assert api.invoices.retrieve(waiting.latest_invoice.id).status == "void"
    assert told(api, "pending_update_expired") == ["customer.subscription.pending_update_expired"]
    shop.give_card(waiting.customer, "pm_card_visa")
    sandbox.clock(START + MONTH + 3700)
    assert api.invoices.list({"subscription": waiting.id, "limit": 1}).data[0].amount_paid == 10_000


def test_a_change_that_is_paid_at_once_does_not_wait(api, shop):
    subscription = shop.subscription(4)
    items = [{"id": subscription["items"].data[0].id, "quantity": 8}]
    changed = api.subscriptions.update(subscription.id, {**PENDING, "items": items})
    assert (changed.pending_update, changed["items"].data[0].quantity) == (None, 8)


def test_only_what_moves_money_can_wait(api, shop):
    subscription = shop.subscription(4)
    with pytest.raises(stripe.InvalidRequestError, match="pending_if_incomplete"):
        api.subscriptions.update(subscription.id, {**PENDING, "cancel_at_period_end": True})


def test_default_incomplete_leaves_the_change_and_the_invoice_open(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(4)
    items = [{"id": subscription["items"].data[0].id, "quantity": 8}]
    how = {"payment_behavior": "default_incomplete", "proration_behavior": "always_invoice"}
    changed = api.subscriptions.update(subscription.id, {**how, "items": items, "expand": ["latest_invoice"]})
    assert (changed.status, changed["items"].data[0].quantity) == ("past_due", 8)
    assert (changed.latest_invoice.status, changed.latest_invoice.attempted) == ("open", False)
    api.invoices.pay(changed.latest_invoice.id)
    assert api.subscriptions.retrieve(subscription.id).status == "active"


@pytest.mark.parametrize(("behavior", "credit"), [("create_prorations", -5_000), ("none", 0)])
def test_an_end_in_the_middle_of_a_period_credits_its_rest(sandbox, api, shop, behavior, credit):
    sandbox.clock(START)
    subscription = shop.subscription(4)
    change = {"cancel_at": START + MONTH // 2, "proration_behavior": behavior}
    assert api.subscriptions.update(subscription.id, change).cancel_at == START + MONTH // 2
    sandbox.clock(START + MONTH // 2)
    assert api.subscriptions.retrieve(subscription.id).status == "canceled"
    assert api.customers.retrieve(subscription.customer).balance == credit


def test_an_end_can_be_named_by_the_period_that_ends_first_or_last(sandbox, api, shop):
    sandbox.clock(START)
    items = [{"price": shop.price(1000).id}, {"price": shop.price(9000, interval="year").id}]
    ends = {"min_period_end": START + MONTH, "max_period_end": START + 365 * DAY}
    for name, at in ends.items():
        params = {"customer": shop.customer().id, "items": items}
        made = api.subscriptions.create({**params, "cancel_at": name})
        assert (made.cancel_at, made.cancel_at_period_end) == (at, False)
        later = api.subscriptions.create(params)
        assert api.subscriptions.update(later.id, {"cancel_at": name}).cancel_at == at


def test_a_pause_ends_by_itself_when_it_says_so(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(4)
    pause = {"behavior": "void", "resumes_at": START + 40 * DAY}
    api.subscriptions.update(subscription.id, {"pause_collection": pause})
    sandbox.clock(START + MONTH + 3700)
    assert api.invoices.list({"subscription": subscription.id, "limit": 1}).data[0].status == "void"
    sandbox.clock(START + 59 * DAY + 3700)
    resumed = api.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
    assert (resumed.pause_collection, resumed.latest_invoice.status) == (None, "paid")


def test_a_resumption_that_stays_unpaid_leaves_the_subscription_paused(sandbox, api, shop):
    sandbox.clock(START)
    customer = shop.customer(card=None)
    ending = {"end_behavior": {"missing_payment_method": "pause"}}
    subscription = shop.subscription(4, customer=customer, trial_period_days=7, trial_settings=ending)
    sandbox.clock(START + 7 * DAY)
    assert api.subscriptions.retrieve(subscription.id).status == "paused"
    resumed = api.subscriptions.resume(subscription.id, {"expand": ["latest_invoice"]})
    assert (resumed.status, resumed.latest_invoice.status) == ("paused", "open")
    sandbox.clock(START + 8 * DAY)
    assert api.invoices.retrieve(resumed.latest_invoice.id).status == "void"
    assert api.subscriptions.retrieve(subscription.id).status == "paused"


def test_the_credit_of_an_end_can_be_previewed(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(4)
    change = {"cancel_at": START + 10 * DAY + 777}
    preview = api.invoices.create_preview({"subscription": subscription.id, "subscription_details": change})
    api.subscriptions.update(subscription.id, change)
    assert api.invoices.create_preview({"subscription": subscription.id}).total == preview.total < 0
    sandbox.clock(change["cancel_at"])
    [last] = api.invoices.list({"subscription": subscription.id, "limit": 1}).data
    assert (last.total, last.ending_balance) == (preview.total, preview.ending_balance)


def test_what_recurs_can_be_previewed_without_prorations(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(4)
    sandbox.clock(START + DAY)
    items = [{"id": subscription["items"].data[0].id, "quantity": 8}]
    params = {"subscription": subscription.id, "subscription_details": {"items": items}}
    assert len(api.invoices.create_preview(params).lines.data) == 3
    preview = api.invoices.create_preview({**params, "preview_mode": "recurring"})
    assert [line.amount for line in preview.lines.data] == [20_000]
    assert api.invoice_items.list().data == []


def test_one_time_prices_come_along_with_the_next_invoice(sandbox, api, shop):
    sandbox.clock(START)
    price = shop.price(1000)
    setup = api.prices.create({"currency": "usd", "unit_amount": 4900, "product": price.product})
    extras = {"add_invoice_items": [{"price": setup.id, "quantity": 2}]}
    subscription = shop.subscription(4, price=price, **extras)
    assert sorted(line.amount for line in subscription.latest_invoice.lines.data) == [4_000, 9_800]
    preview = api.invoices.create_preview({"subscription": subscription.id})
    assert preview.total == 4_000
    change = {**extras, "proration_behavior": "always_invoice", "expand": ["latest_invoice"]}
    assert api.subscriptions.update(subscription.id, change).latest_invoice.amount_paid == 9_800
    with pytest.raises(stripe.InvalidRequestError, match="one_time"):
        api.subscriptions.update(subscription.id, {"add_invoice_items": [{"price": price.id}]})
