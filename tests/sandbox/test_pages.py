"""What links open: invoices a customer can read and pay, and receipts."""

import httpx

from tests.sandbox.conftest import charge_of


def test_a_customer_reads_and_pays_an_invoice_by_its_link(api, shop):
    customer = shop.customer(card=None)
    due = {"collection_method": "send_invoice", "days_until_due": 14}
    draft = api.invoices.create({"customer": customer.id, "currency": "usd", **due})
    item = {"customer": customer.id, "invoice": draft.id, "amount": 1234, "description": "<b>Help</b>"}
    api.invoice_items.create(item)
    invoice = api.invoices.send_invoice(draft.id)
    text = httpx.get(invoice.hosted_invoice_url).text
    assert invoice.number in text
    assert "$12.34" in text
    assert "<b>Help" not in text
    refused = httpx.post(invoice.hosted_invoice_url, data={"number": "4000000000009995"})
    assert "insufficient funds" in refused.text
    assert api.invoices.retrieve(invoice.id).status == "open"
    paid = httpx.post(invoice.hosted_invoice_url, data={"number": "4242 4242 4242 4242"})
    assert "Thank you" in paid.text
    assert api.invoices.retrieve(invoice.id).status == "paid"
    assert b"$12.34" in httpx.get(invoice.invoice_pdf).content
    receipt = httpx.get(charge_of(api, invoice.id).receipt_url).text
    assert "visa ending in 4242" in receipt


def test_a_wrong_link_opens_nothing(api, shop):
    invoice = shop.subscription().latest_invoice
    assert httpx.get(invoice.hosted_invoice_url + "x").status_code == 404
    assert httpx.get(invoice.invoice_pdf.replace("/pdf", "x/pdf")).status_code == 404
