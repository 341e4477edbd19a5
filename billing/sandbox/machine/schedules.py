"""Subscription schedules: phases that a subscription enters by itself, and what comes after the last."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.errors import required as missing_param
from billing.sandbox.machine.changes import apply, collect
from billing.sandbox.machine.cycle import BEFORE_RENEWAL, finish, items_of, schedule_renewal, set_items
from billing.sandbox.machine.ending import cancel_now, lengthen
from billing.sandbox.machine.pending import discard
from billing.sandbox.machine.phases import KIND, bounds, new_schedule, phase_discounts, phase_of
from billing.sandbox.machine.signup import create, new_item
from billing.sandbox.machine.status import ENDED
from billing.sandbox.params import merged
from billing.sandbox.periods import DAY
from billing.sandbox.table import Object
from billing.sandbox.world import World, job

MOST = 10
OPEN = ("active", "not_started")


def from_subscription(world: World, subscription: Object) -> Object:
    """A schedule whose one phase is the subscription's present period."""
    if subscription["schedule"]:
        raise invalid(
            "You cannot migrate a subscription that is already attached to a schedule: "
            f"`{subscription['schedule']}`.",
            param="from_subscription",
        )
    if subscription["status"] in (*ENDED, "incomplete"):
        raise invalid(
            f"You cannot create a schedule from a subscription that is {subscription['status']}.",
            param="from_subscription",
        )
    customer = world.get("customer", subscription["customer"])
    items = items_of(subscription)
    phase = phase_of(
        {
            "items": [
                {key: item[key] for key in ("quantity", "metadata") if key in item}
                | {"price": item["price"]["id"], "discounts": phase_discounts(world, item["discounts"])}
                for item in items
            ],
            "discounts": phase_discounts(world, subscription["discounts"]),
            "trial_end": subscription["trial_end"] if subscription["status"] == "trialing" else None,
            "default_payment_method": subscription["default_payment_method"],
        },
        currency=subscription["currency"],
        start=min(item["current_period_start"] for item in items),
        end=max(item["current_period_end"] for item in items),
    )
    made = new_schedule(
        world,
        customer,
        dict(subscription["billing_mode"]),
        phases=[phase],
        status="active",
        subscription=subscription["id"],
        end_behavior="cancel" if subscription["cancel_at"] else "release",
    )
    world.update(subscription, schedule=made["id"])
    _look_ahead(world, made)
    _set_current(world, made)
    world.emit(f"{KIND}.created", made)
    return made


def create_schedule(world: World, customer: Object, params: dict[str, Any]) -> Object:
    """A schedule that begins a subscription of its own, now or later."""
    now = world.now_of(customer["id"])
    wanted = params.get("start_date", "now")
    start: int = now if wanted == "now" else wanted
    if not params.get("phases"):
        raise missing_param("phases")
    mode = (params.get("billing_mode") or {}).get("type", "flexible")
    flexible = {"proration_discounts": "included"} if mode == "flexible" else None
    phases = _phases(world, [{**params["phases"][0], "start_date": start}, *params["phases"][1:]], now, None)
    fields = {"end_behavior": params.get("end_behavior", "release")}
    made = new_schedule(
        world,
        customer,
        {"type": mode, "flexible": flexible, "updated_at": now},
        phases=phases,
        metadata=merged({}, params.get("metadata") or {}),
        **fields,
    )
    _set_defaults(world, made, params)
    world.emit(f"{KIND}.created", made)
    _look_ahead(world, made)
    if start <= now:
        begin(world, made)
    return made


def begin(world: World, schedule: Object) -> None:
    """The first phase begins: so does the subscription, whose first invoice is finalised an hour later."""
    customer = world.get("customer", schedule["customer"])
    phase, defaults = schedule["phases"][0], schedule["default_settings"]
    params = {
        "items": [_wanted(item) for item in phase["items"]],
        "metadata": phase["metadata"],
        "billing_mode": {"type": schedule["billing_mode"]["type"]},
        "collection_method": phase["collection_method"] or defaults["collection_method"],
        "days_until_due": (phase["invoice_settings"] or defaults["invoice_settings"])["days_until_due"],
        "default_payment_method": phase["default_payment_method"] or defaults["default_payment_method"],
        "description": phase["description"] or defaults["description"],
        "discounts": [_redeemed(each) for each in phase["discounts"]],
        "trial_end": phase["trial_end"],
        "first_draft": True,
        "schedule": schedule["id"],
    }
    subscription = create(world, customer, params)
    world.update(schedule, status="active", subscription=subscription["id"])
    _set_current(world, schedule)


def update(world: World, schedule: Object, params: dict[str, Any]) -> Object:
    """Replace the phases from the current one on, and what comes after them."""
    _check_open(schedule, "update")
    _set_defaults(world, schedule, params)
    changes: dict[str, Any] = {}
    if "metadata" in params:
        changes["metadata"] = merged(schedule["metadata"], params["metadata"])
    if "end_behavior" in params:
        changes["end_behavior"] = params["end_behavior"]
    now = world.now_of(schedule["customer"])
    before = current(schedule, now)
    if params.get("phases"):
        changes["phases"] = _phases(world, params["phases"], now, before)
    world.update(schedule, **changes)
    if schedule["status"] == "active":
        subscription = world.get("subscription", schedule["subscription"])
        phase = current(schedule, now)
        if phase is None:
            raise invalid("The phases must include the current one.", param="phases")
        if before is None or _terms(before) != _terms(phase):
            _enter(world, subscription, phase, params.get("proration_behavior", "create_prorations"))
        _set_current(world, schedule)
    _look_ahead(world, schedule)
    return schedule


def _set_defaults(world: World, schedule: Object, params: dict[str, Any]) -> None:
    if given := params.get("default_settings"):
        known = schedule["default_settings"]
        settings = {**known["invoice_settings"], **(given.get("invoice_settings") or {})}
        world.update(schedule, default_settings={**known, **given, "invoice_settings": settings})


def _phases(world: World, given: list[dict[str, Any]], now: int, present: Object | None) -> list[Object]:
    if len(given) > MOST:
        raise invalid(f"A subscription schedule can have at most {MOST} phases.", param="phases")
    if not any("start_date" in each for each in given):
        raise invalid(
            "The subscription schedule update is missing at least one phase with a `start_date` to anchor end dates "
            "to.",
            param="phases",
        )
    phases: list[Object] = []
    for index, each in enumerate(given):
        name = f"phases[{index}]"
        after = phases[-1]["end_date"] if phases else None
        start, end, currency = bounds(world, each, after, now, name)
        if index == 0 and present and start != present["start_date"] and start <= now:
            raise invalid(
                "You can not modify the start date of the current phase.", param=f"{name}[start_date]"
            )
        phases.append(phase_of(each, currency=currency, start=start, end=end))
    return phases


def current(schedule: Object, now: int) -> Object | None:
    """The phase a moment lies in."""
    return next((each for each in schedule["phases"] if each["start_date"] <= now < each["end_date"]), None)


def _terms(phase: Object) -> Object:
    return {key: value for key, value in phase.items() if key not in ("end_date", "proration_behavior")}


def _set_current(world: World, schedule: Object) -> None:
    phase = current(schedule, world.now_of(schedule["customer"]))
    shown = {"start_date": phase["start_date"], "end_date": phase["end_date"]} if phase else None
    world.update(schedule, current_phase=shown)
    if subscription := world.find("subscription", schedule["subscription"]):
        _plan_end(world, schedule, subscription)


def _plan_end(world: World, schedule: Object, subscription: Object) -> None:
    """A schedule that ends in cancellation says so on its subscription."""
    at = schedule["phases"][-1]["end_date"] if schedule["end_behavior"] == "cancel" else None
    if subscription["cancel_at"] != at:
        asked = {"canceled_at": world.now_of(schedule["customer"]) if at else None}
        world.update(subscription, cancel_at=at, cancel_at_period_end=False, **asked)
        lengthen(world, subscription, at, "create_prorations")
        schedule_renewal(world, subscription)


def _look_ahead(world: World, schedule: Object) -> None:
    now, clock, last = world.now_of(schedule["customer"]), schedule["test_clock"], schedule["phases"][-1]
    for phase in schedule["phases"]:
        if phase["start_date"] > now:
            world.schedule(phase["start_date"], "schedule_phase", schedule["id"], clock)
    world.schedule(last["end_date"], "schedule_phase", schedule["id"], clock)
    if last["end_date"] - 7 * DAY > now:
        world.schedule(last["end_date"] - 7 * DAY, "schedule_expiring", schedule["id"], clock)


def _wanted(item: Object) -> dict[str, Any]:
    discounts = [_redeemed(each) for each in item["discounts"]]
    given = {"price": item["price"], "metadata": item["metadata"], "discounts": discounts}
    return given | ({"quantity": item["quantity"]} if "quantity" in item else {})


def _redeemed(given: Object, present: list[str] | None = None) -> Object:
    for key in ("discount", "promotion_code", "coupon"):
        if given[key] and (key != "discount" or given[key] in (present or [])):
            return {key: given[key]}
    return {"coupon": given["coupon"]}


def _enter(world: World, subscription: Object, phase: Object, behavior: str) -> None:
    """Bring the subscription to what a phase says. At the end of a period nothing is left to prorate."""
    now = world.now_of(subscription["customer"])
    discard(world, subscription)
    params: dict[str, Any] = {"metadata": phase["metadata"], "proration_behavior": behavior}
    present = subscription["discounts"]
    wanted = [_redeemed(each, present) for each in phase["discounts"]]
    if [each.get("discount") for each in wanted] != present:
        params["discounts"] = wanted
    for field in ("default_payment_method", "description", "collection_method"):
        if phase[field]:
            params[field] = phase[field]
    if phase["invoice_settings"] and phase["invoice_settings"]["days_until_due"]:
        params["days_until_due"] = phase["invoice_settings"]["days_until_due"]
    if phase["trial_end"] and phase["trial_end"] > now:
        params["trial_end"] = phase["trial_end"]
    if phase["billing_cycle_anchor"] == "phase_start" and phase["start_date"] == now:
        params["billing_cycle_anchor"] = "now"
    items = items_of(subscription)
    if all(item["current_period_end"] == now for item in items) and "billing_cycle_anchor" not in params:
        set_items(world, subscription, _renewed(world, subscription, phase, now))
    else:
        params["items"] = _changes(items, phase)
    if (invoice := apply(world, subscription, params)) is not None:
        collect(world, subscription, invoice, "allow_incomplete")
    schedule_renewal(world, subscription)


def _renewed(world: World, subscription: Object, phase: Object, now: int) -> list[Object]:
    """A phase's items whose period ends now, ready for the renewal."""
    known = {item["price"]["id"]: item for item in items_of(subscription)}
    items = []
    for each in phase["items"]:
        if item := known.get(each["price"]):
            items.append({**item, **({"quantity": each["quantity"]} if "quantity" in each else {})})
        else:
            price = world.get("price", each["price"])
            items.append(new_item(world, subscription, price, _wanted(each), start=now, end=now))
    return items


def _changes(items: list[Object], phase: Object) -> list[dict[str, Any]]:
    known = {item["price"]["id"]: item for item in items}
    wanted = {each["price"] for each in phase["items"]}
    changes = [{"id": item["id"], "deleted": True} for price, item in known.items() if price not in wanted]
    for each in phase["items"]:
        if item := known.get(each["price"]):
            if "quantity" in each and each["quantity"] != item["quantity"]:
                changes.append({"id": item["id"], "quantity": each["quantity"]})
        else:
            changes.append(_wanted(each))
    return changes


def release(world: World, schedule: Object, *, keep_end: bool = False) -> Object:
    """Let the subscription go on without the schedule."""
    _check_open(schedule, "release")
    subscription = world.find("subscription", schedule["subscription"])
    if subscription:
        world.update(subscription, schedule=None)
        if schedule["end_behavior"] == "cancel" and not keep_end:
            world.update(subscription, cancel_at=None, canceled_at=None)
            lengthen(world, subscription, None, "create_prorations")
            schedule_renewal(world, subscription)
    world.update(
        schedule,
        status="released",
        released_at=world.now_of(schedule["customer"]),
        released_subscription=schedule["subscription"],
        subscription=None,
        current_phase=None,
    )
    world.emit(f"{KIND}.released", schedule)
    world.settle(schedule)
    return schedule


def cancel(world: World, schedule: Object, *, invoice_now: bool, prorate: bool) -> Object:
    """End the schedule and its subscription at once."""
    _check_open(schedule, "cancel")
    subscription = world.find("subscription", schedule["subscription"])
    if subscription and subscription["status"] not in ENDED:
        cancel_now(world, subscription, invoice_now=invoice_now, prorate=prorate, details={})
    else:
        world.update(schedule, status="canceled", canceled_at=world.now_of(schedule["customer"]))
        world.emit(f"{KIND}.canceled", schedule)
        world.settle(schedule)
    return schedule


def _check_open(schedule: Object, verb: str) -> None:
    if schedule["status"] not in OPEN:
        raise invalid(
            f"You cannot {verb} a subscription schedule that is currently in the `{schedule['status']}` status. It "
            "must be in one of the following statuses: `not_started`, `active`."
        )


@job("schedule_phase")
def advance(world: World, id: str) -> None:
    """A phase begins or the last one ends, unless that was seen to already."""
    schedule = world.find(KIND, id)
    if not schedule or schedule["status"] not in OPEN:
        return
    now = world.now_of(schedule["customer"])
    phase = current(schedule, now)
    if schedule["status"] == "not_started":
        if phase:
            begin(world, schedule)
        return
    subscription = world.get("subscription", schedule["subscription"])
    if phase is None and schedule["phases"][-1]["end_date"] <= now:
        if schedule["end_behavior"] == "cancel":
            finish(world, subscription)
        else:
            release(world, schedule)
    elif phase and phase["start_date"] != (schedule["current_phase"] or {}).get("start_date"):
        _enter(world, subscription, phase, phase["proration_behavior"])
        _set_current(world, schedule)


def before_renewal(world: World, subscription: Object) -> None:
    """A phase that begins with a period comes before the period's invoice."""
    if subscription["schedule"]:
        advance(world, subscription["schedule"])


BEFORE_RENEWAL.append(before_renewal)


@job("schedule_expiring")
def expiring(world: World, id: str) -> None:
    """Seven days before a schedule's end."""
    schedule = world.find(KIND, id)
    if not schedule or schedule["status"] != "active":
        return
    if schedule["phases"][-1]["end_date"] - 7 * DAY <= world.now_of(schedule["customer"]):
        world.emit(f"{KIND}.expiring", schedule)
