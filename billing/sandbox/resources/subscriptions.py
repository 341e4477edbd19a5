"""Subscriptions."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.listing import PAGE, PAGE_BY_TIME, in_range, page
from billing.sandbox.machine.changes import check_due, modify
from billing.sandbox.machine.ending import cancel_now
from billing.sandbox.machine.pausing import resume
from billing.sandbox.machine.signup import create
from billing.sandbox.machine.status import ENDED
from billing.sandbox.params import (
    anything,
    boolean,
    choice,
    decimal,
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
from billing.sandbox.resources.prices import RECURRING, currency_code
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object

PRICE_DATA = {
    "currency": required(currency_code),
    "product": required(text),
    "recurring": {key: RECURRING[key] for key in ("interval", "interval_count")},
    "tax_behavior": text,
    "unit_amount": natural,
    "unit_amount_decimal": decimal,
}
NEW_ITEM: dict[str, Any] = {
    "price": text,
    "price_data": PRICE_DATA,
    "quantity": natural,
    "metadata": metadata,
    "discounts": DISCOUNTS,
}
CHANGED_ITEM: dict[str, Any] = {**NEW_ITEM, "id": text, "deleted": boolean, "clear_usage": boolean}
PRORATION = choice("create_prorations", "always_invoice", "none")
PAYMENT_BEHAVIOR = choice(
    "allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"
)
FEEDBACK = choice(
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
    "",
)
CANCELLATION = {"comment": text, "feedback": FEEDBACK}
EXTRA: dict[str, Any] = {
    "discountable": boolean,
    "discounts": DISCOUNTS,
    "metadata": metadata,
    "price": text,
    "price_data": {key: value for key, value in PRICE_DATA.items() if key != "recurring"},
    "quantity": natural,
}
FIELDS: dict[str, Any] = {
    "add_invoice_items": list_of(EXTRA),
    "cancel_at": either(integer, choice("min_period_end", "max_period_end", "")),
    "cancel_at_period_end": boolean,
    "collection_method": choice("charge_automatically", "send_invoice"),
    "days_until_due": positive,
    "default_payment_method": text,
    "description": text_of(500),
    "discounts": DISCOUNTS,
    "metadata": metadata,
    "off_session": boolean,
    "payment_behavior": PAYMENT_BEHAVIOR,
    "payment_settings": {
        "payment_method_options": anything,
        "payment_method_types": list_of(text),
        "save_default_payment_method": choice("off", "on_subscription"),
    },
    "proration_behavior": PRORATION,
    "trial_end": either(choice("now"), integer),
    "trial_from_plan": boolean,
    "trial_settings": {
        "end_behavior": {"missing_payment_method": required(choice("cancel", "create_invoice", "pause"))}
    },
}
CHANGES: dict[str, Any] = {
    **FIELDS,
    "billing_cycle_anchor": choice("now", "unchanged"),
    "cancellation_details": CANCELLATION,
    "items": list_of(CHANGED_ITEM),
    "pause_collection": {
        "behavior": required(choice("keep_as_draft", "mark_uncollectible", "void")),
        "resumes_at": integer,
    },
    "proration_date": integer,
}


@endpoint(
    "POST",
    "/v1/subscriptions",
    **FIELDS,
    billing_cycle_anchor=integer,
    billing_mode={"type": required(choice("classic", "flexible")), "flexible": anything},
    currency=text,
    customer=required(text),
    items=list_of(NEW_ITEM),
    trial_period_days=natural,
)
def create_subscription(call: Call) -> Object:
    """Begin a subscription."""
    customer = call.world.get("customer", call.params["customer"], param="customer")
    check_due(call.params, {"collection_method": "charge_automatically", "days_until_due": None})
    params = {key: value for key, value in call.params.items() if not (key == "cancel_at" and value == "")}
    return create(call.world, customer, params)


@endpoint("GET", "/v1/subscriptions/{}")
def retrieve_subscription(call: Call) -> Object:
    """A subscription."""
    return call.find("subscription")


@endpoint("POST", "/v1/subscriptions/{}", **CHANGES)
def update_subscription(call: Call) -> Object:
    """Change a subscription."""
    params = dict(call.params)
    if params.get("cancel_at") == "":
        params["cancel_at"] = None
    return modify(call.world, call.find("subscription"), params)


@endpoint(
    "DELETE",
    "/v1/subscriptions/{}",
    cancellation_details=CANCELLATION,
    expand=list_of(text),
    invoice_now=boolean,
    prorate=boolean,
)
def cancel_subscription(call: Call) -> Object:
    """End a subscription at once."""
    params = call.params
    return cancel_now(
        call.world,
        call.find("subscription"),
        invoice_now=params.get("invoice_now", False),
        prorate=params.get("prorate", False),
        details=params.get("cancellation_details") or {},
    )


@endpoint(
    "POST",
    "/v1/subscriptions/{}/resume",
    billing_cycle_anchor=choice("now", "unchanged"),
    proration_behavior=PRORATION,
    proration_date=integer,
)
def resume_subscription(call: Call) -> Object:
    """Take up a paused subscription."""
    return resume(call.world, call.find("subscription"), call.params)


STATUSES = (
    "active",
    "all",
    "canceled",
    "ended",
    "incomplete",
    "incomplete_expired",
    "past_due",
    "paused",
    "trialing",
    "unpaid",
)


@endpoint(
    "GET",
    "/v1/subscriptions",
    **PAGE_BY_TIME,
    collection_method=text,
    current_period_end=moments,
    current_period_start=moments,
    customer=text,
    price=text,
    status=choice(*STATUSES),
    test_clock=text,
)
def list_subscriptions(call: Call) -> Object:
    """Subscriptions, newest first; those that ended only when asked for."""
    params = call.params
    status, price, clock = params.get("status"), params.get("price"), params.get("test_clock")
    if price:
        call.world.get("price", price, param="price")
    ranges = {key: params[key] for key in ("current_period_end", "current_period_start") if key in params}

    def keep(subscription: Object) -> bool:
        items = subscription["items"]["data"]
        return (
            _shows(subscription["status"], status)
            and (price is None or any(item["price"]["id"] == price for item in items))
            and all(any(in_range(item[key], bounds) for item in items) for key, bounds in ranges.items())
        )

    return page(
        call,
        "subscription",
        by="customer",
        keep=keep,
        clocked=clock is not None,
        test_clock=clock,
        collection_method=params.get("collection_method"),
    )


def _shows(status: str, asked: str | None) -> bool:
    if asked is None:
        return status not in ENDED
    if asked == "ended":
        return status in ENDED
    return asked == "all" or status == asked


@endpoint("GET", "/v1/subscription_items/{}")
def retrieve_item(call: Call) -> Object:
    """An item of a subscription."""
    return _owner(call)[1]


@endpoint("GET", "/v1/subscription_items", **PAGE, subscription=required(text))
def list_items(call: Call) -> Object:
    """A subscription's items."""
    from billing.sandbox.listing import page_of

    subscription = call.world.get("subscription", call.params["subscription"], param="subscription")
    return page_of(call, subscription["items"]["data"])


def _owner(call: Call) -> tuple[Object, Object]:
    side = call.world.side.get(call.id, {})
    subscription = call.world.find("subscription", side.get("subscription"))
    for item in subscription["items"]["data"] if subscription else []:
        if item["id"] == call.id:
            return subscription or {}, item
    raise invalid(f"No such subscription item: '{call.id}'", param="id", code="resource_missing", status=404)


HOW: dict[str, Any] = {
    "payment_behavior": PAYMENT_BEHAVIOR,
    "proration_behavior": PRORATION,
    "proration_date": integer,
}


@endpoint("POST", "/v1/subscription_items", **NEW_ITEM, **HOW, subscription=required(text))
def create_item(call: Call) -> Object:
    """Add an item to a subscription."""
    subscription = call.world.get("subscription", call.params["subscription"], param="subscription")
    known = {item["id"] for item in subscription["items"]["data"]}
    _modify_item(call, subscription, {key: call.params[key] for key in NEW_ITEM if key in call.params})
    return next(item for item in subscription["items"]["data"] if item["id"] not in known)


@endpoint("POST", "/v1/subscription_items/{}", **NEW_ITEM, **HOW, off_session=boolean)
def update_item(call: Call) -> Object:
    """Change an item."""
    subscription, _ = _owner(call)
    change = {key: call.params[key] for key in NEW_ITEM if key in call.params}
    _modify_item(call, subscription, {"id": call.id, **change})
    return _owner(call)[1]


@endpoint("DELETE", "/v1/subscription_items/{}", **HOW, clear_usage=boolean)
def delete_item(call: Call) -> Object:
    """Take an item away."""
    subscription, _ = _owner(call)
    _modify_item(call, subscription, {"id": call.id, "deleted": True})
    return {"id": call.id, "object": "subscription_item", "deleted": True}


def _modify_item(call: Call, subscription: Object, change: dict[str, Any]) -> None:
    how = {key: call.params[key] for key in HOW if key in call.params}
    modify(call.world, subscription, {"items": [change], **how})
