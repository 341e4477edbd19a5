"""Disputes."""

from billing.sandbox.errors import invalid
from billing.sandbox.listing import PAGE_BY_TIME, page
from billing.sandbox.machine.disputes import TEXTS, close, submit
from billing.sandbox.params import boolean, merged, metadata, text, text_of
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object

LONG = (
    "access_activity_log cancellation_policy_disclosure cancellation_rebuttal duplicate_charge_explanation "
    "product_description refund_policy_disclosure refund_refusal_explanation uncategorized_text"
).split()
EVIDENCE = {**dict.fromkeys(TEXTS, text), **dict.fromkeys(LONG, text_of(20_000))}


@endpoint("GET", "/v1/disputes/{}")
def retrieve_dispute(call: Call) -> Object:
    """A dispute."""
    return call.find("dispute")


@endpoint("POST", "/v1/disputes/{}", evidence=EVIDENCE, metadata=metadata, submit=boolean)
def update_dispute(call: Call) -> Object:
    """Add evidence, which is sent to the bank unless `submit` is false."""
    world, params, dispute = call.world, call.params, call.find("dispute")
    if "metadata" in params:
        world.update(dispute, metadata=merged(dispute["metadata"], params["metadata"]))
    if evidence := params.get("evidence"):
        if not dispute["status"].endswith("needs_response"):
            raise invalid("This dispute can no longer be answered.", code="dispute_not_answerable")
        details = {**dispute["evidence_details"], "has_evidence": True}
        world.update(dispute, evidence={**dispute["evidence"], **evidence}, evidence_details=details)
    if dispute["status"].endswith("needs_response") and params.get("submit", bool(params.get("evidence"))):
        submit(world, dispute)
    return dispute


@endpoint("POST", "/v1/disputes/{}/close")
def close_dispute(call: Call) -> Object:
    """Give in: the dispute is lost."""
    dispute = call.find("dispute")
    if not dispute["status"].endswith("needs_response"):
        raise invalid("This dispute is already closed or under review.")
    return close(call.world, dispute, won=False)


@endpoint("GET", "/v1/disputes", **PAGE_BY_TIME, charge=text, payment_intent=text)
def list_disputes(call: Call) -> Object:
    """Disputes, newest first."""
    return page(call, "dispute", by="charge", payment_intent=call.params.get("payment_intent"))
