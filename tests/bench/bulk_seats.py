"""A bulk job of a thousand seat changes: how much of its budget it uses, and what a colleague feels of it meanwhile.

A database of its own, a sandbox that refuses whatever Stripe would refuse, and real workers: one for bulk work, one for
the rest. A colleague changes the seats of one customer, again and again, before the job and during it.
BENCH_ROWS=100 is quicker.
"""

from __future__ import annotations

import itertools
import os
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from tests.bench import Row
from tests.bench.ground import grounded, make_database, start_sandbox, take_in_customers

ROWS = int(os.environ.get("BENCH_ROWS", "1000"))
CALLS_PER_SECOND = 25
# Per row: read the subscription, preview the invoice, change it.
CALLS_PER_ROW = 3
ALONE = 15
PAUSE = 1.0
# The start and the end of a job are not its pace.
EDGE_SECONDS = 3.0


@grounded
def measure(stack: ExitStack) -> Iterator[Row]:
    """Fill a sandbox and a database, do a job, and watch it."""
    # Only now that the settings are there.
    from django.conf import settings

    from billing import budget
    from billing.bulk import jobs
    from billing.bulk.jobs import Outcome
    from billing.bulk.kinds import KINDS
    from organizations.models import Organization
    from tests import databases
    from tests.factories import StaffFactory

    make_database(stack)
    sandbox = start_sandbox(stack)
    take_in_customers(sandbox, ROWS)
    *many, single = Organization.objects.order_by("pk")
    assert len(many) == ROWS

    settings.STRIPE_CALLS_PER_SECOND = CALLS_PER_SECOND
    sandbox.control("POST", "settings", {"rate_limits": {"endpoint": 25, "all": CALLS_PER_SECOND}})
    act = colleague(single)
    alone = [act() for _ in range(ALONE)]

    kind, asked = KINDS["change_seats"], {"how": "to", "seats": 12, "proration": "create_prorations"}
    began = time.monotonic()
    planned = jobs.plan(kind, [str(each.pk) for each in many], asked)
    yield _row(f"plan of {len(planned.rows):,} rows", time.monotonic() - began, "s")
    for queues in (["bulk"], ["sync", "operations", "maintenance"]):
        _start_worker(stack, databases.url(), queues)
    time.sleep(5)  # they take a moment to come up
    sandbox.control("DELETE", "log")
    job = jobs.start(
        kind,
        id_=uuid.uuid4(),
        shown={row.selected.key: row.digest for row in planned.rows},
        asked=asked,
        actor=StaffFactory(permissions=[kind.operation.permission]),
        reason="benchmark",
    )
    meanwhile = []
    while any((counts := jobs.counts(job)).get(outcome) for outcome in jobs.RUNNING):
        meanwhile.append(act())
        time.sleep(PAUSE)

    calls = sandbox.control("GET", "log")["calls"]
    of_single = f"/v1/subscriptions/{single.stripe_subscription_id}"
    changes = [
        call["real"]
        for call in calls
        if call["method"] == "POST"
        and call["path"].startswith("/v1/subscriptions/")
        and call["path"] != of_single
    ]
    since, until = min(changes) + EDGE_SECONDS, max(changes) - EDGE_SECONDS
    together = sum(since <= call["real"] < until for call in calls) / (until - since)
    bulk = CALLS_PER_ROW * sum(since <= at < until for at in changes) / (until - since)
    granted = budget.granted() - (together - bulk)
    yield _row("calls a second, all together", together, "/s")
    yield _row("calls a second, granted to bulk", granted, "/s")
    yield _row("calls a second, used by bulk", bulk, "/s", goal=0.9 * granted)
    yield _row("rows done", counts.get(Outcome.DONE, 0), "", goal=ROWS)
    yield _row("calls refused as too many", sum(call["status"] == 429 for call in calls), "")
    before, then = statistics.median(alone), statistics.median(meanwhile)
    yield _row("a colleague's change, alone", before * 1000, "ms")
    yield _row("a colleague's change, meanwhile", then * 1000, "ms")
    yield _row("times as long", then / before, "×")


def _start_worker(stack: ExitStack, database_url: str, queues: list[str]) -> None:
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "work", "--concurrency", "8", "--queues", *queues],
        env={
            **os.environ,
            "DATABASE_URL": database_url,
            "STRIPE_CALLS_PER_SECOND": str(CALLS_PER_SECOND),
            "LOG_LEVEL": "WARNING",
        },
        start_new_session=True,
    )
    stack.callback(worker.wait)
    stack.callback(os.killpg, worker.pid, signal.SIGKILL)


def colleague(organization: object) -> Callable[[], float]:
    """A change of seats, from the preview to what Stripe confirmed; returns how many seconds it took."""
    from tests.factories import StaffFactory
    from tests.operating import show

    ann = StaffFactory(permissions=["organizations.change_seats"])
    seats = itertools.cycle([20, 21])

    def act() -> float:
        began = time.monotonic()
        event = show("change_seats", organization, seats=next(seats)).apply(ann)  # type: ignore[arg-type]
        assert event.state == "done", event.error
        return time.monotonic() - began

    return act


def _row(measure: str, ours: float, unit: str, goal: float | None = None) -> Row:
    return Row(name="bulk_seats", measure=measure, ours=ours, unit=unit, goal=goal)
