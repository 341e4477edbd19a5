"""Events as Stripe would send them: shaped, and really signed."""

import hashlib
import hmac
import itertools
import json
import time
from typing import Any

from django.test import Client

from tests.environment import WEBHOOK_SECRET

DOOR = "/webhooks/stripe/"

_numbers = itertools.count(1)


def make_event(type_: str, item: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An event of `type_` about `item`; `changes` go over its own keys."""
    return {
        "id": f"evt_test{next(_numbers):06}",
        "object": "event",
        "api_version": "2026-05-27.dahlia",
        "created": int(time.time()),
        "livemode": False,
        "type": type_,
        "data": {"object": item},
        "request": {"id": None, "idempotency_key": None},
        **changes,
    }


def signature(body: bytes, *, secret: str = WEBHOOK_SECRET, at: int | None = None) -> str:
    """Stripe's signature header of `body`, as if sent `at` (unix seconds; now unless told)."""
    moment = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def deliver(client: Client, event: Any, **headers: str) -> Any:
    """Post `event` (bytes are sent as they are) the way Stripe does; `Stripe-Signature` is right unless told."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return client.post(
        DOOR,
        data=body,
        content_type="application/json",
        headers={"Stripe-Signature": signature(body), **headers},
    )
