"""How a subscription ends because somebody asks: at once, or at a moment that is planned, and may be taken back."""

from typing import Any

from billing.sandbox.errors import ApiError, invalid
from billing.sandbox.machine.cycle import invoice_pending, items_of, set_items
from billing.sandbox.machine.lines import pending_items
from billing.sandbox.machine.payments import finalize_and_collect
from billing.sandbox.machine.proration import charge, credit
from billing.sandbox.machine.signup import end_wanted
from billing.sandbox.machine.status import ENDED, end, expire
from billing.sandbox.table import Object
from billing.sandbox.world import World


def set_cancellation(world: World, subscription: Object, params: dict[str, Any]) -> bool:
    """Plan the end that the parameters ask for, or take it back; whether that was prorated."""
    now = world.now_of(subscription["customer"])
    details = subscription["cancellation_details"]
    behavior = params.get("proration_behavior", "create_prorations")
    prorated_at = params.get("proration_date") or now
    if params.get("cancel_at_period_end") and params.get("cancel_at"):
        raise invalid("You may only specify one of these parameters: cancel_at, cancel_at_period_end.")
    if params.get("cancel_at_period_end") is True:
        longer = lengthen(world, subscription, None, behavior, prorated_at)
        at = min(item["current_period_end"] for item in items_of(subscription))
    elif params.get("cancel_at"):
        at = end_wanted(params["cancel_at"], items_of(subscription))
        world.note(subscription["id"], end_prorates=behavior != "none")
        if at <= now:
            raise invalid("cancel_at must be a timestamp in the future.", param="cancel_at")
        longer = lengthen(world, subscription, at, behavior, prorated_at)
    elif params.get("cancel_at_period_end") is False or (
        "cancel_at" in params and params["cancel_at"] is None
    ):
        if subscription["cancel_at"] or subscription["cancel_at_period_end"]:
            world.update(
                subscription,
                cancel_at=None,
                cancel_at_period_end=False,
                canceled_at=None,
                cancellation_details={**details, "reason": None, "comment": None, "feedback": None},
            )
        return lengthen(world, subscription, None, behavior, prorated_at)
    elif subscription["cancel_at_period_end"]:
        world.update(
            subscription, cancel_at=min(item["current_period_end"] for item in items_of(subscription))
        )
        return False
    else:
        return False
    world.update(
        subscription,
        cancel_at=at,
        cancel_at_period_end=bool(params.get("cancel_at_period_end")),
        canceled_at=now,
        cancellation_details={**details, "reason": "cancellation_requested"},
    )
    return longer


def lengthen(
    world: World, subscription: Object, until: int | None, behavior: str, at: int | None = None
) -> bool:
    """A period that a planned end cut short is whole again when the end moves beyond it; whether that was prorated."""
    at = at or world.now_of(subscription["customer"])
    items, cut = [], []
    for item in items_of(subscription):
        whole = world.side.get(item["id"], {}).get("cut")
        if whole and (until is None or until > item["current_period_end"]):
            if behavior != "none":
                credit(world, subscription, item, at)
            world.note(item["id"], began=None, cut=None)
            item = {**item, "current_period_end": whole}
            cut.append(item)
        items.append(item)
    set_items(world, subscription, items)
    for item in cut if behavior != "none" else []:
        charge(world, subscription, item, at)
    return bool(cut) and behavior != "none"


def cancel_now(
    world: World, subscription: Object, *, invoice_now: bool, prorate: bool, details: dict[str, Any]
) -> Object:
    """End a subscription at once; credit and invoice what is asked for."""
    if subscription["status"] in ENDED:
        raise invalid(
            f"No such subscription: '{subscription['id']}'", param="id", code="resource_missing", status=404
        )
    if subscription["status"] == "incomplete":
        expire(world, subscription)
        return subscription
    now = world.now_of(subscription["customer"])
    if prorate and subscription["status"] != "trialing":
        for item in items_of(subscription):
            credit(world, subscription, item, now)
    if not invoice_now and not prorate:
        drop_prorations(world, subscription)
    if details:
        world.update(subscription, cancellation_details={**subscription["cancellation_details"], **details})
    invoice = invoice_pending(world, subscription, reason="subscription_update") if invoice_now else None
    end(world, subscription, reason="cancellation_requested")
    if invoice is not None:
        said: ApiError | None = finalize_and_collect(world, invoice)
        if said:
            world.update(invoice, auto_advance=False, next_payment_attempt=None)
    return subscription


def drop_prorations(world: World, subscription: Object) -> None:
    """Delete the prorations that wait: nobody asked to invoice them. What somebody added by hand stays."""
    for item in pending_items(world, subscription["customer"], subscription["id"]):
        if item["proration"]:
            world.emit("invoiceitem.deleted", item)
            world.remove(item)
