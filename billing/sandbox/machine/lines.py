"""Lines of invoices: for whole periods, for what was pending, and the totals they make."""

from fractions import Fraction
from typing import Any

from billing.sandbox.machine.discounts import use
from billing.sandbox.machine.pricing import (
    is_metered,
    line_description,
    portion_description,
    portions,
    price_amount,
    product_name,
)
from billing.sandbox.machine.reductions import discount_amounts, lines_reduced, pretax
from billing.sandbox.money import round_half_up
from billing.sandbox.table import Object
from billing.sandbox.world import World


def line(
    world: World, invoice: Object, *, amount: int, description: str | None, period: Object, **fields: Any
) -> Object:
    """A line in Stripe's shape, not yet on the invoice."""
    made: Object = {
        "id": world.new_id("line_item"),
        "object": "line_item",
        "amount": amount,
        "currency": invoice["currency"],
        "description": description,
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": False,
        "metadata": {},
        "parent": None,
        "period": period,
        "pretax_credit_amounts": [],
        "pricing": None,
        "quantity": 1,
        "quantity_decimal": "1",
        "subscription": None,
        "subtotal": amount,
        "taxes": [],
    }
    made.update(fields)
    return made


def recurring_lines(
    world: World, invoice: Object, subscription: Object, item: Object, *, free: bool = False
) -> list[Object]:
    """The lines for a whole period of an item, one unless its price has tiers; `free` for a trial."""
    price, quantity = item["price"], item.get("quantity", 0)
    if free or is_metered(price) or price["billing_scheme"] != "tiered":
        return [recurring_line(world, invoice, subscription, item, free=free)]
    lines = []
    for portion in portions(world, price, quantity):
        amount, words = (
            Fraction(portion.unit or 0) * portion.units,
            portion_description(world, price, portion),
        )
        fields = _of_item(subscription, item, portion.units, portion.unit or "0")
        lines.append(line(world, invoice, amount=round_half_up(amount), description=words, **fields))
        if portion.flat is not None:
            amount, words = Fraction(portion.flat), portion_description(world, price, portion, flat=True)
            fields = _of_item(subscription, item, 0, None)
            lines.append(line(world, invoice, amount=round_half_up(amount), description=words, **fields))
    _owe(world, invoice, item, lines)
    return lines


def recurring_line(
    world: World, invoice: Object, subscription: Object, item: Object, *, free: bool = False
) -> Object:
    """One line for a whole period of an item."""
    price, quantity = item["price"], item.get("quantity", 0)
    amount = 0 if free or is_metered(price) else round_half_up(price_amount(world, price, quantity))
    words = (
        f"Free trial for {quantity} × {product_name(world, price)}"
        if free
        else line_description(world, price, quantity)
    )
    fields = _of_item(subscription, item, quantity, "0" if free else price["unit_amount_decimal"])
    made = line(world, invoice, amount=amount, description=words, **fields)
    _owe(world, invoice, item, [] if free or is_metered(price) else [made])
    return made


def _of_item(subscription: Object, item: Object, quantity: int, unit: str | None) -> Object:
    return {
        "discounts": list(item["discounts"]),
        "period": {"start": item["current_period_start"], "end": item["current_period_end"]},
        "parent": line_parent(subscription["id"], item["id"]),
        "pricing": pricing(item["price"], unit),
        "quantity": quantity,
        "quantity_decimal": str(quantity),
        "subscription": subscription["id"],
        "metadata": dict(subscription["metadata"]),
    }


def _owe(world: World, invoice: Object, item: Object, lines: list[Object]) -> None:
    """An item remembers what was debited for it, for later credits."""
    debit = {
        "price": item["price"]["id"],
        "quantity": item.get("quantity", 0),
        "start": item["current_period_start"],
        "end": item["current_period_end"],
        "invoice": invoice["id"],
        "lines": [each["id"] for each in lines],
    }
    world.note(item["id"], debits=[debit] if lines else [])


def line_parent(
    subscription: str, item: str, *, invoice_item: str | None = None, credited: Object | None = None
) -> Object:
    """Where a subscription's line comes from."""
    return {
        "type": "subscription_item_details",
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": invoice_item,
            "proration": invoice_item is not None,
            "proration_details": {"credited_items": credited},
            "subscription": subscription,
            "subscription_item": item,
        },
    }


def pricing(price: Object, unit: str | None) -> Object:
    """A line's `pricing`."""
    return {
        "type": "price_details",
        "price_details": {"price": price["id"], "product": price["product"]},
        "unit_amount_decimal": unit,
    }


def set_lines(world: World, invoice: Object, lines: list[Object]) -> None:
    """Replace an invoice's lines and compute its totals; a discount for once that took something off is over."""
    lines, off, used = lines_reduced(world, invoice, lines)
    subtotal = sum(each["amount"] for each in lines)
    total = subtotal - sum(off.values())
    amounts = discount_amounts(off)
    world.update(
        invoice,
        lines={**invoice["lines"], "data": lines, "total_count": len(lines)},
        subtotal=subtotal,
        subtotal_excluding_tax=subtotal,
        total=total,
        total_discount_amounts=amounts,
        total_pretax_credit_amounts=pretax(amounts),
        total_excluding_tax=total,
        amount_due=max(total, 0),
        amount_remaining=max(total, 0),
    )
    use(world, used)


def pending_items(world: World, customer: str, *subscriptions: str | None) -> list[Object]:
    """Invoice items that wait for an invoice, oldest first: of subscriptions, and (None) the customer's own."""
    table = world.tables["invoiceitem"]
    waiting = [item for item in table.newest_first("customer", customer) if item["invoice"] is None]
    return [item for item in reversed(waiting) if _subscription_of_item(item) in subscriptions]


def _subscription_of_item(item: Object) -> str | None:
    return item["parent"]["subscription_details"]["subscription"] if item["parent"] else None


def sweep(world: World, invoice: Object, items: list[Object]) -> list[Object]:
    """Lines for pending items, which from now on belong to the invoice."""
    lines = []
    for item in items:
        side = world.side.get(item["id"], {})
        if "item" in side:
            parent = line_parent(
                item["parent"]["subscription_details"]["subscription"],
                side["item"],
                invoice_item=item["id"],
                credited=side.get("credited"),
            )
        else:
            details = {
                "invoice_item": item["id"],
                "proration": False,
                "proration_details": None,
                "subscription": _subscription_of_item(item),
            }
            parent = {
                "type": "invoice_item_details",
                "invoice_item_details": details,
                "subscription_item_details": None,
            }
        made = line(
            world,
            invoice,
            amount=item["amount"],
            description=item["description"],
            period=item["period"],
            discountable=item["discountable"],
            discounts=list(item["discounts"]),
            metadata=item["metadata"],
            parent=parent,
            pricing=item["pricing"],
            quantity=item["quantity"],
            quantity_decimal=item["quantity_decimal"],
            subscription=_subscription_of_item(item),
        )
        world.update(item, invoice=invoice["id"])
        world.settle(item)
        _debit_was_invoiced(world, side.get("item"), item["id"], invoice["id"], made["id"])
        lines.append(made)
    return lines


def _debit_was_invoiced(world: World, item: str | None, invoice_item: str, invoice: str, line: str) -> None:
    debits = world.side.get(item or "", {}).get("debits", [])
    if any(debit.get("invoice_item") == invoice_item for debit in debits):
        named = {"invoice": invoice, "lines": [line]}
        world.note(
            item or "", debits=[d | named if d.get("invoice_item") == invoice_item else d for d in debits]
        )
