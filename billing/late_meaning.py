"""Events of types that nobody handled when they came: what they mean once somebody does.

What an event means to us is known at Stripe's door, which lies above; it hangs itself in here when it starts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from billing.ledger import StripeEvent, columns_of, payload_of
from billing.models import SubscriptionEvent

type Interpret = Callable[[dict[str, Any], str], StripeEvent]

_interpreters: list[Interpret] = []


def interpret_with(interpret: Interpret) -> None:
    """Name the function that says what an event means."""
    _interpreters[:] = [interpret]


def with_meaning(event: SubscriptionEvent) -> SubscriptionEvent:
    """The event, told what is to be read because of it where it did not know, from its body. Nothing is saved."""
    if event.source != SubscriptionEvent.Source.STRIPE or event.objects_to_read is not None:
        return event
    body = payload_of(event)
    if body is None or not _interpreters:
        return event
    try:
        meant = _interpreters[0](body, json.dumps(body))
    except (KeyError, TypeError, AttributeError, ValueError):
        return event
    if meant.handled:
        event.objects_to_read = list(meant.objects)
        for name, value in columns_of(meant).items():
            if getattr(event, name) is None:
                setattr(event, name, value)
    return event
