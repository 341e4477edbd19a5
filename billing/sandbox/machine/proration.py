"""Prorations: what is credited and charged when an item changes in the middle of its period.

A line is price × quantity × (1 − discount) × (end − t) / (end − start) in true seconds, rounded once. Flexible billing
credits what was really debited, one credit for each debit; classic billing credits the present price and quantity.
"""

from fractions import Fraction
from typing import Any

from billing.sandbox.machine.discounts import effective
from billing.sandbox.machine.lines import pricing
from billing.sandbox.machine.pricing import is_metered, price_amount, proration_name
from billing.sandbox.machine.reductions import Reducible, discount_amounts, items_reduced, shared
from billing.sandbox.money import round_half_up
from billing.sandbox.periods import day_name
from billing.sandbox.table import Object
from billing.sandbox.world import World


def share(
    world: World,
    price: Object,
    quantity: int,
    *,
    start: int,
    end: int,
    at: int,
    kept: Fraction = Fraction(1),
) -> int:
    """Minor units of a price and quantity for what remains of a period, of which discounts left a share."""
    return round_half_up(price_amount(world, price, quantity) * kept * Fraction(end - at, end - start))


def whole_start(world: World, item: Object) -> int:
    """When the whole period that an item's present one is a part of began: earlier, in a shortened one."""
    began = world.side.get(item["id"], {}).get("began")
    return int(item["current_period_start"] if began is None else began)


def credit(world: World, subscription: Object, item: Object, at: int) -> list[Object]:
    """Give back the unused rest of an item's period, as pending invoice items."""
    if is_metered(item["price"]):
        return []
    debits = world.side.get(item["id"], {}).get("debits", [])
    if subscription["billing_mode"]["type"] == "classic" and subscription["status"] != "trialing":
        now = {"start": whole_start(world, item), "end": item["current_period_end"]}
        kept = _reduced(world, subscription, [item])[item["id"]].kept
        debits = [{"price": item["price"]["id"], "quantity": item["quantity"], "kept": str(kept), **now}]
    made = []
    for debit in debits:
        if not debit["start"] <= at < debit["end"]:
            continue
        price = world.get("price", debit["price"])
        credited = None
        if "lines" in debit:
            credited = {"invoice": debit["invoice"], "invoice_line_items": debit["lines"]}
        kept = Fraction(debit.get("kept", "1"))
        amount = -share(
            world, price, debit["quantity"], start=debit["start"], end=debit["end"], at=at, kept=kept
        )
        words = f"Unused time on {proration_name(world, price, debit['quantity'])} after {day_name(at)}"
        made.append(
            _pending(
                world, subscription, item, price, debit["quantity"], amount, words, at, debit["end"], credited
            )
        )
    world.note(item["id"], debits=[])
    return made


def _reduced(world: World, subscription: Object, items: list[Object]) -> dict[str, Reducible]:
    customer = world.get("customer", subscription["customer"])
    return items_reduced(world, items, effective(world, customer, subscription))


def charge(world: World, subscription: Object, item: Object, at: int) -> list[Object]:
    """Ask for the rest of an item's period at its present price and quantity, as a pending invoice item."""
    price = item["price"]
    start, end = whole_start(world, item), item["current_period_end"]
    if is_metered(price) or not start <= at < end:
        return []
    quantity = item["quantity"]
    reduced = _reduced(world, subscription, subscription["items"]["data"])[item["id"]]
    amount = share(world, price, quantity, start=start, end=end, at=at, kept=reduced.kept)
    off = share(world, price, quantity, start=start, end=end, at=at) - amount
    words = f"Remaining time on {proration_name(world, price, quantity)} after {day_name(at)}"
    made = _pending(world, subscription, item, price, quantity, amount, words, at, end, None)
    if reduced.taken:
        taken = dict(zip(reduced.taken, shared(off, list(reduced.taken.values())), strict=True))
        told = {"credited_items": None, "discount_amounts": discount_amounts(taken)}
        world.update(made, proration_details=told)
    debit = {
        "price": price["id"],
        "quantity": quantity,
        "start": start,
        "end": end,
        "invoice_item": made["id"],
        "kept": str(reduced.kept),
    }
    world.note(item["id"], debits=[debit])
    return [made]


def _pending(
    world: World,
    subscription: Object,
    item: Object,
    price: Object,
    quantity: int,
    amount: int,
    words: str,
    start: int,
    end: int,
    credited: Object | None,
) -> Object:
    shown: Object | None = None
    if credited:
        shown = {"type": "invoice_line_items", "invoice_line_item_details": dict(credited)}
    fields: dict[str, Any] = {
        "amount": amount,
        "currency": price["currency"],
        "description": words,
        "discountable": False,
        "parent": {
            "type": "subscription_details",
            "subscription_details": {"subscription": subscription["id"], "subscription_item": item["id"]},
        },
        "period": {"start": start, "end": end},
        "pricing": pricing(price, None),
        "proration": True,
        "proration_details": {"credited_items": shown, "discount_amounts": []},
        "quantity": quantity,
        "quantity_decimal": str(quantity),
    }
    made = new_item(world, subscription["customer"], **fields)
    world.note(made["id"], item=item["id"], credited=credited)
    return made


def new_item(world: World, customer: str, **fields: Any) -> Object:
    """A pending invoice item; `fields` override what it starts with."""
    now = world.now_of(customer)
    item: Object = {
        "id": world.new_id("invoiceitem"),
        "object": "invoiceitem",
        "amount": 0,
        "currency": "usd",
        "customer": customer,
        "customer_account": None,
        "date": now,
        "description": None,
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "net_amount": fields.get("amount", 0),
        "parent": None,
        "period": {"start": now, "end": now},
        "pricing": None,
        "proration": False,
        "quantity": 1,
        "quantity_decimal": "1",
        "tax_rates": [],
        "test_clock": world.clock_of(customer),
        **fields,
    }
    world.insert(item)
    world.emit("invoiceitem.created", item)
    return item
