"""What cannot be used is tried for days, ever less often, then given up and told; nobody beside it waits."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from billing import inbox, mirror
from billing.inbox import request_sync
from billing.models import Alert, CustomerSync, SubscriptionEvent
from billing.sync import is_behind, sync_customer
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import SubscriptionEventFactory
from tests.operating import grow_older, show
from tests.stripe_world import World, make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


@pytest.fixture
def poison(sandbox: Sandbox, world: World, organization: Organization) -> str:
    """An invoice that Stripe cannot tell us."""
    (invoice,) = mirror.invoices_of(world.customer)
    sandbox.control(
        "POST", "faults", {"kind": "error_400", "path": f"/v1/invoices/{invoice['id']}", "times": -1}
    )
    return str(invoice["id"])


def told(organization: Organization, object_id: str, **columns: Any) -> SubscriptionEvent:
    event: SubscriptionEvent = SubscriptionEventFactory(
        organization=organization,
        stripe_object_id=object_id,
        type="invoice.updated",
        **{"state": "pending", "processed_at": None, **columns},
    )
    return event


def make_everything_due() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE billing_customersync SET next_attempt_at = now(), objects_wanted = (
                SELECT coalesce(jsonb_object_agg(key, value - 'due'), '{}') FROM jsonb_each(objects_wanted)
            )
            """
        )


def give_up(world: World, object_id: str) -> None:
    """Let all tries pass."""
    request_sync(world.customer, [object_id])
    for _ in range(inbox.TRIES):
        make_everything_due()
        sync_customer(world.customer)


def test_waits_grow_from_a_minute_to_a_day_and_last_for_days() -> None:
    waits = [inbox.backoff(tries) for tries in range(1, inbox.TRIES)]
    assert datetime.timedelta(seconds=45) < waits[0] < datetime.timedelta(seconds=75)
    assert datetime.timedelta(hours=18) < waits[-1] < datetime.timedelta(hours=30)
    assert datetime.timedelta(days=2) < sum(waits, datetime.timedelta()) < datetime.timedelta(days=5)
    assert len({inbox.backoff(3) for _ in range(20)}) > 10  # not all at the same moment


def test_the_row_says_how_often_it_was_tried_when_it_is_next_and_why(
    world: World, organization: Organization, poison: str
) -> None:
    event = told(organization, poison)
    request_sync(world.customer, [poison])
    sync_customer(world.customer)

    event.refresh_from_db()
    row = CustomerSync.objects.get(pk=world.customer)
    assert (event.state, event.attempts) == ("failed", 1)
    assert "refused" in event.error
    assert "Traceback" in event.traceback
    assert event.next_attempt_at == row.next_attempt_at
    assert event.next_attempt_at is not None
    assert event.next_attempt_at > timezone.now()


def test_what_fails_for_days_is_given_up_and_told_once(
    world: World, organization: Organization, poison: str
) -> None:
    first, second = told(organization, poison), told(organization, poison)

    give_up(world, poison)

    for event in (first, second):
        event.refresh_from_db()
        assert (event.state, event.attempts, event.next_attempt_at) == ("parked", inbox.TRIES, None)
    alert = Alert.objects.get()
    assert (alert.kind, alert.event, alert.organization) == ("event_parked", first, organization)
    assert alert.message.startswith("2 events of Stripe's (the first: invoice.updated) could not be used")
    # How it failed is for those who may read it; it stands with the event.
    assert alert.message.endswith("in three days of trying.")
    assert inbox.overdue_customers() == []
    assert not is_behind(world.customer)


def test_neighbours_go_on_beside_what_was_given_up(
    sandbox: Sandbox, world: World, organization: Organization, poison: str
) -> None:
    parked = told(organization, poison)
    give_up(world, poison)
    sandbox.client.v1.subscriptions.update(world.subscription, {"items": [{"id": world.item, "quantity": 9}]})
    neighbour = told(organization, world.subscription)

    request_sync(world.customer, [world.subscription])
    sync_customer(world.customer)

    for row in (parked, neighbour, organization):
        row.refresh_from_db()
    assert (parked.state, neighbour.state, organization.seats) == ("parked", "done", 9)


def test_a_new_event_of_the_same_object_takes_along_what_was_given_up(
    sandbox: Sandbox, world: World, organization: Organization, poison: str
) -> None:
    parked = told(organization, poison)
    give_up(world, poison)
    sandbox.control("DELETE", "faults")
    newer = told(organization, poison)

    request_sync(world.customer, [poison])
    sync_customer(world.customer)

    for event in (parked, newer):
        event.refresh_from_db()
    assert (parked.state, newer.state) == ("done", "done")


def test_a_new_event_that_fails_too_leaves_it_given_up(
    world: World, organization: Organization, poison: str
) -> None:
    parked = told(organization, poison)
    give_up(world, poison)
    newer = told(organization, poison)

    request_sync(world.customer, [poison])
    sync_customer(world.customer)

    for event in (parked, newer):
        event.refresh_from_db()
    assert (parked.state, newer.state) == ("parked", "failed")


def test_a_person_brings_it_back(
    sandbox: Sandbox, world: World, organization: Organization, poison: str
) -> None:
    parked = told(organization, poison)
    give_up(world, poison)
    sandbox.control("DELETE", "faults")

    show("reprocess_event", parked).apply()

    parked.refresh_from_db()
    assert (parked.state, parked.error) == ("done", "")


def test_events_that_keep_coming_do_not_keep_an_old_one_from_being_given_up(
    world: World, organization: Organization, poison: str
) -> None:
    old = told(organization, poison)
    grow_older(datetime.timedelta(days=4).total_seconds())
    for _ in range(inbox.TRIES):
        request_sync(world.customer, [poison])  # each begins anew
        sync_customer(world.customer)
    newer = told(organization, poison)
    request_sync(world.customer, [poison])
    sync_customer(world.customer)

    for event in (old, newer):
        event.refresh_from_db()
    assert (old.state, newer.state) == ("parked", "failed")


def test_an_event_of_two_objects_is_given_up_when_one_of_them_is(
    world: World, organization: Organization, poison: str
) -> None:
    event = told(organization, poison, objects_to_read=[poison, world.subscription])
    request_sync(world.customer, [world.subscription])
    give_up(world, poison)
    event.refresh_from_db()
    assert event.state == "parked"

    request_sync(world.customer, [world.subscription])  # half of it is not all of it
    sync_customer(world.customer)
    event.refresh_from_db()
    assert event.state == "parked"


def test_an_answer_without_stripes_shape_is_a_failure_like_another(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = told(organization, world.subscription)

    def strange(*args: Any) -> Any:
        return {"id": world.subscription}["object"]

    monkeypatch.setattr("billing.sync.read_object", strange)
    request_sync(world.customer, [world.subscription])
    assert sync_customer(world.customer)
    event.refresh_from_db()
    assert (event.state, event.attempts) == ("failed", 1)
    assert "KeyError" in event.traceback
    assert CustomerSync.objects.get(pk=world.customer).lease_token is None


def test_what_breaks_the_settling_off_is_put_off_instead_of_tried_for_ever(
    world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = told(organization, world.subscription)

    def break_off(customer_id: str, read: Any) -> None:
        if read:
            raise RuntimeError("nobody thought of this")

    monkeypatch.setattr("billing.sync.tell_of_money_back", break_off)
    request_sync(world.customer, [world.subscription])
    assert sync_customer(world.customer)
    event.refresh_from_db()
    assert (event.state, event.error) == ("failed", "nobody thought of this")


def test_a_refund_of_a_charge_that_cannot_be_read_is_given_up_and_comes_back(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    charge = sandbox.client.v1.charges.list({"customer": world.customer}).data[0]
    refund = sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 500})
    event = SubscriptionEventFactory(
        organization=None,
        type="refund.created",
        stripe_customer_id=None,
        stripe_charge_id=charge.id,
        stripe_object_id=refund.id,
        objects_to_read=[refund.id, charge.id],
        state="pending",
    )
    sandbox.control("POST", "faults", {"kind": "error_400", "path": "/v1/charges/*", "times": -1})
    request_sync(charge.id, [refund.id, charge.id])
    for _ in range(inbox.TRIES):
        make_everything_due()
        sync_customer(charge.id)
    event.refresh_from_db()
    assert event.state == "parked"

    sandbox.control("DELETE", "faults")
    request_sync(charge.id, [refund.id, charge.id])
    sync_customer(charge.id)
    sync_customer(world.customer)
    event.refresh_from_db()
    assert (event.state, event.organization) == ("done", organization)
