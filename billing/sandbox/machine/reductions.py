"""How much discounts take off: of an invoice's lines, and of what an item costs for a whole period.

Discounts apply in their order, each to what the ones before it left; an item's own come before its invoice's. A
percentage is rounded on each line. An amount is shared by what the lines still ask: rounded down, the last takes the
rest. Beside the rounded amounts goes the exact share that is kept, for prorations that round once.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from billing.sandbox.machine.pricing import is_metered, price_amount
from billing.sandbox.money import round_half_up
from billing.sandbox.table import Object
from billing.sandbox.world import World


@dataclass
class Reducible:
    """Something with a price that discounts may reduce (minor units)."""

    amount: int
    product: str | None
    own: list[str] = field(default_factory=list)
    discountable: bool = True
    kept: Fraction = Fraction(1)
    taken: dict[str, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """What is still asked."""
        return self.amount - sum(self.taken.values())

    def take(self, discount: str, amount: int) -> None:
        """Reduce by a rounded amount."""
        self.taken[discount] = self.taken.get(discount, 0) + amount


def coupon_of(world: World, discount: Object) -> Object:
    """A discount's coupon, which it keeps even when the coupon is deleted."""
    id = discount["source"]["coupon"]
    return world.find("coupon", id) or world.side[id]["coupon"]


def amount_off(world: World, coupon: Object, currency: str) -> int | None:
    """What a coupon takes off in a currency; None when it is a percentage, or none in this currency."""
    if coupon["currency"] == currency:
        return coupon["amount_off"]  # type: ignore[no-any-return]
    options = world.side.get(coupon["id"], {}).get("currency_options") or {}
    return options[currency]["amount_off"] if currency in options else None


def reduce(world: World, things: list[Reducible], discounts: list[str], currency: str) -> None:
    """Let discounts take their amounts off."""
    for thing in things:
        for id in thing.own if thing.discountable else []:
            _take(world, [thing], id, currency)
    for id in discounts:
        _take(world, [thing for thing in things if thing.discountable and thing.amount >= 0], id, currency)


def _take(world: World, things: list[Reducible], id: str, currency: str) -> None:
    coupon = coupon_of(world, world.get("discount", id))
    products = world.side.get(coupon["id"], {}).get("products")
    things = [thing for thing in things if products is None or thing.product in products]
    if coupon["percent_off"] is not None:
        rate = Fraction(str(coupon["percent_off"])) / 100
        for thing in things:
            thing.take(id, round_half_up(thing.left * rate))
            thing.kept *= 1 - rate
    elif off := amount_off(world, coupon, currency):
        for thing, amount in zip(things, shared(off, [thing.left for thing in things]), strict=True):
            thing.take(id, amount)
            if thing.amount:
                thing.kept = max(thing.kept - Fraction(amount, thing.amount), Fraction(0))


def shared(amount: int, parts: list[int]) -> list[int]:
    """An amount, at most their sum, shared among parts by their size: floors, and the remainder from the last on."""
    whole = sum(parts)
    amount = min(amount, whole)
    if whole <= 0:
        return [0 for _ in parts]
    shares = [amount * part // whole for part in parts]
    rest = amount - sum(shares)
    for index in reversed(range(len(parts))):
        more = min(rest, parts[index] - shares[index])
        shares[index] += more
        rest -= more
    return shares


def items_reduced(world: World, items: list[Object], discounts: list[str]) -> dict[str, Reducible]:
    """What each item costs for a whole period under discounts, by the item's id."""
    things = {
        item["id"]: Reducible(
            amount=round_half_up(price_amount(world, item["price"], item["quantity"])),
            product=item["price"]["product"],
            own=item["discounts"],
        )
        for item in items
        if not is_metered(item["price"])
    }
    if items:
        reduce(world, list(things.values()), discounts, items[0]["price"]["currency"])
    return things


def lines_reduced(
    world: World, invoice: Object, lines: list[Object]
) -> tuple[list[Object], dict[str, int], set[str]]:
    """An invoice's lines with what is taken off each, what each discount takes in all, and the discounts used."""
    things = [
        Reducible(
            amount=line["amount"],
            product=((line["pricing"] or {}).get("price_details") or {}).get("product"),
            own=line["discounts"],
            discountable=line["discountable"],
        )
        for line in lines
    ]
    reduce(world, things, invoice["discounts"], invoice["currency"])
    totals = dict.fromkeys(invoice["discounts"], 0)
    used: set[str] = set()
    reduced = []
    for line, thing in zip(lines, things, strict=True):
        for id, amount in thing.taken.items():
            totals[id] = totals.get(id, 0) + amount
        used.update(id for id, amount in thing.taken.items() if amount)
        used.update(_used_by_proration(world, line))
        amounts = discount_amounts(thing.taken)
        reduced.append({**line, "discount_amounts": amounts, "pretax_credit_amounts": pretax(amounts)})
    _keep_shares(world, lines, things)
    return reduced, totals, used


def discount_amounts(taken: dict[str, int]) -> list[Object]:
    """Amounts by discount, as the API shows them."""
    return [{"amount": amount, "discount": id} for id, amount in taken.items()]


def pretax(amounts: list[Object]) -> list[Object]:
    """The same as credits before tax."""
    return [{**each, "type": "discount"} for each in amounts]


def _keep_shares(world: World, lines: list[Object], things: list[Reducible]) -> None:
    """Items remember what share of their prices was really debited, for later credits."""
    of_item: dict[str, dict[str, Reducible]] = {}
    for line, thing in zip(lines, things, strict=True):
        details = (line["parent"] or {}).get("subscription_item_details")
        if details and not details["proration"]:
            of_item.setdefault(details["subscription_item"], {})[line["id"]] = thing
    for item, by_line in of_item.items():
        debits = world.side.get(item, {}).get("debits", [])
        kept = [[by_line[id] for id in debit.get("lines", ()) if id in by_line] for debit in debits]
        if any(kept):
            shares = [{**d, "kept": str(_kept(k))} if k else d for d, k in zip(debits, kept, strict=True)]
            world.note(item, debits=shares)


def _kept(things: list[Reducible]) -> Fraction:
    """What discounts left of all of them."""
    whole = sum(thing.amount for thing in things)
    left = sum((thing.kept * thing.amount for thing in things), Fraction(0))
    return left / whole if whole else things[0].kept


def _used_by_proration(world: World, line: Object) -> list[str]:
    """The discounts that a proration's charge is net of."""
    parent = line["parent"] or {}
    details = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    item = world.find("invoiceitem", details.get("invoice_item"))
    told = ((item or {}).get("proration_details") or {}).get("discount_amounts") or []
    return [each["discount"] for each in told if each["amount"] > 0]
