"""Sessions of the billing portal."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.errors import required as missing_param
from billing.sandbox.params import anything, choice, list_of, natural, required, text, text_of
from billing.sandbox.resources.portal_configurations import default_configuration
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World

KIND = "billing_portal.session"
FLOWS = ("payment_method_update", "subscription_cancel", "subscription_update", "subscription_update_confirm")
FLOW: dict[str, Any] = {
    "after_completion": {
        "hosted_confirmation": {"custom_message": text_of(500)},
        "redirect": {"return_url": required(text)},
        "type": required(choice("hosted_confirmation", "portal_homepage", "redirect")),
    },
    "subscription_cancel": {"retention": anything, "subscription": required(text)},
    "subscription_update": {"subscription": required(text)},
    "subscription_update_confirm": {
        "discounts": list_of({"coupon": text, "promotion_code": text}),
        "items": required(list_of({"id": required(text), "price": text, "quantity": natural})),
        "subscription": required(text),
    },
    "type": required(choice(*FLOWS)),
}


@endpoint(
    "POST",
    "/v1/billing_portal/sessions",
    configuration=text,
    customer=text,
    flow_data=FLOW,
    locale=text,
    on_behalf_of=text,
    return_url=text,
)
def create_portal_session(call: Call) -> Object:
    """A link for a customer, which opens a small page of the sandbox."""
    world, params = call.world, call.params
    if not params.get("customer"):
        raise missing_param("customer")
    customer = world.get("customer", params["customer"], param="customer")
    id = world.new_id(KIND)
    if wanted := params.get("configuration"):
        configuration = world.get("billing_portal.configuration", wanted, param="configuration")
        if not configuration["active"]:
            raise invalid("This portal configuration is inactive.", param="configuration")
    else:
        configuration = default_configuration(world)
    session = world.insert(
        {
            "id": id,
            "object": KIND,
            "configuration": configuration["id"],
            "created": world.now_of(customer["id"]),
            "customer": customer["id"],
            "customer_account": None,
            "flow": _flow(world, customer, params.get("flow_data")),
            "livemode": False,
            "locale": params.get("locale"),
            "on_behalf_of": None,
            "return_url": params.get("return_url") or configuration["default_return_url"],
            "url": f"{world.base}/p/session/{id}",
        }
    )
    world.emit(f"{KIND}.created", session)
    return session


def _flow(world: World, customer: Object, given: dict[str, Any] | None) -> Object | None:
    """The one thing a session is opened for, if it is."""
    if not given:
        return None
    flow: Object = dict.fromkeys(FLOWS[1:])
    kind = given["type"]
    if kind in flow:
        details = given.get(kind)
        if not details:
            raise missing_param(f"flow_data[{kind}]")
        param = f"flow_data[{kind}][subscription]"
        subscription = world.get("subscription", details["subscription"], param=param)
        if subscription["customer"] != customer["id"]:
            raise invalid("The subscription does not belong to the customer.", param=param)
        if kind == "subscription_cancel":
            details = {"retention": None, **details}
        if kind == "subscription_update_confirm":
            items = [{"price": None, "quantity": None, **each} for each in details["items"]]
            details = {"discounts": None, **details, "items": items}
        flow[kind] = details
    after = given.get("after_completion") or {"type": "portal_homepage"}
    completion = {"hosted_confirmation": None, "redirect": None, **after}
    return {"after_completion": completion, **flow, "type": kind}
