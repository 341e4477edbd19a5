"""Previews of invoices."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.errors import required as missing_param
from billing.sandbox.machine.preview import (
    keep,
    preview_change,
    preview_customer,
    preview_schedule,
    preview_signup,
)
from billing.sandbox.params import (
    anything,
    boolean,
    choice,
    decimal,
    either,
    integer,
    list_of,
    natural,
    required,
    text,
)
from billing.sandbox.resources.discounts import DISCOUNTS
from billing.sandbox.resources.invoice_items import FIELDS as ITEM
from billing.sandbox.resources.prices import currency_code
from billing.sandbox.resources.subscription_schedules import PHASE
from billing.sandbox.resources.subscriptions import CHANGED_ITEM, PRORATION
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object

MODE = {"type": required(choice("classic", "flexible")), "flexible": anything}
DETAILS: dict[str, Any] = {
    "billing_cycle_anchor": either(choice("now", "unchanged"), integer),
    "billing_mode": MODE,
    "cancel_at": either(integer, choice("min_period_end", "max_period_end", "")),
    "cancel_at_period_end": boolean,
    "cancel_now": boolean,
    "items": list_of(CHANGED_ITEM),
    "proration_behavior": PRORATION,
    "proration_date": integer,
    "resume_at": choice("now"),
    "start_date": integer,
    "trial_end": either(choice("now"), integer),
}
SCHEDULE: dict[str, Any] = {
    "billing_mode": MODE,
    "end_behavior": choice("cancel", "release"),
    "phases": list_of(PHASE),
    "proration_behavior": PRORATION,
}
EXTRA: dict[str, Any] = {
    **{key: parser for key, parser in ITEM.items() if key != "pricing"},
    "currency": currency_code,
    "invoiceitem": text,
    "price": text,
    "quantity": natural,
    "unit_amount": integer,
    "unit_amount_decimal": decimal,
}


@endpoint(
    "POST",
    "/v1/invoices/create_preview",
    currency=currency_code,
    customer=text,
    discounts=DISCOUNTS,
    invoice_items=list_of(EXTRA),
    preview_mode=choice("next", "recurring"),
    schedule=text,
    schedule_details=SCHEDULE,
    subscription=text,
    subscription_details=DETAILS,
)
def create_preview(call: Call) -> Object:
    """What would be invoiced, for a change, a new subscription, a schedule, or the next renewal."""
    return keep(call.world, _preview(call))


def _preview(call: Call) -> Object:
    world, params = call.world, call.params
    details = dict(params.get("subscription_details") or {})
    if params.get("preview_mode"):
        details["mode"] = params["preview_mode"]
    if "discounts" in params:
        details["discounts"] = params["discounts"]
    if details.get("cancel_at") == "":
        details["cancel_at"] = None
    extras = [_as_item(given) for given in params.get("invoice_items") or []]
    planned = {"schedule", "schedule_details"} & set(params)
    if planned and {"subscription", "subscription_details"} & set(params):
        raise invalid(
            "You may not use `schedule` and `subscription` parameters together.", param=min(planned)
        )
    if id := params.get("schedule"):
        schedule = world.get("subscription_schedule", id, param="schedule", noun="subscription schedule")
        return preview_schedule(world, schedule["customer"], schedule, params.get("schedule_details"), extras)
    if id := params.get("subscription"):
        subscription = world.get("subscription", id, param="subscription")
        if params.get("customer") not in (None, subscription["customer"]):
            raise invalid("The subscription does not belong to the customer.", param="customer")
        return preview_change(world, subscription, details, extras)
    if not params.get("customer"):
        raise missing_param("customer")
    customer = world.get("customer", params["customer"], param="customer")
    if planned:
        return preview_schedule(world, customer["id"], None, params["schedule_details"], extras)
    if details.get("items"):
        return preview_signup(world, customer, details, extras)
    return preview_customer(world, customer, details, extras)


def _as_item(given: dict[str, Any]) -> dict[str, Any]:
    """An item of a preview with the words of one that is made."""
    item = {key: value for key, value in given.items() if key not in ("price", "unit_amount")}
    if given.get("price"):
        item["pricing"] = {"price": given["price"]}
    if "unit_amount" in given:
        item["unit_amount_decimal"] = str(given["unit_amount"])
    return item
