"""The shortened first period of a subscription that is anchored at a later day."""

from billing.sandbox.machine.lines import line_parent, pricing, recurring_line
from billing.sandbox.machine.proration import share
from billing.sandbox.table import Object
from billing.sandbox.world import World


def stub_line(world: World, invoice: Object, subscription: Object, item: Object, stub: Object) -> Object:
    """Its line: the share of a whole period that it lasts, or nothing."""
    made = recurring_line(world, invoice, subscription, item)
    start, end = item["current_period_start"], item["current_period_end"]
    price, quantity = item["price"], item.get("quantity", 0)
    began = end - (stub["whole"] - start)
    amount = 0 if stub["free"] else share(price, quantity, start=began, end=end, at=start)
    if stub["free"]:
        world.note(item["id"], debits=[])
    else:
        debits = world.side[item["id"]]["debits"]
        world.note(item["id"], debits=[{**debit, "start": began} for debit in debits])
    return {
        **made,
        "amount": amount,
        "subtotal": amount,
        "parent": line_parent(subscription["id"], item["id"]),
        "pricing": pricing(price, price["unit_amount_decimal"]),
    }
