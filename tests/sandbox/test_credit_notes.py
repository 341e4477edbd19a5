"""Credit notes: off what is due, or back by refund, balance or other means, and never more than there was."""

import httpx
import pytest
import stripe

from tests.sandbox.conftest import charge_of


def opened(api, shop, *amounts, customer=None):
    """A final invoice nobody has paid, with a line for each amount."""
    customer = customer or shop.customer()
    invoice = api.invoices.create({"customer": customer.id, "currency": "usd"})
    for amount in amounts:
        line = {"amount": amount, "currency": "usd", "description": f"Worth {amount}"}
        api.invoice_items.create({"customer": customer.id, "invoice": invoice.id, **line})
    return api.invoices.finalize_invoice(invoice.id)


def test_a_credit_lowers_what_an_open_invoice_asks_and_voiding_it_raises_it_again(api, shop):
    invoice = opened(api, shop, 5000)
    note = api.credit_notes.create({"invoice": invoice.id, "amount": 2000, "reason": "order_change"})
    assert (note.number, note.status, note.type) == (f"{invoice.number}-CN-01", "issued", "pre_payment")
    assert (note.pre_payment_amount, note.post_payment_amount) == (2000, 0)
    lowered = api.invoices.retrieve(invoice.id, {"expand": ["payments.data.payment.payment_intent"]})
    assert (lowered.amount_remaining, lowered.pre_payment_credit_notes_amount) == (3000, 2000)
    assert lowered.payments.data[0].payment.payment_intent.amount == 3000
    gone = api.credit_notes.void_credit_note(note.id)
    assert (gone.status, gone.voided_at is None) == ("void", False)
    raised = api.invoices.retrieve(invoice.id)
    assert (raised.amount_remaining, raised.pre_payment_credit_notes_amount) == (5000, 0)
    again = api.credit_notes.create({"invoice": invoice.id, "amount": 1000})
    assert again.number == f"{invoice.number}-CN-02"
    assert api.invoices.pay(invoice.id).amount_paid == 4000
    with pytest.raises(stripe.InvalidRequestError, match="while its invoice is open"):
        api.credit_notes.void_credit_note(again.id)


def test_an_invoice_credited_in_full_is_paid_without_money(api, shop):
    invoice = opened(api, shop, 5000)
    api.credit_notes.create({"invoice": invoice.id, "amount": 5000})
    paid = api.invoices.retrieve(invoice.id)
    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", 0, 0)
    assert api.charges.list({"customer": invoice.customer}).data == []


def test_a_paid_invoice_gives_back_by_refund_balance_and_other_means_at_once(api, shop):
    invoice = api.invoices.pay(opened(api, shop, 6000).id)
    parts = {"refund_amount": 1000, "credit_amount": 2000, "out_of_band_amount": 500}
    note = api.credit_notes.create({"invoice": invoice.id, "amount": 3500, **parts, "memo": "Sorry"})
    assert (note.type, note.post_payment_amount, note.out_of_band_amount) == ("post_payment", 3500, 500)
    [link] = note.refunds
    assert (link.amount_refunded, api.refunds.retrieve(link.refund).amount) == (1000, 1000)
    moved = api.customers.balance_transactions.list(invoice.customer).data[0]
    assert (moved.type, moved.amount, moved.credit_note) == ("credit_note", -2000, note.id)
    assert moved.id == note.customer_balance_transaction
    assert api.customers.retrieve(invoice.customer).balance == -2000
    assert api.invoices.retrieve(invoice.id).post_payment_credit_notes_amount == 3500
    assert api.events.list({"type": "credit_note.created"}).data[0].data.object.id == note.id


def test_a_refund_made_before_is_linked_once(api, shop):
    invoice = api.invoices.pay(opened(api, shop, 6000).id)
    refund = api.refunds.create({"charge": charge_of(api, invoice.id).id, "amount": 1500})
    linked = {"invoice": invoice.id, "amount": 1500, "refunds": [{"refund": refund.id}]}
    note = api.credit_notes.create({**linked, "expand": ["refunds.refund"]})
    assert (note.refunds[0].refund.id, note.refunds[0].amount_refunded) == (refund.id, 1500)
    with pytest.raises(stripe.InvalidRequestError, match="already covered"):
        api.credit_notes.create(linked)


def test_no_more_than_the_invoice_is_ever_credited(api, shop):
    invoice = api.invoices.pay(opened(api, shop, 6000).id)
    api.credit_notes.create({"invoice": invoice.id, "amount": 4000, "credit_amount": 4000})
    with pytest.raises(stripe.InvalidRequestError, match=r"\$20.01.*\$20.00") as caught:
        api.credit_notes.create({"invoice": invoice.id, "amount": 2001, "credit_amount": 2001})
    assert caught.value.param == "amount"
    for parts in ({}, {"credit_amount": 1999}, {"credit_amount": 1000, "refund_amount": 1001}):
        with pytest.raises(stripe.InvalidRequestError, match="must equal the post-payment amount"):
            api.credit_notes.create({"invoice": invoice.id, "amount": 2000, **parts})
    assert api.customers.retrieve(invoice.customer).balance == -4000
    assert api.refunds.list({"limit": 100}).data == []


def test_lines_are_credited_by_amount_by_quantity_or_in_words_of_their_own(api, shop):
    subscription = shop.subscription(8)
    invoice = subscription.latest_invoice
    line = {"type": "invoice_line_item", "invoice_line_item": invoice.lines.data[0].id}
    asked = {
        "invoice": invoice.id,
        "lines": [
            {**line, "quantity": 2},
            {**line, "amount": 700},
            {"type": "custom_line_item", "description": "Goodwill", "quantity": 3, "unit_amount": 100},
        ],
        "credit_amount": 6000,
    }
    previewed = api.credit_notes.preview(asked)
    assert api.credit_notes.list({"invoice": invoice.id}).data == []
    assert [each.amount for each in api.credit_notes.preview_lines.list(asked).data] == [5000, 700, 300]
    note = api.credit_notes.create(asked)
    assert (note.total, note.number) == (previewed.total, previewed.number)
    lines = api.credit_notes.line_items.list(note.id).data
    assert [(each.amount, each.quantity, each.unit_amount) for each in lines] == [
        (5000, 2, 2500),
        (700, None, None),
        (300, 3, 100),
    ]
    with pytest.raises(stripe.InvalidRequestError, match=r"Only \$143.00 of this line"):
        api.credit_notes.create(
            {"invoice": invoice.id, "lines": [{**line, "quantity": 6}], "credit_amount": 15_000}
        )


def test_credit_notes_are_found_by_customer_and_invoice_and_can_be_annotated(api, shop):
    customer = shop.customer()
    first, second = (opened(api, shop, 5000, customer=customer) for _ in range(2))
    notes = [api.credit_notes.create({"invoice": each.id, "amount": 100}) for each in (first, second)]
    found = api.credit_notes.list({"customer": customer.id}).data
    assert [each.id for each in found] == [notes[1].id, notes[0].id]
    assert [each.id for each in api.credit_notes.list({"invoice": first.id}).data] == [notes[0].id]
    changed = api.credit_notes.update(notes[0].id, {"memo": "Why", "metadata": {"case": "7"}})
    assert (changed.memo, changed.metadata["case"]) == ("Why", "7")
    assert api.events.list({"type": "credit_note.updated"}).data[0].data.previous_attributes.to_dict() == {
        "memo": None,
        "metadata": {"case": None},
    }
    assert httpx.get(notes[0].pdf).content.startswith(b"%PDF-1.4")


def test_a_draft_has_nothing_to_credit(api, shop):
    draft = api.invoices.create({"customer": shop.customer().id, "currency": "usd"})
    with pytest.raises(stripe.InvalidRequestError, match="finalized invoices"):
        api.credit_notes.create({"invoice": draft.id, "amount": 100})
