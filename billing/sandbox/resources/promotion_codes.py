"""Promotion codes: what customers type to redeem a coupon."""

from typing import Any

from billing.sandbox.errors import invalid, malformed
from billing.sandbox.errors import required as missing_param
from billing.sandbox.listing import PAGE_BY_TIME, page
from billing.sandbox.params import (
    boolean,
    choice,
    integer,
    merged,
    metadata,
    positive,
    required,
    text,
    text_of,
)
from billing.sandbox.resources.coupons import by_currency
from billing.sandbox.resources.prices import currency_code
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World

OPTIONS = by_currency({"minimum_amount": positive})


def same_code(world: World, code: str, customer: str | None) -> Object | None:
    """The active promotion code with these letters, in whatever case, for everybody or the same customer."""
    for other in world.tables["promotion_code"].objects.values():
        if (
            other["active"]
            and other["code"].lower() == code.lower()
            and (customer is None or other["customer"] in (None, customer))
        ):
            return other
    return None


@endpoint(
    "POST",
    "/v1/promotion_codes",
    active=boolean,
    code=text_of(500),
    customer=text,
    expires_at=integer,
    max_redemptions=positive,
    metadata=metadata,
    promotion=required({"type": required(choice("coupon")), "coupon": text}),
    restrictions={
        "currency_options": OPTIONS,
        "first_time_transaction": boolean,
        "minimum_amount": positive,
        "minimum_amount_currency": currency_code,
    },
)
def create_promotion_code(call: Call) -> Object:
    """A code for a coupon."""
    world, params = call.world, call.params
    if not (id := params["promotion"].get("coupon")):
        raise missing_param("promotion[coupon]")
    coupon = world.get("coupon", id, param="promotion[coupon]")
    if not coupon["valid"]:
        raise invalid(f"Coupon expired: {id}", param="promotion[coupon]", code="coupon_expired")
    if customer := params.get("customer"):
        world.get("customer", customer, param="customer")
    code = params.get("code") or world.secret(8).upper()
    if not all(sign.isascii() and (sign.isalnum() or sign == "-") for sign in code):
        raise malformed("Promotion codes may only have letters, digits and hyphens.", param="code")
    if params.get("active", True) and same_code(world, code, customer):
        raise invalid(f"An active promotion code with `code: {code}` already exists.", param="code")
    restrictions = params.get("restrictions") or {}
    least = restrictions.get("minimum_amount")
    if (least is None) != (restrictions.get("minimum_amount_currency") is None):
        raise missing_param(f"restrictions[minimum_amount{'_currency' if least is not None else ''}]")
    expires = params.get("expires_at")
    if expires and expires <= world.now():
        raise malformed("expires_at must be in the future.", param="expires_at")
    made = world.insert(
        {
            "id": world.new_id("promotion_code"),
            "object": "promotion_code",
            "active": params.get("active", True),
            "code": code,
            "created": world.now(),
            "customer": customer,
            "customer_account": None,
            "expires_at": expires,
            "livemode": False,
            "max_redemptions": params.get("max_redemptions"),
            "metadata": merged({}, params.get("metadata") or {}),
            "promotion": {"coupon": id, "type": "coupon"},
            "restrictions": {
                "first_time_transaction": restrictions.get("first_time_transaction", False),
                "minimum_amount": least,
                "minimum_amount_currency": restrictions.get("minimum_amount_currency"),
            },
            "times_redeemed": 0,
        }
    )
    world.note(made["id"], currency_options=restrictions.get("currency_options"))
    if expires:
        world.schedule(expires, "end_promotion_code", made["id"], None)
    world.emit("promotion_code.created", made)
    return made


@endpoint("GET", "/v1/promotion_codes/{}")
def retrieve_promotion_code(call: Call) -> Object:
    """A promotion code."""
    return call.find("promotion_code", "promotion code")


@endpoint(
    "POST",
    "/v1/promotion_codes/{}",
    active=boolean,
    metadata=metadata,
    restrictions={"currency_options": OPTIONS},
)
def update_promotion_code(call: Call) -> Object:
    """Switch a code on or off, or change its metadata."""
    world, params = call.world, dict(call.params)
    code = call.find("promotion_code", "promotion code")
    if options := (params.pop("restrictions", None) or {}).get("currency_options"):
        known = world.side[code["id"]].get("currency_options") or {}
        world.note(code["id"], currency_options={**known, **options})
    if params.get("active") and not code["active"]:
        _check_activation(world, code)
    if "metadata" in params:
        params["metadata"] = merged(code["metadata"], params["metadata"])
    return world.update(code, **params)


def _check_activation(world: World, code: Object) -> None:
    coupon = world.find("coupon", code["promotion"]["coupon"])
    used_up = code["max_redemptions"] and code["times_redeemed"] >= code["max_redemptions"]
    if not coupon or not coupon["valid"] or used_up or (code["expires_at"] or 2**62) <= world.now():
        raise invalid("This promotion code can no longer be activated.", param="active")
    if same_code(world, code["code"], code["customer"]):
        raise invalid(f"An active promotion code with `code: {code['code']}` already exists.", param="active")


@endpoint(
    "GET",
    "/v1/promotion_codes",
    **PAGE_BY_TIME,
    active=boolean,
    code=text,
    coupon=text,
    customer=text,
)
def list_promotion_codes(call: Call) -> Object:
    """Promotion codes, newest first; by code, whatever its case."""
    params = call.params
    code, coupon = params.get("code"), params.get("coupon")

    def keep(each: Object) -> bool:
        return (code is None or each["code"].lower() == code.lower()) and (
            coupon is None or each["promotion"]["coupon"] == coupon
        )

    wanted: dict[str, Any] = {"active": params.get("active")}
    return page(call, "promotion_code", by="customer", keep=keep, **wanted)
