"""How subscriptions end: the last period, what is left behind, and what cannot begin again."""

import pytest
import stripe

START = 1_767_225_600  # 2026-01-01
DAY = 86_400
HOUR = 3600
FEBRUARY = START + 31 * DAY


def lines(invoice):
    return [(line.description, line.amount) for line in invoice.lines.data]


def newest(api, subscription):
    return api.invoices.list({"subscription": subscription.id, "limit": 1}).data[0]


@pytest.mark.parametrize("behavior", ["create_prorations", "none"])
def test_the_renewal_into_a_last_period_that_is_shortened_asks_only_for_that(sandbox, api, shop, behavior):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    end = FEBRUARY + 14 * DAY  # half of it
    api.subscriptions.update(subscription.id, {"cancel_at": end, "proration_behavior": behavior})
    preview = api.invoices.create_preview({"subscription": subscription.id})
    assert (preview.total, preview.lines.data[0].period.end) == (10_000, end)
    sandbox.clock(FEBRUARY + HOUR)
    renewal = newest(api, subscription)
    assert (lines(renewal), renewal.status) == (lines(preview), "paid")
    sandbox.clock(end + HOUR)
    ended = api.subscriptions.retrieve(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", end)
    assert newest(api, subscription).id == renewal.id
    assert api.customers.retrieve(subscription.customer).balance == 0


def test_seats_changed_within_a_shortened_last_period_cost_their_share_of_it(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    api.subscriptions.update(subscription.id, {"cancel_at": FEBRUARY + 14 * DAY})
    sandbox.clock(FEBRUARY + 7 * DAY)
    item = {"id": subscription["items"].data[0].id, "quantity": 16}
    wish = {"items": [item], "proration_behavior": "always_invoice", "expand": ["latest_invoice"]}
    changed = api.subscriptions.update(subscription.id, wish)
    assert [amount for _, amount in lines(changed.latest_invoice)] == [-5_000, 10_000]


def test_an_end_taken_back_in_the_shortened_period_charges_the_rest_of_it(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    api.subscriptions.update(subscription.id, {"cancel_at": FEBRUARY + 14 * DAY})
    sandbox.clock(FEBRUARY + 7 * DAY)
    kept = api.subscriptions.update(subscription.id, {"cancel_at": ""})
    assert kept["items"].data[0].current_period_end == FEBRUARY + 28 * DAY
    waiting = api.invoice_items.list({"customer": subscription.customer, "pending": True}).data
    assert sorted(item.amount for item in waiting) == [-5_000, 15_000]


def test_an_end_taken_back_is_prorated_from_the_moment_asked_for(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    api.subscriptions.update(subscription.id, {"cancel_at": FEBRUARY + 14 * DAY})
    sandbox.clock(FEBRUARY + 7 * DAY + HOUR)
    wish = {"cancel_at": "", "proration_date": FEBRUARY + 7 * DAY}
    api.subscriptions.update(subscription.id, wish)
    waiting = api.invoice_items.list({"customer": subscription.customer, "pending": True}).data
    assert sorted(item.amount for item in waiting) == [-5_000, 15_000]


def test_a_first_period_that_is_the_last_is_charged_until_its_end(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(1, price=shop.price(1000), cancel_at=START + 20 * DAY)
    assert subscription.latest_invoice.total == 645  # as recorded of Stripe
    sandbox.clock(START + 20 * DAY)
    assert api.subscriptions.retrieve(subscription.id).status == "canceled"
    assert api.customers.retrieve(subscription.customer).balance == 0


@pytest.mark.parametrize(
    ("behavior", "credited", "waiting"),
    [("none", 0, 0), ("create_prorations", 0, 1), ("always_invoice", -10_000, 0)],
)
def test_a_trial_given_to_an_active_subscription_prorates_as_asked(
    sandbox, api, shop, behavior, credited, waiting
):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    sandbox.clock(START + 31 * DAY // 2)
    wish = {"trial_end": START + 60 * DAY, "proration_behavior": behavior}
    preview = api.invoices.create_preview({"subscription": subscription.id, "subscription_details": wish})
    changed = api.subscriptions.update(subscription.id, wish)
    assert (changed.status, changed.trial_end) == ("trialing", START + 60 * DAY)
    assert api.customers.retrieve(subscription.customer).balance == credited
    items = api.invoice_items.list({"customer": subscription.customer, "pending": True}).data
    assert [item.amount for item in items] == [-10_000] * waiting
    assert preview.total == (-10_000 if credited else 20_000 - 10_000 * waiting)


def test_a_subscription_that_ended_as_planned_still_says_so(sandbox, api, shop):
    sandbox.clock(START)
    planned, sudden = shop.subscription(1), shop.subscription(1)
    for each in (planned, sudden):
        api.subscriptions.update(each.id, {"cancel_at_period_end": True})
    sandbox.clock(START + DAY)
    api.subscriptions.cancel(sudden.id)
    sandbox.clock(FEBRUARY)
    ended = api.subscriptions.retrieve(planned.id)
    assert (ended.status, ended.cancel_at_period_end, ended.cancel_at) == ("canceled", True, FEBRUARY)
    ended = api.subscriptions.retrieve(sudden.id)
    assert (ended.status, ended.cancel_at_period_end, ended.cancel_at) == ("canceled", False, None)


def test_a_subscription_that_has_not_begun_changes_little_and_expires_when_it_is_cancelled(
    sandbox, api, shop
):
    sandbox.clock(START)
    subscription = shop.subscription(8, payment_behavior="default_incomplete")
    item = {"id": subscription["items"].data[0].id, "quantity": 9}
    for change in ({"items": [item]}, {"cancel_at_period_end": True}, {"trial_end": START + DAY}):
        with pytest.raises(stripe.InvalidRequestError, match="incomplete"):
            api.subscriptions.update(subscription.id, change)
    named = api.subscriptions.update(subscription.id, {"metadata": {"order": "1"}})
    assert (named.status, named.metadata.order) == ("incomplete", "1")
    gone = api.subscriptions.cancel(subscription.id)
    assert (gone.status, gone.canceled_at) == ("incomplete_expired", START)
    assert api.invoices.retrieve(subscription.latest_invoice.id).status == "void"
    assert api.events.list({"type": "customer.subscription.deleted"}).data == []
    assert (
        api.events.list({"type": "customer.subscription.updated"}).data[0].data.object.status == gone.status
    )


def test_a_year_instead_of_a_month_starts_over_in_classic_billing(sandbox, api, shop):
    sandbox.clock(START)
    yearly = shop.price(25_000, interval="year")
    subscription = shop.subscription(8, billing_mode={"type": "classic"})
    sandbox.clock(START + 31 * DAY // 2)
    item = {"id": subscription["items"].data[0].id, "price": yearly.id, "quantity": 8}
    for behavior in ("create_prorations", "none"):
        details = {"items": [item], "proration_behavior": behavior}
        wish = {"subscription": subscription.id, "subscription_details": details}
        preview = api.invoices.create_preview(wish)
        credit = [] if behavior == "none" else [-10_000]
        assert [amount for _, amount in lines(preview)] == [*credit, 200_000]
    changed = api.subscriptions.update(subscription.id, {"items": [item]})
    assert changed.billing_cycle_anchor == START + 31 * DAY // 2
    assert newest(api, subscription).total == 190_000


def test_what_was_free_starts_over_in_classic_billing_when_it_costs(sandbox, api, shop):
    sandbox.clock(START)
    free, paid = shop.price(0), shop.price(2500)
    subscription = shop.subscription(8, price=free, billing_mode={"type": "classic"})
    sandbox.clock(START + 10 * DAY)
    item = {"id": subscription["items"].data[0].id, "price": paid.id, "quantity": 8}
    changed = api.subscriptions.update(subscription.id, {"items": [item]})
    assert changed.billing_cycle_anchor == START + 10 * DAY
    assert newest(api, subscription).amount_paid == 20_000


def test_a_classic_trial_that_is_cut_short_credits_nothing(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(8, billing_mode={"type": "classic"}, trial_period_days=14)
    sandbox.clock(START + DAY)
    api.subscriptions.update(subscription.id, {"trial_end": "now"})
    assert [amount for _, amount in lines(newest(api, subscription))] == [20_000]
