"""What a person decides about differences, and runs that meet somebody who acts."""

from __future__ import annotations

import datetime

import pytest
from django.utils import timezone

from billing.errors import NotPermitted, OperationRefused
from billing.models import Discrepancy, SubscriptionEvent
from billing.reconciliation import runs, settling, telling
from organizations.models import Organization
from tests.billing.reconciliation.running import differences_of, found, reconcile
from tests.conftest import Sandbox
from tests.factories import MembershipFactory, StaffFactory
from tests.operating import at_once, show
from tests.stripe_world import make_customer, make_organization, seats_at_stripe

pytestmark = pytest.mark.django_db(transaction=True)


def _crowded(sandbox: Sandbox) -> Organization:
    organization = make_organization(make_customer(sandbox))
    MembershipFactory.create_batch(9, organization=organization)
    return organization


def test_what_was_accepted_is_told_again_only_when_it_is_otherwise(sandbox: Sandbox) -> None:
    organization = _crowded(sandbox)
    ann = StaffFactory(permissions=["billing.settle_discrepancy"])
    reconcile()
    [row] = Discrepancy.objects.open()
    assert telling.open_of(organization)[0].sentence == "Active members: 9. Seats paid for: 8."
    settled = settling.accept([row], actor=ann, note="agreed with them for this month")
    assert str(settled) == "1 difference was settled."
    row.refresh_from_db()
    assert (row.closed_how, row.closed_by, row.note) == ("accepted", ann, "agreed with them for this month")
    assert reconcile().found == 0
    MembershipFactory(organization=organization)
    assert reconcile().found == 1
    assert differences_of(organization) == {"seats_below_members"}


def test_what_is_ignored_is_not_shown_until_its_time_has_come(sandbox: Sandbox) -> None:
    organization = _crowded(sandbox)
    ann = StaffFactory(permissions=["billing.settle_discrepancy"])
    reconcile()
    later = timezone.now() + datetime.timedelta(days=3)
    settling.ignore(list(Discrepancy.objects.open()), actor=ann, until=later)
    assert telling.open_of(organization) == []
    assert reconcile().found == 0
    assert found() == set()
    Discrepancy.objects.update(ignored_until=timezone.now())
    assert differences_of(organization) == {"seats_below_members"}


def test_settling_wants_its_permission_and_a_reason(sandbox: Sandbox) -> None:
    _crowded(sandbox)
    reconcile()
    rows = list(Discrepancy.objects.open())
    with pytest.raises(NotPermitted):
        settling.accept(rows, actor=StaffFactory(), note="fine")
    ann = StaffFactory(permissions=["billing.settle_discrepancy"])
    with pytest.raises(OperationRefused):
        settling.accept(rows, actor=ann, note=" ")
    with pytest.raises(OperationRefused):
        settling.ignore(rows, actor=ann, until=timezone.now())
    assert Discrepancy.objects.open().count() == 1


def test_a_subscription_that_stripe_lost_counts_as_canceled_once_somebody_says_so(sandbox: Sandbox) -> None:
    organization = make_organization(make_customer(sandbox))
    bare = sandbox.client.v1.customers.create({"name": "Bare"}).id
    Organization.objects.filter(pk=organization.pk).update(
        stripe_customer_id=bare, stripe_subscription_id="sub_never"
    )
    reconcile()
    assert Organization.objects.get(pk=organization.pk).has_live_subscription
    [row] = Discrepancy.objects.open().filter(organization=organization)
    ann = StaffFactory(permissions=["billing.settle_discrepancy"])
    assert settling.mend([row], actor=ann).done == 1
    organization.refresh_from_db()
    assert not organization.has_live_subscription
    row.refresh_from_db()
    assert (row.closed_how, row.closed_by) == ("fixed", ann)
    told = SubscriptionEvent.objects.get(type="reconciliation.subscription_ended")
    assert told.actor == ann
    assert settling.mend([row], actor=ann).done == 0


def test_a_repair_that_races_a_seat_change_leaves_the_newer_truth(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    shown = show("change_seats", organization, seats=20)
    Organization.objects.filter(pk=organization.pk).update(plan="Nonsense")
    run = runs.start("one", organization=organization, workers=0)
    at_once(shown.apply, lambda: runs.advance(run.pk))
    reconcile("incremental")
    organization.refresh_from_db()
    assert seats_at_stripe(sandbox, world) == 20
    assert (organization.seats, organization.plan) == (20, "Team")
    assert found() == set()
