"""Credit notes."""

from typing import Any

from billing.sandbox.listing import PAGE, PAGE_BY_TIME, page, page_of
from billing.sandbox.machine.credit_notes import issue, void
from billing.sandbox.params import (
    choice,
    decimal,
    integer,
    list_of,
    merged,
    metadata,
    natural,
    positive,
    required,
    text,
)
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object

KIND = "credit_note"
REASONS = choice("duplicate", "fraudulent", "order_change", "product_unsatisfactory")
FIELDS: dict[str, Any] = {
    "amount": natural,
    "credit_amount": natural,
    "effective_at": integer,
    "email_type": choice("credit_note", "none"),
    "invoice": required(text),
    "lines": list_of(
        {
            "amount": natural,
            "description": text,
            "invoice_line_item": text,
            "metadata": metadata,
            "quantity": natural,
            "type": required(choice("custom_line_item", "invoice_line_item")),
            "unit_amount": integer,
            "unit_amount_decimal": decimal,
        }
    ),
    "memo": text,
    "metadata": metadata,
    "out_of_band_amount": natural,
    "reason": REASONS,
    "refund_amount": natural,
    "refunds": list_of({"amount_refunded": positive, "refund": text, "type": choice("refund")}),
}


@endpoint("POST", "/v1/credit_notes", **FIELDS)
def create_credit_note(call: Call) -> Object:
    """Credit a final invoice, by an amount or by its lines."""
    params = {**call.params, "metadata": merged({}, call.params.get("metadata") or {})}
    return issue(call.world, call.world.get("invoice", params["invoice"], param="invoice"), params)


def _previewed(call: Call) -> Object:
    with call.world.rehearsal():
        return dict(create_credit_note(call))


@endpoint("GET", "/v1/credit_notes/preview", **FIELDS)
def preview_credit_note(call: Call) -> Object:
    """What a credit note would be, without issuing it."""
    return _previewed(call)


@endpoint("GET", "/v1/credit_notes/preview/lines", **FIELDS, **PAGE)
def preview_credit_note_lines(call: Call) -> Object:
    """The lines a credit note would have."""
    return page_of(call, _previewed(call)["lines"]["data"])


@endpoint("GET", "/v1/credit_notes/{}")
def retrieve_credit_note(call: Call) -> Object:
    """A credit note."""
    return call.find(KIND, "credit note")


@endpoint("POST", "/v1/credit_notes/{}", memo=text, metadata=metadata)
def update_credit_note(call: Call) -> Object:
    """Change a credit note's memo or metadata."""
    note, params = call.find(KIND, "credit note"), dict(call.params)
    if "metadata" in params:
        params["metadata"] = merged(note["metadata"], params["metadata"])
    return call.world.update(note, **params)


@endpoint("POST", "/v1/credit_notes/{}/void")
def void_credit_note(call: Call) -> Object:
    """Take it back, while its invoice is open."""
    return void(call.world, call.find(KIND, "credit note"))


@endpoint("GET", "/v1/credit_notes/{}/lines", **PAGE)
def list_credit_note_lines(call: Call) -> Object:
    """All lines of a credit note."""
    return page_of(call, call.find(KIND, "credit note")["lines"]["data"])


@endpoint("GET", "/v1/credit_notes", **PAGE_BY_TIME, customer=text, invoice=text)
def list_credit_notes(call: Call) -> Object:
    """Credit notes, newest first: of a customer, or of an invoice."""
    by = "invoice" if call.params.get("invoice") else "customer"
    return page(call, KIND, by=by, customer=call.params.get("customer"))
