"""Shortened periods: the first, of a subscription that is anchored at a later day, and the last, by its planned end."""

from billing.sandbox.machine.lines import recurring_line, recurring_lines
from billing.sandbox.machine.proration import share, whole_start
from billing.sandbox.table import Object
from billing.sandbox.world import World


def shortened(world: World, item: Object, end: int | None) -> Object:
    """A whole period that begins, cut off at the subscription's `end` if it lies within."""
    start, whole = item["current_period_start"], item["current_period_end"]
    if end is None or not start < end < whole:
        world.note(item["id"], began=None, cut=None)
        return item
    world.note(item["id"], began=end - (whole - start), cut=whole, free=False)
    return {**item, "current_period_end": end}


def period_lines(
    world: World, invoice: Object, subscription: Object, item: Object, *, free: bool = False
) -> list[Object]:
    """The lines for an item's period, shortened or whole; `free` for a trial."""
    if world.side[item["id"]].get("began") is not None:
        return [_stub_line(world, invoice, subscription, item)]
    return recurring_lines(world, invoice, subscription, item, free=free)


def _stub_line(world: World, invoice: Object, subscription: Object, item: Object) -> Object:
    """Its line: the share of a whole period that it lasts, or nothing when it is free."""
    made = recurring_line(world, invoice, subscription, item)
    side, price, quantity = world.side[item["id"]], item["price"], item.get("quantity", 0)
    start, end = item["current_period_start"], item["current_period_end"]
    began = whole_start(world, item)
    amount = 0 if side["free"] else share(world, price, quantity, start=began, end=end, at=start)
    debits = [] if side["free"] else [{**debit, "start": began} for debit in side["debits"]]
    world.note(item["id"], debits=debits)
    return {**made, "amount": amount, "subtotal": amount}
