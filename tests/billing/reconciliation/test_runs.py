"""A run over everything: what it finds, what it mends, what it leaves alone."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connections

from billing.errors import OperationRefused
from billing.models import Alert, Discrepancy, SubscriptionEvent
from billing.reconciliation import runs
from billing.reconciliation.driving import drive
from organizations.models import Organization
from tests.billing.reconciliation.running import differences_of, found, reconcile
from tests.conftest import Sandbox
from tests.factories import OrganizationFactory, StaffEventFactory
from tests.stripe_world import make_customer, make_organization, make_price

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_run_over_what_agrees_finds_nothing_and_says_so(sandbox: Sandbox) -> None:
    organizations = [make_organization(make_customer(sandbox)) for _ in range(3)]
    run = reconcile()
    assert (run.state, run.message) == (
        "done",
        "3 organizations were compared. 0 differences are open, 0 were mended.",
    )
    assert (run.organizations, run.differing, run.found, run.left_alone, run.errors) == (3, 0, 0, 0, 0)
    assert found() == set()
    again = reconcile()
    assert (again.organizations, again.found) == (3, 0)
    assert [each.check_of_stripe.is_stale for each in organizations] == [False] * 3


def test_what_changed_at_stripe_unheard_is_found_mended_and_told_once(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    sandbox.client.v1.subscription_items.update(world.item, {"quantity": 11})
    run = reconcile()
    organization.refresh_from_db()
    assert organization.seats == 11
    assert (run.state, run.differing, run.found, run.fixed) == ("done", 1, 1, 1)
    [row] = Discrepancy.objects.all()
    assert (row.type, row.ours["seats"], row.theirs["seats"], row.closed_how) == ("seats", 8, 11, "fixed")
    assert (row.amount, row.currency) == (3 * 2900, "usd")
    assert row.undo["columns"]["seats"] == 8
    told = SubscriptionEvent.objects.get(type="reconciliation.corrected")
    assert told == row.event
    assert told.message == "Corrected after comparing with Stripe: Seats."
    assert (told.before["seats"], told.after["seats"]) == (8, 11)
    assert reconcile().found == 0


def test_a_run_that_only_looks_records_and_changes_nothing_of_ours(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    sandbox.client.v1.subscription_items.update(world.item, {"quantity": 11})
    run = reconcile(dry_run=True)
    organization.refresh_from_db()
    assert organization.seats == 8
    assert (run.state, run.found, run.fixed) == ("done", 1, 0)
    assert differences_of(organization) == {"seats"}
    assert reconcile(dry_run=True).found == 0
    [row] = Discrepancy.objects.all()
    assert row.times_seen == 2


def test_a_run_mends_only_the_types_it_was_asked_for(sandbox: Sandbox) -> None:
    one, other = (make_customer(sandbox) for _ in range(2))
    seats, trial = make_organization(one), make_organization(other)
    Organization.objects.filter(pk=seats.pk).update(seats=3)
    Organization.objects.filter(pk=trial.pk).update(trial_end="2030-01-01T00:00:00Z")
    reconcile(fixes=["trial"])
    assert found() == {("seats", seats.slug), ("discount", seats.slug)} - {("discount", seats.slug)}
    trial.refresh_from_db()
    assert trial.trial_end is None


def test_an_organization_with_an_act_in_progress_is_left_alone(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    StaffEventFactory(organization=organization, state="pending", processed_at=None)
    Organization.objects.filter(pk=organization.pk).update(seats=3)
    run = reconcile()
    assert (run.state, run.left_alone, run.organizations) == ("done", 1, 0)
    assert found() == set()
    organization.refresh_from_db()
    assert organization.seats == 3


def test_a_run_that_would_change_too_many_asks_and_goes_on_when_agreed_to(sandbox: Sandbox) -> None:
    organizations = [make_organization(make_customer(sandbox)) for _ in range(3)]
    Organization.objects.update(seats=3)
    run = reconcile(max_changes=2)
    assert run.state == "tripped"
    assert run.message.startswith(
        "3 organizations would be changed, and no more than 2 may be without asking."
    )
    assert len(found()) == 3
    assert set(Organization.objects.values_list("seats", flat=True)) == {3}
    runs.agree(run, workers=0)
    run = drive(run, threads=1)
    assert (run.state, run.fixed) == ("done", 3)
    assert set(Organization.objects.values_list("seats", flat=True)) == {8}
    assert len(organizations) == 3


def test_while_a_run_waits_for_a_person_no_other_mends_what_it_asked_about(sandbox: Sandbox) -> None:
    for _number in range(3):
        make_organization(make_customer(sandbox))
    Organization.objects.update(seats=3)
    waits = reconcile(max_changes=2)
    other = reconcile("incremental")
    assert (other.state, other.fixed) == ("done", 0)
    assert "waits for somebody to agree" in other.message
    assert set(Organization.objects.values_list("seats", flat=True)) == {3}
    assert Alert.objects.get(kind="reconciliation_tripped").ended_at is None
    runs.agree(waits, workers=0)
    waits = drive(waits, threads=1)
    assert (waits.state, waits.fixed) == ("done", 3)
    assert Alert.objects.get(kind="reconciliation_tripped").ended_at is not None
    with pytest.raises(OperationRefused, match="waits for nobody any more"):
        runs.agree(waits, workers=0)


def test_a_run_over_everything_that_need_not_ask_takes_the_place_of_one_that_waits(sandbox: Sandbox) -> None:
    for _number in range(3):
        make_organization(make_customer(sandbox))
    Organization.objects.update(seats=3)
    waits = reconcile(max_changes=2)
    assert reconcile().fixed == 3
    with pytest.raises(OperationRefused, match="waits for nobody any more"):
        runs.agree(waits, workers=0)


def test_a_run_costs_a_call_for_a_hundred_objects(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    make_organization(world)
    sandbox.control("POST", "load", {"customers": 250, "like": world.customer})
    sandbox.control("DELETE", "log")
    run = reconcile()
    calls = [call for call in sandbox.control("GET", "log")["calls"] if call["path"].startswith("/v1")]
    # 251 customers, subscriptions and invoices, one price, no refund.
    assert len(calls) == run.calls == 3 * 3 + 1 + 1
    assert run.objects_read == 3 * 251 + 1
    assert Discrepancy.objects.open().filter(type="subscription_of_nobody", organization=None).count() == 250


def test_whoever_comes_while_the_catalogue_is_read_waits_for_its_part(sandbox: Sandbox) -> None:
    make_organization(make_customer(sandbox))
    sandbox.control("POST", "faults", {"kind": "latency", "path": "/v1/prices", "seconds": 1, "times": 1})
    run = runs.start("full", workers=0)
    catalogue = run.slices.filter(path="/v1/prices")

    def advance() -> None:
        runs.advance(run.pk)
        connections.close_all()

    first = threading.Thread(target=advance)
    first.start()
    give_up = time.monotonic() + 20
    while not catalogue.filter(lease_until__isnull=False).exists():
        assert time.monotonic() < give_up
        time.sleep(0.01)
    runs.advance(run.pk)
    assert catalogue.get().done_at is not None
    first.join()
    run.refresh_from_db()
    assert run.state == "done"


def test_an_organization_of_a_customer_that_stripe_never_had_is_told(sandbox: Sandbox) -> None:
    make_organization(make_customer(sandbox))
    bogus = OrganizationFactory()
    reconcile()
    assert found() == {("customer_gone", bogus.slug)}
    assert make_price(sandbox.client)
