"""What an invoice would be: the change is made for real, looked at, and undone."""

from typing import Any

from billing.sandbox.errors import ApiError, invalid
from billing.sandbox.machine.changes import apply, check_changeable
from billing.sandbox.machine.cycle import BEFORE_RENEWAL, credit_rest, cycle_invoice, items_of, roll
from billing.sandbox.machine.invoices import HOUR, apply_balance, draft
from billing.sandbox.machine.lines import pending_items, set_lines, sweep
from billing.sandbox.machine.proration import credit
from billing.sandbox.machine.signup import create
from billing.sandbox.machine.status import ENDED
from billing.sandbox.table import Object
from billing.sandbox.world import World


def preview_change(world: World, subscription: Object, details: dict[str, Any]) -> Object:
    """The invoice a change would bring: the one at once, or else the next renewal with what is pending."""
    if subscription["status"] in ENDED:
        raise _none(subscription["customer"])
    with world.rehearsal():
        check_changeable(subscription, details)
        _inherit_nothing(world, world.get("customer", subscription["customer"]), details)
        recurring = details.pop("mode", "next") == "recurring"
        if details.pop("cancel_now", False):
            invoice = _cancelled(world, subscription, details)
        else:
            at_once = apply(world, subscription, details)
            if at_once is None or recurring:
                at_once = _renewal(world, subscription, recurring=recurring)
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


def _inherit_nothing(world: World, customer: Object, details: dict[str, Any]) -> None:
    """An empty list of discounts previews without the customer's, too."""
    if details.get("discounts") == [] and customer["discount"]:
        world.update(customer, discount=None)


def preview_customer(world: World, customer: Object, details: dict[str, Any]) -> Object:
    """The next invoice of a customer's soonest renewing subscription."""
    live = [
        each
        for each in world.tables["subscription"].newest_first("customer", customer["id"])
        if each["status"] not in ENDED and not each["cancel_at_period_end"]
    ]
    if not live:
        raise _none(customer["id"])
    soonest = min(live, key=lambda each: min(item["current_period_end"] for item in items_of(each)))
    return preview_change(world, soonest, details)


def preview_signup(world: World, customer: Object, details: dict[str, Any]) -> Object:
    """The first invoice of a subscription that does not exist yet."""
    with world.rehearsal():
        _inherit_nothing(world, customer, details)
        params = {**details, "payment_behavior": "default_incomplete"}
        subscription = create(world, customer, params)
        invoice = world.get("invoice", subscription["latest_invoice"])
        shown = _shown(world, invoice)
        return {**shown, "attempted": False, "amount_paid": 0}


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
    apply_balance(world, invoice)
    id = f"upcoming_{invoice['id']}"
    lines = [{**line, "invoice": id} for line in invoice["lines"]["data"]]
    return {
        **invoice,
        "id": id,
        "status": "draft",
        "number": None,
        "auto_advance": False,
        "billing_reason": "upcoming",
        "effective_at": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "next_payment_attempt": invoice["created"] + HOUR,
        "lines": {**invoice["lines"], "data": lines, "url": f"/v1/invoices/upcoming/lines?id={id}"},
        "status_transitions": dict.fromkeys(invoice["status_transitions"]),
    }
