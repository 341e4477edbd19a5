"""Invoice items and the lines of drafts: added, changed, taken off, and gone with the draft or without it."""

import pytest
import stripe


def test_lines_of_a_draft_are_added_changed_and_taken_off(api, shop):
    customer = shop.customer()
    price = api.prices.create({"currency": "usd", "unit_amount": 400, "product_data": {"name": "Setup"}})
    waiting = api.invoice_items.create({"customer": customer.id, "amount": 900, "currency": "usd"})
    draft = api.invoices.create({"customer": customer.id, "currency": "usd"})
    asked = [
        {"amount": 1000, "description": "Training"},
        {"pricing": {"price": price.id}, "quantity": 3},
        {"invoice_item": waiting.id},
    ]
    added = api.invoices.add_lines(draft.id, {"lines": asked})
    assert [(line.amount, line.quantity) for line in added.lines.data] == [(1000, 1), (1200, 3), (900, 1)]
    assert (added.total, api.invoice_items.retrieve(waiting.id).invoice) == (3100, draft.id)
    first, second, third = (line.id for line in added.lines.data)
    changed = api.invoices.update_lines(draft.id, {"lines": [{"id": second, "quantity": 5}]})
    assert changed.total == 3900
    line = api.invoices.line_items.update(draft.id, first, {"amount": 500, "metadata": {"case": "7"}})
    assert (line.amount, line.metadata["case"]) == (500, "7")
    taken = [{"id": first, "behavior": "delete"}, {"id": third, "behavior": "unassign"}]
    left = api.invoices.remove_lines(draft.id, {"lines": taken})
    assert [each.id for each in left.lines.data] == [second]
    assert (left.total, api.invoice_items.retrieve(waiting.id).invoice) == (2000, None)


def test_an_item_on_a_draft_can_be_changed_and_deleted_until_it_is_final(api, shop):
    customer = shop.customer()
    draft = api.invoices.create({"customer": customer.id, "currency": "usd"})
    one, two = (
        api.invoice_items.create({"customer": customer.id, "invoice": draft.id, "amount": amount})
        for amount in (700, 300)
    )
    api.invoice_items.update(one.id, {"amount": 750, "description": "More"})
    assert api.invoices.retrieve(draft.id).total == 1050
    assert api.invoice_items.delete(two.id).deleted is True
    final = api.invoices.finalize_invoice(draft.id)
    assert (final.total, final.lines.data[0].description) == (750, "More")
    for refused in (lambda: api.invoice_items.delete(one.id), lambda: api.invoice_items.update(one.id, {})):
        with pytest.raises(stripe.InvalidRequestError):
            refused()


def test_an_item_for_a_subscription_waits_for_its_invoice(api, shop):
    subscription = shop.subscription(2)
    item = {"customer": subscription.customer, "subscription": subscription.id, "description": "Overtime"}
    api.invoice_items.create({**item, "quantity": 4, "unit_amount_decimal": "12.5", "currency": "usd"})
    invoice = api.invoices.create({"customer": subscription.customer, "subscription": subscription.id})
    [line] = invoice.lines.data
    assert (line.amount, line.description, line.parent.type) == (50, "Overtime", "invoice_item_details")
    assert line.parent.invoice_item_details.subscription == subscription.id
