"""What customers and their banks do, played by whoever asks: part of the control API."""

from collections.abc import Awaitable, Callable
from typing import Any

from billing.sandbox.machine.cards import REFUSALS
from billing.sandbox.machine.disputes import close, open_dispute
from billing.sandbox.machine.payments import authenticate
from billing.sandbox.machine.refunds import FAILURES, become
from billing.sandbox.sandbox import Sandbox

Action = Callable[[Any], Awaitable[Any]]


def actions(sandbox: Sandbox) -> dict[str, Action]:
    """Paths below `/_sandbox` and what a POST to them does."""

    async def answer_challenge(body: Any) -> Any:
        with sandbox.world.transaction():
            intent = sandbox.world.get("payment_intent", body["payment_intent"], param="payment_intent")
            return dict(authenticate(sandbox.world, intent, passed=bool(body["passed"])))

    async def change_card(body: Any) -> Any:
        refuses = body["refuses"]
        if refuses is not None and refuses not in REFUSALS:
            raise ValueError(f"refuses must be null or one of {', '.join(REFUSALS)}")
        with sandbox.world.transaction():
            method = sandbox.world.get("payment_method", body["payment_method"], param="payment_method")
            sandbox.world.note(method["id"], refuses=refuses)
            return {"payment_method": method["id"], "refuses": refuses}

    async def change_refund(body: Any) -> Any:
        reason = body.get("failure_reason", "unknown")
        if reason not in FAILURES:
            raise ValueError(f"failure_reason must be one of {', '.join(FAILURES)}")
        with sandbox.world.transaction():
            made = sandbox.world.get("refund", body["refund"], param="refund")
            return dict(become(sandbox.world, made, body["status"], reason=reason))

    async def dispute(body: Any) -> Any:
        with sandbox.world.transaction():
            if "dispute" in body:
                held = sandbox.world.get("dispute", body["dispute"], param="dispute")
                return dict(close(sandbox.world, held, won=bool(body["won"])))
            charge = sandbox.world.get("charge", body["charge"], param="charge")
            made = open_dispute(
                sandbox.world,
                charge,
                amount=body.get("amount"),
                reason=body.get("reason", "fraudulent"),
                inquiry=bool(body.get("inquiry")),
            )
            return dict(made)

    return {
        "/authenticate": answer_challenge,
        "/cards": change_card,
        "/refunds": change_refund,
        "/disputes": dispute,
    }
