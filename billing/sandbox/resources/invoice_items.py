"""Invoice items: what waits for an invoice."""

from fractions import Fraction
from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.errors import required as missing_param
from billing.sandbox.listing import PAGE_BY_TIME, in_range, page
from billing.sandbox.machine.lines import pricing, set_lines, sweep
from billing.sandbox.machine.pricing import product_name
from billing.sandbox.machine.proration import new_item
from billing.sandbox.money import round_half_up
from billing.sandbox.params import boolean, decimal, integer, merged, metadata, natural, required, text
from billing.sandbox.resources.prices import currency_code, new_price
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World

FIELDS: dict[str, Any] = {
    "amount": integer,
    "description": text,
    "discountable": boolean,
    "metadata": metadata,
    "period": {"start": required(integer), "end": required(integer)},
    "price_data": {
        "currency": required(currency_code),
        "product": required(text),
        "unit_amount": integer,
        "unit_amount_decimal": decimal,
    },
    "pricing": {"price": required(text)},
    "quantity": natural,
    "unit_amount_decimal": decimal,
}
# What an item and the line it became have in common.
COMMON = "amount description discountable metadata period pricing quantity quantity_decimal".split()


def worth(world: World, params: dict[str, Any], quantity: int) -> dict[str, Any] | None:
    """The amount, currency and pricing that the parameters ask for; None when they ask for none."""
    if data := params.get("price_data"):
        world.get("product", data["product"], param="price_data[product]")
        price: Object | None = new_price(world, {**data, "active": False}, data["product"])
    elif given := params.get("pricing"):
        price = world.get("price", given["price"], param="pricing[price]")
    else:
        price = None
    if price:
        unit = price["unit_amount_decimal"] or "0"
        return {
            "amount": round_half_up(Fraction(unit) * quantity),
            "currency": price["currency"],
            "description": params.get("description") or product_name(world, price),
            "pricing": pricing(price, unit),
        }
    if unit := params.get("unit_amount_decimal"):
        return {"amount": round_half_up(Fraction(unit) * quantity)}
    return {"amount": params["amount"]} if "amount" in params else None


def make_item(
    world: World, customer: Object, params: dict[str, Any], *, currency: str | None = None
) -> Object:
    """A pending item of a customer; `currency` where none is named."""
    quantity = params.get("quantity", 1)
    asked = worth(world, params, quantity)
    if asked is None:
        raise missing_param("amount")
    currency = asked.get("currency") or params.get("currency") or currency or customer["currency"]
    if not currency:
        raise missing_param("currency")
    if customer["currency"] not in (None, currency):
        raise invalid("You cannot combine currencies on a single customer.", param="currency")
    kept = {name: params[name] for name in ("description", "period") if params.get(name)}
    fields = {
        "discountable": params.get("discountable", asked["amount"] >= 0),
        "metadata": merged({}, params.get("metadata") or {}),
        "quantity": quantity,
        "quantity_decimal": str(quantity),
        **kept,
        **asked,
        "currency": currency,
    }
    if id := params.get("subscription"):
        subscription = world.get("subscription", id, param="subscription")
        if subscription["customer"] != customer["id"]:
            raise invalid("The subscription does not belong to the customer.", param="subscription")
        details = {"subscription": id}
        fields["parent"] = {"type": "subscription_details", "subscription_details": details}
    return new_item(world, customer["id"], **fields)


def draft_of(world: World, id: str, param: str = "invoice") -> Object:
    """An invoice whose lines can still change."""
    invoice = world.get("invoice", id, param=param)
    if invoice["status"] != "draft":
        raise invalid("You can only add items to a draft invoice.", param=param)
    return invoice


def item_of(line: Object) -> str | None:
    """The invoice item a line came from, if any."""
    parent = line["parent"] or {}
    details = parent.get("invoice_item_details") or parent.get("subscription_item_details") or {}
    found: str | None = details.get("invoice_item")
    return found


def changes_of(world: World, obj: Object, params: dict[str, Any]) -> dict[str, Any]:
    """What the parameters change of an item or a line."""
    plain = ("description", "discountable", "period")
    changes: dict[str, Any] = {name: params[name] for name in plain if name in params}
    if "metadata" in params:
        changes["metadata"] = merged(obj["metadata"], params["metadata"])
    if "quantity" in params:
        changes |= {"quantity": params["quantity"], "quantity_decimal": str(params["quantity"])}
        if obj["pricing"] and not {"pricing", "price_data", "amount", "unit_amount_decimal"} & set(params):
            unit = Fraction(obj["pricing"]["unit_amount_decimal"] or 0)
            changes["amount"] = round_half_up(unit * params["quantity"])
    quantity: int = params.get("quantity") or obj["quantity"] or 1
    asked = worth(world, params, quantity) or {}
    if asked.pop("currency", obj["currency"]) != obj["currency"]:
        raise invalid("The currency of an item cannot be changed.", param="pricing")
    if "description" in params:
        asked.pop("description", None)
    return {**changes, **asked}


@endpoint(
    "POST",
    "/v1/invoiceitems",
    **FIELDS,
    currency=currency_code,
    customer=text,
    invoice=text,
    subscription=text,
)
def create_invoice_item(call: Call) -> Object:
    """Something to put on a customer's next invoice, or on a draft."""
    world, params = call.world, dict(call.params)
    invoice = draft_of(world, params["invoice"]) if params.get("invoice") else None
    id = params.get("customer") or (invoice or {}).get("customer")
    if not id:
        raise missing_param("customer")
    item = make_item(
        world, world.get("customer", id, param="customer"), params, currency=(invoice or {}).get("currency")
    )
    if invoice:
        set_lines(world, invoice, [*invoice["lines"]["data"], *sweep(world, invoice, [item])])
    return item


@endpoint("GET", "/v1/invoiceitems/{}")
def retrieve_invoice_item(call: Call) -> Object:
    """An invoice item."""
    return call.find("invoiceitem")


@endpoint("POST", "/v1/invoiceitems/{}", **FIELDS)
def update_invoice_item(call: Call) -> Object:
    """Change what waits, or what stands on a draft."""
    world, item = call.world, call.find("invoiceitem")
    changes = changes_of(world, item, call.params)
    if "amount" in changes:
        changes["net_amount"] = changes["amount"]
    world.update(item, **changes)
    if item["invoice"]:
        shared = {name: item[name] for name in COMMON}
        invoice = draft_of(world, item["invoice"])
        lines = invoice["lines"]["data"]
        set_lines(
            world,
            invoice,
            [
                {**line, **shared, "subtotal": item["amount"]} if item_of(line) == item["id"] else line
                for line in lines
            ],
        )
    return item


@endpoint("DELETE", "/v1/invoiceitems/{}")
def delete_invoice_item(call: Call) -> Object:
    """Take back what still waits, or what stands on a draft."""
    world, item = call.world, call.find("invoiceitem")
    if item["invoice"]:
        invoice = world.get("invoice", item["invoice"])
        if invoice["status"] != "draft":
            raise invalid("Attached invoice items can only be deleted while their invoice is a draft.")
        set_lines(world, invoice, [line for line in invoice["lines"]["data"] if item_of(line) != item["id"]])
    world.emit("invoiceitem.deleted", item)
    return world.remove(item)


@endpoint("GET", "/v1/invoiceitems", **PAGE_BY_TIME, customer=text, invoice=text, pending=boolean)
def list_invoice_items(call: Call) -> Object:
    """Invoice items, newest first."""
    params = call.params
    pending, bounds = params.get("pending"), params.pop("created", None)

    def keep(item: Object) -> bool:
        return (pending is None or pending == (item["invoice"] is None)) and (
            not bounds or in_range(item["date"], bounds)
        )

    return page(call, "invoiceitem", by="customer", keep=keep, invoice=params.get("invoice"))
