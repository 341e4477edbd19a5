"""Subscription schedules."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.errors import required as missing_param
from billing.sandbox.listing import PAGE_BY_TIME, in_range, page
from billing.sandbox.machine.phases import KIND
from billing.sandbox.machine.schedules import (
    cancel,
    create_schedule,
    from_subscription,
    release,
    update,
)
from billing.sandbox.params import (
    anything,
    boolean,
    choice,
    either,
    integer,
    list_of,
    metadata,
    moments,
    natural,
    positive,
    required,
    text,
    text_of,
)
from billing.sandbox.resources.discounts import DISCOUNTS
from billing.sandbox.resources.subscriptions import PRICE_DATA, PRORATION
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object

NOUN = "subscription schedule"
COLLECTION = choice("charge_automatically", "send_invoice")
INVOICE_SETTINGS = {"days_until_due": natural, "issuer": {"type": required(choice("self"))}}
DEFAULTS = {
    "billing_cycle_anchor": choice("automatic", "phase_start"),
    "collection_method": COLLECTION,
    "default_payment_method": text,
    "description": text_of(500),
    "invoice_settings": INVOICE_SETTINGS,
}
ITEM = {
    "discounts": DISCOUNTS,
    "metadata": metadata,
    "price": text,
    "price_data": PRICE_DATA,
    "quantity": natural,
}
NEW_PHASE: dict[str, Any] = {
    "billing_cycle_anchor": choice("automatic", "phase_start"),
    "collection_method": COLLECTION,
    "default_payment_method": text,
    "description": text_of(500),
    "discounts": DISCOUNTS,
    "duration": {
        "interval": required(choice("day", "month", "week", "year")),
        "interval_count": positive,
    },
    "end_date": integer,
    "invoice_settings": INVOICE_SETTINGS,
    "items": required(list_of(ITEM)),
    "metadata": metadata,
    "proration_behavior": PRORATION,
    "trial": boolean,
    "trial_end": integer,
}
PHASE: dict[str, Any] = {
    **NEW_PHASE,
    "end_date": either(choice("now"), integer),
    "start_date": either(choice("now"), integer),
    "trial_end": either(choice("now"), integer),
}
FIELDS: dict[str, Any] = {
    "default_settings": DEFAULTS,
    "end_behavior": choice("cancel", "release"),
    "metadata": metadata,
}


@endpoint(
    "POST",
    "/v1/subscription_schedules",
    **FIELDS,
    billing_mode={"type": required(choice("classic", "flexible")), "flexible": anything},
    customer=text,
    from_subscription=text,
    phases=list_of(NEW_PHASE),
    start_date=either(choice("now"), integer),
)
def create(call: Call) -> Object:
    """A schedule for a subscription that is there, or for one to come."""
    world, params = call.world, call.params
    if id := params.get("from_subscription"):
        if set(params) - {"from_subscription", "expand"}:
            raise invalid(
                "You cannot set other parameters when `from_subscription` is set.", param="from_subscription"
            )
        return from_subscription(world, world.get("subscription", id, param="from_subscription"))
    if not params.get("customer"):
        raise missing_param("customer")
    return create_schedule(world, world.get("customer", params["customer"], param="customer"), params)


@endpoint("GET", "/v1/subscription_schedules/{}")
def retrieve(call: Call) -> Object:
    """A schedule."""
    return call.find(KIND, NOUN)


@endpoint(
    "POST",
    "/v1/subscription_schedules/{}",
    **FIELDS,
    phases=list_of(PHASE),
    proration_behavior=PRORATION,
)
def change(call: Call) -> Object:
    """Change the current and future phases."""
    return update(call.world, call.find(KIND, NOUN), call.params)


@endpoint("POST", "/v1/subscription_schedules/{}/release", preserve_cancel_date=boolean)
def release_schedule(call: Call) -> Object:
    """Let the subscription go on by itself."""
    keep = call.params.get("preserve_cancel_date", False)
    return release(call.world, call.find(KIND, NOUN), keep_end=keep)


@endpoint("POST", "/v1/subscription_schedules/{}/cancel", invoice_now=boolean, prorate=boolean)
def cancel_schedule(call: Call) -> Object:
    """End schedule and subscription."""
    params = call.params
    how = {"invoice_now": params.get("invoice_now", True), "prorate": params.get("prorate", True)}
    return cancel(call.world, call.find(KIND, NOUN), **how)


ENDS = ("canceled_at", "completed_at", "released_at")


@endpoint(
    "GET",
    "/v1/subscription_schedules",
    **PAGE_BY_TIME,
    canceled_at=moments,
    completed_at=moments,
    released_at=moments,
    customer=text,
    scheduled=boolean,
)
def list_schedules(call: Call) -> Object:
    """Schedules, newest first."""
    params = call.params

    def keep(schedule: Object) -> bool:
        return all(in_range(schedule[key], params[key]) for key in ENDS if key in params) and (
            not params.get("scheduled") or schedule["status"] == "not_started"
        )

    return page(call, KIND, by="customer", keep=keep)
