"""Refunds."""

from billing.sandbox.errors import invalid
from billing.sandbox.errors import required as missing_param
from billing.sandbox.listing import PAGE_BY_TIME, page
from billing.sandbox.machine.refunds import cancel, refund
from billing.sandbox.params import boolean, choice, merged, metadata, positive, text
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object


@endpoint(
    "POST",
    "/v1/refunds",
    amount=positive,
    charge=text,
    metadata=metadata,
    payment_intent=text,
    reason=choice("duplicate", "fraudulent", "requested_by_customer"),
    refund_application_fee=boolean,
    reverse_transfer=boolean,
)
def create_refund(call: Call) -> Object:
    """Give money back, by charge or by payment intent; all that is left unless an amount is named."""
    world, params = call.world, call.params
    if id := params.get("charge"):
        charge = world.get("charge", id, param="charge")
    elif id := params.get("payment_intent"):
        intent = world.get("payment_intent", id, param="payment_intent")
        found = world.find("charge", intent["latest_charge"])
        if found is None or found["status"] != "succeeded":
            raise invalid(
                f"This PaymentIntent ({id}) does not have a successful charge to refund.",
                param="payment_intent",
            )
        charge = found
    else:
        raise missing_param("charge")
    return refund(
        world,
        charge,
        params.get("amount"),
        reason=params.get("reason"),
        metadata=merged({}, params.get("metadata") or {}),
    )


@endpoint("GET", "/v1/refunds/{}")
def retrieve_refund(call: Call) -> Object:
    """A refund."""
    return call.find("refund")


@endpoint("POST", "/v1/refunds/{}", metadata=metadata)
def update_refund(call: Call) -> Object:
    """Change a refund's metadata."""
    made = call.find("refund")
    if "metadata" in call.params:
        call.world.update(made, metadata=merged(made["metadata"], call.params["metadata"]))
    return made


@endpoint("POST", "/v1/refunds/{}/cancel")
def cancel_refund(call: Call) -> Object:
    """Stop a refund that is still pending."""
    return cancel(call.world, call.find("refund"))


@endpoint("GET", "/v1/refunds", **PAGE_BY_TIME, charge=text, payment_intent=text)
def list_refunds(call: Call) -> Object:
    """Refunds, newest first."""
    by = "payment_intent" if call.params.get("payment_intent") else "charge"
    return page(call, "refund", by=by, charge=call.params.get("charge"))
