"""Subscription schedules: phases that begin by themselves, and what comes after the last."""

import pytest
import stripe

START = 1_767_225_600  # 2026-01-01
DAY = 86_400
JANUARY, FEBRUARY = 31 * DAY, 28 * DAY


def newest(api, subscription):
    return api.invoices.list({"subscription": subscription.id, "limit": 1}).data[0]


def phase(price, quantity, **more):
    return {"items": [{"price": price.id, "quantity": quantity}], **more}


def told(api, word):
    return api.events.list({"type": f"subscription_schedule.{word}"}).data


@pytest.fixture
def plan(sandbox, api, shop):
    """A subscription of 4 whose schedule has it at 6 from February on, for two months."""
    sandbox.clock(START)
    price = shop.price()
    subscription = shop.subscription(4, price=price)
    made = api.subscription_schedules.create({"from_subscription": subscription.id})
    assert (made.status, made.phases[0].start_date, made.phases[0].end_date) == (
        "active",
        START,
        START + JANUARY,
    )
    phases = [
        phase(price, 4, start_date=START, end_date=START + JANUARY),
        phase(price, 6, duration={"interval": "month", "interval_count": 2}),
    ]
    changed = api.subscription_schedules.update(made.id, {"phases": phases})
    return price, subscription, changed


def test_a_phase_that_begins_with_a_period_is_renewed_at_its_own_terms(sandbox, api, plan):
    _, subscription, schedule = plan
    assert api.subscriptions.retrieve(subscription.id).schedule == schedule.id
    assert schedule.phases[1].end_date == START + 90 * DAY
    assert api.invoices.create_preview({"subscription": subscription.id}).total == 15_000
    sandbox.clock(START + JANUARY + 3700)
    renewal = newest(api, subscription)
    assert [(line.description, line.amount) for line in renewal.lines.data] == [
        ("6 × Team (at $25.00 / month)", 15_000)
    ]
    current = api.subscription_schedules.retrieve(schedule.id).current_phase
    assert current.start_date == START + JANUARY
    assert api.subscriptions.retrieve(subscription.id)["items"].data[0].id == subscription["items"].data[0].id


def test_after_the_last_phase_the_subscription_goes_on_without_its_schedule(sandbox, api, plan):
    _, subscription, schedule = plan
    sandbox.clock(START + 90 * DAY + 3700)
    released = api.subscription_schedules.retrieve(schedule.id)
    assert (released.status, released.released_subscription, released.subscription) == (
        "released",
        subscription.id,
        None,
    )
    kept = api.subscriptions.retrieve(subscription.id)
    assert (kept.status, kept.schedule, kept["items"].data[0].quantity) == ("active", None, 6)
    assert newest(api, subscription).total == 15_000
    assert len(told(api, "expiring")) == len(told(api, "released")) == 1


def test_a_schedule_can_end_its_subscription(sandbox, api, plan):
    _, subscription, schedule = plan
    api.subscription_schedules.update(schedule.id, {"end_behavior": "cancel"})
    assert api.subscriptions.retrieve(subscription.id).cancel_at == START + 90 * DAY
    sandbox.clock(START + 90 * DAY)
    assert api.subscriptions.retrieve(subscription.id).status == "canceled"
    assert api.subscription_schedules.retrieve(schedule.id).status == "completed"
    assert len(told(api, "completed")) == 1


def test_cancellation_belongs_to_the_schedule(api, plan):
    _, subscription, schedule = plan
    for change in ({"cancel_at_period_end": True}, {"cancel_at": START + 40 * DAY}):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            api.subscriptions.update(subscription.id, change)
        assert str(caught.value.user_message) == (
            f"The subscription is managed by the subscription schedule `{schedule.id}`, and updating any cancelation "
            "behavior directly is not allowed. Please update the schedule instead."
        )
    api.subscription_schedules.release(schedule.id)
    assert api.subscriptions.update(subscription.id, {"cancel_at_period_end": True}).cancel_at_period_end


def test_the_current_phase_can_be_changed_and_is_prorated(sandbox, api, plan):
    price, subscription, schedule = plan
    sandbox.clock(START + JANUARY // 2)
    phases = [phase(price, 8, start_date=START, end_date=START + JANUARY)]
    change = {"phases": phases, "proration_behavior": "always_invoice"}
    api.subscription_schedules.update(schedule.id, change)
    assert newest(api, subscription).total == 5_000
    with pytest.raises(stripe.InvalidRequestError, match="start date of the current phase"):
        api.subscription_schedules.update(
            schedule.id, {"phases": [phase(price, 8, start_date=START + DAY, end_date=START + JANUARY)]}
        )
    with pytest.raises(stripe.InvalidRequestError, match="anchor end dates"):
        api.subscription_schedules.update(schedule.id, {"phases": [phase(price, 8)]})


def test_a_phase_in_the_middle_of_a_period_is_prorated_when_it_begins(sandbox, api, shop, plan):
    price, subscription, schedule = plan
    dear = shop.price(5000)
    half = START + JANUARY // 2
    phases = [
        phase(price, 4, start_date=START, end_date=half),
        phase(dear, 4, end_date=START + JANUARY, proration_behavior="always_invoice"),
    ]
    api.subscription_schedules.update(schedule.id, {"phases": phases})
    sandbox.clock(half)
    changed = api.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
    assert [item.price.id for item in changed["items"].data] == [dear.id]
    assert [line.amount for line in changed.latest_invoice.lines.data] == [-5_000, 10_000]


def test_cancelling_a_schedule_credits_and_invoices_by_default(sandbox, api, plan):
    _, subscription, schedule = plan
    sandbox.clock(START + JANUARY // 2)
    assert api.subscription_schedules.cancel(schedule.id).status == "canceled"
    assert api.subscriptions.retrieve(subscription.id).status == "canceled"
    assert api.customers.retrieve(subscription.customer).balance == -5_000
    with pytest.raises(stripe.InvalidRequestError, match="canceled"):
        api.subscription_schedules.release(schedule.id)


def test_a_schedule_for_later_begins_a_subscription_then(sandbox, api, shop):
    sandbox.clock(START)
    price, customer = shop.price(), shop.customer()
    made = api.subscription_schedules.create(
        {
            "customer": customer.id,
            "start_date": START + DAY,
            "phases": [phase(price, 2, duration={"interval": "month", "interval_count": 3})],
        }
    )
    assert (made.status, made.subscription) == ("not_started", None)
    assert api.subscription_schedules.list({"scheduled": True, "customer": customer.id}).data[0].id == made.id
    sandbox.clock(START + DAY)
    begun = api.subscription_schedules.retrieve(made.id, {"expand": ["subscription.latest_invoice"]})
    assert (begun.status, begun.subscription.latest_invoice.status) == ("active", "draft")
    sandbox.clock(START + DAY + 3700)
    assert api.invoices.retrieve(begun.subscription.latest_invoice.id).amount_paid == 5_000


def test_a_phase_brings_its_discount_and_takes_it_along(sandbox, api, plan):
    price, subscription, schedule = plan
    coupon = api.coupons.create({"percent_off": 50, "duration": "forever"})
    phases = [
        phase(price, 4, start_date=START, end_date=START + JANUARY),
        phase(price, 4, end_date=START + JANUARY + FEBRUARY, discounts=[{"coupon": coupon.id}]),
        phase(price, 4, duration={"interval": "month"}),
    ]
    api.subscription_schedules.update(schedule.id, {"phases": phases})
    totals = []
    for days in (31, 59):
        sandbox.clock(START + days * DAY + 3700)
        totals.append(newest(api, subscription).total)
    assert totals == [5_000, 10_000]
