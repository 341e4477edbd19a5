"""What happens by itself: renewals, trials, retries, cancellations; on the global clock and on test clocks."""

import time

import pytest
import stripe

START = 1_767_225_600  # 2026-01-01
DAY = 86_400
HOUR = 3600


def statuses(api, subscription):
    return [
        (i.billing_reason, i.status)
        for i in api.invoices.list({"subscription": subscription, "limit": 100}).data
    ]


def test_eighteen_months_bring_eighteen_renewals_each_at_its_own_time(sandbox, api, shop):
    sandbox.clock(START + 30 * DAY)  # the 31st
    subscription = shop.subscription(8)
    sandbox.clock(START + 30 * DAY + 549 * DAY)
    invoices = api.invoices.list({"subscription": subscription.id, "limit": 100}).data
    assert len(invoices) == 19
    assert all(invoice.status == "paid" for invoice in invoices)
    made = [time.gmtime(invoice.created) for invoice in reversed(invoices)]
    assert [(day.tm_mon, day.tm_mday) for day in made[:5]] == [(1, 31), (2, 28), (3, 31), (4, 30), (5, 31)]
    for invoice in invoices[:-1]:
        assert invoice.billing_reason == "subscription_cycle"
        assert invoice.status_transitions.finalized_at == invoice.created + HOUR
        assert invoice.status_transitions.paid_at == invoice.created + HOUR
    numbers = [int(invoice.number.split("-")[1]) for invoice in invoices]
    assert numbers == list(range(19, 0, -1))
    later = api.subscriptions.retrieve(subscription.id)
    assert later["items"].data[0].current_period_start == invoices[0].created
    assert later.latest_invoice == invoices[0].id
    assert len(api.charges.list({"customer": subscription.customer, "limit": 100}).data) == 19


def test_a_renewal_waits_an_hour_as_a_draft(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    sandbox.clock(START + 31 * DAY)
    [draft, _] = api.invoices.list({"subscription": subscription.id}).data
    assert (draft.status, draft.number, draft.attempted, draft.auto_advance) == ("draft", None, False, True)
    assert draft.next_payment_attempt == START + 31 * DAY + HOUR
    assert (draft.period_start, draft.period_end) == (START, START + 31 * DAY)
    assert draft.lines.data[0].period.start == START + 31 * DAY
    [event] = api.events.list({"type": "customer.subscription.updated"}).data
    previous = event.data.previous_attributes.to_dict()
    assert previous["items"]["data"][0]["current_period_end"] == START + 31 * DAY
    assert previous["latest_invoice"] == subscription.latest_invoice.id
    assert event["request"].id is None
    sandbox.tell("/clock", advance=HOUR)
    assert api.invoices.retrieve(draft.id).status == "paid"


def test_a_trial_is_free_warns_three_days_before_and_then_charges(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(8, trial_period_days=14)
    invoice = subscription.latest_invoice
    assert (subscription.status, invoice.status, invoice.total, invoice.attempt_count) == (
        "trialing",
        "paid",
        0,
        0,
    )
    assert invoice.lines.data[0].description == "Free trial for 8 × Team"
    assert subscription["items"].data[0].current_period_end == subscription.trial_end == START + 14 * DAY
    sandbox.clock(START + 11 * DAY - 1)
    assert api.events.list({"type": "customer.subscription.trial_will_end"}).data == []
    sandbox.clock(START + 11 * DAY)
    assert len(api.events.list({"type": "customer.subscription.trial_will_end"}).data) == 1
    sandbox.clock(START + 14 * DAY + HOUR)
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    assert statuses(api, subscription.id)[0] == ("subscription_cycle", "paid")


@pytest.mark.parametrize(
    ("behavior", "status"), [("create_invoice", "past_due"), ("cancel", "canceled"), ("pause", "paused")]
)
def test_a_trial_without_a_card_ends_as_was_asked(sandbox, api, shop, behavior, status):
    sandbox.clock(START)
    settings = {"end_behavior": {"missing_payment_method": behavior}}
    customer = shop.customer(card=None)
    subscription = shop.subscription(customer=customer, trial_period_days=14, trial_settings=settings)
    sandbox.clock(START + 14 * DAY + HOUR)
    assert api.subscriptions.retrieve(subscription.id).status == status


def test_a_paused_subscription_is_resumed_and_billed_from_then_on(sandbox, api, shop):
    sandbox.clock(START)
    settings = {"end_behavior": {"missing_payment_method": "pause"}}
    customer = shop.customer(card=None)
    subscription = shop.subscription(customer=customer, trial_period_days=14, trial_settings=settings)
    sandbox.clock(START + 20 * DAY)
    shop.give_card(customer.id, "pm_card_visa")
    resumed = api.subscriptions.resume(subscription.id)
    assert (resumed.status, resumed.billing_cycle_anchor) == ("active", START + 20 * DAY)
    assert statuses(api, subscription.id)[0] == ("subscription_update", "paid")
    assert len(api.events.list({"type": "customer.subscription.resumed"}).data) == 1
    sandbox.clock(START + 52 * DAY)
    assert statuses(api, subscription.id)[0] == ("subscription_cycle", "paid")


def test_a_draft_that_may_advance_is_charged_within_the_hour(sandbox, api, shop):
    sandbox.clock(START)
    customer = shop.customer()
    api.invoice_items.create({"customer": customer.id, "amount": 900, "currency": "usd"})
    params = {"customer": customer.id, "auto_advance": True, "pending_invoice_items_behavior": "include"}
    invoice = api.invoices.create(params)
    assert (invoice.total, invoice.automatically_finalizes_at) == (900, START + HOUR)
    sandbox.clock(START + HOUR)
    assert api.invoices.retrieve(invoice.id).status == "paid"


def test_cancelling_at_period_end_can_be_undone_until_it_happens(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription()
    asked = api.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert (asked.status, asked.cancel_at, asked.canceled_at) == ("active", START + 31 * DAY, START)
    assert asked.cancellation_details.reason == "cancellation_requested"
    undone = api.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert (undone.cancel_at, undone.canceled_at, undone.cancellation_details.reason) == (None, None, None)
    sandbox.clock(START + DAY)
    api.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    sandbox.clock(START + 31 * DAY)
    ended = api.subscriptions.retrieve(subscription.id)
    assert (ended.status, ended.ended_at, ended.canceled_at) == ("canceled", START + 31 * DAY, START + DAY)
    assert len(statuses(api, subscription.id)) == 1
    with pytest.raises(
        stripe.InvalidRequestError, match="can only update its cancellation_details and metadata"
    ):
        api.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert len(api.events.list({"type": "customer.subscription.deleted"}).data) == 1


def test_cancelling_now_can_credit_and_invoice_the_rest(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    sandbox.clock(START + 31 * DAY // 2)
    details = {"feedback": "too_expensive", "comment": "no"}
    params = {"invoice_now": True, "prorate": True, "cancellation_details": details}
    ended = api.subscriptions.cancel(subscription.id, params)
    assert (ended.status, ended.cancel_at, len(ended["items"].data)) == ("canceled", None, 1)
    assert ended.cancellation_details.feedback == "too_expensive"
    assert api.invoices.retrieve(ended.latest_invoice).total == -10_000
    assert api.customers.retrieve(subscription.customer).balance == -10_000
    sandbox.tell("/clock", advance=60 * DAY)
    assert len(statuses(api, subscription.id)) == 2


@pytest.mark.parametrize("outcome", ["canceled", "unpaid", "past_due"])
def test_failed_renewals_are_retried_on_schedule_and_end_as_set(sandbox, api, shop, outcome):
    sandbox.tell("/settings", retry_delays=[DAY, 2 * DAY, 3 * DAY], final_outcome=outcome)
    sandbox.clock(START)
    subscription = shop.subscription()
    shop.give_card(subscription.customer, "pm_card_chargeCustomerFail")
    failed_at = START + 31 * DAY + HOUR
    sandbox.clock(failed_at)
    renewal = api.invoices.list({"subscription": subscription.id}).data[0]
    assert (renewal.status, renewal.attempt_count) == ("open", 1)
    assert renewal.next_payment_attempt == failed_at + DAY
    assert api.subscriptions.retrieve(subscription.id).status == "past_due"
    assert api.customers.retrieve(subscription.customer).delinquent is True
    sandbox.clock(failed_at + 3 * DAY)
    assert api.invoices.retrieve(renewal.id).attempt_count == 3
    sandbox.clock(failed_at + 6 * DAY)
    given_up = api.invoices.retrieve(renewal.id)
    assert (given_up.attempt_count, given_up.next_payment_attempt) == (4, None)
    ended = api.subscriptions.retrieve(subscription.id)
    assert ended.status == outcome
    if outcome == "canceled":
        assert ended.cancellation_details.reason == "payment_failed"
        return
    shop.give_card(subscription.customer, "pm_card_visa")
    api.invoices.pay(renewal.id)
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    assert api.customers.retrieve(subscription.customer).delinquent is False


def test_a_new_card_before_the_next_retry_saves_the_subscription(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription()
    shop.give_card(subscription.customer, "pm_card_chargeCustomerFail")
    sandbox.clock(START + 31 * DAY + HOUR)
    shop.give_card(subscription.customer, "pm_card_mastercard")
    sandbox.tell("/clock", advance=DAY)
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    assert statuses(api, subscription.id)[0] == ("subscription_cycle", "paid")


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("void", "void"), ("mark_uncollectible", "uncollectible"), ("keep_as_draft", "draft")],
)
def test_a_paused_collection_decides_what_becomes_of_renewals(sandbox, api, shop, behavior, status):
    sandbox.clock(START)
    subscription = shop.subscription()
    pause = {"behavior": behavior, "resumes_at": START + 40 * DAY}
    api.subscriptions.update(subscription.id, {"pause_collection": pause})
    sandbox.clock(START + 32 * DAY)
    assert statuses(api, subscription.id)[0] == ("subscription_cycle", status)
    assert api.subscriptions.retrieve(subscription.id).status == "active"
    sandbox.clock(START + 60 * DAY)
    assert api.subscriptions.retrieve(subscription.id).pause_collection is None
    assert statuses(api, subscription.id)[0] == ("subscription_cycle", "paid")


def test_a_sent_invoice_is_due_later_and_makes_past_due_when_it_is_not_paid(sandbox, api, shop):
    sandbox.clock(START)
    customer = shop.customer(card=None)
    subscription = shop.subscription(customer=customer, collection_method="send_invoice", days_until_due=10)
    assert (subscription.status, subscription.latest_invoice.status) == ("active", "draft")
    sandbox.clock(START + HOUR)
    invoice = api.invoices.retrieve(subscription.latest_invoice.id)
    assert (invoice.status, invoice.due_date) == ("open", START + HOUR + 10 * DAY)
    sandbox.clock(START + 11 * DAY)
    assert api.subscriptions.retrieve(subscription.id).status == "past_due"
    paid = api.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert (paid.status, paid.amount_paid_off_stripe) == ("paid", 20_000)
    assert api.subscriptions.retrieve(subscription.id).status == "active"


def test_a_test_clock_moves_its_customers_and_nobody_else(sandbox, api, shop):
    sandbox.clock(START)
    clock = api.test_helpers.test_clocks.create({"frozen_time": START, "name": "years"})
    mine, other = shop.customer(test_clock=clock.id), shop.customer()
    price = shop.price()
    moved = shop.subscription(price=price, customer=mine)
    still = shop.subscription(price=price, customer=other)
    advanced = api.test_helpers.test_clocks.advance(clock.id, {"frozen_time": START + 60 * DAY})
    assert advanced.status == "advancing"
    for _ in range(100):
        clock = api.test_helpers.test_clocks.retrieve(clock.id)
        if clock.status == "ready":
            break
        time.sleep(0.02)
    assert (clock.status, clock.frozen_time) == ("ready", START + 60 * DAY)
    assert len(statuses(api, moved.id)) == 3
    assert len(statuses(api, still.id)) == 1
    assert [each.id for each in api.customers.list().data] == [other.id]
    assert [each.id for each in api.customers.list({"test_clock": clock.id}).data] == [mine.id]
    assert [each.id for each in api.subscriptions.list().data] == [still.id]
    assert [each.id for each in api.subscriptions.list({"customer": mine.id}).data] == [moved.id]
    with pytest.raises(stripe.InvalidRequestError):
        api.test_helpers.test_clocks.advance(clock.id, {"frozen_time": START + 400 * DAY})
    api.test_helpers.test_clocks.delete(clock.id)
    assert api.customers.retrieve(mine.id).deleted is True


def test_a_ticking_clock_lets_things_happen_by_themselves(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription()
    sandbox.clock(START + 31 * DAY - 1)
    sandbox.tell("/clock", release=True)
    time.sleep(1.5)
    assert statuses(api, subscription.id)[0] == ("subscription_cycle", "draft")
    assert api.events.list({"type": "customer.subscription.updated"}).data[0].created == START + 31 * DAY


def test_the_clock_freezes_and_ticks_again(sandbox, api):
    assert sandbox.ask("/clock")["frozen"] is False
    assert abs(sandbox.ask("/clock")["now"] - time.time()) < 2
    sandbox.clock(START)
    assert sandbox.ask("/clock") == {"now": START, "frozen": True}
    assert api.customers.create({}).created == START
    assert sandbox.control.post("/clock", json={"now": START - 1}).status_code == 400
    assert sandbox.tell("/clock", release=True)["frozen"] is False
    assert START <= sandbox.ask("/clock")["now"] <= START + 2
