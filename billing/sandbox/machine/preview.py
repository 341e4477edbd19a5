"""What an invoice would be: the change is made for real, looked at, and undone."""

from collections.abc import Sequence
from typing import Any

from billing.sandbox.errors import ApiError, invalid
from billing.sandbox.machine.changes import apply, check_changeable
from billing.sandbox.machine.cycle import BEFORE_RENEWAL, credit_rest, cycle_invoice, items_of, roll
from billing.sandbox.machine.invoices import HOUR, apply_balance, draft
from billing.sandbox.machine.lines import pending_items, set_lines, sweep
from billing.sandbox.machine.pausing import take_up
from billing.sandbox.machine.proration import credit
from billing.sandbox.machine.schedules import advance, begin, create_schedule, update
from billing.sandbox.machine.signup import create
from billing.sandbox.machine.status import ENDED
from billing.sandbox.periods import DAY
from billing.sandbox.resources.invoice_items import changes_of, make_item
from billing.sandbox.table import Object
from billing.sandbox.world import World

KEPT = 3 * DAY
MOST_KEPT = 200

type Extras = Sequence[dict[str, Any]]


def keep(world: World, shown: Object) -> Object:
    """Let a preview be read again for 72 hours."""
    now = world.now_of(shown["customer"])
    while len(world.previews) >= MOST_KEPT:
        del world.previews[next(iter(world.previews))]
    world.previews[shown["id"]] = (now + KEPT, shown)
    return shown


def remembered(world: World, id: str) -> Object | None:
    """A preview that was shown not long ago."""
    until, shown = world.previews.get(id, (0, None))
    return shown if shown and world.now_of(shown["customer"]) <= until else None


def preview_change(
    world: World, subscription: Object, details: dict[str, Any], extras: Extras = ()
) -> Object:
    """The invoice a change would bring: the one at once, or else the next renewal with what is pending.

    `extras` are invoice items that are not there, or changes of those that are.
    """
    if subscription["status"] in ENDED:
        raise _none(subscription["customer"])
    with world.rehearsal():
        check_changeable(subscription, details)
        customer = world.get("customer", subscription["customer"])
        _inherit_nothing(world, customer, details)
        _add(world, customer, extras, subscription)
        recurring = details.pop("mode", "next") == "recurring"
        if details.pop("cancel_now", False):
            invoice = _cancelled(world, subscription, details)
        else:
            resuming = details.pop("resume_at", None) is not None
            at_once = (take_up if resuming else apply)(world, subscription, details)
            if at_once is None or recurring:
                at_once = _next(world, subscription, recurring=recurring)
            invoice = at_once
        shown = _shown(world, invoice)
    if details.get("items") or "proration_date" in details:
        told = shown["parent"]["subscription_details"]
        at = details.get("proration_date") or world.now_of(subscription["customer"])
        shown["parent"] = {
            **shown["parent"],
            "subscription_details": {**told, "subscription_proration_date": at},
        }
    return shown


def _add(world: World, customer: Object, extras: Extras, subscription: Object | None = None) -> None:
    """Invoice items as if they were there: the subscription's, or the customer's own."""
    mine = {"subscription": subscription["id"]} if subscription else {}
    for index, given in enumerate(extras):
        if id := given.get("invoiceitem"):
            item = world.get("invoiceitem", id, param=f"invoice_items[{index}][invoiceitem]")
            changes = changes_of(world, item, given)
            if "amount" in changes:
                changes["net_amount"] = changes["amount"]
            world.update(item, **changes)
        else:
            make_item(world, customer, {**given, **mine}, currency=(subscription or customer)["currency"])


def _inherit_nothing(world: World, customer: Object, details: dict[str, Any]) -> None:
    """An empty list of discounts previews without the customer's, too."""
    if details.get("discounts") == [] and customer["discount"]:
        world.update(customer, discount=None)


def preview_customer(world: World, customer: Object, details: dict[str, Any], extras: Extras = ()) -> Object:
    """The next invoice of a customer's soonest renewing subscription; of items alone when there is none."""
    live = [
        each
        for each in world.tables["subscription"].newest_first("customer", customer["id"])
        if each["status"] not in ENDED and not each["cancel_at_period_end"]
    ]
    if live:
        soonest = min(live, key=lambda each: min(item["current_period_end"] for item in items_of(each)))
        return preview_change(world, soonest, details, extras)
    if not extras:
        raise _none(customer["id"])
    with world.rehearsal():
        _inherit_nothing(world, customer, details)
        _add(world, customer, extras)
        now, items = world.now_of(customer["id"]), pending_items(world, customer["id"], None)
        currency = items[-1]["currency"]
        invoice = draft(world, customer, currency=currency, reason="upcoming", period=(now, now))
        set_lines(world, invoice, sweep(world, invoice, items))
        return _shown(world, invoice)


def preview_signup(world: World, customer: Object, details: dict[str, Any], extras: Extras = ()) -> Object:
    """The first invoice of a subscription that does not exist yet."""
    with world.rehearsal():
        _inherit_nothing(world, customer, details)
        _add(world, customer, extras)
        params = {**details, "payment_behavior": "default_incomplete"}
        subscription = create(world, customer, params)
        return _shown(world, world.get("invoice", subscription["latest_invoice"]))


def preview_schedule(
    world: World, customer: str, schedule: Object | None, details: dict[str, Any] | None, extras: Extras
) -> Object:
    """What a schedule invoices next, as it is or as `details` would make it; without a schedule, a new one's first."""
    with world.rehearsal():
        owner = world.get("customer", customer)
        subscription = world.find("subscription", schedule["subscription"]) if schedule else None
        known = subscription["latest_invoice"] if subscription else None
        _add(world, owner, extras, subscription)
        if schedule is None:
            given = details or {}
            first = (given.get("phases") or [{}])[0].get("start_date", "now")
            schedule = create_schedule(world, owner, {**given, "start_date": first})
        elif details:
            update(world, schedule, details)
        if schedule["status"] == "not_started":
            with world.at(schedule["phases"][0]["start_date"], schedule["test_clock"]):
                begin(world, schedule)
        subscription = world.find("subscription", schedule["subscription"])
        if subscription is None or subscription["status"] in ENDED:
            raise _none(customer)
        made = subscription["latest_invoice"]
        invoice = world.get("invoice", made) if made != known else _next(world, subscription)
        return _shown(world, invoice)


def _cancelled(world: World, subscription: Object, details: dict[str, Any]) -> Object:
    customer = world.get("customer", subscription["customer"])
    now = world.now_of(customer["id"])
    at = details.get("proration_date") or now
    if details.get("proration_behavior") != "none":
        for item in items_of(subscription):
            credit(world, subscription, item, at)
    start = min(item["current_period_start"] for item in items_of(subscription))
    invoice = draft(
        world,
        customer,
        currency=subscription["currency"],
        reason="upcoming",
        period=(start, now),
        subscription=subscription,
    )
    set_lines(world, invoice, sweep(world, invoice, pending_items(world, customer["id"], subscription["id"])))
    return invoice


def _next(world: World, subscription: Object, *, recurring: bool = False) -> Object:
    """What is invoiced next: by a phase of its schedule that begins before the period ends, or by the renewal."""
    schedule = world.find("subscription_schedule", subscription["schedule"])
    known, now = subscription["latest_invoice"], world.now_of(subscription["customer"])
    for phase in schedule["phases"] if schedule and not recurring else []:
        if now < phase["start_date"] < min(item["current_period_end"] for item in items_of(subscription)):
            with world.at(phase["start_date"], subscription["test_clock"]):
                advance(world, subscription["schedule"])
            if subscription["latest_invoice"] != known:
                return world.get("invoice", subscription["latest_invoice"])
    return _renewal(world, subscription, recurring=recurring)


def _renewal(world: World, subscription: Object, *, recurring: bool = False) -> Object:
    """The next renewal with what is pending, or what comes at the end; `recurring`: only the periods' own lines."""
    clock, pending = (
        subscription["test_clock"],
        pending_items(world, subscription["customer"], None, subscription["id"]),
    )
    start = min(item["current_period_start"] for item in items_of(subscription))
    at = min(item["current_period_end"] for item in items_of(subscription))
    last = subscription["cancel_at"]
    if last and last <= at and not recurring:
        with world.at(last, clock):
            credit_rest(world, subscription)
            if not pending_items(world, subscription["customer"], subscription["id"]):
                raise _none(subscription["customer"])
            return cycle_invoice(world, subscription, [], period=(start, last))
    for item in pending if recurring else []:
        world.remove(item)
    with world.at(at, clock):
        for see_to in BEFORE_RENEWAL:
            see_to(world, subscription)
        return cycle_invoice(world, subscription, roll(world, subscription, at), period=(start, at))


def _none(customer: str) -> ApiError:
    return invalid(f"No upcoming invoices for customer: '{customer}'", code="invoice_upcoming_none")


def _shown(world: World, invoice: Object) -> Object:
    """The draft as a preview: never stored, nothing due yet but known."""
    if invoice["status"] == "draft":
        apply_balance(world, invoice)
    id = f"upcoming_{invoice['id']}"
    lines = [{**line, "invoice": id} for line in invoice["lines"]["data"]]
    return {
        **invoice,
        "id": id,
        "amount_paid": 0,
        "amount_remaining": invoice["amount_due"],
        "attempt_count": 0,
        "attempted": False,
        "status": "draft",
        "number": None,
        "auto_advance": False,
        "billing_reason": "upcoming",
        "effective_at": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "next_payment_attempt": invoice["created"] + HOUR,
        "lines": {**invoice["lines"], "data": lines, "url": f"/v1/invoices/{id}/lines"},
        "status_transitions": dict.fromkeys(invoice["status_transitions"]),
    }
