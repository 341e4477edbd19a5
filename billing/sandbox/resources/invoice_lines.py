"""Lines of drafts: added, changed and taken off."""

from typing import Any

from billing.sandbox.errors import invalid, missing
from billing.sandbox.listing import PAGE, page_of
from billing.sandbox.machine.lines import set_lines, sweep
from billing.sandbox.machine.preview import remembered
from billing.sandbox.params import choice, list_of, merged, metadata, required, text
from billing.sandbox.resources.invoice_items import FIELDS, changes_of, item_of, make_item
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World

LINE: dict[str, Any] = {name: parser for name, parser in FIELDS.items() if name != "unit_amount_decimal"}


@endpoint("GET", "/v1/invoices/{}/lines", **PAGE)
def list_lines(call: Call) -> Object:
    """All lines of an invoice, or of a preview."""
    invoice = remembered(call.world, call.id) or call.find("invoice")
    return page_of(call, invoice["lines"]["data"])


def _draft(call: Call) -> Object:
    invoice = call.find("invoice")
    if invoice["status"] != "draft":
        raise invalid(f"Invoice {invoice['id']} is not a draft: its lines cannot change any more.")
    if "invoice_metadata" in call.params:
        merged_ = merged(invoice["metadata"], call.params["invoice_metadata"])
        call.world.update(invoice, metadata=merged_)
    return invoice


@endpoint(
    "POST",
    "/v1/invoices/{}/add_lines",
    invoice_metadata=metadata,
    lines=required(list_of({**LINE, "invoice_item": text})),
)
def add_lines(call: Call) -> Object:
    """Put waiting items, or new ones, on a draft."""
    world, invoice = call.world, _draft(call)
    customer = world.get("customer", invoice["customer"])
    items = []
    for index, given in enumerate(call.params["lines"]):
        if id := given.get("invoice_item"):
            item = world.get("invoiceitem", id, param=f"lines[{index}][invoice_item]")
            if item["invoice"] or item["customer"] != customer["id"]:
                raise invalid(
                    "The invoice item is already on an invoice, or another customer's.",
                    param=f"lines[{index}][invoice_item]",
                )
        else:
            item = make_item(world, customer, given, currency=invoice["currency"])
        items.append(item)
    set_lines(world, invoice, [*invoice["lines"]["data"], *sweep(world, invoice, items)])
    return invoice


def _changed(world: World, line: Object, params: dict[str, Any]) -> Object:
    changes = changes_of(world, line, params)
    if "amount" in changes:
        changes["subtotal"] = changes["amount"]
    if item := world.find("invoiceitem", item_of(line)):
        told = {name: value for name, value in changes.items() if name != "subtotal"}
        if "amount" in told:
            told["net_amount"] = told["amount"]
        world.update(item, **told)
    return {**line, **changes}


def _line(invoice: Object, id: str, param: str, *, in_url: bool = False) -> Object:
    for line in invoice["lines"]["data"]:
        if line["id"] == id:
            found: Object = line
            return found
    raise missing("invoice line item", id, param=param, in_url=in_url)


@endpoint(
    "POST",
    "/v1/invoices/{}/update_lines",
    invoice_metadata=metadata,
    lines=required(list_of({**LINE, "id": required(text)})),
)
def update_lines(call: Call) -> Object:
    """Change lines of a draft, and the items they came from."""
    world, invoice = call.world, _draft(call)
    changed = {}
    for index, given in enumerate(call.params["lines"]):
        id = given["id"]
        line = _line(invoice, id, f"lines[{index}][id]")
        changed[id] = _changed(world, line, {name: value for name, value in given.items() if name != "id"})
    set_lines(world, invoice, [changed.get(line["id"], line) for line in invoice["lines"]["data"]])
    return invoice


@endpoint(
    "POST",
    "/v1/invoices/{}/remove_lines",
    invoice_metadata=metadata,
    lines=required(list_of({"behavior": required(choice("delete", "unassign")), "id": required(text)})),
)
def remove_lines(call: Call) -> Object:
    """Take lines off a draft; their items are deleted, or wait again."""
    world, invoice = call.world, _draft(call)
    gone = set()
    for index, given in enumerate(call.params["lines"]):
        line = _line(invoice, given["id"], f"lines[{index}][id]")
        gone.add(line["id"])
        item = world.find("invoiceitem", item_of(line))
        if item and given["behavior"] == "unassign":
            world.update(item, invoice=None)
        elif item:
            world.emit("invoiceitem.deleted", item)
            world.remove(item)
    set_lines(world, invoice, [line for line in invoice["lines"]["data"] if line["id"] not in gone])
    return invoice


@endpoint("POST", "/v1/invoices/{}/lines/{}", **LINE)
def update_line(call: Call) -> Object:
    """Change one line of a draft, and the item it came from."""
    world, invoice = call.world, _draft(call)
    line = _line(invoice, call.ids[1], "line_item_id", in_url=True)
    changed = _changed(world, line, call.params)
    set_lines(
        world, invoice, [changed if each["id"] == line["id"] else each for each in invoice["lines"]["data"]]
    )
    return _line(invoice, line["id"], "line_item_id")
