"""Stripe's door: verify, store, answer. It never calls Stripe and never trusts what it stores."""

from __future__ import annotations

import json
import logging

from django.conf import settings
from django.db import DataError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from billing.ledger import StripeEvent, record_stripe_event
from billing.stripe_api import is_signed
from webhooks.handlers import interpret

log = logging.getLogger(__name__)


class Refused(Exception):
    """The request is not one of Stripe's, or not for us. Its text is for whoever configures the endpoint."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


@csrf_exempt
@require_POST
def receive(request: HttpRequest) -> HttpResponse:
    """Take in one event. 200 only with a durable row; 4xx, and no row, for what is not Stripe's or not ours."""
    try:
        body = _verified_body(request)
        is_new = _store(_decoded(body))
    except Refused as refusal:
        log.warning("Webhook refused: %s", refusal)
        return _answer(str(refusal), refusal.status)
    return _answer("stored" if is_new else "known already", 200)


def _answer(words: str, status: int) -> HttpResponse:
    return HttpResponse(words + "\n", status=status, content_type="text/plain; charset=utf-8")


def _verified_body(request: HttpRequest) -> str:
    """The body, once its size and its signature are right, under any of our secrets."""
    cap = settings.WEBHOOK_MAX_BODY_BYTES
    # Read no more than the cap, whatever the header claims: a stranger's length is a stranger's word.
    raw = request.read(cap + 1)
    if len(raw) > cap:
        raise Refused("The body is larger than any event of Stripe's.", 413)
    if not settings.STRIPE_WEBHOOK_SECRETS:
        raise Refused("No webhook secret is configured here.", 403)
    signature = request.headers.get("Stripe-Signature", "")
    try:
        body = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("The body is not UTF-8.") from None
    if not is_signed(body, signature, settings.STRIPE_WEBHOOK_SECRETS, settings.WEBHOOK_TOLERANCE_SECONDS):
        raise Refused("The signature does not fit the body, or is too old.")
    return body


def _store(event: StripeEvent) -> bool:
    try:
        return record_stripe_event(event)
    except DataError as error:  # a word where a number belongs, a NUL where PostgreSQL allows none
        raise Refused("This has not the shape of one of Stripe's events.") from error


def _decoded(body: str) -> StripeEvent:
    """The ledger's view of the event. A right signature does not promise the right shape."""
    try:
        event = json.loads(body)
        if not isinstance(event, dict) or event.get("object") != "event":
            raise Refused("This is not an event.")
        if event.get("livemode") is not settings.STRIPE_LIVE_MODE:
            raise Refused("This event belongs to Stripe's other mode (live or test) than our key.")
        return interpret(event, body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DataError) as error:
        raise Refused("This has not the shape of one of Stripe's events.") from error
