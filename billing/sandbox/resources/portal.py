"""Sessions of the billing portal."""

from billing.sandbox.params import anything, required, text
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object


@endpoint(
    "POST",
    "/v1/billing_portal/sessions",
    configuration=text,
    customer=required(text),
    flow_data=anything,
    locale=text,
    on_behalf_of=text,
    return_url=text,
)
def create_portal_session(call: Call) -> Object:
    """A link for a customer, which opens a small page of the sandbox."""
    world, params = call.world, call.params
    customer = world.get("customer", params["customer"], param="customer")
    id = world.new_id("billing_portal.session")
    return world.insert(
        {
            "id": id,
            "object": "billing_portal.session",
            "configuration": params.get("configuration") or "bpc_1SandboxSandboxSandboxSa",
            "created": world.now_of(customer["id"]),
            "customer": customer["id"],
            "customer_account": None,
            "flow": None,
            "livemode": False,
            "locale": params.get("locale"),
            "on_behalf_of": None,
            "return_url": params.get("return_url"),
            "url": f"{world.base}/p/session/{id}",
        }
    )
