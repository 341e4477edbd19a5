"""What a price asks for a quantity, and how Stripe words it."""

from fractions import Fraction

from billing.sandbox.money import shown
from billing.sandbox.table import Object
from billing.sandbox.world import World


def price_amount(price: Object, quantity: int) -> Fraction:
    """The exact amount, in minor units, of a quantity for a whole period."""
    if divisor := price["transform_quantity"]:
        whole, rest = divmod(quantity, divisor["divide_by"])
        quantity = whole + (1 if rest and divisor["round"] == "up" else 0)
    if price["billing_scheme"] == "tiered":
        return _tiered(price, quantity)
    return Fraction(price["unit_amount_decimal"] or 0) * quantity


def _tiered(price: Object, quantity: int) -> Fraction:
    total, below = Fraction(0), 0
    for tier in price["tiers"]:
        top = tier["up_to"]
        if price["tiers_mode"] == "volume":
            if top is None or quantity <= top:
                return Fraction(tier["unit_amount_decimal"] or 0) * quantity + Fraction(
                    tier["flat_amount_decimal"] or 0
                )
            continue
        if quantity > below or (below == 0 and quantity == 0):
            within = (quantity if top is None else min(quantity, top)) - below
            total += Fraction(tier["unit_amount_decimal"] or 0) * within + Fraction(
                tier["flat_amount_decimal"] or 0
            )
        if top is None or quantity <= top:
            break
        below = top
    return total


def is_metered(price: Object) -> bool:
    """Billed by usage, which the sandbox never has any of."""
    return bool(price["recurring"] and price["recurring"]["usage_type"] == "metered")


def product_name(world: World, price: Object) -> str:
    """The name of a price's product."""
    product = world.find("product", price["product"])
    return product["name"] if product else "Product"


def quantity_and_name(world: World, price: Object, quantity: int) -> str:
    """'5 × Product', or '5 users × Product' where the product names its unit."""
    product = world.find("product", price["product"]) or {}
    unit = product.get("unit_label")
    counted = f"{quantity} {unit}{'' if quantity == 1 else 's'}" if unit else str(quantity)
    return f"{counted} × {product_name(world, price)}"


def line_description(world: World, price: Object, quantity: int) -> str:
    """A recurring line's words: '5 × Product (at $25.00 / month)'."""
    interval, count = price["recurring"]["interval"], price["recurring"]["interval_count"]
    per = interval if count == 1 else f"every {count} {interval}s"
    if price["unit_amount_decimal"] is None:
        return f"{quantity_and_name(world, price, quantity)} (per {per})"
    at = shown(Fraction(price["unit_amount_decimal"]), price["currency"])
    return f"{quantity_and_name(world, price, quantity)} (at {at} / {per})"


def proration_name(world: World, price: Object, quantity: int) -> str:
    """As in prorations: one of something is only its name."""
    return product_name(world, price) if quantity == 1 else quantity_and_name(world, price, quantity)
