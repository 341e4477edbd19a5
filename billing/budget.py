"""How many calls to Stripe may be made, handed out from PostgreSQL to all processes.

Stripe allows so many calls a second over all, and so many to one endpoint (https://docs.stripe.com/rate-limits). Each
of the two is a schedule of slots, evenly spaced, in one row: the next free one. A call takes a slot in both. So there
are no bursts, and nothing to be reset.

Who spends decides how far ahead a slot may be taken. Staff queue up for slots that are seconds away; background work
only takes one that is due all but now, the more urgent kind a little earlier. So staff come first, then webhooks, bulk
work and reconciliation, and each starves the next where there is not enough.

The slots use up 86 of 100 calls that Stripe allows; the rest is room for staff, and for calls that a busy machine sends
late. Staff have a lane of their own, a third row: a tenth of the calls go at once, past the slots that others took
already, and a slot at the end of the schedule pays for each. So within a second go the slots of that second and one
burst: never more than Stripe allows. Where the lane is used up, or the schedule is long because staff themselves fill
it, staff queue up as ever.
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
from billing.telemetry import STRIPE_CALLS_PUT_OFF

# https://docs.stripe.com/rate-limits: of one endpoint, in either mode.
ENDPOINT_CALLS_PER_SECOND = 25

OVERALL = "all"
STAFF_LANE = "staff"

SHARE_OF_SLOTS = 0.86
SHARE_OF_LANE = 0.1
# How many seconds ahead the schedule may be filled for a call to go past it: a little more than the background fills.
PASSABLE = 0.25


@dataclass(frozen=True)
class Spender:
    """A kind of work that calls Stripe; times in seconds."""

    horizon: float
    """How far ahead it may take a slot."""
    patience: float
    """How long it asks again before it is told that Stripe is busy."""
    has_lane: bool = False
    """Whether it may go past the schedule now and then."""


SPENDERS = {
    # Somebody waits: they take a place in the queue, or learn at once that it is too long.
    "staff": Spender(horizon=5, patience=0, has_lane=True),
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


def spender_now() -> str:
    """Which of `SPENDERS` the present work is."""
    return _spender.get()


def longest_wait() -> float:
    """How many seconds a call of the present kind may wait for its turn, at most."""
    spender = SPENDERS[_spender.get()]
    return spender.horizon + spender.patience


def granted() -> float:
    """How many calls a second any kind of work gets while nobody else wants any; 0 means without limit."""
    return float(settings.STRIPE_CALLS_PER_SECOND * SHARE_OF_SLOTS)


def granted_of_one_endpoint() -> float:
    """The same of calls to one endpoint."""
    return float(min(settings.STRIPE_CALLS_PER_SECOND, ENDPOINT_CALLS_PER_SECOND) * SHARE_OF_SLOTS)


def take(method: str, path: str) -> None:
    """Wait for the turn of one call. Raises StripeBusy where that would take too long; then nothing was sent."""
    allowed = settings.STRIPE_CALLS_PER_SECOND
    if not allowed:
        return
    spender, endpoint = SPENDERS[_spender.get()], endpoint_of(method, path)
    give_up = time.monotonic() + spender.patience
    while True:
        is_ours, wait = _take_slot(endpoint, allowed, spender)
        if is_ours:
            time.sleep(wait)
            return
        pause = wait - spender.horizon + random.uniform(0, 0.02)  # noqa: S311  (jitter, no secret)
        if time.monotonic() + pause > give_up:
            STRIPE_CALLS_PUT_OFF.add(spender_now())
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


# The rows are locked in one order, and read as they are then, not as they were when the statement began. The slot is
# the first that is free in both schedules; over all, a call counts from now on, whenever its endpoint lets it go. One
# in the lane goes now, and both schedules are one slot longer for it.
_TAKE = """
    WITH cell AS MATERIALIZED (
        SELECT name, free_at FROM billing_callbudget
        WHERE name = ANY(%(names)s::varchar[]) ORDER BY name FOR UPDATE
    ), present AS MATERIALIZED (
        SELECT count(*) = cardinality(%(names)s::varchar[]) AS is_complete, clock_timestamp() AS now,
               max(free_at) FILTER (WHERE name <> %(lane)s) AS free_at,
               max(free_at) FILTER (WHERE name = %(lane)s) AS lane_free_at
        FROM cell
    ), choice AS MATERIALIZED (
        SELECT *, coalesce(lane_free_at <= now + make_interval(secs => %(burst)s)
                           AND free_at <= now + make_interval(secs => %(passable)s), false) AS goes_past
        FROM present
    ), slot AS MATERIALIZED (
        SELECT now, goes_past, is_complete, CASE WHEN goes_past THEN now ELSE greatest(free_at, now) END AS at,
               is_complete AND (goes_past OR free_at <= now + make_interval(secs => %(horizon)s)) AS is_ours
        FROM choice
    ), taken AS (
        UPDATE billing_callbudget AS budget
        SET free_at = CASE budget.name
            WHEN %(overall)s THEN greatest(cell.free_at, slot.now) + make_interval(secs => %(spacing)s)
            WHEN %(lane)s THEN greatest(cell.free_at, slot.now) + make_interval(secs => %(spacing_in_lane)s)
            ELSE greatest(cell.free_at, slot.at) + make_interval(secs => %(spacing_there)s) END
        FROM cell, slot
        WHERE budget.name = cell.name AND slot.is_ours AND (cell.name <> %(lane)s OR slot.goes_past)
    )
    SELECT is_complete, is_ours, extract(epoch FROM at - now)::float8 FROM slot
"""


def _take_slot(endpoint: str, allowed: int, spender: Spender) -> tuple[bool, float]:
    """Take the next slot if it is near enough; returns whether it was taken, and how many seconds away it is.

    `allowed` is how many calls a second Stripe allows over all.
    """
    allowed_there = min(allowed, ENDPOINT_CALLS_PER_SECOND)
    # Together with the slots of a second no more than allowed, at one endpoint either.
    burst = int(allowed_there * SHARE_OF_LANE)
    has_lane = spender.has_lane and burst > 0
    names = [OVERALL, endpoint, STAFF_LANE] if has_lane else [OVERALL, endpoint]
    spacing_in_lane = 1 / (allowed_there * SHARE_OF_LANE)
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                _TAKE,
                {
                    "names": names,
                    "overall": OVERALL,
                    "lane": STAFF_LANE,
                    "spacing": 1 / (allowed * SHARE_OF_SLOTS),
                    "spacing_there": 1 / (allowed_there * SHARE_OF_SLOTS),
                    "spacing_in_lane": spacing_in_lane,
                    "burst": (burst - 1) * spacing_in_lane,
                    "passable": PASSABLE,
                    "horizon": spender.horizon,
                },
            )
            is_complete, is_ours, wait = cursor.fetchone()
            if is_complete:
                return is_ours, wait
            # An endpoint that was never called before.
            cursor.execute(
                "INSERT INTO billing_callbudget (name, free_at) SELECT unnest(%s::varchar[]), now()"
                " ON CONFLICT DO NOTHING",
                [names],
            )
