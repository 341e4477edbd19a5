"""Taking up a subscription that is paused because its trial ended without a way to pay."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.machine.changes import start_over
from billing.sandbox.machine.cycle import invoice_pending, items_of, next_end, schedule_renewal, set_items
from billing.sandbox.machine.payments import finalize_and_collect
from billing.sandbox.machine.proration import charge
from billing.sandbox.machine.signup import EXPIRES
from billing.sandbox.table import Object
from billing.sandbox.world import World


def resume(world: World, subscription: Object, params: dict[str, Any]) -> Object:
    """Take it up: active at once, or once what is invoiced for that is paid."""
    invoice = take_up(world, subscription, params)
    if invoice is not None:
        finalize_and_collect(world, invoice)
    if invoice is not None and invoice["status"] == "open":
        world.update(subscription, status="paused")
        at = world.now_of(subscription["customer"]) + EXPIRES
        world.schedule(at, "expire_resumption", invoice["id"], subscription["test_clock"])
    else:
        world.emit("customer.subscription.resumed", subscription)
    schedule_renewal(world, subscription)
    return subscription


def take_up(world: World, subscription: Object, params: dict[str, Any]) -> Object | None:
    """Make it active, from now on or in the period it would be in, and draft the invoice for that, if there is one."""
    if subscription["status"] != "paused":
        raise invalid(f"Only paused subscriptions can be resumed; this one is {subscription['status']}.")
    if subscription["collection_method"] != "charge_automatically":
        raise invalid("Only subscriptions with `collection_method=charge_automatically` can be resumed.")
    world.update(subscription, status="active")
    if params.get("billing_cycle_anchor", "now") == "now":
        return start_over(world, subscription)
    now = world.now_of(subscription["customer"])
    behavior = params.get("proration_behavior", "create_prorations")
    items = []
    for item in items_of(subscription):
        while item["current_period_end"] <= now:
            start = item["current_period_end"]
            end = next_end(subscription, item["price"], start)
            item = {**item, "current_period_start": start, "current_period_end": end}
        items.append(item)
    set_items(world, subscription, items)
    if behavior != "none":
        for item in items:
            charge(world, subscription, item, params.get("proration_date") or now)
    if behavior != "always_invoice":
        return None
    return invoice_pending(world, subscription, reason="subscription_update")
