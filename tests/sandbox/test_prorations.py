"""A change in the middle of a period: what is credited, what is charged, and that a preview tells it exactly."""

import random
from fractions import Fraction

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from billing.sandbox.money import round_half_up

START = 1_767_225_600  # 2026-01-01
DAY = 86_400


def lines(invoice):
    return [(line.description, line.amount) for line in invoice.lines.data]


def change(subscription, quantity, at, behavior, price=None):
    item = {"id": subscription["items"].data[0].id, "quantity": quantity}
    if price:
        item["price"] = price
    return {"items": [item], "proration_behavior": behavior, "proration_date": at}


def test_more_seats_credit_the_old_rest_and_charge_the_new(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    at = START + 31 * DAY // 2
    sandbox.clock(at)
    changed = api.subscriptions.update(
        subscription.id, {**change(subscription, 12, at, "always_invoice"), "expand": ["latest_invoice"]}
    )
    invoice = changed.latest_invoice
    assert lines(invoice) == [
        ("Unused time on 8 × Team after 16 Jan 2026", -10_000),
        ("Remaining time on 12 × Team after 16 Jan 2026", 15_000),
    ]
    assert (invoice.billing_reason, invoice.status, invoice.amount_paid) == (
        "subscription_update",
        "paid",
        5_000,
    )
    credit, charge = invoice.lines.data
    details = credit.parent.subscription_item_details
    assert details.proration is True
    assert details.invoice_item.startswith("ii_")
    credited = details.proration_details.credited_items
    assert credited.invoice == subscription.latest_invoice.id
    assert credited.invoice_line_items == [subscription.latest_invoice.lines.data[0].id]
    assert charge.parent.subscription_item_details.proration_details.credited_items is None
    assert (credit.discountable, credit.pricing.unit_amount_decimal) == (False, None)


@pytest.mark.parametrize("seed", range(6))
def test_a_preview_equals_what_is_applied_to_the_cent(sandbox, api, shop, seed):
    chance = random.Random(seed)
    currency = chance.choice(["usd", "eur", "jpy", "kwd"])
    sandbox.clock(START)
    price = shop.price(chance.randint(1, 20_000), currency=currency)
    other = shop.price(f"{chance.randint(1, 9_000)}.{chance.randint(1, 9)}", currency=currency)
    subscription = shop.subscription(chance.randint(1, 40), price=price)
    now = START
    for _ in range(4):
        now += chance.randint(1, 6 * DAY)
        sandbox.clock(now)
        to = other.id if chance.random() < 0.3 else None
        wanted = change(subscription, chance.randint(1, 60), now, "always_invoice", to)
        preview = api.invoices.create_preview(
            {"subscription": subscription.id, "subscription_details": wanted}
        )
        changed = api.subscriptions.update(subscription.id, {**wanted, "expand": ["latest_invoice"]})
        applied = changed.latest_invoice
        for field in ("total", "subtotal", "amount_due", "starting_balance", "ending_balance"):
            assert preview[field] == applied[field], field
        assert lines(preview) == lines(applied)


@pytest.mark.parametrize("seed", range(5))
def test_any_sequence_of_seat_changes_costs_its_exact_integral(sandbox, api, shop, seed):
    chance = random.Random(1000 + seed)
    sandbox.clock(START)
    unit, seats = chance.randint(1, 9_999), chance.randint(1, 30)
    subscription = shop.subscription(seats, price=shop.price(unit, currency="eur"))
    end, now, exact, rounded = START + 31 * DAY, START, Fraction(0), 0
    for _ in range(chance.randint(2, 7)):
        later = chance.randint(now + 1, end - 1)
        exact += Fraction(unit * seats * (later - now), end - START)
        now, seats = later, chance.randint(1, 30)
        sandbox.clock(now)
        behavior = chance.choice(["always_invoice", "create_prorations"])
        api.subscriptions.update(subscription.id, change(subscription, seats, now, behavior))
        rounded += 2
    exact += Fraction(unit * seats * (end - now), end - START)
    items = api.invoice_items.list({"customer": subscription.customer, "limit": 100}).data
    billed = subscription.latest_invoice.total + sum(item.amount for item in items)
    assert abs(billed - exact) <= Fraction(rounded, 2)


def test_a_preview_changes_nothing_and_tells_nothing(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    sandbox.tell("/clock", advance=DAY)
    before = [api.subscriptions.retrieve(subscription.id).to_dict(), api.events.list().data[0].id]
    wanted = change(subscription, 30, START + DAY, "always_invoice")
    preview = api.invoices.create_preview({"subscription": subscription.id, "subscription_details": wanted})
    assert preview.parent.subscription_details.subscription_proration_date == START + DAY
    assert [api.subscriptions.retrieve(subscription.id).to_dict(), api.events.list().data[0].id] == before
    assert api.invoice_items.list().data == []
    assert len(api.invoices.list().data) == 1


@pytest.mark.parametrize(("behavior", "first"), [("create_prorations", 3226), ("none", 0)])
def test_a_later_anchor_makes_a_shortened_first_period(sandbox, api, shop, behavior, first):
    sandbox.clock(START)
    anchor = {"billing_cycle_anchor": START + 10 * DAY, "proration_behavior": behavior}
    subscription = shop.subscription(4, **anchor)
    assert subscription.latest_invoice.total == first
    assert subscription["items"].data[0].current_period_end == START + 10 * DAY
    sandbox.clock(START + 5 * DAY)
    api.subscriptions.update(subscription.id, change(subscription, 8, START + 5 * DAY, "create_prorations"))
    amounts = [item.amount for item in api.invoice_items.list({"customer": subscription.customer}).data]
    assert amounts == ([3226, -1613] if first else [3226])
    sandbox.clock(START + 10 * DAY)
    [renewal] = api.invoices.list({"subscription": subscription.id, "limit": 1}).data
    assert lines(renewal)[-1] == ("8 × Team (at $25.00 / month)", 20_000)


def test_cancelling_now_can_be_previewed(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    at = START + 5 * DAY + 777
    sandbox.clock(at)
    details = {"cancel_now": True, "proration_date": at}
    preview = api.invoices.create_preview({"subscription": subscription.id, "subscription_details": details})
    params = {"invoice_now": True, "prorate": True, "expand": ["latest_invoice"]}
    applied = api.subscriptions.cancel(subscription.id, params).latest_invoice
    assert lines(preview) == lines(applied)
    assert (preview.total, preview.ending_balance) == (applied.total, applied.ending_balance)


def test_more_than_a_charge_can_be_is_refused_and_changes_nothing(api, shop):
    subscription = shop.subscription(8)
    items = [{"id": subscription["items"].data[0].id, "quantity": 10**12}]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        api.subscriptions.update(subscription.id, {"items": items, "proration_behavior": "always_invoice"})
    assert caught.value.code == "amount_too_large"
    assert api.subscriptions.retrieve(subscription.id)["items"].data[0].quantity == 8


def test_two_licensed_items_and_a_metered_one_share_a_subscription(sandbox, api, shop):
    sandbox.clock(START)
    metered = shop.price(5, recurring={"interval": "month", "usage_type": "metered"})
    seats, support = shop.price(1000), shop.price(700)
    items = [{"price": seats.id, "quantity": 2}, {"price": support.id, "quantity": 3}, {"price": metered.id}]
    subscription = api.subscriptions.create({"customer": shop.customer().id, "items": items})
    sandbox.clock(START + 31 * DAY // 2)
    first = {"id": subscription["items"].data[0].id, "quantity": 4}
    gone = {"id": subscription["items"].data[1].id, "deleted": True}
    change = {"items": [first, gone], "proration_behavior": "always_invoice", "expand": ["latest_invoice"]}
    changed = api.subscriptions.update(subscription.id, change)
    assert [amount for _, amount in lines(changed.latest_invoice)] == [-1000, 2000, -1050]
    assert [getattr(item, "quantity", None) for item in changed["items"].data] == [4, None]


def test_a_new_subscription_can_be_previewed(api, shop):
    customer, price = shop.customer(card=None), shop.price(1000)
    details = {"items": [{"price": price.id, "quantity": 3}]}
    preview = api.invoices.create_preview({"customer": customer.id, "subscription_details": details})
    assert (preview.amount_due, preview.status) == (3000, "draft")
    assert api.subscriptions.list({"status": "all"}).data == []


def test_a_preview_of_the_renewal_equals_the_renewal(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    at = START + 10 * DAY + 12_345
    sandbox.clock(at)
    wanted = change(subscription, 11, at, "create_prorations")
    preview = api.invoices.create_preview({"subscription": subscription.id, "subscription_details": wanted})
    before = api.subscriptions.retrieve(subscription.id)
    assert before["items"].data[0].quantity == 8
    api.subscriptions.update(subscription.id, wanted)
    sandbox.clock(START + 31 * DAY + 3700)
    [renewal] = api.invoices.list({"subscription": subscription.id, "limit": 1}).data
    assert renewal.billing_reason == "subscription_cycle"
    assert lines(preview) == lines(renewal)
    assert (preview.total, preview.period_end) == (renewal.total, renewal.period_end)
    assert preview.id.startswith("upcoming_in_")
    assert preview.billing_reason == "upcoming"


def test_without_proration_only_the_next_invoice_changes(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(8)
    sandbox.clock(START + DAY)
    api.subscriptions.update(subscription.id, change(subscription, 10, START + DAY, "none"))
    preview = api.invoices.create_preview({"subscription": subscription.id})
    assert lines(preview) == [("10 × Team (at $25.00 / month)", 25_000)]


def test_flexible_billing_credits_only_what_was_debited(sandbox, api, shop):
    sandbox.clock(START)
    flexible = shop.subscription(10)
    classic = shop.subscription(10, billing_mode={"type": "classic"})
    at = START + 31 * DAY // 2
    sandbox.clock(at)
    totals = []
    for subscription in (flexible, classic):
        api.subscriptions.update(subscription.id, change(subscription, 20, at, "none"))
        back = {**change(subscription, 10, at, "always_invoice"), "expand": ["latest_invoice"]}
        totals.append(api.subscriptions.update(subscription.id, back).latest_invoice.total)
    assert totals == [0, -12_500]


def test_a_month_to_a_year_keeps_the_start_and_charges_the_difference(sandbox, api, shop):
    sandbox.clock(START)
    monthly, yearly = shop.price(2500), shop.price(25_000, interval="year")
    subscription = shop.subscription(1, price=monthly)
    wanted = {**change(subscription, 1, START, "always_invoice", yearly.id), "expand": ["latest_invoice"]}
    changed = api.subscriptions.update(subscription.id, wanted)
    assert [amount for _, amount in lines(changed.latest_invoice)] == [-2500, 25_000]
    item = changed["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (START, START + 365 * DAY)


def test_a_surplus_becomes_credit_that_the_next_invoice_uses(sandbox, api, shop):
    sandbox.clock(START)
    customer = shop.customer()
    subscription = shop.subscription(10, customer=customer)
    at = START + 31 * DAY // 2
    sandbox.clock(at)
    wanted = {**change(subscription, 2, at, "always_invoice"), "expand": ["latest_invoice"]}
    invoice = api.subscriptions.update(subscription.id, wanted).latest_invoice
    assert (invoice.total, invoice.amount_due, invoice.status) == (-10_000, 0, "paid")
    assert api.customers.retrieve(customer.id).balance == -10_000
    sandbox.clock(START + 31 * DAY + 3700)
    [renewal] = api.invoices.list({"subscription": subscription.id, "limit": 1}).data
    assert (renewal.total, renewal.starting_balance, renewal.ending_balance) == (5_000, -10_000, -5_000)
    assert (renewal.amount_due, renewal.status) == (0, "paid")


@given(st.integers(1, 10**6), st.integers(1, 2_678_400), st.integers(0, 2_678_400))
def test_a_credit_cancels_its_charge_exactly(amount, whole, rest):
    exact = Fraction(amount * rest, whole)
    assert round_half_up(-exact) == -round_half_up(exact)
    assert abs(round_half_up(exact) - exact) <= Fraction(1, 2)


def test_the_recorded_sample_of_stripe_rounds_as_recorded():
    rest = Fraction(445_540, 2_678_400)
    assert round_half_up(-1000 * rest) == -166
    assert round_half_up(3252 * rest) == 541
