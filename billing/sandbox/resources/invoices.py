"""Invoices."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.errors import required as missing_param
from billing.sandbox.expansion import includable
from billing.sandbox.listing import PAGE_BY_TIME, in_range, page
from billing.sandbox.machine.cycle import invoice_pending
from billing.sandbox.machine.invoices import HOUR, draft, finalize, mark_uncollectible, void
from billing.sandbox.machine.lines import pending_items, set_lines, sweep
from billing.sandbox.machine.payments import finalize_and_collect, open_payment, pay, settle
from billing.sandbox.machine.preview import remembered
from billing.sandbox.machine.signup import owned_method
from billing.sandbox.machine.status import after_settlement, set_delinquent
from billing.sandbox.params import (
    anything,
    boolean,
    choice,
    integer,
    merged,
    metadata,
    moments,
    positive,
    required,
    text,
    text_of,
)
from billing.sandbox.resources.discounts import DISCOUNTS, on_invoice
from billing.sandbox.resources.prices import currency_code
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World

FIELDS: dict[str, Any] = {
    "auto_advance": boolean,
    "collection_method": choice("charge_automatically", "send_invoice"),
    "days_until_due": positive,
    "default_payment_method": text,
    "description": text_of(1500),
    "discounts": DISCOUNTS,
    "due_date": integer,
    "footer": text,
    "metadata": metadata,
    "custom_fields": anything,
    "statement_descriptor": text_of(22),
}


@endpoint(
    "POST",
    "/v1/invoices",
    **FIELDS,
    currency=currency_code,
    customer=text,
    subscription=text,
    pending_invoice_items_behavior=choice("exclude", "include"),
)
def create_invoice(call: Call) -> Object:
    """A draft: of a subscription's pending items now, or a one-off."""
    world, params = call.world, dict(call.params)
    if id := params.pop("subscription", None):
        subscription = world.get("subscription", id, param="subscription")
        made = invoice_pending(world, subscription, reason="manual")
        if made is None:
            raise invalid("Nothing to invoice for subscription", code="invoice_no_subscription_line_items")
        return change_draft(world, made, {key: params[key] for key in FIELDS if key in params})
    if not params.get("customer"):
        raise missing_param("customer")
    customer = world.get("customer", params.pop("customer"), param="customer")
    include = params.pop("pending_invoice_items_behavior", "exclude") == "include"
    currency = params.pop("currency", None) or customer["currency"] or "usd"
    days = params.pop("days_until_due", None)
    if params.get("collection_method") == "send_invoice" and not days and not params.get("due_date"):
        raise missing_param("days_until_due")
    given = params.pop("discounts", None)
    params["metadata"] = merged({}, params.get("metadata") or {})
    now = world.now_of(customer["id"])
    invoice = draft(world, customer, currency=currency, reason="manual", period=(now, now), **params)
    if days:
        world.note(invoice["id"], days_until_due=days)
    waiting = pending_items(world, customer["id"], None) if include else []
    if given is not None:
        world.update(invoice, discounts=[])
    set_lines(world, invoice, sweep(world, invoice, waiting))
    if given is not None:
        set_discounts(world, invoice, given)
    advance_by_itself(world, invoice)
    world.emit("invoice.created", invoice)
    return invoice


@endpoint("GET", "/v1/invoices/{}")
def retrieve_invoice(call: Call) -> Object:
    """An invoice, or for some time what a preview showed."""
    return remembered(call.world, call.id) or call.find("invoice")


@endpoint("POST", "/v1/invoices/{}", **FIELDS)
def update_invoice(call: Call) -> Object:
    """Change an invoice: once finalised, only what does not move money."""
    params, invoice = dict(call.params), call.find("invoice")
    fixed = set(params) - {"metadata", "auto_advance", "description", "default_payment_method", "footer"}
    if invoice["status"] != "draft" and fixed:
        raise invalid(f"Finalized invoices can't be updated in this way: {', '.join(sorted(fixed))}.")
    return change_draft(call.world, invoice, params)


def change_draft(world: World, invoice: Object, params: dict[str, Any]) -> Object:
    """Apply what may be set on an invoice."""
    if "metadata" in params:
        params["metadata"] = merged(invoice["metadata"], params["metadata"])
    if method := params.get("default_payment_method"):
        owned_method(world, method, invoice["customer"])
    if days := params.pop("days_until_due", None):
        world.note(invoice["id"], days_until_due=days)
    if "discounts" in params:
        set_discounts(world, invoice, params.pop("discounts"))
    world.update(invoice, **params)
    if params.get("auto_advance"):
        advance_by_itself(world, invoice)
    return invoice


def set_discounts(world: World, invoice: Object, given: list[dict[str, Any]]) -> None:
    """Replace a draft's discounts."""
    world.update(invoice, discounts=on_invoice(world, invoice, given))
    set_lines(world, invoice, invoice["lines"]["data"])


def advance_by_itself(world: World, invoice: Object) -> None:
    """A draft that may advance is finalised and charged an hour from now."""
    if invoice["status"] == "draft" and invoice["auto_advance"]:
        at = world.now_of(invoice["customer"]) + HOUR
        world.update(invoice, automatically_finalizes_at=at)
        world.schedule(at, "finalize_invoice", invoice["id"], invoice["test_clock"])


@endpoint("DELETE", "/v1/invoices/{}")
def delete_invoice(call: Call) -> Object:
    """Delete a one-off draft."""
    world, invoice = call.world, call.find("invoice")
    if invoice["status"] != "draft" or invoice["parent"]:
        raise invalid("You can only delete draft invoices that do not belong to a subscription.")
    for item in world.tables["invoiceitem"].newest_first("customer", invoice["customer"]):
        if item["invoice"] == invoice["id"]:
            world.update(item, invoice=None)
    world.emit("invoice.deleted", invoice)
    return world.remove(invoice)


@endpoint("POST", "/v1/invoices/{}/finalize", auto_advance=boolean)
def finalize_invoice(call: Call) -> Object:
    """Make a draft final; a subscription's is then charged, one made by hand waits to be paid."""
    world, invoice = call.world, call.find("invoice")
    if "auto_advance" in call.params:
        world.update(invoice, auto_advance=call.params["auto_advance"])
    finalize_and_collect(world, invoice, attempt_it=invoice["auto_advance"])
    return invoice


@endpoint(
    "POST",
    "/v1/invoices/{}/pay",
    forgive=boolean,
    off_session=boolean,
    paid_out_of_band=boolean,
    payment_method=text,
    mandate=text,
)
def pay_invoice(call: Call) -> Object:
    """Take the money now, or note that it came another way."""
    world, invoice = call.world, call.find("invoice")
    method = None
    if id := call.params.get("payment_method"):
        method = world.get("payment_method", id, param="payment_method", noun="PaymentMethod")
        if method["customer"] != invoice["customer"]:
            raise invalid(
                "The payment method does not belong to the invoice's customer.", param="payment_method"
            )
    return pay(world, invoice, method=method, out_of_band=call.params.get("paid_out_of_band", False))


@endpoint("POST", "/v1/invoices/{}/void")
def void_invoice(call: Call) -> Object:
    """Nobody owes it any more."""
    invoice = void(call.world, call.find("invoice"))
    return _settled(call.world, invoice)


@endpoint("POST", "/v1/invoices/{}/mark_uncollectible")
def write_off_invoice(call: Call) -> Object:
    """Given up."""
    invoice = mark_uncollectible(call.world, call.find("invoice"))
    return _settled(call.world, invoice)


def _settled(world: World, invoice: Object) -> Object:
    after_settlement(world, invoice)
    if customer := world.find("customer", invoice["customer"]):
        set_delinquent(world, customer)
    return invoice


@endpoint("POST", "/v1/invoices/{}/send")
def send_invoice(call: Call) -> Object:
    """Finalise if need be, and tell that it was sent."""
    world, invoice = call.world, call.find("invoice")
    if invoice["status"] == "draft":
        finalize(world, invoice)
        if invoice["amount_due"] == 0:
            settle(world, invoice)
        else:
            open_payment(world, invoice)
    world.emit("invoice.sent", invoice)
    return invoice


@endpoint(
    "GET",
    "/v1/invoices",
    **PAGE_BY_TIME,
    collection_method=text,
    customer=text,
    due_date=moments,
    status=choice("draft", "open", "paid", "uncollectible", "void"),
    subscription=text,
)
def list_invoices(call: Call) -> Object:
    """Invoices, newest first."""
    world, params = call.world, call.params
    due = params.get("due_date")
    if id := params.get("subscription"):
        subscription = world.get("subscription", id, param="subscription")
        mine = set(world.side.get(id, {}).get("invoices", []))
        params.setdefault("customer", subscription["customer"])

    def keep(invoice: Object) -> bool:
        return (not id or invoice["id"] in mine) and (not due or in_range(invoice["due_date"], due))

    wanted: dict[str, Any] = {
        "status": params.get("status"),
        "collection_method": params.get("collection_method"),
    }
    return page(call, "invoice", by="customer", keep=keep, **wanted)


@endpoint("GET", "/v1/invoice_payments/{}")
def retrieve_invoice_payment(call: Call) -> Object:
    """A payment of an invoice."""
    return call.find("invoice_payment", "invoice payment")


@endpoint(
    "GET",
    "/v1/invoice_payments",
    **PAGE_BY_TIME,
    invoice=text,
    payment={"type": required(choice("payment_intent", "payment_record")), "payment_intent": text},
    status=choice("open", "paid", "canceled"),
)
def list_invoice_payments(call: Call) -> Object:
    """Payments of invoices: of an invoice, or of a payment intent."""
    wanted = (call.params.get("payment") or {}).get("payment_intent")

    def keep(payment: Object) -> bool:
        return wanted is None or payment["payment"]["payment_intent"] == wanted

    return page(call, "invoice_payment", by="invoice", keep=keep, status=call.params.get("status"))


@includable("invoice", "payments")
def payments_of(world: World, invoice: Object) -> Object:
    """An invoice's payments, when expanded."""
    found = list(world.tables["invoice_payment"].newest_first("invoice", invoice["id"]))
    url = f"/v1/invoice_payments?invoice={invoice['id']}"
    return {"object": "list", "data": found, "has_more": False, "total_count": len(found), "url": url}


@includable("invoice", "confirmation_secret")
def confirmation_secret(world: World, invoice: Object) -> Object | None:
    """What a browser needs to confirm the payment of an open invoice, when expanded."""
    for payment in world.tables["invoice_payment"].newest_first("invoice", invoice["id"]):
        if payment["status"] == "open":
            intent = world.get("payment_intent", payment["payment"]["payment_intent"])
            return {"client_secret": intent["client_secret"], "type": "payment_intent"}
    return None
