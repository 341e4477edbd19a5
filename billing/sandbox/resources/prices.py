"""Prices: per unit and tiered, one-time and recurring, in currencies of zero, two and three decimals."""

import itertools
from fractions import Fraction
from typing import Any

from billing.sandbox.errors import invalid, malformed
from billing.sandbox.errors import required as missing_param
from billing.sandbox.expansion import includable
from billing.sandbox.listing import PAGE_BY_TIME, page
from billing.sandbox.machine.pricing import tiers_of
from billing.sandbox.money import KNOWN
from billing.sandbox.params import (
    boolean,
    choice,
    decimal,
    either,
    list_of,
    merged,
    metadata,
    natural,
    positive,
    required,
    text,
    text_of,
)
from billing.sandbox.resources.products import create_product
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World


def currency_code(value: Any, name: str) -> str:
    """A three-letter currency, lower case."""
    code = str(text(value, name) or "").lower()
    if code not in KNOWN:
        raise malformed(
            f"Invalid currency: {code}. Stripe currently supports these currencies: usd, eur, …", param=name
        )
    return code


RECURRING = {
    "interval": required(choice("day", "week", "month", "year")),
    "interval_count": positive,
    "usage_type": choice("licensed", "metered"),
    "meter": text,
}
TIER = {
    "flat_amount": natural,
    "flat_amount_decimal": decimal,
    "unit_amount": natural,
    "unit_amount_decimal": decimal,
    "up_to": required(either(choice("inf"), positive)),
}


def amounts(params: dict[str, Any], stem: str) -> tuple[int | None, str | None]:
    """An amount in whole minor units (None when it has a fraction) and as a decimal string."""
    whole, exact = params.get(stem), params.get(f"{stem}_decimal")
    if whole is not None and exact is not None:
        raise malformed(f"You may only specify one of these parameters: {stem}, {stem}_decimal.")
    if whole is not None:
        return whole, str(whole)
    if exact is not None:
        value = Fraction(exact)
        return (int(value) if value.denominator == 1 else None), exact
    return None, None


@includable("price", "currency_options")
def currencies_of(world: World, price: Object) -> object:
    """What a price asks in each currency, when expanded: in its own, there are no others here."""
    names = ("custom_unit_amount", "tax_behavior", "unit_amount", "unit_amount_decimal")
    return {price["currency"]: {name: price[name] for name in names}}


@includable("price", "tiers")
def shown_tiers(world: World, price: Object) -> object:
    """The tiers of a price, which a price per unit has none of."""
    return tiers_of(world, price)


def new_price(world: World, params: dict[str, Any], product: str) -> Object:
    """Make a price of checked parameters."""
    whole, exact = amounts(params, "unit_amount")
    tiers = params.get("tiers")
    if params.get("billing_scheme") == "tiered":
        if not tiers or not params.get("tiers_mode"):
            raise missing_param("tiers" if not tiers else "tiers_mode")
        for name in ("unit_amount", "unit_amount_decimal", "transform_quantity"):
            if params.get(name) is not None:
                raise malformed(f"You cannot use `{name}` when `billing_scheme` is `tiered`.", param=name)
        _check_tiers(tiers)
    elif tiers or params.get("tiers_mode"):
        raise malformed("You can only use `tiers` when `billing_scheme` is `tiered`.", param="tiers")
    elif exact is None:
        raise malformed(
            "Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set.",
            param="unit_amount",
        )
    recurring = None
    if params.get("recurring"):
        recurring = {
            "interval_count": 1,
            "meter": None,
            "usage_type": "licensed",
            **params["recurring"],
        }
    scheme = params.get("billing_scheme", "per_unit")
    price: Object = {
        "id": world.new_id("price"),
        "object": "price",
        "active": params.get("active", True),
        "billing_scheme": scheme,
        "created": world.now(),
        "currency": params["currency"],
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": params.get("lookup_key"),
        "metadata": params.get("metadata") or {},
        "nickname": params.get("nickname"),
        "product": product,
        "recurring": recurring,
        "tax_behavior": params.get("tax_behavior", "unspecified"),
        "tiers_mode": params.get("tiers_mode"),
        "transform_quantity": params.get("transform_quantity"),
        "type": "recurring" if recurring else "one_time",
        "unit_amount": whole if scheme == "per_unit" else None,
        "unit_amount_decimal": exact if scheme == "per_unit" else None,
    }
    if scheme == "tiered":
        world.note(price["id"], tiers=[_tier(tier) for tier in tiers or []])
    world.insert(price)
    world.emit("price.created", price)
    return price


def _check_tiers(tiers: list[dict[str, Any]]) -> None:
    """Each tier begins where the one before it ends, the last has no end, and each asks something."""
    *bounds, last = [tier["up_to"] for tier in tiers]
    if last != "inf" or "inf" in bounds:
        raise malformed("The last tier, and only it, must have `up_to` set to `inf`.", param="tiers")
    if any(upper <= lower for lower, upper in itertools.pairwise(bounds)):
        raise malformed("The tiers must be in ascending order of `up_to`.", param="tiers")
    for index, tier in enumerate(tiers):
        if set(tier) == {"up_to"}:
            raise malformed("Each tier must have a unit amount or a flat amount.", param=f"tiers[{index}]")


def _tier(given: dict[str, Any]) -> Object:
    flat, flat_exact = amounts(given, "flat_amount")
    unit, unit_exact = amounts(given, "unit_amount")
    return {
        "flat_amount": flat,
        "flat_amount_decimal": flat_exact,
        "unit_amount": unit,
        "unit_amount_decimal": unit_exact,
        "up_to": None if given["up_to"] == "inf" else given["up_to"],
    }


@endpoint(
    "POST",
    "/v1/prices",
    active=boolean,
    billing_scheme=choice("per_unit", "tiered"),
    currency=required(currency_code),
    lookup_key=text_of(200),
    metadata=metadata,
    nickname=text,
    product=text,
    product_data={
        "id": text,
        "name": required(text),
        "metadata": metadata,
        "active": boolean,
        "unit_label": text_of(12),
    },
    recurring=RECURRING,
    tax_behavior=choice("exclusive", "inclusive", "unspecified"),
    tiers=list_of(TIER),
    tiers_mode=choice("graduated", "volume"),
    transfer_lookup_key=boolean,
    transform_quantity={"divide_by": required(positive), "round": required(choice("up", "down"))},
    unit_amount=natural,
    unit_amount_decimal=decimal,
)
def create_price(call: Call) -> Object:
    """A new price of an existing product, or of one made along."""
    world, params = call.world, call.params
    if data := params.get("product_data"):
        product = create_product(Call(world, "/v1/products", [], data))["id"]
    elif product := params.get("product"):
        world.get("product", product, param="product")
    else:
        raise missing_param("product")
    if key := params.get("lookup_key"):
        _take_lookup_key(world, key, bool(params.get("transfer_lookup_key")))
    return new_price(world, params, product)


def _take_lookup_key(world: World, key: str, transfer: bool) -> None:
    for other in world.tables["price"].objects.values():
        if other["lookup_key"] == key:
            if not transfer:
                raise invalid(f"A price (`{other['id']}`) already uses that lookup key.", param="lookup_key")
            world.update(other, lookup_key=None)


@endpoint("GET", "/v1/prices/{}")
def retrieve_price(call: Call) -> Object:
    """A price."""
    return call.find("price")


@endpoint(
    "POST",
    "/v1/prices/{}",
    active=boolean,
    lookup_key=text_of(200),
    metadata=metadata,
    nickname=text,
    tax_behavior=choice("exclusive", "inclusive", "unspecified"),
    transfer_lookup_key=boolean,
)
def update_price(call: Call) -> Object:
    """Change what may change of a price; never its amount."""
    world, params = call.world, dict(call.params)
    price = call.find("price")
    transfer = bool(params.pop("transfer_lookup_key", False))
    key = params.get("lookup_key")
    if key and key != price["lookup_key"]:
        _take_lookup_key(world, key, transfer)
    if "metadata" in params:
        params["metadata"] = merged(price["metadata"], params["metadata"])
    return world.update(price, **params)


@endpoint(
    "GET",
    "/v1/prices",
    **PAGE_BY_TIME,
    active=boolean,
    currency=currency_code,
    lookup_keys=list_of(text),
    product=text,
    recurring={"interval": text, "usage_type": text, "meter": text},
    type=choice("one_time", "recurring"),
)
def list_prices(call: Call) -> Object:
    """Prices, newest first."""
    params = call.params
    keys, recurring = params.get("lookup_keys"), params.get("recurring") or {}

    def keep(price: Object) -> bool:
        shape = price["recurring"] or {}
        return (not keys or price["lookup_key"] in keys) and all(
            shape.get(k) == v for k, v in recurring.items()
        )

    wanted: dict[str, Any] = {
        "active": params.get("active"),
        "currency": params.get("currency"),
        "type": params.get("type"),
    }
    return page(call, "price", by="product", keep=keep, **wanted)
