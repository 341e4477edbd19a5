"""Charges, as payment intents make them."""

from billing.sandbox.expansion import includable
from billing.sandbox.listing import PAGE, PAGE_BY_TIME, page
from billing.sandbox.params import email, merged, metadata, text, text_of
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World


@endpoint("GET", "/v1/charges/{}")
def retrieve_charge(call: Call) -> Object:
    """A charge."""
    return call.find("charge")


@endpoint("POST", "/v1/charges/{}", description=text_of(40_000), metadata=metadata, receipt_email=email)
def update_charge(call: Call) -> Object:
    """Change what people read of a charge."""
    return change_words(call, call.find("charge"))


@endpoint("GET", "/v1/charges", **PAGE_BY_TIME, customer=text, payment_intent=text)
def list_charges(call: Call) -> Object:
    """Charges, failed ones too, newest first."""
    intent = call.params.get("payment_intent")
    by = "payment_intent" if intent else "customer"
    return page(call, "charge", by=by, customer=call.params.get("customer"))


@endpoint("GET", "/v1/charges/{}/refunds", **PAGE)
def list_charge_refunds(call: Call) -> Object:
    """A charge's refunds."""
    call.params["charge"] = call.find("charge")["id"]
    return page(call, "refund", by="charge")


@includable("charge", "refunds")
def refunds_of(world: World, charge: Object) -> Object:
    """A charge's refunds, when expanded."""
    found = list(world.tables["refund"].newest_first("charge", charge["id"]))
    url = f"/v1/charges/{charge['id']}/refunds"
    return {"object": "list", "data": found[:10], "has_more": len(found) > 10, "url": url}


def change_words(call: Call, obj: Object) -> Object:
    """Change what people read of a payment intent or charge."""
    params = dict(call.params)
    if "metadata" in params:
        params["metadata"] = merged(obj["metadata"], params["metadata"])
    return call.world.update(obj, **params)
