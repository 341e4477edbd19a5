"""Runs that are killed, stopped, refused by a busy Stripe, or overtaken by somebody who acts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from django.db import connection, transaction
from django.db.models import F
from pytest_django import Settings

from billing import mirror, stripe_api
from billing.models import CustomerSync, Discrepancy, ReconciliationRun
from billing.reconciliation import listing, mending, runs, telling
from billing.reconciliation.driving import drive
from organizations.models import Organization
from tests import databases
from tests.billing.reconciliation.running import found, reconcile
from tests.conftest import Sandbox
from tests.factories import StaffFactory
from tests.operating import show
from tests.stripe_world import make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)

KILLED = """
import django; django.setup()
import os, signal
from billing.reconciliation import listing, looking, mending, runs
owner, name, times = {owner}, {name!r}, {times}
whole, seen = getattr(owner, name), []

def die(*args, **more):
    seen.append(1)
    if len(seen) == times:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*args, **more)

setattr(owner, name, die)
runs.advance({run})
"""


def kill_at(run: ReconciliationRun, owner: str, name: str, times: int) -> None:
    """Carry a run on in another process, which dies as it is about to call a function so often."""
    script = KILLED.format(owner=owner, name=name, times=times, run=run.pk)
    died = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "DATABASE_URL": databases.url()},
        check=False,
        timeout=60,
    )
    assert died.returncode == -signal.SIGKILL
    # Nobody waits for the dead; a test need not wait either.
    run.slices.update(lease_until=None)
    ReconciliationRun.objects.filter(pk=run.pk).update(lease_until=None)
    CustomerSync.objects.update(lease_until=None)


@pytest.mark.parametrize(
    ("owner", "name", "times"),
    [
        ("listing", "write_page", 3),
        ("listing", "_advance", 3),
        ("looking", "compare_all", 1),
        ("mending", "read_now", 2),
        ("mending", "_tell", 2),
    ],
)
def test_a_killed_run_goes_on_where_it_was(sandbox: Sandbox, owner: str, name: str, times: int) -> None:
    world = make_customer(sandbox)
    organizations = [make_organization(world), *(make_organization(make_customer(sandbox)) for _ in range(2))]
    sandbox.control("POST", "load", {"customers": 250, "like": world.customer})
    Organization.objects.update(seats=3)
    run = runs.start("full", workers=0)
    kill_at(run, owner, name, times)
    run.refresh_from_db()
    assert run.state == "running"
    assert not telling.overview().is_clean
    assert telling.last_run(done=True) is None
    assert runs.queue_lost() == 1
    assert runs.queue_lost() == 0
    sandbox.control("DELETE", "log")
    read = sum(run.slices.values_list("pages", flat=True))
    run = drive(run, threads=1)
    assert run.state == "done"
    pages = 3 * 3 + 2
    calls = [call for call in sandbox.control("GET", "log")["calls"] if "/v1/" in call["path"]]
    listed = [call for call in calls if call["path"].count("/") == 2 and call["path"] != "/v1/events"]
    assert len(listed) == pages - read
    assert {each.seats for each in Organization.objects.all()} == {8}
    rows = Discrepancy.objects.filter(type="seats")
    assert (rows.count(), {row.closed_how for row in rows}) == (3, {"fixed"})
    assert len(organizations) == 3


def test_a_stopped_run_is_no_clean_one_and_goes_on(sandbox: Sandbox) -> None:
    make_organization(make_customer(sandbox))
    run = runs.start("full", workers=0)
    assert runs.stop(run, StaffFactory())
    runs.advance(run.pk)
    run.refresh_from_db()
    assert (run.state, run.organizations) == ("stopped", 0)
    assert runs.resumable() == run
    assert not telling.overview().is_clean
    runs.resume(run, workers=0)
    assert drive(run, threads=1).state == "done"
    assert telling.overview().is_clean


def test_a_storm_of_429_delays_a_run_and_invents_nothing(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "BUSY_SECONDS", (0.1, 0.5))
    monkeypatch.setattr(stripe_api, "PAUSE_SECONDS", (0.01, 0.04))
    for _ in range(2):
        make_organization(make_customer(sandbox))
    sandbox.control("POST", "faults", {"kind": "error_429", "times": 25})
    run = reconcile()
    assert (run.state, run.found, run.organizations) == ("done", 0, 2)


def test_staff_act_within_seconds_while_a_run_meets_a_storm_of_429(
    sandbox: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STRIPE_CALLS_PER_SECOND = 25
    monkeypatch.setattr(listing, "BUSY_SECONDS", (0.1, 0.5))
    organization = make_organization(make_customer(sandbox))
    for path in ("customers", "subscriptions", "invoices", "refunds", "prices"):
        storm = {"kind": "error_429", "method": "GET", "path": f"/v1/{path}", "times": -1}
        sandbox.control("POST", "faults", storm)
    run = runs.start("full", workers=0)

    def carry_on() -> None:
        drive(run, threads=4)
        connection.close()

    reader = threading.Thread(target=carry_on)
    reader.start()
    try:
        while not run.slices.filter(tries__gt=0).exists():
            time.sleep(0.01)
        began = time.monotonic()
        event = show("change_seats", organization, seats=20).apply()
        took = time.monotonic() - began
        assert run.slices.filter(done_at=None).exists()
    finally:
        sandbox.control("DELETE", "faults")
        reader.join()
    run.refresh_from_db()
    assert (event.state, took < 5) == ("done", True), took
    assert (run.state, run.found) == ("done", 0)
    assert found() == set()


def test_a_run_that_stripe_refuses_is_failed_and_says_why(sandbox: Sandbox) -> None:
    make_organization(make_customer(sandbox))
    sandbox.control(
        "POST", "faults", {"kind": "error_400", "path": "/v1/customers", "times": -1, "method": "GET"}
    )
    run = reconcile()
    assert run.state == "failed"
    assert run.message
    assert not telling.overview().is_clean


def test_a_seat_change_in_the_middle_of_a_run_stays(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page was read before a colleague changed the seats, and is written after."""
    world = make_customer(sandbox)
    organization = make_organization(world)
    called = stripe_api.call

    def call(method: str, path: str, *args: object, **more: object) -> object:
        answer = called(method, path, *args, **more)  # type: ignore[arg-type]
        if path == "/v1/subscriptions" and method == "GET":
            monkeypatch.setattr(stripe_api, "call", called)
            organization.refresh_from_db()
            show("change_seats", organization, seats=20).apply()
        return answer

    monkeypatch.setattr(stripe_api, "call", call)
    run = reconcile()
    organization.refresh_from_db()
    assert organization.seats == 20
    assert (run.state, run.found) == ("done", 0)
    assert found() == set()
    assert reconcile().found == 0


def test_a_customer_whom_somebody_reads_is_left_to_them(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    CustomerSync.objects.filter(pk=world.customer).update(
        lease_token="00000000-0000-0000-0000-000000000001", lease_until="2100-01-01T00:00:00Z"
    )
    sandbox.client.v1.subscription_items.update(world.item, {"quantity": 11})
    run = reconcile()
    assert (run.state, run.left_alone, run.found) == ("done", 1, 0)
    # They are asked to read what a list showed otherwise.
    assert world.subscription in CustomerSync.objects.get(pk=world.customer).objects_wanted
    organization.refresh_from_db()
    assert organization.seats == 8


def test_pages_that_name_the_same_customers_wait_for_each_other(sandbox: Sandbox) -> None:
    worlds = [make_customer(sandbox) for _ in range(4)]
    reconcile(dry_run=True)
    for world in worlds:
        sandbox.client.v1.customers.update(world.customer, {"name": "Renamed"})
    holds, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            list(CustomerSync.objects.select_for_update())
            holds.set()
            done.wait(1.5)
        connection.close()

    other = threading.Thread(target=hold)
    other.start()
    holds.wait()
    sandbox.control("DELETE", "log")
    reconcile(dry_run=True)
    other.join()

    asked = [call["path"] for call in sandbox.control("GET", "log")["calls"]]
    assert [path for path in asked if path.count("/") > 2] == []
    assert not CustomerSync.objects.filter(wanted__gt=F("done"), customer_id__startswith="cus_").exists()
    assert {mirror.customer(world.customer)["name"] for world in worlds} == {"Renamed"}


def test_an_organization_that_is_deleted_half_way_is_no_trouble(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    Organization.objects.filter(pk=organization.pk).update(seats=3)
    whole = mending.mend_all

    def deleted(*args: object) -> int:
        Organization.objects.filter(pk=organization.pk).delete()
        return whole(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(mending, "mend_all", deleted)
    run = reconcile()
    assert (run.state, run.errors) == ("done", 0)


def test_a_customer_deleted_at_stripe_in_silence_is_told(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    sandbox.client.v1.customers.delete(world.customer)
    run = reconcile()
    assert run.state == "done", (run.message, run.log)
    assert ("customer_gone", organization.slug) in found()
    assert reconcile().found == 0
