"""Coupons."""

from typing import Any

from billing.sandbox.errors import malformed
from billing.sandbox.errors import required as missing_param
from billing.sandbox.expansion import includable
from billing.sandbox.listing import PAGE_BY_TIME, page
from billing.sandbox.machine.discounts import end_codes
from billing.sandbox.params import (
    choice,
    decimal,
    integer,
    list_of,
    merged,
    metadata,
    parse_value,
    positive,
    required,
    text,
    text_of,
)
from billing.sandbox.resources.prices import currency_code
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World


def by_currency(shape: dict[str, Any]) -> Any:
    """A map of currencies to a shape."""

    def parse(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise malformed(f"Invalid object: {name}", param=name)
        return {
            currency_code(code, name): parse_value(shape, each, f"{name}[{code}]")
            for code, each in value.items()
        }

    return parse


OPTIONS = by_currency({"amount_off": required(positive)})


def percentage(value: Any, name: str) -> float | int:
    """More than 0, at most 100, with two places."""
    number = float(decimal(value, name))
    if not 0 < number <= 100:
        raise malformed("Invalid percent_off: must be greater than 0 and at most 100.", param=name)
    return int(number) if number == int(number) else round(number, 2)


@endpoint(
    "POST",
    "/v1/coupons",
    amount_off=positive,
    applies_to={"products": list_of(text)},
    currency=currency_code,
    currency_options=OPTIONS,
    duration=choice("forever", "once", "repeating"),
    duration_in_months=positive,
    id=text,
    max_redemptions=positive,
    metadata=metadata,
    name=text_of(40),
    percent_off=percentage,
    redeem_by=integer,
)
def create_coupon(call: Call) -> Object:
    """A new coupon: a percentage or an amount off."""
    world, params = call.world, call.params
    now = world.now()
    off, percent = params.get("amount_off"), params.get("percent_off")
    if (off is None) == (percent is None):
        raise malformed("You must pass either percent_off or amount_off, and not both.", param="percent_off")
    if off is not None and not params.get("currency"):
        raise missing_param("currency")
    duration = params.get("duration", "once")
    if (duration == "repeating") != bool(params.get("duration_in_months")):
        raise malformed(
            "duration_in_months is required with, and only with, duration=repeating.",
            param="duration_in_months",
        )
    by = params.get("redeem_by")
    if by and by <= now:
        raise malformed("redeem_by must be in the future.", param="redeem_by")
    id = params.get("id") or world.new_id("coupon")
    if world.find("coupon", id):
        raise malformed(f"Coupon already exists: {id}", param="id", code="resource_already_exists")
    products = (params.get("applies_to") or {}).get("products")
    for index, product in enumerate(products or []):
        world.get("product", product, param=f"applies_to[products][{index}]")
    coupon = world.insert(
        {
            "id": id,
            "object": "coupon",
            "amount_off": off,
            "created": now,
            "currency": params.get("currency") if off is not None else None,
            "duration": duration,
            "duration_in_months": params.get("duration_in_months"),
            "livemode": False,
            "max_redemptions": params.get("max_redemptions"),
            "metadata": merged({}, params.get("metadata") or {}),
            "name": params.get("name"),
            "percent_off": percent,
            "redeem_by": by,
            "times_redeemed": 0,
            "valid": True,
        }
    )
    world.note(id, products=products or None, currency_options=params.get("currency_options"), coupon=None)
    if by:
        world.schedule(by, "end_coupon", id, None)
    world.emit("coupon.created", coupon)
    return coupon


@endpoint("GET", "/v1/coupons/{}")
def retrieve_coupon(call: Call) -> Object:
    """A coupon."""
    return call.find("coupon")


@endpoint("POST", "/v1/coupons/{}", currency_options=OPTIONS, metadata=metadata, name=text_of(40))
def update_coupon(call: Call) -> Object:
    """Change what people read of a coupon, or add currencies; never what it takes off."""
    world, coupon, params = call.world, call.find("coupon"), dict(call.params)
    if options := params.pop("currency_options", None):
        known = world.side[coupon["id"]].get("currency_options") or {}
        world.note(coupon["id"], currency_options={**known, **options})
    if "metadata" in params:
        params["metadata"] = merged(coupon["metadata"], params["metadata"])
    return world.update(coupon, **params)


@endpoint("DELETE", "/v1/coupons/{}")
def delete_coupon(call: Call) -> Object:
    """Nobody can redeem it any more; the discounts that came of it stay."""
    world, coupon = call.world, call.find("coupon")
    world.note(coupon["id"], coupon={**coupon, "valid": False})
    end_codes(world, coupon["id"])
    world.emit("coupon.deleted", coupon)
    return world.remove(coupon)


@endpoint("GET", "/v1/coupons", **PAGE_BY_TIME)
def list_coupons(call: Call) -> Object:
    """Coupons, newest first."""
    return page(call, "coupon")


@includable("coupon", "applies_to")
def applies_to(world: World, coupon: Object) -> Object:
    """The products it is limited to, when expanded."""
    return {"products": world.side.get(coupon["id"], {}).get("products") or []}


@includable("coupon", "currency_options")
def currency_options(world: World, coupon: Object) -> Object:
    """What it takes off in other currencies, when expanded."""
    own = {coupon["currency"]: {"amount_off": coupon["amount_off"]}} if coupon["currency"] else {}
    return {**own, **(world.side.get(coupon["id"], {}).get("currency_options") or {})}
