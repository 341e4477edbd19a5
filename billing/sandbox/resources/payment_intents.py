"""Payment intents and charges, as invoices make them."""

from typing import Any

from billing.sandbox.expansion import includable
from billing.sandbox.listing import PAGE, PAGE_BY_TIME, page
from billing.sandbox.params import merged, metadata, text
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World


@endpoint("GET", "/v1/payment_intents/{}")
def retrieve_payment_intent(call: Call) -> Object:
    """A payment intent."""
    return call.find("payment_intent")


@endpoint("POST", "/v1/payment_intents/{}", description=text, metadata=metadata, receipt_email=text)
def update_payment_intent(call: Call) -> Object:
    """Change what people read of a payment intent."""
    return _change(call, call.find("payment_intent"))


@endpoint("GET", "/v1/payment_intents", **PAGE_BY_TIME, customer=text)
def list_payment_intents(call: Call) -> Object:
    """Payment intents, newest first."""
    return page(call, "payment_intent", by="customer")


@endpoint("GET", "/v1/charges/{}")
def retrieve_charge(call: Call) -> Object:
    """A charge."""
    return call.find("charge")


@endpoint("POST", "/v1/charges/{}", description=text, metadata=metadata, receipt_email=text)
def update_charge(call: Call) -> Object:
    """Change what people read of a charge."""
    return _change(call, call.find("charge"))


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


@endpoint("GET", "/v1/balance_transactions/{}")
def retrieve_balance_transaction(call: Call) -> Object:
    """A line of the account's balance."""
    return call.find("balance_transaction", "balance transaction")


@endpoint("GET", "/v1/balance_transactions", **PAGE_BY_TIME, currency=text, source=text, type=text)
def list_balance_transactions(call: Call) -> Object:
    """The account's balance, newest first."""
    params = call.params
    wanted: dict[str, Any] = {"currency": params.get("currency"), "type": params.get("type")}
    return page(call, "balance_transaction", by="source", **wanted)


@includable("charge", "refunds")
def refunds_of(world: World, charge: Object) -> Object:
    """A charge's refunds, when expanded."""
    found = list(world.tables["refund"].newest_first("charge", charge["id"]))
    url = f"/v1/charges/{charge['id']}/refunds"
    return {"object": "list", "data": found[:10], "has_more": len(found) > 10, "url": url}


def _change(call: Call, obj: Object) -> Object:
    params = dict(call.params)
    if "metadata" in params:
        params["metadata"] = merged(obj["metadata"], params["metadata"])
    return call.world.update(obj, **params)
