"""Runs over what Stripe's events tell of, and over one organization."""

from __future__ import annotations

import datetime
import time

import pytest
from djstripe.models import Charge, Refund
from pytest_django import Settings

from adminops.pages.reconciliation.chart import left_open
from billing.importing import import_organizations
from billing.models import Discrepancy, SubscriptionEvent
from billing.reconciliation import replay, runs
from billing.reconciliation.driving import drive
from organizations.models import Organization
from tests.billing.reconciliation.running import found, reconcile
from tests.conftest import Sandbox
from tests.operating import settle_everything, show
from tests.stripe_world import charges_at_stripe, make_customer, make_organization
from tests.webhooks.stories import read_what_is_wanted

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_event_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of this moment count as never received."""
    monkeypatch.setattr(replay, "ON_ITS_WAY", -replay.OVERLAP)


def test_a_lost_webhook_is_taken_in_told_and_what_it_told_of_is_read(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    list(import_organizations())
    reconcile("incremental")
    assert not Discrepancy.objects.exists()
    time.sleep(1.1)  # Stripe's events know whole seconds only
    sandbox.client.v1.subscription_items.update(world.item, {"quantity": 11})
    sandbox.control("DELETE", "log")
    run = reconcile("incremental")
    organization = Organization.objects.get()
    assert organization.seats == 11
    assert run.state == "done"
    rows = Discrepancy.objects.filter(type="event_missing")
    assert {row.closed_how for row in rows} == {"fixed"}
    assert "customer.subscription.updated" in {row.theirs for row in rows}
    assert all(row.event is not None and row.event.recovered for row in rows)
    assert found() == set()
    # What that has corrected is told like any other difference, and in the ledger.
    seats = Discrepancy.objects.get(type="seats")
    assert (seats.closed_how, seats.ours, seats.theirs) == ("fixed", {"seats": 8}, {"seats": 11})
    assert seats.event is not None
    assert (seats.event.type, seats.event.before["seats"]) == ("reconciliation.corrected", 8)
    assert left_open([run]) == {run.pk: 0}
    calls = [call["path"] for call in sandbox.control("GET", "log")["calls"]]
    changed = {row.event.stripe_object_id for row in rows}
    assert len(calls) <= 1 + len(changed)
    again = reconcile("incremental")
    assert (again.fixed, again.found) == (0, 0)


@pytest.mark.parametrize("kind", ["full", "incremental"])
def test_a_dry_run_counts_what_was_lost_and_takes_nothing_in(sandbox: Sandbox, kind: str) -> None:
    world = make_customer(sandbox)
    list(import_organizations())
    reconcile("incremental")
    time.sleep(1.1)  # Stripe's events know whole seconds only
    sandbox.client.v1.subscription_items.update(world.item, {"quantity": 11})
    kept = SubscriptionEvent.objects.count()
    dry = reconcile(kind, dry_run=True)
    assert (dry.state, dry.watermark, SubscriptionEvent.objects.count()) == ("done", None, kept)
    assert "never received" in str(dry.log)
    assert (Organization.objects.get().seats, {type_ for type_, _slug in found()}) == (8, {"seats"})
    run = reconcile(kind)
    assert (Organization.objects.get().seats, found()) == (11, set())
    assert run.fixed >= 1
    assert Discrepancy.objects.filter(type="event_missing", closed_how="fixed").exists()


@pytest.mark.parametrize("kind", ["full", "incremental"])
def test_lost_events_of_too_many_wait_for_a_person_too(sandbox: Sandbox, kind: str) -> None:
    worlds = [make_customer(sandbox) for _number in range(3)]
    list(import_organizations())
    reconcile("incremental")
    time.sleep(1.1)  # Stripe's events know whole seconds only
    for world in worlds:
        sandbox.client.v1.subscription_items.update(world.item, {"quantity": 11})
    kept = SubscriptionEvent.objects.count()
    run = reconcile(kind, max_changes=2)
    assert (run.state, run.fixed, run.watermark) == ("tripped", 0, None)
    assert run.message.startswith(
        "3 organizations would be changed, and no more than 2 may be without asking."
    )
    assert set(Organization.objects.values_list("seats", flat=True)) == {8}
    assert SubscriptionEvent.objects.count() == kept
    runs.agree(run, workers=0)
    run = drive(run, threads=1)
    assert (run.state, found()) == ("done", set())
    assert set(Organization.objects.values_list("seats", flat=True)) == {11}
    missing = Discrepancy.objects.filter(type="event_missing", closed_how="fixed")
    assert missing.values("organization").distinct().count() == 3
    assert reconcile(kind, max_changes=0).state == "done"


def test_a_first_run_takes_no_history_for_lost(sandbox: Sandbox) -> None:
    make_customer(sandbox)
    list(import_organizations())
    run = reconcile("incremental")
    assert (run.state, run.found) == ("done", 0)
    # What is sold belongs to no customer: it is read once, and tells of no loss.
    of_customers = SubscriptionEvent.objects.filter(stripe_customer_id__startswith="cus_")
    assert not of_customers.filter(state="pending").exists()
    assert of_customers.exists()


def test_an_event_that_names_only_a_charge_leads_to_its_customer_at_once(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the charge was never read, only Stripe knows whose it is."""
    # The run lists nothing that happened before the one before it.
    monkeypatch.setattr(replay, "ON_ITS_WAY", -datetime.timedelta(seconds=5))
    monkeypatch.setattr(replay, "OVERLAP", datetime.timedelta(seconds=5))
    world = make_customer(sandbox)
    [charge] = charges_at_stripe(sandbox, world)
    refund = sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 500})
    organization = make_organization(world)
    time.sleep(1.1)  # Stripe's events know whole seconds only
    reconcile()
    Refund.objects.all().delete()
    Charge.objects.all().delete()
    time.sleep(1.1)
    sandbox.client.v1.refunds.update(refund.id, {"metadata": {"ticket": "4711"}})
    Organization.objects.filter(pk=organization.pk).update(seats=3)
    run = reconcile("incremental")
    assert (run.state, run.organizations) == ("done", 1), (run.message, run.log)
    organization.refresh_from_db()
    assert organization.seats == 8


def test_one_organization_is_compared_and_mended_alone(sandbox: Sandbox) -> None:
    one, other = make_customer(sandbox), make_customer(sandbox)
    mine, theirs = make_organization(one), make_organization(other)
    for world in (one, other):
        sandbox.client.v1.subscription_items.update(world.item, {"quantity": 11})
    run = reconcile("one", organization=mine)
    assert (run.state, run.organizations, run.fixed) == ("done", 1, 1)
    mine.refresh_from_db()
    theirs.refresh_from_db()
    assert (mine.seats, theirs.seats) == (11, 8)


def test_who_was_left_alone_is_compared_by_the_next_run(
    sandbox: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes until an act of staff is known to have been done."""
    monkeypatch.setattr(replay, "ON_ITS_WAY", -datetime.timedelta(seconds=5))
    # The next run lists nothing that happened before this one.
    monkeypatch.setattr(replay, "OVERLAP", datetime.timedelta(seconds=5))
    world = make_customer(sandbox)
    organization = make_organization(world)
    reconcile()
    settings.STRIPE_READ_TIMEOUT = 0.3
    shown = show("pause_collection", organization)
    lost = {"kind": "timeout_after", "method": "POST", "path": "/v1/subscriptions/*", "seconds": 1}
    sandbox.control("POST", "faults", lost)
    shown.apply()
    sandbox.client.v1.customers.delete(world.customer)
    time.sleep(1.1)  # Stripe's events know whole seconds only
    run = reconcile("incremental")
    assert (run.state, run.left_alone) == ("done", 1)
    settle_everything()
    read_what_is_wanted()
    reconcile("incremental")
    assert ("customer_gone", organization.slug) in found()


def test_without_a_usable_key_nothing_is_started(sandbox: Sandbox, settings: Settings) -> None:
    from billing.errors import OperationRefused
    from billing.models import ReconciliationRun

    settings.STRIPE_SECRET_KEY = ""
    with pytest.raises(OperationRefused):
        reconcile()
    assert not ReconciliationRun.objects.exists()
