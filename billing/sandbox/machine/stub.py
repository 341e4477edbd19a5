"""The shortened first period of a subscription that is anchored at a later day."""

from billing.sandbox.machine.lines import recurring_line
from billing.sandbox.machine.proration import share, whole_start
from billing.sandbox.table import Object
from billing.sandbox.world import World


def stub_line(world: World, invoice: Object, subscription: Object, item: Object) -> Object:
    """Its line: the share of a whole period that it lasts, or nothing when it is free."""
    made = recurring_line(world, invoice, subscription, item)
    side, price, quantity = world.side[item["id"]], item["price"], item.get("quantity", 0)
    start, end = item["current_period_start"], item["current_period_end"]
    began = whole_start(world, item)
    amount = 0 if side["free"] else share(world, price, quantity, start=began, end=end, at=start)
    debits = [] if side["free"] else [{**debit, "start": began} for debit in side["debits"]]
    world.note(item["id"], debits=debits)
    return {**made, "amount": amount, "subtotal": amount}
