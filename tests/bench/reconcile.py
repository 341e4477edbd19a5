"""A reconciliation of thousands of subscriptions, one in a hundred of them drifted: its calls, its pace, its memory.

A database and a sandbox of its own, no latency, no limits, one process. BENCH_CUSTOMERS=100000 is the size we promise.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from adminops.demo.supervisor import Program, Supervisor, http_answers
from tests.bench import Row
from tests.environment import VAR, prepare

CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "10000"))
DRIFTED = CUSTOMERS // 100

# What a run takes of memory, told by a process that does nothing else.
ALONE = """
import django; django.setup()
import pathlib, re
from billing.reconciliation import runs
from billing.reconciliation.driving import drive
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
began = peak()
run = drive(runs.start("full", workers=0, dry_run=True), threads=1)
assert run.state == "done", run.message
print(peak() - began)
"""


def measure() -> Iterator[Row]:
    """Fill a sandbox and a database, let some drift, and reconcile."""
    prepare()
    import django

    django.setup()
    with ExitStack() as stack:
        yield from _measure(stack)


def _measure(stack: ExitStack) -> Iterator[Row]:
    # Only now that the settings are there.
    from django.conf import settings

    from billing.models import Discrepancy
    from billing.reconciliation import runs
    from billing.reconciliation.comparing import compare_all
    from billing.reconciliation.driving import drive
    from tests import databases
    from tests.conftest import Sandbox
    from tests.stripe_world import make_customer

    databases.prepare_template(say=print)
    databases.create(name := f"bench_{os.getpid()}")
    stack.callback(databases.drop, name)
    sandbox = Sandbox(settings.STRIPE_API_BASE)
    stack.callback(sandbox.close)
    supervisor = stack.enter_context(Supervisor(take_signals=False))
    supervisor.start_ready(
        Program(
            name="the sandbox Stripe",
            command=[sys.executable, "-m", "billing.sandbox", "--port", sandbox.url.rpartition(":")[2]],
            log=VAR / "log" / "bench-sandbox.log",
            ready=lambda: http_answers(f"{sandbox.url}/_sandbox/health"),
        )
    )
    model = make_customer(sandbox)
    sandbox.control("POST", "load", {"customers": CUSTOMERS - 1, "like": model.customer})

    def reconcile(**options: Any) -> tuple[Any, float]:
        began = time.monotonic()
        run = drive(runs.start("full", workers=0, **options), threads=2)
        assert run.state == "done", run.message
        return run, time.monotonic() - began

    _run, seconds = reconcile(dry_run=True)
    yield _row(f"{CUSTOMERS:,} subscriptions, mirror empty", seconds, "s")
    Discrepancy.objects.all().delete()
    _make_organizations()
    reconcile(dry_run=True)
    _run, seconds = reconcile(dry_run=True)
    yield _row("again, nothing changed", seconds, "s")

    newest = sandbox.client.v1.subscriptions.list({"limit": 100}).auto_paging_iter()
    drifted = [each["items"]["data"][0]["id"] for each in itertools.islice(newest, DRIFTED)]
    for item in drifted:
        sandbox.client.v1.subscription_items.update(item, {"quantity": 9, "proration_behavior": "none"})
    run, seconds = reconcile(dry_run=True)
    yield _row(f"again, {len(drifted)} drifted", seconds, "s")
    yield _row("drifts found", run.found, "", goal=len(drifted))
    yield _row("differences invented", Discrepancy.objects.open().exclude(type="seats").count(), "")
    yield _row("calls for a hundred objects", 100 * run.calls / run.objects_read, "")
    began = time.monotonic()
    compare_all(run, lambda: None)
    yield _row("comparison", time.monotonic() - began, "s", goal=2)
    alone = subprocess.run(
        [sys.executable, "-c", ALONE],
        env={**os.environ, "DATABASE_URL": databases.url()},
        check=True,
        capture_output=True,
        text=True,
    )
    yield _row("memory of a run", int(alone.stdout), "kB", goal=30_000)
    run, seconds = reconcile()
    yield _row("with mending", seconds, "s")
    yield _row("mended", run.fixed, "", goal=len(drifted))


def _make_organizations() -> None:
    """An organization for each customer of the mirror, as its sync would have it."""
    from django.utils import timezone
    from djstripe.models import Customer

    from billing import mirror
    from billing.mirror import listing as mirrored
    from billing.projection import project
    from organizations.models import Organization

    ids = list(Customer.objects.values_list("id", flat=True))
    for begin in range(0, len(ids), 500):
        chunk = ids[begin : begin + 500]
        customers, methods = mirrored.customers_of_many(chunk), mirrored.payment_methods_of_many(chunk)
        subscriptions = mirror.subscriptions_of_many(chunk)
        Organization.objects.bulk_create(
            Organization(
                name=f"Company {each}",
                slug=each.lower().replace("_", "-"),
                stripe_customer_id=each,
                **project(
                    customers[each],
                    subscriptions.get(each, []),
                    methods.get(each, []),
                    [],
                    timezone.now(),
                    None,
                ),
            )
            for each in chunk
        )


def _row(measure: str, ours: float, unit: str, goal: float | None = None) -> Row:
    return Row(name="reconcile", measure=measure, ours=ours, unit=unit, goal=goal)
