"""Discounts, where they are held: on customers, subscriptions and invoices."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.machine.discounts import drop, redeem
from billing.sandbox.params import list_of, text
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World

DISCOUNTS: Any = list_of({"coupon": text, "discount": text, "promotion_code": text})


@endpoint("GET", "/v1/customers/{}/discount")
def retrieve_discount(call: Call) -> Object:
    """A customer's discount."""
    return _held(call.find("customer"))


@endpoint("DELETE", "/v1/customers/{}/discount")
def delete_discount(call: Call) -> Object:
    """Take a customer's discount away."""
    held = _held(call.find("customer"))
    return drop(call.world, call.world.get("discount", held["id"]))


@endpoint("DELETE", "/v1/subscriptions/{}/discount")
def delete_subscription_discount(call: Call) -> Object:
    """Take a subscription's discount away; the last one, when there are several."""
    subscription = call.find("subscription")
    if not subscription["discounts"]:
        raise _none()
    return drop(call.world, call.world.get("discount", subscription["discounts"][-1]))


def _held(customer: Object) -> Object:
    if not customer["discount"]:
        raise _none()
    held: Object = customer["discount"]
    return held


def _none() -> Exception:
    return invalid("No active discount for customer", code="resource_missing", status=404)


def on_invoice(world: World, invoice: Object, given: list[dict[str, Any]]) -> list[str]:
    """The discounts of a draft: redeemed for it, or kept."""
    return redeem(
        world,
        world.get("customer", invoice["customer"]),
        given,
        currency=invoice["currency"],
        worth=invoice["subtotal"],
        present=tuple(invoice["discounts"]),
        invoice=invoice["id"],
    )
