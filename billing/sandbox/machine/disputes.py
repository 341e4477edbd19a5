"""Disputes: a bank takes a charge back until somebody wins."""

from billing.sandbox.errors import invalid
from billing.sandbox.machine.balance import entry
from billing.sandbox.periods import DAY
from billing.sandbox.table import Object
from billing.sandbox.world import World, job

FEE = 1500
ANSWER_WITHIN = 9 * DAY
DECIDED_AFTER = DAY
OPEN = ("needs_response", "under_review")
TEXTS = (
    "access_activity_log billing_address cancellation_policy cancellation_policy_disclosure cancellation_rebuttal "
    "customer_communication customer_email_address customer_name customer_purchase_ip customer_signature "
    "duplicate_charge_documentation duplicate_charge_explanation duplicate_charge_id product_description receipt "
    "refund_policy refund_policy_disclosure refund_refusal_explanation service_date service_documentation "
    "shipping_address shipping_carrier shipping_date shipping_documentation shipping_tracking_number "
    "uncategorized_file uncategorized_text"
).split()


def open_dispute(
    world: World,
    charge: Object,
    *,
    amount: int | None = None,
    reason: str = "fraudulent",
    inquiry: bool = False,
) -> Object:
    """The customer's bank asks for a charge back, wholly (None) or in part. An inquiry withdraws nothing yet."""
    if charge["status"] != "succeeded" or charge["disputed"]:
        raise invalid(f"Charge {charge['id']} cannot be disputed.", param="charge")
    now = world.now_of(charge["customer"])
    left = charge["amount"] - charge["amount_refunded"] if amount is None else amount
    if not 0 < left <= charge["amount"]:
        raise invalid(f"Charge {charge['id']} cannot be disputed for {left}.", param="amount")
    dispute: Object = {
        "id": world.new_id("dispute"),
        "object": "dispute",
        "amount": left,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(TEXTS), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": now + ANSWER_WITHIN,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": charge["payment_method_details"]["card"]["brand"],
                "case_type": "inquiry" if inquiry else "chargeback",
                "network_reason_code": "10",
            },
            "type": "card",
        },
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }
    if not inquiry:
        dispute["balance_transactions"] = [_move(world, dispute, charge, -left, FEE)]
    world.insert(dispute)
    if world.clock_of(charge["customer"]):
        world.clocked.add(dispute["id"])
    world.update(charge, disputed=True)
    world.emit("charge.dispute.created", dispute)
    if not inquiry:
        world.emit("charge.dispute.funds_withdrawn", dispute)
    clock = world.clock_of(charge["customer"])
    world.schedule(now + ANSWER_WITHIN, "dispute_unanswered", dispute["id"], clock)
    return dispute


def _move(world: World, dispute: Object, charge: Object, amount: int, fee: int) -> Object:
    return entry(
        world,
        dispute,
        amount=amount,
        fee=fee,
        type="adjustment",
        category="dispute" if amount < 0 else "dispute_reversal",
        customer=charge["customer"],
        why="Dispute fee",
    )


def close(world: World, dispute: Object, *, won: bool) -> Object:
    """The end of a dispute; money that was withdrawn comes back when it is won."""
    if not dispute["status"].endswith(OPEN):
        raise invalid(f"Dispute {dispute['id']} is {dispute['status']} already.", param="dispute")
    inquiry = dispute["status"].startswith("warning")
    charge = world.get("charge", dispute["charge"])
    status = "warning_closed" if inquiry else "won" if won else "lost"
    back = won and not inquiry
    moved = [_move(world, dispute, charge, dispute["amount"], 0)] if back else []
    world.update(
        dispute,
        status=status,
        balance_transactions=[*dispute["balance_transactions"], *moved],
        is_charge_refundable=status != "lost",
    )
    world.settle(dispute)
    world.emit("charge.dispute.closed", dispute)
    if back:
        world.emit("charge.dispute.funds_reinstated", dispute)
    if inquiry:
        world.update(charge, disputed=False)
    return dispute


def submit(world: World, dispute: Object) -> None:
    """Send the evidence to the bank, which decides a day later by Stripe's magic words."""
    details = dispute["evidence_details"]
    inquiry = dispute["status"].startswith("warning")
    world.update(
        dispute,
        status="warning_under_review" if inquiry else "under_review",
        evidence_details={
            **details,
            "has_evidence": True,
            "submission_count": details["submission_count"] + 1,
        },
    )
    customer = world.get("charge", dispute["charge"])["customer"]
    world.schedule(
        world.now_of(customer) + DECIDED_AFTER, "dispute_decided", dispute["id"], world.clock_of(customer)
    )


@job("dispute_charge")
def dispute_charge(world: World, id: str) -> None:
    """A charge of a card that disputes."""
    charge = world.find("charge", id)
    if charge and not charge["disputed"]:
        card = world.side[charge["payment_method"]]["card"]
        reason = "product_not_received" if card.endswith("ProductNotReceived") else "fraudulent"
        open_dispute(world, charge, reason=reason, inquiry=card == "createDisputeInquiry")


@job("dispute_decided")
def dispute_decided(world: World, id: str) -> None:
    """The bank has read the evidence."""
    dispute = world.find("dispute", id)
    if dispute and dispute["status"].endswith("under_review"):
        words = dispute["evidence"]["uncategorized_text"]
        if words == "escalate_inquiry_evidence" and dispute["status"].startswith("warning"):
            escalate(world, dispute)
        else:
            close(world, dispute, won=words == "winning_evidence")


def escalate(world: World, dispute: Object) -> None:
    """An inquiry becomes a chargeback: the money is withdrawn after all."""
    charge = world.get("charge", dispute["charge"])
    now = world.now_of(charge["customer"])
    card = {**dispute["payment_method_details"]["card"], "case_type": "chargeback"}
    world.update(
        dispute,
        status="needs_response",
        is_charge_refundable=False,
        balance_transactions=[_move(world, dispute, charge, -dispute["amount"], FEE)],
        payment_method_details={**dispute["payment_method_details"], "card": card},
        evidence_details={**dispute["evidence_details"], "due_by": now + ANSWER_WITHIN},
    )
    world.emit("charge.dispute.updated", dispute)
    world.emit("charge.dispute.funds_withdrawn", dispute)
    clock = world.clock_of(charge["customer"])
    world.schedule(now + ANSWER_WITHIN, "dispute_unanswered", dispute["id"], clock)


@job("dispute_unanswered")
def dispute_unanswered(world: World, id: str) -> None:
    """Nobody answered in time."""
    dispute = world.find("dispute", id)
    if not dispute or dispute["evidence_details"]["due_by"] > world.now_of(
        world.get("charge", dispute["charge"])["customer"]
    ):
        return
    if dispute["status"].endswith("needs_response"):
        world.update(dispute, evidence_details={**dispute["evidence_details"], "past_due": True})
        close(world, dispute, won=False)
