"""Refunds: how much may go back, how it goes, and how it may fail."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.machine.balance import entry
from billing.sandbox.machine.cards import CARDS
from billing.sandbox.money import shown
from billing.sandbox.periods import DAY
from billing.sandbox.table import Object
from billing.sandbox.world import World, job

FAILURES = (
    "charge_for_pending_refund_disputed",
    "declined",
    "expired_or_canceled_card",
    "insufficient_funds",
    "lost_or_stolen_card",
    "merchant_request",
    "unknown",
)


def refund(
    world: World, charge: Object, amount: int | None, *, reason: str | None, metadata: dict[str, str]
) -> Object:
    """Give back part or all (None) of a charge, in minor units."""
    left = charge["amount"] - charge["amount_refunded"]
    _check(world, charge, left, amount)
    amount = left if amount is None else amount
    after = CARDS[world.side[charge["payment_method"]]["card"]].after
    pending = after == "pending_refund"
    now = world.now_of(charge["customer"])
    made: Object = {
        "id": world.new_id("refund"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "destination_details": {
            "card": {
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
            "type": "card",
        },
        "metadata": metadata,
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "pending" if pending else "succeeded",
        "transfer_reversal": None,
    }
    if pending:
        made["pending_reason"] = "processing"
    moved = entry(
        world, made, amount=-amount, fee=0, type="refund", category="refund", customer=charge["customer"]
    )
    made["balance_transaction"] = moved["id"]
    world.insert(made)
    if world.clock_of(charge["customer"]):
        world.clocked.add(made["id"])
    _count(world, charge, amount)
    world.emit("refund.created", made)
    world.emit("charge.refunded", charge)
    clock = world.clock_of(charge["customer"])
    if not pending:
        world.schedule(now + 2, "refund_reference", made["id"], clock)
    if after in ("pending_refund", "refund_fail"):
        world.schedule(now + DAY, after, made["id"], clock)
    return made


def _check(world: World, charge: Object, left: int, amount: int | None) -> None:
    id = charge["id"]
    if charge["status"] != "succeeded":
        raise invalid(f"Charge {id} was not successful and cannot be refunded.", param="charge")
    disputes = world.tables["dispute"].newest_first("charge", id)
    if any(not each["is_charge_refundable"] for each in disputes):
        raise invalid(f"Charge {id} has been charged back; cannot issue a refund.", code="charge_disputed")
    if left == 0:
        raise invalid(f"Charge {id} has already been refunded.", code="charge_already_refunded")
    if amount is not None and amount > left:
        asked, rest = shown(amount, charge["currency"]), shown(left, charge["currency"])
        raise invalid(
            f"Refund amount ({asked}) is greater than unrefunded amount on charge ({rest})", param="amount"
        )


def _count(world: World, charge: Object, amount: int) -> None:
    refunded = charge["amount_refunded"] + amount
    world.update(charge, amount_refunded=refunded, refunded=refunded == charge["amount"])


def tell(world: World, made: Object, previous: dict[str, Any]) -> None:
    """Both of Stripe's words for a changed refund."""
    world.settle(made)
    world.emit("refund.updated", made, previous=previous)
    world.emit("charge.refund.updated", made, previous=previous)


@job("refund_reference")
def learn_reference(world: World, id: str) -> None:
    """Moments after a card refund its network reference is known, and told."""
    made = world.find("refund", id)
    if made:
        old = made["destination_details"]
        known = {**old["card"], "reference": world.secret(15), "reference_status": "available"}
        world.update(made, destination_details={**old, "card": known})
        previous = {"destination_details": {"card": {"reference": None, "reference_status": "pending"}}}
        tell(world, made, previous)


@job("pending_refund")
def arrive(world: World, id: str) -> None:
    """A pending refund went through."""
    made = world.find("refund", id)
    if made and made["status"] == "pending":
        become(world, made, "succeeded")


@job("refund_fail")
def fail(world: World, id: str) -> None:
    """The bank sent a refund back: the money is on our balance again."""
    made = world.find("refund", id)
    if made and made["status"] == "succeeded":
        become(world, made, "failed", reason="unknown")


# What a refund can still become, by what it is.
NEXT = {
    "pending": ("requires_action", "succeeded", "failed", "canceled"),
    "requires_action": ("pending", "succeeded", "failed", "canceled"),
    "succeeded": ("pending", "requires_action", "failed"),
}


def become(world: World, made: Object, status: str, *, reason: str = "unknown") -> Object:
    """Move a refund on, as banks do; a failed or cancelled one puts the money back and gives up its share."""
    before = made["status"]
    if status not in NEXT.get(before, ()):
        raise invalid(f"Refund {made['id']} is {before} and cannot become {status}.")
    previous: dict[str, Any] = {"status": before}
    for word in ("pending_reason", "next_action"):
        if made.pop(word, None):
            previous[word] = None
    if status in ("failed", "canceled"):
        _undo(world, made, reason if status == "failed" else None)
    elif status == "pending":
        world.update(made, status=status, pending_reason="processing")
    elif status == "requires_action":
        world.update(made, status=status, next_action=_ask_where(world, made))
    else:
        world.update(made, status=status)
    tell(world, made, previous)
    if status == "failed":
        world.emit("refund.failed", made)
    return made


def _ask_where(world: World, made: Object) -> Object:
    charge = world.get("charge", made["charge"])
    customer = world.find("customer", charge["customer"]) or {}
    now = world.now_of(charge["customer"])
    sent = {"email_sent_at": now, "email_sent_to": customer.get("email") or "unknown@example.com"}
    return {"type": "display_details", "display_details": {"email_sent": sent, "expires_at": now + 45 * DAY}}


def cancel(world: World, made: Object) -> Object:
    """Stop a refund that waits for the customer."""
    if made["status"] != "requires_action":
        raise invalid(f"Refund {made['id']} cannot be canceled because its status is {made['status']}.")
    return become(world, made, "canceled")


def _undo(world: World, made: Object, reason: str | None) -> None:
    charge = world.get("charge", made["charge"])
    moved = entry(
        world,
        made,
        amount=made["amount"],
        fee=0,
        type="refund_failure",
        category="refund_failure",
        customer=charge["customer"],
    )
    failed = {"failure_reason": reason, "status": "failed"} if reason else {"status": "canceled"}
    world.update(made, failure_balance_transaction=moved["id"], **failed)
    _count(world, charge, -made["amount"])
