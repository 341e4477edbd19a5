"""`add_invoice_items`: one-time prices that come along with a subscription's next invoice."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.errors import required as missing_param
from billing.sandbox.machine.discounts import redeem
from billing.sandbox.machine.lines import pricing
from billing.sandbox.machine.pricing import price_amount, product_name
from billing.sandbox.machine.proration import new_item
from billing.sandbox.money import round_half_up
from billing.sandbox.params import merged
from billing.sandbox.resources.prices import new_price
from billing.sandbox.table import Object
from billing.sandbox.world import World


def add_items(world: World, subscription: Object, given: list[dict[str, Any]]) -> None:
    """Make pending items of one-time prices."""
    customer = world.get("customer", subscription["customer"])
    for index, each in enumerate(given):
        price = _price(world, subscription, each, f"add_invoice_items[{index}]")
        quantity = each.get("quantity", 1)
        amount = round_half_up(price_amount(world, price, quantity))
        made = new_item(
            world,
            customer["id"],
            amount=amount,
            currency=price["currency"],
            description=product_name(world, price),
            discountable=each.get("discountable", True),
            metadata=merged({}, each.get("metadata") or {}),
            parent={
                "type": "subscription_details",
                "subscription_details": {"subscription": subscription["id"]},
            },
            pricing=pricing(price, price["unit_amount_decimal"]),
            quantity=quantity,
            quantity_decimal=str(quantity),
        )
        if discounts := each.get("discounts"):
            ids = redeem(
                world,
                customer,
                discounts,
                currency=price["currency"],
                worth=amount,
                param=f"add_invoice_items[{index}][discounts]",
                invoice_item=made["id"],
            )
            world.update(made, discounts=ids)


def _price(world: World, subscription: Object, given: dict[str, Any], param: str) -> Object:
    if data := given.get("price_data"):
        world.get("product", data["product"], param=f"{param}[price_data][product]")
        price = new_price(world, data, data["product"])
    elif given.get("price"):
        price = world.get("price", given["price"], param=f"{param}[price]")
    else:
        raise missing_param(f"{param}[price]")
    if price["recurring"]:
        raise invalid(
            "The price specified is set to `type=recurring` but this field only accepts prices with `type=one_time`.",
            param=f"{param}[price]",
        )
    if price["currency"] != subscription["currency"]:
        raise invalid(
            f"The price specified only supports `{price['currency']}`. This doesn't match the expected currency: "
            f"`{subscription['currency']}`.",
            param=f"{param}[price]",
        )
    return price
