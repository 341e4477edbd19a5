"""What the billing portal lets customers do."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.listing import PAGE, page
from billing.sandbox.params import (
    anything,
    boolean,
    choice,
    list_of,
    merged,
    metadata,
    required,
    text,
    text_of,
)
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World

KIND = "billing_portal.configuration"
PRORATION = choice("always_invoice", "create_prorations", "none")
REASONS = (
    "customer_service low_quality missing_features other switched_service too_complex too_expensive unused"
).split()
FEATURES: dict[str, Any] = {
    "customer_update": {
        "allowed_updates": list_of(choice("address", "email", "name", "phone", "shipping", "tax_id")),
        "enabled": boolean,
    },
    "invoice_history": {"enabled": required(boolean)},
    "payment_method_update": {"enabled": required(boolean), "payment_method_configuration": text},
    "subscription_cancel": {
        "cancellation_reason": {"enabled": required(boolean), "options": list_of(choice(*REASONS))},
        "enabled": boolean,
        "mode": choice("at_period_end", "immediately"),
        "proration_behavior": PRORATION,
    },
    "subscription_update": {
        "billing_cycle_anchor": choice("now", "unchanged"),
        "default_allowed_updates": list_of(choice("price", "promotion_code", "quantity")),
        "enabled": boolean,
        "products": list_of(
            {"product": required(text), "prices": required(list_of(text)), "adjustable_quantity": anything}
        ),
        "proration_behavior": PRORATION,
        "schedule_at_period_end": anything,
        "trial_update_behavior": choice("continue_trial", "end_trial"),
    },
}
FIELDS: dict[str, Any] = {
    "business_profile": {"headline": text_of(60), "privacy_policy_url": text, "terms_of_service_url": text},
    "default_return_url": text,
    "features": FEATURES,
    "login_page": {"enabled": required(boolean)},
    "metadata": metadata,
    "name": text_of(256),
}
OFF: Object = {
    "customer_update": {"allowed_updates": [], "enabled": False},
    "invoice_history": {"enabled": False},
    "payment_method_update": {"enabled": False, "payment_method_configuration": None},
    "subscription_cancel": {
        "cancellation_reason": {"enabled": False, "options": REASONS},
        "enabled": False,
        "mode": "at_period_end",
        "proration_behavior": "none",
    },
    "subscription_update": {
        "billing_cycle_anchor": "unchanged",
        "default_allowed_updates": [],
        "enabled": False,
        "products": None,
        "proration_behavior": "none",
        "schedule_at_period_end": {"conditions": []},
        "trial_update_behavior": "end_trial",
    },
}


def default_configuration(world: World) -> Object:
    """The configuration that is used when none is named, made when it is first needed."""
    for made in world.tables[KIND].objects.values():
        if made["is_default"]:
            return made
    enabled = {"enabled": True}
    features = {
        "customer_update": {"allowed_updates": ["email", "address", "phone", "tax_id"], **enabled},
        **dict.fromkeys(("invoice_history", "payment_method_update", "subscription_cancel"), enabled),
    }
    return _new(world, {"features": features}, is_default=True)


def _new(world: World, params: dict[str, Any], *, is_default: bool) -> Object:
    id, now = world.new_id(KIND), world.now()
    made = world.insert(
        {
            "id": id,
            "object": KIND,
            "active": True,
            "application": None,
            "business_profile": dict.fromkeys(FIELDS["business_profile"]),
            "created": now,
            "default_return_url": None,
            "features": OFF,
            "is_default": is_default,
            "livemode": False,
            "login_page": {"enabled": False, "url": None},
            "metadata": {},
            "name": None,
            "updated": now,
        }
    )
    return _change(world, made, params)


def _change(world: World, made: Object, params: dict[str, Any]) -> Object:
    changes = dict(params)
    if "metadata" in changes:
        changes["metadata"] = merged(made["metadata"], changes["metadata"])
    if profile := changes.get("business_profile"):
        changes["business_profile"] = {**made["business_profile"], **profile}
    if page_ := changes.get("login_page"):
        url = f"{world.base}/p/login/{made['id']}" if page_["enabled"] else None
        changes["login_page"] = {"enabled": page_["enabled"], "url": url}
    if features := changes.get("features"):
        known = made["features"]
        changes["features"] = {
            **known, **{name: {**known[name], **(wanted or {})} for name, wanted in features.items()}
        }  # fmt: skip
    return world.update(made, **changes)


@endpoint("POST", "/v1/billing_portal/configurations", **{**FIELDS, "features": required(FEATURES)})
def create_configuration(call: Call) -> Object:
    """A set of features a portal session can be opened with."""
    made = _new(call.world, call.params, is_default=False)
    call.world.emit(f"{KIND}.created", made)
    return made


@endpoint("GET", "/v1/billing_portal/configurations/{}")
def retrieve_configuration(call: Call) -> Object:
    """A configuration."""
    return call.find(KIND)


@endpoint("POST", "/v1/billing_portal/configurations/{}", **FIELDS, active=boolean)
def update_configuration(call: Call) -> Object:
    """Change a configuration, or put it out of use."""
    made = call.find(KIND)
    if made["is_default"] and call.params.get("active") is False:
        raise invalid("The default portal configuration cannot be deactivated.", param="active")
    return _change(call.world, made, {**call.params, "updated": call.world.now()})


@endpoint("GET", "/v1/billing_portal/configurations", **PAGE, active=boolean, is_default=boolean)
def list_configurations(call: Call) -> Object:
    """Configurations, newest first."""
    return page(call, KIND, active=call.params.get("active"), is_default=call.params.get("is_default"))
