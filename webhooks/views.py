"""Stripe's door: verify, store, answer. It never calls Stripe and never trusts what it stores."""

from __future__ import annotations

import json
import logging

from django.conf import settings
from django.db import DataError, InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing.ledger import StripeEvent, record_stripe_event
from billing.telemetry import WEBHOOKS_ACCEPTED, WEBHOOKS_REFUSED, WEBHOOKS_UNSTORED
from webhooks.handlers import interpret
from webhooks.signatures import Verdict, verify

log = logging.getLogger(__name__)

# Stripe tries again by its own timetable; this is for whoever reads the answer.
RETRY_AFTER_SECONDS = "60"


class Refused(Exception):
    """The request is not one of Stripe's, or not for us. Its text is for whoever configures the endpoint."""

    def __init__(self, reason: str, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.reason = reason
        """One word, under which refusals are counted."""
        self.status = status


@csrf_exempt
@require_POST
def receive(request: HttpRequest) -> HttpResponse:
    """Take in one event: 200 only with a durable row, 4xx and no row for what is not Stripe's or not ours.

    503 when the database is not there, so that Stripe sends it again.
    """
    try:
        event, is_new = _take_in(_verified_body(request))
    except Refused as refusal:
        WEBHOOKS_REFUSED.add(refusal.reason)
        log.warning("Webhook refused: %s", refusal, extra={"reason": refusal.reason})
        return _answer(str(refusal), refusal.status)
    except (OperationalError, InterfaceError) as error:
        # Before the row: a database that is gone while it is asked whose charge this is says the same.
        WEBHOOKS_UNSTORED.add()
        log.error("Webhook not stored, the database is not there: %s", type(error).__name__)
        answer = _answer("Not stored; send it again.", 503)
        answer.headers["Retry-After"] = RETRY_AFTER_SECONDS
        return answer
    outcome = "stored" if is_new else "known already"
    WEBHOOKS_ACCEPTED.add("stored" if is_new else "known")
    log.info("Event %s (%s) %s", event.stripe_event_id, event.type, outcome, extra=event.for_logs())
    return _answer(outcome, 200)


def _answer(words: str, status: int) -> HttpResponse:
    return HttpResponse(words + "\n", status=status, content_type="text/plain; charset=utf-8")


def _verified_body(request: HttpRequest) -> str:
    """The body, once its size and its signature are right, under any of our secrets."""
    cap = settings.WEBHOOK_MAX_BODY_BYTES
    try:
        # Read no more than the cap, whatever the header claims: a stranger's length is a stranger's word.
        raw = request.read(cap + 1)
    except OSError as error:
        raise Refused("unreadable", "The body did not arrive whole.") from error
    if len(raw) > cap:
        raise Refused("too_large", "The body is larger than any event of Stripe's.", 413)
    if not settings.STRIPE_WEBHOOK_SECRETS:
        raise Refused("no_secret", "No webhook secret is configured here.", 403)
    try:
        # Strictly, so that what is verified is the very bytes that came.
        body = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("malformed", "The body is not UTF-8.") from None
    signature = request.headers.get("Stripe-Signature", "")
    verdict = verify(body, signature, settings.STRIPE_WEBHOOK_SECRETS, settings.WEBHOOK_TOLERANCE_SECONDS)
    if verdict is Verdict.STALE:
        raise Refused("stale", "The signature is too old, or a clock is wrong.")
    if verdict is Verdict.FORGED:
        raise Refused("forged", "The signature does not fit the body.")
    return body


def _take_in(body: str) -> tuple[StripeEvent, bool]:
    """The event that a body is, and whether it was new; tried once more where the connection turns out to be dead.

    Django would ask PostgreSQL before each request whether a kept connection still lives: half of our trips to it.
    Trying again costs nothing until it happens, and storing twice stores once.
    """
    connection.health_check_done = True  # type: ignore[attr-defined]  # the stubs lack it
    try:
        event = _decoded(body)
        return event, _store(event)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block or connection.connection is None or connection.is_usable():
            raise
        connection.close()
        event = _decoded(body)
        return event, _store(event)


def _store(event: StripeEvent) -> bool:
    try:
        return record_stripe_event(event)
    except DataError as error:  # a word where a number belongs, a NUL where PostgreSQL allows none
        raise _shapeless() from error


def _decoded(body: str) -> StripeEvent:
    """The ledger's view of the event. A right signature does not promise the right shape."""
    try:
        event = json.loads(body)
        if not isinstance(event, dict) or event.get("object") != "event":
            raise Refused("malformed", "This is not an event.")
        if event.get("livemode") is not settings.STRIPE_LIVE_MODE:
            raise Refused(
                "other_mode", "This event belongs to Stripe's other mode (live or test) than our key."
            )
        if event.get("account") is not None:
            # Stripe names the account only where it is another than the endpoint's own: a connected one.
            raise Refused("other_account", "This event belongs to a connected account, and not to ours.")
        return interpret(event, body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DataError) as error:
        raise _shapeless() from error


def _shapeless() -> Refused:
    return Refused("malformed", "This has not the shape of one of Stripe's events.")
