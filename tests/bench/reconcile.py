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
from contextlib import ExitStack, contextmanager
from typing import Any

from adminops.demo.supervisor import Program, Supervisor
from tests.bench import Row
from tests.bench.ground import grounded, make_database, start_sandbox
from tests.environment import VAR

CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "10000"))
DRIFTED = CUSTOMERS // 100
# Shorter than a month: nobody's subscription renews meanwhile.
SPREAD_SECONDS = 20 * 86_400
# What the second part is held to: at 25 calls a second and 300 ms latency at most 1.3 times what the budget allows.
CALLS_PER_SECOND = 25
LATENCY_SECONDS = 0.3
MOST_OF_FLOOR = 1.3
READERS = 4
MANAGE = [sys.executable, "manage.py"]

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


@grounded
def measure(stack: ExitStack) -> Iterator[Row]:
    """Fill a sandbox and a database, let some drift, and reconcile."""
    # Only now that the settings are there.
    from billing.models import Discrepancy
    from billing.reconciliation import runs
    from billing.reconciliation.comparing import compare_all
    from billing.reconciliation.driving import drive
    from tests import databases

    sandbox = _prepare(stack)

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


@grounded
def measure_beside(stack: ExitStack) -> Iterator[Row]:
    """A full run beside dj-stripe's own sync and the obvious way, then at the pace that Stripe allows."""
    from django.conf import settings

    from billing import budget
    from billing.reconciliation import runs
    from billing.reconciliation.driving import drive
    from tests import databases

    sandbox = _prepare(stack)
    drive(runs.start("full", workers=0, dry_run=True), threads=2)
    _make_organizations()
    # Both find everything as they left it: neither is measured at what only its first time is.
    drive(runs.start("full", workers=0, dry_run=True), threads=2)
    address = databases.url()
    began = time.monotonic()
    run = drive(runs.start("full", workers=0, dry_run=True), threads=2)
    ours = time.monotonic() - began
    stock = _seconds_of([*MANAGE, "djstripe_sync_models", "Subscription"], address)
    yield _beside(
        "all lists, beside dj-stripe's sync of subscriptions", ours, "s", peer=stock, goal=stock / 20
    )
    yield _beside("objects read", run.objects_read / ours, "/s", peer=CUSTOMERS / stock)
    one_by_one = _ask_one_by_one()
    yield _beside("all lists, beside two calls for each organization", ours, "s", peer=one_by_one)
    yield _beside("calls", run.calls, "", peer=2 * CUSTOMERS)

    settings.STRIPE_CALLS_PER_SECOND = CALLS_PER_SECOND
    limits = {"endpoint": CALLS_PER_SECOND, "all": CALLS_PER_SECOND}
    sandbox.control("POST", "settings", {"rate_limits": limits})
    slow = {"kind": "latency", "method": "GET", "seconds": LATENCY_SECONDS, "times": -1}
    sandbox.control("POST", "faults", slow)
    paced = {"STRIPE_CALLS_PER_SECOND": str(CALLS_PER_SECOND), "LOG_LEVEL": "WARNING"}
    for processes in (1, 2, 3):
        with _workers(address, processes, paced):
            sandbox.control("DELETE", "log")
            began = time.monotonic()
            run = runs.start("full", workers=READERS * processes, dry_run=True)
            while run.state == run.State.RUNNING:
                time.sleep(0.1)
                run.refresh_from_db()
            seconds = time.monotonic() - began
        assert run.state == run.State.DONE, run.message
        calls = sandbox.control("GET", "log")["calls"]
        floor = len(calls) / budget.granted()
        what = f"{processes} worker{'s' if processes > 1 else ''} of {READERS} readers, {LATENCY_SECONDS} s latency"
        yield _beside(what, seconds, "s", peer=floor)
        yield _beside(f"{what}, × floor", seconds / floor, "", most=None if processes < 3 else MOST_OF_FLOOR)
        yield _beside(f"{what}, refused", sum(call["status"] == 429 for call in calls), "", most=0)


def _seconds_of(command: list[str], address: str) -> float:
    began = time.monotonic()
    subprocess.run(
        command, env={**os.environ, "DATABASE_URL": address}, check=True, stdout=subprocess.DEVNULL
    )
    return time.monotonic() - began


def _ask_one_by_one() -> float:
    """The obvious way: each organization's customer and subscription, one after the other, compared and saved."""
    from billing import stripe_api
    from organizations.models import Organization

    began = time.monotonic()
    for organization in Organization.objects.all():
        stripe_api.retrieve_customer(str(organization.stripe_customer_id))
        said = stripe_api.retrieve(str(organization.stripe_subscription_id))
        organization.subscription_status = said["status"]
        organization.save()
    return time.monotonic() - began


@contextmanager
def _workers(address: str, processes: int, environment: dict[str, str]) -> Iterator[None]:
    program = Program(
        name="a worker",
        command=[*MANAGE, "work", "--queues", "reconciliation", "--concurrency", str(READERS)],
        environment={"DATABASE_URL": address, **environment},
        log=VAR / "log" / "bench-work.log",
        stop_within=2,
    )
    with Supervisor(take_signals=False) as supervisor:
        for _number in range(processes):
            supervisor.start(program)
        # What a worker takes to come up is not the run's.
        while _workers_at_work() < processes:
            time.sleep(0.1)
        yield


def _workers_at_work() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - interval '20 s'"
        )
        return int(cursor.fetchone()[0])


def _prepare(stack: ExitStack) -> Any:
    """A database, and a sandbox with customers who came over three weeks."""

    from tests.stripe_world import make_customer

    make_database(stack)
    sandbox = start_sandbox(stack)
    now = int(time.time())
    sandbox.control("POST", "clock", {"now": now - SPREAD_SECONDS - 3600})
    model = make_customer(sandbox)
    customers = {"customers": CUSTOMERS - 1, "like": model.customer, "spread": SPREAD_SECONDS}
    sandbox.control("POST", "load", customers)
    sandbox.control("POST", "clock", {"now": now})
    sandbox.control("POST", "clock", {"release": True})
    return sandbox


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


def _beside(measure: str, ours: float, unit: str, **rest: Any) -> Row:
    return Row(name="reconcile_beside", measure=measure, ours=ours, unit=unit, **rest)
