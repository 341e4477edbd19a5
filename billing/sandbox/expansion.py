"""`expand[]`: ids replaced by the objects they name, up to four levels deep, without touching what is stored."""

from collections.abc import Callable

from billing.sandbox.errors import malformed
from billing.sandbox.kinds import PREFIXES
from billing.sandbox.table import Object
from billing.sandbox.world import World

DEPTH = 4
EXPANDABLE = frozenset(
    "customer default_payment_method latest_invoice subscription invoice charge payment_intent latest_charge "
    "payment_method product price balance_transaction test_clock default_price source default_source schedule "
    "pending_setup_intent failure_balance_transaction coupon discount promotion_code discounts "
    "balance_transactions credit_note customer_balance_transaction refund configuration".split()
)
# Parts that Stripe shows only when asked: (object, field) -> what to show.
INCLUDED: dict[tuple[str, str], Callable[[World, Object], object]] = {}


def includable(kind: str, field: str) -> Callable[[Callable[[World, Object], object]], None]:
    """Declare a field of an object that is shown only when it is expanded."""

    def declare(make: Callable[[World, Object], object]) -> None:
        INCLUDED[kind, field] = make

    return declare


def expand(world: World, obj: Object, paths: list[str]) -> Object:
    """A copy of the answer with every path expanded; refuses what cannot be."""
    for path in paths:
        parts = path.split(".")
        if len(parts) > DEPTH:
            raise malformed(
                f"You cannot expand more than {DEPTH} levels of a property. Property: {path}", param="expand"
            )
        obj = _expand(world, obj, parts, path)
    return obj


def _expand(world: World, obj: Object, parts: list[str], path: str) -> Object:
    name, *rest = parts
    kind = obj.get("object", "")
    if (kind, name) in INCLUDED and not obj.get(name):
        shown = INCLUDED[kind, name](world, obj)
        if shown is None:
            return obj  # may be asked for, and this one has none
        obj = {**obj, name: shown}
    if name not in obj:
        raise malformed(
            f"This property cannot be expanded ({path}). You may want to try expanding a different property.",
            param="expand",
        )
    value = obj[name]
    if isinstance(value, str):
        found = resolve(world, value) if name in EXPANDABLE else None
        if found is None:
            raise malformed(f"This property cannot be expanded ({name}).", param="expand")
        value = found
    elif isinstance(value, list) and name != "data":
        value = [resolve(world, each) or each if isinstance(each, str) else each for each in value]
    if rest and isinstance(value, dict):
        value = _expand(world, value, rest, path)
    elif rest and isinstance(value, list):
        value = [_expand(world, each, rest, path) if isinstance(each, dict) else each for each in value]
    elif rest and value is not None:
        raise malformed(f"This property cannot be expanded ({path}).", param="expand")
    return {**obj, name: value}


def resolve(world: World, id: str) -> Object | None:
    """The object an id names, by its prefix; what was deleted shows as deleted, what a preview made as it was there."""
    kind = PREFIXES.get(id[: id.rfind("_") + 1])
    found = world.find(kind, id) if kind else None
    if found is None:
        found = next(
            (t.objects[id] for t in (world.tables["product"], world.tables["coupon"]) if id in t.objects),
            None,
        )
    found = found or world.deleted.get(id) or world.rehearsed.get(id)
    return found or world.side.get(id, {}).get("coupon")
