"""How many calls to Stripe may be made, handed out from PostgreSQL to all processes.

Stripe allows so many calls a second over all, and so many to one endpoint (https://docs.stripe.com/rate-limits). Each
of the two is a schedule of slots, evenly spaced, in one row: the next free one. A call takes a slot in both. So there
are no bursts, and nothing to be reset.

Who spends decides how far ahead a slot may be taken. Staff queue up for slots that are seconds away; background work
only takes one that is due all but now, the more urgent kind a little earlier. So staff come first, then webhooks, bulk
work and reconciliation, and each starves the next where there is not enough. The background's slots are wider: however
busy it is, a tenth of what Stripe allows is never used up by it.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext as _

from billing.errors import StripeBusy

# https://docs.stripe.com/rate-limits: of one endpoint, in either mode.
ENDPOINT_CALLS_PER_SECOND = 25

OVERALL = "all"


@dataclass(frozen=True)
class Spender:
    """A kind of work that calls Stripe; times in seconds."""

    horizon: float
    """How far ahead it may take a slot."""
    patience: float
    """How long it asks again before it is told that Stripe is busy."""
    share: float = 0.9
    """How much of what Stripe allows it may use up."""


SPENDERS = {
    # Somebody waits: they take a place in the queue, or learn at once that it is too long.
    # Not quite all there is, since what leaves here evenly does not arrive so.
    "staff": Spender(horizon=5, patience=0, share=0.95),
    "webhooks": Spender(horizon=0.15, patience=20),
    "bulk": Spender(horizon=0.1, patience=20),
    "reconciliation": Spender(horizon=0.05, patience=20),
}

_spender: ContextVar[str] = ContextVar("spender", default="staff")


@contextmanager
def spending(kind: str) -> Iterator[None]:
    """Whatever calls Stripe inside is of this kind, one of `SPENDERS`."""
    if kind not in SPENDERS:
        raise KeyError(kind)
    token = _spender.set(kind)
    try:
        yield
    finally:
        _spender.reset(token)


def longest_wait() -> float:
    """How many seconds a call of the present kind may wait for its turn, at most."""
    spender = SPENDERS[_spender.get()]
    return spender.horizon + spender.patience


def granted(kind: str) -> float:
    """How many calls a second this kind of work gets while nobody else wants any; 0 means without limit."""
    return float(settings.STRIPE_CALLS_PER_SECOND * SPENDERS[kind].share)


def take(method: str, path: str) -> None:
    """Wait for the turn of one call. Raises StripeBusy where that would take too long; then nothing was sent."""
    allowed = settings.STRIPE_CALLS_PER_SECOND
    if not allowed:
        return
    spender, endpoint = SPENDERS[_spender.get()], endpoint_of(method, path)
    spacing = 1 / (allowed * spender.share)
    spacing_there = 1 / (min(allowed, ENDPOINT_CALLS_PER_SECOND) * spender.share)
    give_up = time.monotonic() + spender.patience
    while True:
        is_ours, wait = _take_slot(endpoint, spacing, spacing_there, spender.horizon)
        if is_ours:
            time.sleep(wait)
            return
        pause = wait - spender.horizon + random.uniform(0, 0.02)  # noqa: S311  (jitter, no secret)
        if time.monotonic() + pause > give_up:
            raise StripeBusy(
                _("We ask Stripe as much as it allows just now. Nothing was changed; try again in a minute."),
                f"no turn for {endpoint} within {spender.horizon + spender.patience:.0f} s",
            )
        time.sleep(pause)


# `create_preview` stands where other paths have an id; so do the parts of Stripe that have parts themselves.
_NO_ID = frozenset({"create_preview", "preview", "search", "sessions", "configurations"})
_VERSION = re.compile(r"^/?v\d+/")


def endpoint_of(method: str, path: str) -> str:
    """What Stripe counts as one endpoint: "POST /v1/subscriptions/{}", whatever the id."""
    version, parts = path.strip("/").split("/", 1)
    # Kind and id take turns; an id may look like anything, a coupon's above all.
    named = [
        "{}" if position % 2 and part not in _NO_ID else part
        for position, part in enumerate(parts.split("/"))
    ]
    return f"{method} /{version}/{'/'.join(named)}"


# Both rows are locked in one order, and read as they are then, not as they were when the statement began. The slot is
# the first that is free in both; over all, a call counts from now on, whenever its endpoint lets it go.
_TAKE = """
    WITH cell AS MATERIALIZED (
        SELECT name, free_at FROM billing_callbudget
        WHERE name IN (%(overall)s, %(endpoint)s) ORDER BY name FOR UPDATE
    ), present AS MATERIALIZED (
        SELECT count(*) AS cells, max(free_at) AS free_at, clock_timestamp() AS now FROM cell
    ), slot AS MATERIALIZED (
        SELECT now, greatest(free_at, now) AS at,
               cells = 2 AND free_at <= now + make_interval(secs => %(horizon)s) AS is_ours
        FROM present
    ), taken AS (
        UPDATE billing_callbudget AS budget
        SET free_at = CASE budget.name
            WHEN %(overall)s THEN greatest(cell.free_at, slot.now) + make_interval(secs => %(spacing)s)
            ELSE slot.at + make_interval(secs => %(spacing_there)s) END
        FROM cell, slot WHERE budget.name = cell.name AND slot.is_ours
    )
    SELECT present.cells, slot.is_ours, extract(epoch FROM slot.at - slot.now)::float8 FROM present, slot
"""


def _take_slot(endpoint: str, spacing: float, spacing_there: float, horizon: float) -> tuple[bool, float]:
    """Take the next slot if it is near enough; returns whether it was taken, and how many seconds away it is."""
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                _TAKE,
                {
                    "overall": OVERALL,
                    "endpoint": endpoint,
                    "spacing": spacing,
                    "spacing_there": spacing_there,
                    "horizon": horizon,
                },
            )
            cells, is_ours, wait = cursor.fetchone()
            if cells == 2:
                return is_ours, wait
            # An endpoint that was never called before.
            cursor.execute(
                "INSERT INTO billing_callbudget (name, free_at) VALUES (%s, now()), (%s, now())"
                " ON CONFLICT DO NOTHING",
                [OVERALL, endpoint],
            )
