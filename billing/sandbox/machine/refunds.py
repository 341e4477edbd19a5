"""Refunds: how much may go back, how it goes, and how it may fail."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.machine.balance import entry
from billing.sandbox.machine.cards import CARDS
from billing.sandbox.money import shown
from billing.sandbox.periods import DAY
from billing.sandbox.table import Object
from billing.sandbox.world import World, job


def refund(
    world: World, charge: Object, amount: int | None, *, reason: str | None, metadata: dict[str, str]
) -> Object:
    """Give back part or all (None) of a charge, in minor units."""
    left = charge["amount"] - charge["amount_refunded"]
    _check(charge, left, amount)
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


def _check(charge: Object, left: int, amount: int | None) -> None:
    id = charge["id"]
    if charge["status"] != "succeeded":
        raise invalid(f"Charge {id} was not successful and cannot be refunded.", param="charge")
    if charge["disputed"]:
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
        world.update(made, status="succeeded")
        made.pop("pending_reason", None)
        tell(world, made, {"status": "pending"})


@job("refund_fail")
def fail(world: World, id: str) -> None:
    """The bank sent a refund back: the money is on our balance again."""
    made = world.find("refund", id)
    if not made or made["status"] != "succeeded":
        return
    charge = world.get("charge", made["charge"])
    _undo(world, made, charge, status="failed")
    world.settle(made)
    world.emit("refund.failed", made)
    world.emit("charge.refund.updated", made, previous={"status": "succeeded"})


def cancel(world: World, made: Object) -> Object:
    """Stop a pending refund."""
    if made["status"] not in ("pending", "requires_action"):
        raise invalid(f"Refund {made['id']} cannot be canceled because its status is {made['status']}.")
    _undo(world, made, world.get("charge", made["charge"]), status="canceled")
    tell(world, made, {"status": "pending"})
    return made


def _undo(world: World, made: Object, charge: Object, *, status: str) -> None:
    moved = entry(
        world,
        made,
        amount=made["amount"],
        fee=0,
        type="refund_failure",
        category="refund_failure",
        customer=charge["customer"],
    )
    failed = {"failure_reason": "unknown"} if status == "failed" else {}
    world.update(made, status=status, failure_balance_transaction=moved["id"], **failed)
    _count(world, charge, -made["amount"])
