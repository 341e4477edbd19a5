"""Many customers at once: copies of one that was made through the API, with all that hangs on it.

What belongs to the customer is found by its ids, and turned into a plan that says where an id or a text with an id in
it stands. A copy is new ids at those places; everything else is shared, which the world allows because nested values
are never changed in place. No events are told of copies.
"""

import gc
import heapq
from collections.abc import Callable, Iterator
from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.kinds import KINDS
from billing.sandbox.table import Object
from billing.sandbox.world import World

# What several customers share.
COMMON = frozenset(
    "event product price coupon promotion_code webhook_endpoint test_helpers.test_clock "
    "billing_portal.configuration billing_portal.session".split()
)
SLICE = 200
MOST = 1_000_000

Plan = Callable[[dict[str, str]], Any]


def load(world: World, like: str, copies: int, spread: int = 0) -> Iterator[int]:
    """Copy a customer `copies` times, a slice at a step; yields how many there are so far.

    They are made one after the other over the `spread` seconds that follow the first one's making.
    """
    model = Model(world, like)
    collecting = gc.isenabled()
    gc.disable()  # nothing of all this is garbage
    try:
        for number in range(1, copies + 1):
            model.copy(number, later=spread * number // copies)
            if number % SLICE == 0:
                yield number
    finally:
        world.changes += 1
        gc.freeze()
        if collecting:
            gc.enable()


class Model:
    """A customer, and how to make another like it."""

    def __init__(self, world: World, like: str) -> None:
        self.world = world
        customer = world.get("customer", like, param="like")
        if customer.get("test_clock"):
            raise invalid("A customer on a test clock cannot be copied.", param="like")
        self.objects = list(_belongings(world, customer))
        self.kinds = {obj["id"]: str(obj["object"]) for obj in self.objects}
        for obj in self.objects:
            for list_name, kind in (("items", "subscription_item"), ("lines", "line_item")):
                if isinstance(inner := obj.get(list_name), dict):
                    self.kinds |= {each["id"]: kind for each in inner.get("data", ())}
        self.prefix = str(customer["invoice_prefix"])
        # Texts of their own that copies must not share: numbers of invoices, addresses of pages.
        self.tokens = [world.side[id]["token"] for id in self.kinds if world.side.get(id, {}).get("token")]
        names = {*self.kinds, self.prefix, *self.tokens}
        self.plans = [(world.tables[str(obj["object"])], _plan(obj, names)) for obj in self.objects]
        self.sides = [
            (id, _plan(world.side[id], names) or _same(world.side[id]))
            for id in self.kinds
            if id in world.side
        ]
        self.jobs = [job for job in world.agenda.get("", []) if job[3] in self.kinds]
        self.email, self.name = customer.get("email"), customer.get("name")

    def copy(self, number: int, later: int = 0) -> None:
        """One more, made so many seconds after the one it is like."""
        world = self.world
        ids = {id: world.new_id(kind) for id, kind in self.kinds.items()}
        ids[self.prefix] = world.secret(8).upper()
        for token in self.tokens:
            ids[token] = world.secret(len(token))
        for table, plan in self.plans:
            made = plan(ids) if plan else {}
            if later and "created" in made:
                made["created"] += later
            if made.get("object") == "customer":
                if self.email:
                    made["email"] = f"{number}.{self.email}"
                if self.name:
                    made["name"] = f"{self.name} {number}"
            table.add(made)
        for id, plan in self.sides:
            world.side[ids[id]] = dict(plan(ids))
        for at, _, kind, id in self.jobs:
            world.sequence += 1
            heapq.heappush(world.agenda[""], (at, world.sequence, kind, ids[id]))


def _belongings(world: World, customer: Object) -> Iterator[Object]:
    """The customer and everything that points at something of it, in the order of their kinds."""
    found: dict[str, Object] = {str(customer["id"]): customer}
    while True:
        before = len(found)
        for kind in KINDS:
            if kind in COMMON:
                continue
            for obj in world.tables[kind].objects.values():
                if obj["id"] not in found and any(
                    isinstance(value, str) and value in found for value in obj.values()
                ):
                    found[obj["id"]] = obj
        if len(found) == before:
            break
    place = {kind: at for at, kind in enumerate(KINDS)}
    order = {kind: world.tables[kind].position for kind in KINDS}
    yield from sorted(found.values(), key=lambda obj: (place[obj["object"]], order[obj["object"]][obj["id"]]))


def _same(value: Any) -> Plan:
    return lambda ids: value


def _plan(value: Any, names: set[str]) -> Plan | None:
    """How to make the value anew for other ids; None when it has none of them."""
    if isinstance(value, str):
        if value in names:
            return lambda ids: ids[value]
        held = [name for name in names if name in value]
        return (lambda ids: _replaced(value, held, ids)) if held else None
    if isinstance(value, dict):
        plans = [(key, plan) for key, each in value.items() if (plan := _plan(each, names))]
        return (lambda ids: {**value, **{key: plan(ids) for key, plan in plans}}) if plans else None
    if isinstance(value, list):
        each_plan = [_plan(each, names) or _same(each) for each in value]
        changes = any(_plan(each, names) for each in value)
        return (lambda ids: [plan(ids) for plan in each_plan]) if changes else None
    return None


def _replaced(text: str, held: list[str], ids: dict[str, str]) -> str:
    for name in held:
        text = text.replace(name, ids[name])
    return text
