"""What can be previewed besides a change of seats, and that a preview can be read again."""

import pytest
import stripe

START = 1_767_225_600  # 2026-01-01
DAY = 86_400
HOUR = 3600
FEBRUARY = START + 31 * DAY


def lines(invoice):
    return [(line.description, line.amount) for line in invoice.lines.data]


def newest(api, subscription):
    return api.invoices.list({"subscription": subscription, "limit": 1}).data[0]


def paused(sandbox, shop, **more):
    """A subscription whose trial of 14 days ended without a card, and which has one six days later."""
    sandbox.clock(START)
    settings = {"end_behavior": {"missing_payment_method": "pause"}}
    customer = shop.customer(card=None)
    made = shop.subscription(customer=customer, trial_period_days=14, trial_settings=settings, **more)
    sandbox.clock(START + 20 * DAY)
    shop.give_card(customer.id, "pm_card_visa")
    return made


def test_resuming_can_be_previewed(sandbox, api, shop):
    subscription = paused(sandbox, shop)
    wish = {"subscription": subscription.id, "subscription_details": {"resume_at": "now"}}
    preview = api.invoices.create_preview(wish)
    api.subscriptions.resume(subscription.id)
    made = newest(api, subscription.id)
    assert (lines(preview), preview.total) == (lines(made), made.total)
    with pytest.raises(stripe.InvalidRequestError, match="Only paused"):
        api.invoices.create_preview(wish)


@pytest.mark.parametrize(
    ("behavior", "at_once", "waiting"),
    [("always_invoice", 16_129, 0), ("create_prorations", None, 16_129), ("none", None, 0)],
)
def test_resuming_can_keep_the_anchor_and_prorate_the_present_period(
    sandbox, api, shop, behavior, at_once, waiting
):
    subscription = paused(sandbox, shop)
    wish = {"billing_cycle_anchor": "unchanged", "proration_behavior": behavior}
    details = {"resume_at": "now", **wish}
    preview = api.invoices.create_preview({"subscription": subscription.id, "subscription_details": details})
    resumed = api.subscriptions.resume(subscription.id, wish)
    assert (resumed.status, resumed.billing_cycle_anchor) == ("active", START + 14 * DAY)
    period = resumed["items"].data[0]
    assert (period.current_period_start, period.current_period_end) == (START + 14 * DAY, START + 45 * DAY)
    items = api.invoice_items.list({"customer": subscription.customer, "pending": True}).data
    assert sum(item.amount for item in items) == waiting
    if at_once:
        assert (newest(api, subscription.id).amount_paid, preview.total) == (at_once, at_once)
    sandbox.clock(START + 45 * DAY + HOUR)
    assert newest(api, subscription.id).total == 20_000 + waiting
    assert preview.total == (at_once or 20_000 + waiting)


def test_only_what_is_charged_by_itself_can_be_resumed(sandbox, api, shop):
    subscription = paused(sandbox, shop)
    api.subscriptions.update(subscription.id, {"collection_method": "send_invoice", "days_until_due": 9})
    with pytest.raises(stripe.InvalidRequestError):
        api.subscriptions.resume(subscription.id)


def test_items_that_do_not_exist_can_be_previewed_along(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(1)
    known = api.invoice_items.create(
        {"customer": subscription.customer, "amount": 100, "currency": "usd", "description": "Known"}
    )
    price = shop.price(300)
    setup = api.prices.create({"currency": "usd", "unit_amount": 900, "product": price.product})
    items = [
        {"amount": 700, "currency": "usd", "description": "Training"},
        {"price": setup.id, "quantity": 2},
        {"unit_amount": -50, "quantity": 2, "currency": "usd", "description": "Sorry"},
        {"invoiceitem": known.id, "amount": 150},
    ]
    preview = api.invoices.create_preview({"subscription": subscription.id, "invoice_items": items})
    assert sorted(amount for _, amount in lines(preview)) == [-100, 150, 700, 1800, 2500]
    item = {"id": subscription["items"].data[0].id, "quantity": 2}
    details = {"items": [item], "proration_behavior": "always_invoice"}
    preview = api.invoices.create_preview(
        {"subscription": subscription.id, "subscription_details": details, "invoice_items": items[:1]}
    )
    assert [amount for _, amount in lines(preview)] == [700, -2500, 5000]
    new = {"items": [{"price": price.id}]}
    preview = api.invoices.create_preview(
        {"customer": subscription.customer, "subscription_details": new, "invoice_items": items[:1]}
    )
    assert sorted(amount for _, amount in lines(preview)) == [100, 300, 700]
    assert api.invoice_items.retrieve(known.id).amount == 100
    assert len(api.invoice_items.list({"customer": subscription.customer}).data) == 1


def test_items_alone_can_be_previewed_for_a_customer_without_subscriptions(api, shop):
    customer = shop.customer()
    items = [{"amount": 700, "currency": "usd", "description": "Training"}]
    preview = api.invoices.create_preview({"customer": customer.id, "invoice_items": items})
    assert (lines(preview), preview.amount_due) == ([("Training", 700)], 700)
    with pytest.raises(stripe.InvalidRequestError, match="No upcoming"):
        api.invoices.create_preview({"customer": customer.id})


def test_a_preview_of_a_first_invoice_counts_the_customers_credit_once(api, shop):
    customer, price = shop.customer(balance=-500), shop.price(3000)
    details = {"items": [{"price": price.id}]}
    preview = api.invoices.create_preview({"customer": customer.id, "subscription_details": details})
    assert (preview.starting_balance, preview.ending_balance, preview.amount_due) == (-500, 0, 2500)
    assert (preview.amount_remaining, preview.amount_paid, preview.attempt_count) == (2500, 0, 0)


def scheduled(api, subscription):
    schedule = api.subscription_schedules.create({"from_subscription": subscription.id})
    return schedule, {"start_date": schedule.phases[0].start_date, "end_date": schedule.phases[0].end_date}


@pytest.mark.parametrize("behavior", ["always_invoice", "create_prorations", "none"])
def test_a_change_of_a_schedule_can_be_previewed(sandbox, api, shop, behavior):
    sandbox.clock(START)
    price = shop.price(2500)
    subscription = shop.subscription(8, price=price)
    schedule, bounds = scheduled(api, subscription)
    sandbox.clock(START + 10 * DAY)
    phase = {**bounds, "items": [{"price": price.id, "quantity": 12}]}
    wish = {"phases": [phase], "proration_behavior": behavior}
    preview = api.invoices.create_preview({"schedule": schedule.id, "schedule_details": wish})
    assert api.subscriptions.retrieve(subscription.id)["items"].data[0].quantity == 8
    api.subscription_schedules.update(schedule.id, wish)
    if behavior != "always_invoice":
        sandbox.clock(FEBRUARY)
    made = newest(api, subscription.id)
    assert (lines(preview), preview.total) == (lines(made), made.total)
    assert (preview.status, preview.amount_paid, preview.amount_remaining) == ("draft", 0, preview.amount_due)


def test_a_schedules_next_invoice_is_that_of_its_next_phase(sandbox, api, shop):
    sandbox.clock(START)
    price = shop.price(2500)
    subscription = shop.subscription(8, price=price)
    schedule, bounds = scheduled(api, subscription)
    first = {**bounds, "items": [{"price": price.id, "quantity": 8}], "end_date": START + 10 * DAY}
    later = {
        "items": [{"price": price.id, "quantity": 12}],
        "duration": {"interval": "month", "interval_count": 3},
        "proration_behavior": "always_invoice",
    }
    api.subscription_schedules.update(schedule.id, {"phases": [first, later]})
    preview = api.invoices.create_preview({"schedule": schedule.id})
    sandbox.clock(START + 10 * DAY)
    made = newest(api, subscription.id)
    assert (lines(preview), preview.total) == (lines(made), made.total)
    assert made.billing_reason == "subscription_update"
    assert api.invoices.create_preview({"schedule": schedule.id}).total == 30_000


def test_a_schedule_that_has_not_begun_shows_its_first_invoice(sandbox, api, shop):
    sandbox.clock(START)
    customer, price = shop.customer(), shop.price(2500)
    month, items = {"interval": "month"}, [{"price": price.id, "quantity": 3}]
    phases = [{"items": items, "duration": month}]
    first = {"items": items, "duration": month, "start_date": START + DAY}
    wish = {"phases": [first], "end_behavior": "cancel"}
    preview = api.invoices.create_preview({"customer": customer.id, "schedule_details": wish})
    assert (preview.total, preview.lines.data[0].period.start) == (7500, START + DAY)
    schedule = api.subscription_schedules.create(
        {"customer": customer.id, "start_date": START + DAY, "phases": phases}
    )
    assert api.invoices.create_preview({"schedule": schedule.id}).total == 7500
    more = {"phases": [{**first, "items": [{"price": price.id, "quantity": 4}]}]}
    assert api.invoices.create_preview({"schedule": schedule.id, "schedule_details": more}).total == 10_000
    with pytest.raises(stripe.InvalidRequestError):
        api.invoices.create_preview({"schedule": schedule.id, "subscription": "sub_1"})


def test_a_preview_and_all_its_lines_can_be_read_for_three_days(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(1)
    items = [{"amount": 100 + n, "currency": "usd", "description": f"Item {n}"} for n in range(14)]
    preview = api.invoices.create_preview({"subscription": subscription.id, "invoice_items": items})
    assert (len(preview.lines.data), preview.lines.has_more) == (10, True)
    assert preview.lines.url == f"/v1/invoices/{preview.id}/lines"
    found = list(preview.lines.auto_paging_iter())
    assert sum(line.amount for line in found) == preview.total
    assert len({line.id for line in found}) == 15
    assert api.invoices.retrieve(preview.id).total == preview.total
    sandbox.clock(START + 3 * DAY + 1)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        api.invoices.line_items.list(preview.id)
    assert caught.value.http_status == 404
