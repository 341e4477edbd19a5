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

from adminops.demo.supervisor import Program, Supervisor, http_answers
from tests.bench import Row
from tests.environment import VAR, prepare

ROWS = int(os.environ.get("BENCH_ROWS", "1000"))
CALLS_PER_SECOND = 25
# Per row: read the subscription, preview the invoice, change it.
CALLS_PER_ROW = 3
ALONE = 15
PAUSE = 1.0
# The start and the end of a job are not its pace.
EDGE_SECONDS = 3.0


def measure() -> Iterator[Row]:
    """Fill a sandbox and a database, do a job, and watch it."""
    prepare()
    import django

    django.setup()
    with ExitStack() as stack:
        yield from _measure(stack)


def _measure(stack: ExitStack) -> Iterator[Row]:
    # Only now that the settings are there.
    from django.conf import settings

    from billing import budget
    from billing.bulk import jobs
    from billing.bulk.jobs import Outcome
    from billing.bulk.kinds import KINDS
    from billing.importing import import_organizations
    from organizations.models import Organization
    from tests import databases
    from tests.conftest import Sandbox
    from tests.factories import StaffFactory
    from tests.stripe_world import make_customer

    databases.prepare_template(say=print)
    databases.create(name := f"bench_{os.getpid()}")
    stack.callback(databases.drop, name)
    sandbox = Sandbox(settings.STRIPE_API_BASE)
    stack.callback(sandbox.close)
    _start_sandbox(stack, sandbox.url)
    model = make_customer(sandbox)
    sandbox.control("POST", "load", {"customers": ROWS, "like": model.customer})
    print(f"Taking in {ROWS + 1} customers …", flush=True)
    for _each in import_organizations():
        pass
    *many, single = Organization.objects.order_by("pk")
    assert len(many) == ROWS

    settings.STRIPE_CALLS_PER_SECOND = CALLS_PER_SECOND
    sandbox.control("POST", "settings", {"rate_limits": {"endpoint": 25, "all": CALLS_PER_SECOND}})
    act = _colleague(single)
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


def _start_sandbox(stack: ExitStack, url: str) -> None:
    supervisor = stack.enter_context(Supervisor(take_signals=False))
    supervisor.start_ready(
        Program(
            name="the sandbox Stripe",
            command=[sys.executable, "-m", "billing.sandbox", "--port", url.rpartition(":")[2]],
            log=VAR / "log" / "bench-sandbox.log",
            ready=lambda: http_answers(f"{url}/_sandbox/health"),
        )
    )


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


def _colleague(organization: object) -> Callable[[], float]:
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
