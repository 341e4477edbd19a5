"""Every call to Stripe: its timeout, its retries, and what its failures mean.

Nothing else in the project talks to Stripe (a ruff rule holds it), and nothing here is called inside a database
transaction (`call` refuses). The client's own retries are off: whoever keeps books about a call must know of
each attempt.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, cast
from urllib.parse import quote

import requests
import stripe
from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _
from urllib3.exceptions import NameResolutionError, NewConnectionError

from billing import budget
from billing.errors import (
    ObjectMissing,
    OutcomeUnknown,
    StripeBusy,
    StripeError,
    StripeMisconfigured,
    StripeRefused,
    StripeUnreachable,
)
from billing.refusals import words_for
from billing.stripe_ids import prefix_of
from billing.telemetry import STRIPE_CALLS

type StripeObject = dict[str, Any]

KEY_FORMAT = re.compile(r"^(sk|rk)_(test|live)_[A-Za-z0-9]{16,}$")

# Reads are repeated on 429 and on lost connections; writes never are, that is the sweeper's work.
READ_TRIES = 3
# So many seconds, doubled with each try, lie between them; everybody waits for a different while.
PAUSE_SECONDS = (0.1, 0.4)

# The path of an object by the prefix of its id. https://docs.stripe.com/api
PATHS = {
    "cus": "/v1/customers",
    "sub": "/v1/subscriptions",
    "in": "/v1/invoices",
    "ch": "/v1/charges",
    "py": "/v1/charges",
    "pi": "/v1/payment_intents",
    "re": "/v1/refunds",
    "pyr": "/v1/refunds",
    "du": "/v1/disputes",
    "dp": "/v1/disputes",
    "pm": "/v1/payment_methods",
    "card": "/v1/payment_methods",
    "prod": "/v1/products",
    "price": "/v1/prices",
    "evt": "/v1/events",
}

# What must come along with an object for the mirror to be complete. Nothing of a customer's: Stripe may refuse to
# expand what a deleted one no longer has.
EXPANSIONS: dict[str, tuple[str, ...]] = {
    "/v1/subscriptions": (
        "items.data.price.product",
        "items.data.price.tiers",
        "discounts.source.coupon",
        "default_payment_method",
        "schedule",
    ),
    "/v1/invoices": ("payments",),
    "/v1/prices": ("tiers",),
}
# What is sold, by Stripe's word for it. Accounts may give it ids of their own, so no prefix tells it.
CATALOGUE = {"product": "/v1/products", "price": "/v1/prices"}


def configuration_problem() -> str | None:
    """What keeps us from calling Stripe, as a sentence for staff; None when nothing does."""
    key = settings.STRIPE_SECRET_KEY
    if not key:
        return _("No Stripe key is set, so nothing can be changed at Stripe from here.")
    if not KEY_FORMAT.match(key):
        return _("The Stripe key that is set is not one of Stripe's, so nothing can be changed from here.")
    return None


def dashboard_url(stripe_id: str, livemode: bool | None = None) -> str:
    """The page of an object in Stripe's own dashboard; `livemode` None means the mode of our key."""
    live = settings.STRIPE_LIVE_MODE if livemode is None else livemode
    pages = {
        "cus": "customers",
        "sub": "subscriptions",
        "sub_sched": "subscription_schedules",
        "in": "invoices",
        "evt": "events",
        "du": "disputes",
    }
    prefix = prefix_of(stripe_id)
    page = pages.get(prefix, "payments" if prefix in {"pi", "ch", "py"} else "search?query=")
    separator = "" if page.endswith("=") else "/"
    return f"https://dashboard.stripe.com/{'' if live else 'test/'}{page}{separator}{stripe_id}"


def path_of(stripe_id: str) -> str | None:
    """Where an object is read, by its id; None for a kind that we do not read."""
    # A schedule has none here: it comes along with its subscription.
    base = PATHS.get(prefix_of(stripe_id))
    return f"{base}/{stripe_id}" if base else None


def retrieve_customer(customer_id: str) -> StripeObject:
    """The present state of a customer, whatever its id looks like: accounts taken over by Stripe keep theirs.

    Raises ObjectMissing when Stripe knows no such customer, StripeError otherwise.
    """
    return call("GET", f"/v1/customers/{customer_id}")


def retrieve(stripe_id: str) -> StripeObject:
    """The present state of an object, with what the mirror needs expanded.

    Raises ObjectMissing when Stripe knows no such id, StripeError otherwise.
    """
    path = path_of(stripe_id)
    if path is None:
        raise ObjectMissing(_("This is not an id of an object that we read."), stripe_id)
    return call("GET", path, expand=EXPANSIONS.get(path.rsplit("/", 1)[0], ()))


def retrieve_of_catalogue(kind: str, stripe_id: str) -> StripeObject:
    """The present state of a product or a price, whatever its id looks like. Raises ObjectMissing and StripeError."""
    base = CATALOGUE[kind]
    return call("GET", f"{base}/{quote(stripe_id, safe='')}", expand=EXPANSIONS.get(base, ()))


def list_pages(
    path: str, params: Mapping[str, Any] | None = None, *, limit: int = 100
) -> Iterator[list[StripeObject]]:
    """The pages of a list, newest first, `limit` (1 to 100) objects each. Raises StripeError."""
    expand = [f"data.{name}" for name in EXPANSIONS.get(path, ())]
    cursor: dict[str, Any] = {}
    while True:
        # Stripe expands four levels at most, and `data.` is one of them.
        page = call(
            "GET",
            path,
            {**(params or {}), **cursor, "limit": limit},
            expand=[e for e in expand if e.count(".") < 4],
        )
        rows = cast(list[StripeObject], page["data"])
        if rows:
            yield rows
        if not page["has_more"]:
            return
        cursor = {"starting_after": rows[-1]["id"]}


def invoice_lines(invoice: StripeObject) -> list[StripeObject]:
    """All lines of an invoice: Stripe puts ten of them into it. Raises StripeError where it does not tell the rest."""
    lines = cast(list[StripeObject], list(invoice["lines"]["data"]))
    if invoice["lines"].get("has_more"):
        path = f"/v1/invoices/{invoice['id']}/lines"
        lines = [line for page in list_pages(path) for line in page]
    return lines


def invoice_payments(invoice: StripeObject) -> list[StripeObject]:
    """All payments of an invoice, made or tried: the first ten come along with it. Raises StripeError."""
    payments = cast(list[StripeObject], list(invoice["payments"]["data"]))
    if invoice["payments"].get("has_more"):
        pages = list_pages("/v1/invoice_payments", {"invoice": invoice["id"]})
        payments = [payment for page in pages for payment in page]
    return payments


def preview_invoice(params: Mapping[str, Any]) -> StripeObject:
    """The invoice that a change would lead to; nothing is stored. Raises StripeError."""
    return call("POST", "/v1/invoices/create_preview", params, is_read=True)


def account() -> StripeObject:
    """The account our key belongs to. Raises StripeError."""
    return call("GET", "/v1/account")


def call(
    method: str,
    path: str,
    params: Mapping[str, Any] | None = None,
    *,
    idempotency_key: str | None = None,
    expand: Sequence[str] = (),
    is_read: bool | None = None,
    before_sending: Callable[[], None] | None = None,
) -> StripeObject:
    """One call to Stripe, decoded.

    `is_read` (GET unless told) allows repeats after a 429 or a lost connection. A write is sent exactly once, with
    `idempotency_key`; what its failure means for the world is told by the class of the StripeError raised:
    OutcomeUnknown is the only one after which the work may have been done. Waits for its turn first (`billing.budget`).
    `before_sending` runs when the turn has come; what it raises ends the call, and nothing is sent.
    """
    if connection.in_atomic_block:
        raise RuntimeError("Stripe must not be called inside a database transaction.")
    problem = configuration_problem()
    if problem:
        raise StripeMisconfigured(problem)
    reads = method == "GET" if is_read is None else is_read
    for attempt in range(1, (READ_TRIES if reads else 1) + 1):
        budget.take(method, path)
        if before_sending:
            before_sending()
        try:
            return _send(method, path, dict(params or {}), idempotency_key, list(expand))
        except (StripeBusy, StripeUnreachable, OutcomeUnknown) as error:
            if not reads:
                raise
            # After a silence, a person or a worker has waited long enough.
            if attempt == READ_TRIES or (isinstance(error, OutcomeUnknown) and error.raw["status"] is None):
                raise _unread(error) from error
            time.sleep(random.uniform(*PAUSE_SECONDS) * 2**attempt)  # noqa: S311  (jitter, no secret)
    raise AssertionError("unreachable")


# How failed calls are counted; whatever is not named was refused.
_ANSWERS: dict[type[StripeError], str] = {
    StripeBusy: "busy",
    StripeUnreachable: "unreachable",
    OutcomeUnknown: "unknown",
}


@cache
def _client(key: str, base: str, connect: float, read: float) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        stripe_version=settings.STRIPE_API_VERSION,
        base_addresses={"api": base},
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=(connect, read)),
    )


def seconds_ahead_of_stripe() -> float | None:
    """How far our clock goes ahead of Stripe's (behind: negative), to a second or two; None where it did not tell.

    Raises StripeError.
    """
    budget.take("GET", "/v1/events")
    asked = time.time()
    response = _answer("GET", "/v1/events", {"limit": 1})
    middle = (asked + time.time()) / 2
    try:
        told = parsedate_to_datetime(str(response.headers.get("Date"))).timestamp()
    except ValueError:
        return None
    # The header names the second that has begun.
    return middle - (told + 0.5)


def _send(
    method: str, path: str, params: dict[str, Any], idempotency_key: str | None, expand: list[str]
) -> StripeObject:
    if expand:
        params["expand"] = expand
    if idempotency_key:
        params["idempotency_key"] = idempotency_key
    response = _answer(method, path, params)
    data = _storable(response.data) if _UNSTORABLE.search(str(response.body)) else response.data
    return cast(StripeObject, data)


def _answer(method: str, path: str, params: dict[str, Any]) -> stripe.StripeResponse:
    client = _client(
        settings.STRIPE_SECRET_KEY,
        settings.STRIPE_API_BASE,
        settings.STRIPE_CONNECT_TIMEOUT,
        settings.STRIPE_READ_TIMEOUT,
    )
    try:
        response = client.raw_request(method.lower(), path, **params)
    except stripe.StripeError as error:
        translated = _translate(error)
        STRIPE_CALLS.add(budget.spender_now(), _ANSWERS.get(type(translated), "refused"))
        raise translated from error
    STRIPE_CALLS.add(budget.spender_now(), "answered")
    return cast(stripe.StripeResponse, response)


# JSON can write these only escaped. Few answers have any, and to look through all values takes longer than to parse.
_UNSTORABLE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


def _storable(value: Any) -> Any:
    """An answer as our database can hold it: without NULs and half surrogates, which a customer's metadata may hold."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _storable(each) for key, each in value.items()}
    return [_storable(each) for each in value] if isinstance(value, list) else value


def _translate(error: stripe.StripeError) -> StripeError:
    """Stripe's and the network's failures in our own words, sorted by what they mean for the work asked for."""
    raw = _raw(error)
    said = raw["error"]
    detail = f"{type(error).__name__}: {error.user_message or error} {error.request_id or ''}".strip()
    # The SDK drops the code of some errors; Stripe's own words always have it.
    code = error.code or said.get("code") or ""
    if isinstance(error, stripe.APIConnectionError):
        if _was_never_connected(error):
            return StripeUnreachable(_("We could not reach Stripe. Nothing was changed."), detail, raw=raw)
        return OutcomeUnknown(_unknown(), f"{detail} (no answer)", raw=raw)
    if isinstance(error, stripe.RateLimitError) or error.http_status == 429:
        return StripeBusy(
            _("Stripe is busy and asked us to wait. Nothing was changed; try again in a minute."),
            detail,
            code=code,
            raw=raw,
        )
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return StripeMisconfigured(
            _("Stripe does not accept our key for this. Nothing was changed; tell an administrator."),
            detail,
            code=code,
            raw=raw,
        )
    ours = words_for(code, said)
    if isinstance(error, stripe.CardError):
        return StripeRefused(
            ours
            or _("The customer's card was declined (%(why)s). Nothing was changed.")
            % {"why": (error.user_message or code).rstrip(".")},
            detail,
            code=code,
            raw=raw,
        )
    is_stripes_own = bool(said.get("type"))
    is_about_the_key = isinstance(error, stripe.IdempotencyError) or code == "idempotency_key_in_use"
    if not is_stripes_own or is_about_the_key or error.http_status in {408, 409}:
        # A proxy's page, or a key that was used before: neither tells what became of the work.
        return OutcomeUnknown(_unknown(), detail, code=code, raw=raw)
    if error.http_status is not None and 400 <= error.http_status < 500:
        kind = ObjectMissing if code == "resource_missing" else StripeRefused
        return kind(
            ours
            or _("Stripe refused: %(why)s Nothing was changed.")
            % {"why": _sentence(error.user_message or str(error))},
            detail,
            code=code,
            raw=raw,
        )
    return OutcomeUnknown(_unknown(), detail, code=code, raw=raw)


def _unread(error: StripeError) -> StripeError:
    """The failure of a read: nothing can have happened, so nothing is in doubt."""
    if not isinstance(error, OutcomeUnknown):
        return error
    return StripeUnreachable(
        _("Stripe did not give a usable answer, so this could not be read. Nothing was changed; try again."),
        error.detail,
        code=error.code,
        raw=error.raw,
    )


def _unknown() -> str:
    return _(
        "Stripe gave no clear answer, so we do not know yet whether it was done."
        " We are finding out, mostly within a minute; do not repeat it."
    )


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _raw(error: stripe.StripeError) -> dict[str, Any]:
    """What Stripe said, for the ledger: the error object, the status and the request's id."""
    body = error.json_body if isinstance(error.json_body, dict) else {}
    said = body.get("error")
    return {
        "status": error.http_status,
        "request_id": error.request_id,
        "error": _storable(said) if isinstance(said, dict) else {"message": str(_storable(str(error)))},
    }


def _was_never_connected(error: stripe.APIConnectionError) -> bool:
    """Whether the request certainly did not leave this machine: no name, no route, nobody listening."""
    cause = error.__cause__
    if isinstance(cause, requests.exceptions.ConnectTimeout):
        return True
    if isinstance(cause, requests.exceptions.ConnectionError) and cause.args:
        reason = getattr(cause.args[0], "reason", cause.args[0])
        return isinstance(reason, NewConnectionError | NameResolutionError)
    return False
