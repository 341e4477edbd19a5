"""Invoice items: what waits for an invoice."""

from fractions import Fraction

from billing.sandbox.errors import invalid
from billing.sandbox.errors import required as missing_param
from billing.sandbox.listing import PAGE_BY_TIME, page
from billing.sandbox.machine.lines import pricing, set_lines, sweep
from billing.sandbox.machine.pricing import product_name
from billing.sandbox.machine.proration import new_item
from billing.sandbox.money import round_half_up
from billing.sandbox.params import boolean, integer, merged, metadata, natural, required, text
from billing.sandbox.resources.prices import currency_code
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object


@endpoint(
    "POST",
    "/v1/invoiceitems",
    amount=integer,
    currency=currency_code,
    customer=required(text),
    description=text,
    discountable=boolean,
    invoice=text,
    metadata=metadata,
    period={"start": required(integer), "end": required(integer)},
    pricing={"price": required(text)},
    quantity=natural,
)
def create_invoice_item(call: Call) -> Object:
    """Something to put on a customer's next invoice, or on a draft."""
    world, params = call.world, call.params
    customer = world.get("customer", params["customer"], param="customer")
    quantity = params.get("quantity", 1)
    price = (
        world.get("price", params["pricing"]["price"], param="pricing[price]")
        if params.get("pricing")
        else None
    )
    if price:
        amount = round_half_up(Fraction(price["unit_amount_decimal"] or 0) * quantity)
        currency = price["currency"]
    elif "amount" in params:
        amount, currency = params["amount"], params.get("currency") or customer["currency"]
        if not currency:
            raise missing_param("currency")
    else:
        raise missing_param("amount")
    if customer["currency"] not in (None, currency):
        raise invalid("You cannot combine currencies on a single customer.", param="currency")
    item = new_item(
        world,
        customer["id"],
        amount=amount,
        currency=currency,
        description=params.get("description") or (product_name(world, price) if price else None),
        discountable=params.get("discountable", amount >= 0),
        metadata=merged({}, params.get("metadata") or {}),
        quantity=quantity,
        quantity_decimal=str(quantity),
        **({"period": params["period"]} if params.get("period") else {}),
        **({"pricing": pricing(price, price["unit_amount_decimal"])} if price else {}),
    )
    if id := params.get("invoice"):
        invoice = world.get("invoice", id, param="invoice")
        if invoice["status"] != "draft":
            raise invalid("You can only add items to a draft invoice.", param="invoice")
        set_lines(world, invoice, [*invoice["lines"]["data"], *sweep(world, invoice, [item])])
    return item


@endpoint("GET", "/v1/invoiceitems/{}")
def retrieve_invoice_item(call: Call) -> Object:
    """An invoice item."""
    return call.find("invoiceitem")


@endpoint("DELETE", "/v1/invoiceitems/{}")
def delete_invoice_item(call: Call) -> Object:
    """Take back what still waits."""
    item = call.find("invoiceitem")
    if item["invoice"]:
        raise invalid("Attached invoice items can only be deleted while their invoice is a draft.")
    call.world.emit("invoiceitem.deleted", item)
    return call.world.remove(item)


@endpoint("GET", "/v1/invoiceitems", **PAGE_BY_TIME, customer=text, invoice=text, pending=boolean)
def list_invoice_items(call: Call) -> Object:
    """Invoice items, newest first."""
    params = call.params
    pending, bounds = params.get("pending"), params.pop("created", None)

    def keep(item: Object) -> bool:
        from billing.sandbox.listing import in_range

        return (pending is None or pending == (item["invoice"] is None)) and (
            not bounds or in_range(item["date"], bounds)
        )

    return page(call, "invoiceitem", by="customer", keep=keep, invoice=params.get("invoice"))
