"""What a price asks for a quantity, and how Stripe words it."""

from dataclasses import dataclass
from fractions import Fraction

from billing.sandbox.money import shown
from billing.sandbox.table import Object
from billing.sandbox.world import World


@dataclass(frozen=True)
class Portion:
    """What one tier of a price asks: for each of some units, and flat (minor units, with decimals)."""

    tier: int
    units: int
    unit: str | None
    flat: str | None


def price_amount(world: World, price: Object, quantity: int) -> Fraction:
    """The exact amount, in minor units, of a quantity for a whole period."""
    if divisor := price["transform_quantity"]:
        whole, rest = divmod(quantity, divisor["divide_by"])
        quantity = whole + (1 if rest and divisor["round"] == "up" else 0)
    if price["billing_scheme"] == "tiered":
        return sum(
            (
                Fraction(each.unit or 0) * each.units + Fraction(each.flat or 0)
                for each in portions(world, price, quantity)
            ),
            Fraction(0),
        )
    return Fraction(price["unit_amount_decimal"] or 0) * quantity


def tiers_of(world: World, price: Object) -> list[Object] | None:
    """A price's tiers, which the API shows only when they are asked for; None of a price per unit."""
    return world.side.get(price["id"], {}).get("tiers")


def portions(world: World, price: Object, quantity: int) -> list[Portion]:
    """The tiers that a quantity uses: by volume the one it falls in, graduated each up to that one."""
    used, below = [], 0
    for number, tier in enumerate(tiers_of(world, price) or [], start=1):
        top = tier["up_to"]
        last = top is None or quantity <= top
        if price["tiers_mode"] == "graduated":
            units, below = (quantity if last else top) - below, top
        elif not last:
            continue
        else:
            units = quantity
        used.append(Portion(number, units, tier["unit_amount_decimal"], tier["flat_amount_decimal"]))
        if last:
            break
    return used


def is_metered(price: Object) -> bool:
    """Billed by usage, which the sandbox never has any of."""
    return bool(price["recurring"] and price["recurring"]["usage_type"] == "metered")


def product_name(world: World, price: Object) -> str:
    """The name of a price's product."""
    product = world.find("product", price["product"])
    return product["name"] if product else "Product"


def quantity_and_name(world: World, price: Object, quantity: int) -> str:
    """'5 × Product', or '5 seat × Product' where the product names its unit, which is written as it is."""
    product = world.find("product", price["product"]) or {}
    unit = product.get("unit_label")
    return f"{quantity} {unit} × {product['name']}" if unit else f"{quantity} × {product_name(world, price)}"


def line_description(world: World, price: Object, quantity: int) -> str:
    """A recurring line's words: '5 × Product (at $25.00 / month)'."""
    words, per = quantity_and_name(world, price, quantity), _interval(price)
    if price["unit_amount_decimal"] is None:
        return f"{words} (per {per})"
    return f"{words} (at {shown(Fraction(price['unit_amount_decimal']), price['currency'])} / {per})"


def portion_description(world: World, price: Object, portion: Portion, *, flat: bool = False) -> str:
    """The words of a tier's line: '5 × Product (Tier 1 at $25.00 / month)'; `flat`, without a quantity."""
    name = product_name(world, price) if flat else quantity_and_name(world, price, portion.units)
    at = shown(Fraction((portion.flat if flat else portion.unit) or 0), price["currency"])
    return f"{name} (Tier {portion.tier} at {at} / {_interval(price)})"


def _interval(price: Object) -> str:
    interval, count = price["recurring"]["interval"], price["recurring"]["interval_count"]
    return str(interval) if count == 1 else f"every {count} {interval}s"


def proration_name(world: World, price: Object, quantity: int) -> str:
    """As in prorations: one of something is only its name."""
    return product_name(world, price) if quantity == 1 else quantity_and_name(world, price, quantity)
