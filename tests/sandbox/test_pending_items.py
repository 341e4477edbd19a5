"""What waits for an invoice: which one takes it along, and what becomes of it when its subscription ends."""

import pytest

START = 1_767_225_600  # 2026-01-01
DAY = 86_400
HOUR = 3600


def lines(invoice):
    return [(line.description, line.amount) for line in invoice.lines.data]


def more_seats(api, subscription, quantity, behavior="create_prorations"):
    item = {"id": subscription["items"].data[0].id, "quantity": quantity}
    params = {"items": [item], "proration_behavior": behavior, "expand": ["latest_invoice"]}
    return api.subscriptions.update(subscription.id, params)


def test_a_customers_item_comes_along_with_the_next_renewal_and_its_preview(sandbox, api, shop):
    sandbox.clock(START)
    customer = shop.customer()
    subscription, other = shop.subscription(1, customer=customer), shop.subscription(2, customer=customer)
    wish = {"customer": customer.id, "currency": "usd"}
    api.invoice_items.create({**wish, "amount": 700, "description": "Training"})
    api.invoice_items.create({**wish, "amount": 90, "description": "Other", "subscription": other.id})
    preview = api.invoices.create_preview({"subscription": subscription.id})
    assert lines(preview) == [("Training", 700), ("1 × Team (at $25.00 / month)", 2500)]
    plain = api.invoices.create_preview({"subscription": subscription.id, "preview_mode": "recurring"})
    assert lines(plain) == [("1 × Team (at $25.00 / month)", 2500)]
    sandbox.clock(START + 31 * DAY + HOUR)
    [first] = api.invoices.list({"subscription": subscription.id, "limit": 1}).data
    [second] = api.invoices.list({"subscription": other.id, "limit": 1}).data
    assert (lines(first), first.total) == (lines(preview), preview.total)
    assert lines(second) == [("Other", 90), ("2 × Team (at $25.00 / month)", 5000)]


def test_a_change_invoiced_at_once_leaves_the_customers_items_for_the_renewal(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(1)
    wish = {"customer": subscription.customer, "currency": "usd", "amount": 700}
    item = api.invoice_items.create(wish)
    more_seats(api, subscription, 2, "always_invoice")
    assert api.invoice_items.retrieve(item.id).invoice is None


@pytest.mark.parametrize(
    ("how", "left", "invoices"),
    [
        ({}, ["Training"], 1),
        ({"prorate": True}, 4, 1),
        ({"invoice_now": True}, [], 2),
        ({"prorate": True, "invoice_now": True}, [], 2),
    ],
)
def test_an_immediate_end_drops_prorations_that_nobody_asked_to_invoice(
    sandbox, api, shop, how, left, invoices
):
    sandbox.clock(START)
    subscription = shop.subscription(1)
    sandbox.clock(START + 10 * DAY)
    more_seats(api, subscription, 3)
    wish = {"customer": subscription.customer, "currency": "usd", "subscription": subscription.id}
    api.invoice_items.create({**wish, "amount": 700, "description": "Training"})
    api.subscriptions.cancel(subscription.id, how)
    waiting = api.invoice_items.list({"customer": subscription.customer, "pending": True}).data
    if isinstance(left, int):
        assert len(waiting) == left
    else:
        assert [item.description for item in waiting] == left
    assert len(api.invoices.list({"subscription": subscription.id}).data) == invoices
    assert len(api.events.list({"type": "invoiceitem.deleted"}).data) == (0 if how else 2)


def test_every_invoice_of_a_subscription_by_invoice_is_due_when_the_subscription_says(sandbox, api, shop):
    sandbox.clock(START)
    subscription = shop.subscription(1, collection_method="send_invoice", days_until_due=10)
    sandbox.clock(START + DAY)
    changed = more_seats(api, subscription, 3, "always_invoice")
    assert changed.latest_invoice.due_date == START + 11 * DAY
    more_seats(api, subscription, 4)
    made = api.invoices.create({"subscription": subscription.id, "description": "By hand"})
    assert made.description == "By hand"
    assert api.invoices.finalize_invoice(made.id).due_date == START + 11 * DAY
    more_seats(api, subscription, 5)
    sooner = api.invoices.create({"subscription": subscription.id, "days_until_due": 3})
    assert api.invoices.finalize_invoice(sooner.id).due_date == START + 4 * DAY
