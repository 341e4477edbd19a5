"""Test clocks: a timeline for a few customers."""

from billing.sandbox.errors import invalid
from billing.sandbox.listing import PAGE, page
from billing.sandbox.machine.cycle import items_of
from billing.sandbox.machine.status import ENDED
from billing.sandbox.params import integer, required, text_of
from billing.sandbox.periods import DAY
from billing.sandbox.resources.customers import remove_customer
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World, job

KIND = "test_helpers.test_clock"
LONGEST = {"day": DAY, "week": 7 * DAY, "month": 31 * DAY, "year": 366 * DAY}


@endpoint("POST", "/v1/test_helpers/test_clocks", frozen_time=required(integer), name=text_of(300))
def create_clock(call: Call) -> Object:
    """A clock that stands still at a moment."""
    world, now = call.world, call.world.now()
    clock = world.insert(
        {
            "id": world.new_id(KIND),
            "object": KIND,
            "created": now,
            "deletes_after": now + 30 * DAY,
            "frozen_time": call.params["frozen_time"],
            "livemode": False,
            "name": call.params.get("name"),
            "status": "ready",
            "status_details": {},
        }
    )
    world.schedule(clock["deletes_after"], "delete_clock", clock["id"], None)
    world.emit("test_helpers.test_clock.created", clock)
    return clock


@endpoint("GET", "/v1/test_helpers/test_clocks/{}")
def retrieve_clock(call: Call) -> Object:
    """A clock."""
    return call.find(KIND, "test clock")


@endpoint("GET", "/v1/test_helpers/test_clocks", **PAGE)
def list_clocks(call: Call) -> Object:
    """Clocks, newest first."""
    return page(call, KIND)


@endpoint("POST", "/v1/test_helpers/test_clocks/{}/advance", frozen_time=required(integer))
def advance_clock(call: Call) -> Object:
    """Move a clock forward; what happens in between happens after this answer, then the clock is ready."""
    world, clock = call.world, call.find(KIND, "test clock")
    target = call.params["frozen_time"]
    if clock["status"] == "advancing":
        raise invalid("The test clock is already advancing.", code="test_clock_advancing")
    if target <= clock["frozen_time"]:
        raise invalid("The new frozen time must be after the current frozen time.", param="frozen_time")
    if target > clock["frozen_time"] + _farthest(world, clock):
        raise invalid(
            "You can only advance a test clock up to two intervals of its shortest subscription at a time (two years "
            "without subscriptions).",
            param="frozen_time",
        )
    world.note(clock["id"], target=target)
    details = {"advancing": {"target_frozen_time": target}}
    world.update(clock, status="advancing", status_details=details)
    world.emit("test_helpers.test_clock.advancing", clock)
    return clock


def _farthest(world: World, clock: Object) -> int:
    lengths = [
        LONGEST[item["price"]["recurring"]["interval"]] * item["price"]["recurring"]["interval_count"]
        for subscription in world.tables["subscription"].objects.values()
        if subscription["test_clock"] == clock["id"] and subscription["status"] not in ENDED
        for item in items_of(subscription)
    ]
    return 2 * min(lengths, default=366 * DAY)


@endpoint("DELETE", "/v1/test_helpers/test_clocks/{}")
def delete_clock(call: Call) -> Object:
    """Delete a clock and its customers."""
    return _delete(call.world, call.find(KIND, "test clock"))


@job("delete_clock")
def delete_old_clock(world: World, id: str) -> None:
    """Thirty days after it was made, a clock is deleted."""
    if clock := world.find(KIND, id):
        _delete(world, clock)


def _delete(world: World, clock: Object) -> Object:
    for customer in list(world.tables["customer"].objects.values()):
        if customer["test_clock"] == clock["id"]:
            remove_customer(world, customer)
    world.emit("test_helpers.test_clock.deleted", clock)
    stub = world.remove(clock)
    world.agenda.pop(clock["id"], None)
    return stub
