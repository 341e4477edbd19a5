"""Reprocess: an event's objects are read again, whatever became of it the last time."""

from typing import Any

import pytest

from billing import mirror
from billing.errors import OperationRefused
from billing.models import SubscriptionEvent
from billing.operations.sweeper import settle_pending
from billing.sync import sync_customer
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import StaffEventFactory, SubscriptionEventFactory
from tests.operating import make_due, show
from tests.stripe_world import World, make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


def told(organization: Organization, world: World, **columns: Any) -> SubscriptionEvent:
    """An event about the subscription of that world."""
    event: SubscriptionEvent = SubscriptionEventFactory(
        **{
            "organization": organization,
            "stripe_object_id": world.subscription,
            "stripe_subscription_id": world.subscription,
            "state": "parked",
            "attempts": 7,
            "error": "It failed.",
            "traceback": "Traceback: line 7",
            **columns,
        }
    )
    return event


@pytest.mark.parametrize("state", ["parked", "failed", "pending", "ignored"])
def test_an_event_that_was_not_done_is_done_afterwards(
    sandbox: Sandbox, world: World, organization: Organization, state: str
) -> None:
    event = told(organization, world, state=state)
    Organization.objects.filter(pk=organization.pk).update(seats=3)
    looked = show("reprocess_event", event)
    assert [(each.field, each.ours, each.stripes) for each in looked.preview.differences.found] == [
        ("seats", 3, 8)
    ]
    event.refresh_from_db()
    assert (event.state, event.attempts) == (state, 7)  # looking changes nothing

    done = looked.apply()

    event.refresh_from_db()
    organization.refresh_from_db()
    assert (done.state, done.message) == (
        "done",
        "1 difference found; it is being read from Stripe again now.",
    )
    assert (done.organization, done.stripe_subscription_id) == (organization, world.subscription)
    assert done.before == {"state": state, "attempts": 7, "error": "It failed."}
    assert (event.state, event.error, event.traceback) == ("done", "", "")
    assert organization.seats == 8


def test_an_event_that_was_done_is_read_again_and_stays_done(
    world: World, organization: Organization
) -> None:
    event = told(organization, world, state="done", attempts=1, error="")
    settled = event.processed_at
    Organization.objects.filter(pk=organization.pk).update(seats=3)
    done = show("reprocess_event", event).apply()
    event.refresh_from_db()
    organization.refresh_from_db()
    assert done.message == "1 difference found; it is being read from Stripe again now."
    assert (event.state, event.processed_at, organization.seats) == ("done", settled, 8)


def test_only_the_objects_of_the_event_are_compared(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    event = told(organization, world)
    charge = sandbox.client.v1.charges.list({"customer": world.customer}).data[0]
    sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 700})
    assert show("reprocess_event", event).preview.differences.number == 0


def test_what_stripe_does_not_know_any_more_is_named_and_ends_the_event_in_words(
    organization: Organization, world: World
) -> None:
    event = told(organization, world, stripe_object_id="in_gone", objects_to_read=["in_gone"])
    looked = show("reprocess_event", event)
    assert looked.preview.missing == ("in_gone",)
    looked.apply()
    event.refresh_from_db()
    assert (event.state, event.error) == ("ignored", "Stripe knows no such object, or not any more.")


def test_an_event_of_a_customer_taken_in_since_finds_its_organization(sandbox: Sandbox, world: World) -> None:
    event = SubscriptionEventFactory(
        organization=None,
        stripe_customer_id=world.customer,
        stripe_object_id=world.subscription,
        state="ignored",
        error="No organization here has this Stripe customer.",
    )
    with pytest.raises(OperationRefused, match="No organization here has the Stripe customer"):
        show("reprocess_event", event)
    organization = make_organization(world)
    show("reprocess_event", event).apply()
    event.refresh_from_db()
    assert (event.state, event.organization, event.organization_label) == (
        "done",
        organization,
        organization.name,
    )


def test_an_event_of_a_charge_whose_customer_nobody_knew_is_handed_over(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    charge = sandbox.client.v1.charges.list({"customer": world.customer}).data[0]
    refund = sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 700})
    event = SubscriptionEventFactory(
        organization=None,
        type="refund.created",
        stripe_customer_id=None,
        stripe_charge_id=charge.id,
        stripe_refund_id=refund.id,
        stripe_object_id=refund.id,
        objects_to_read=[refund.id, charge.id],
        state="parked",
    )
    done = show("reprocess_event", event).apply()
    assert (done.state, done.organization) == ("done", organization)
    sync_customer(charge.id)
    sync_customer(world.customer)
    event.refresh_from_db()
    assert (event.state, event.organization) == ("done", organization)
    assert [each["amount"] for each in mirror.refunds_of(world.customer)] == [700]


def test_what_has_nothing_to_read_or_is_not_stripes_is_refused_in_words(
    world: World, organization: Organization
) -> None:
    with pytest.raises(OperationRefused, match="nothing to be read"):
        show("reprocess_event", told(organization, world, objects_to_read=None, state="ignored"))
    with pytest.raises(OperationRefused, match="did not come from Stripe"):
        show("reprocess_event", StaffEventFactory(organization=organization))


def test_an_event_whose_reading_fails_again_waits_with_the_new_failure(
    world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = told(organization, world)
    looked = show("reprocess_event", event)

    def break_off(*args: Any, **named: Any) -> None:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(mirror, "upsert", break_off)
        looked.apply()
    event.refresh_from_db()
    assert (event.state, event.error, event.attempts) == ("failed", "the disk is full", 1)
    show("reprocess_event", event).apply()
    event.refresh_from_db()
    assert event.state == "done"


def test_a_process_that_died_after_the_intent_is_finished_by_the_sweeper(
    world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = told(organization, world)
    looked = show("reprocess_event", event)

    def die(*args: object, **kwargs: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("billing.operations.intent.carry_out", die)
        with pytest.raises(SystemExit):
            looked.apply()
    event.refresh_from_db()
    assert event.state == "parked"
    make_due()
    settle_pending()
    event.refresh_from_db()
    assert event.state == "pending"
    sync_customer(world.customer)
    event.refresh_from_db()
    assert event.state == "done"
