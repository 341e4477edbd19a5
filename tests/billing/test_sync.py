"""The one writer: what Stripe says reaches our rows, once, in the right order, whatever fails."""

import datetime
import threading
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from billing import inbox, mirror, sync, waiting
from billing.inbox import request_sync
from billing.models import CustomerSync, SubscriptionEvent
from billing.sync import sync_customer
from organizations.models import Hold
from tests.conftest import Sandbox
from tests.factories import HoldFactory, SubscriptionEventFactory
from tests.stripe_world import make_customer, make_organization, make_price, read

pytestmark = pytest.mark.django_db(transaction=True)


def calls(sandbox: Sandbox) -> list[str]:
    return [f"{call['method']} {call['path']}" for call in sandbox.control("GET", "log")["calls"]]


def test_everything_of_a_customer_reaches_the_organization(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)

    organization = make_organization(world)

    assert organization.stripe_subscription_id == world.subscription
    assert (organization.subscription_status, organization.plan) == ("active", "Team")
    assert (organization.seats, organization.mrr, organization.currency) == (8, 8 * 2900, "usd")
    assert (organization.card_brand, organization.card_last4) == ("visa", "4242")
    assert organization.current_period_end is not None
    assert organization.current_period_end - timezone.now() > datetime.timedelta(days=27)
    assert organization.billing_issue_since is None
    (invoice,) = mirror.invoices_of(world.customer)
    assert (invoice["status"], invoice["total"]) == ("paid", 8 * 2900)
    assert [charge["amount"] for charge in mirror.charges_of(world.customer)] == [8 * 2900]


def test_a_change_at_stripe_is_read_with_one_call(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"items": [{"id": world.item, "quantity": 11}]}
    )
    sandbox.control("DELETE", "log")

    for _ in range(7):
        request_sync(world.customer, [world.subscription])
    sync_customer(world.customer)

    organization.refresh_from_db()
    assert organization.seats == 11
    assert calls(sandbox) == [f"GET /v1/subscriptions/{world.subscription}"]


def test_a_yearly_price_in_yen_counts_a_twelfth_a_month(sandbox: Sandbox) -> None:
    price = make_price(sandbox.client, amount=58_000, currency="jpy", interval="year")
    organization = make_organization(make_customer(sandbox, seats=3, price=price))
    assert (organization.mrr, organization.currency, organization.interval) == (14_500, "jpy", "year")


def test_a_price_in_tiers_is_read_with_its_tiers(sandbox: Sandbox) -> None:
    price = sandbox.client.v1.prices.create(
        {
            "currency": "usd",
            "billing_scheme": "tiered",
            "tiers_mode": "graduated",
            "tiers": [
                {"up_to": 5, "unit_amount": 1000, "flat_amount": 300},
                {"up_to": "inf", "unit_amount": 800},
            ],
            "recurring": {"interval": "month"},
            "product_data": {"name": "Team"},
        }
    )
    world = make_customer(sandbox, seats=8, price=price.id)
    organization = make_organization(world)
    assert organization.mrr == 5 * 1000 + 300 + 3 * 800

    sandbox.client.v1.subscriptions.update(world.subscription, {"items": [{"id": world.item, "quantity": 9}]})
    request_sync(world.customer, [world.subscription])
    sync_customer(world.customer)

    organization.refresh_from_db()
    assert organization.mrr == 5 * 1000 + 300 + 4 * 800


def test_waiting_events_are_done_once_their_object_was_read(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    ours, others = (
        SubscriptionEventFactory(
            organization=organization, stripe_object_id=object_id, state="pending", processed_at=None
        )
        for object_id in (world.subscription, "in_other")
    )

    request_sync(world.customer, [world.subscription, "in_other"])
    row = CustomerSync.objects.get()
    row.objects_wanted["in_other"]["due"] = "2100-01-01T00:00:00+00:00"
    row.save()
    sync_customer(world.customer)

    ours.refresh_from_db()
    others.refresh_from_db()
    assert (ours.state, others.state) == ("done", "pending")
    assert ours.processed_at is not None


def test_events_of_a_customer_nobody_has_are_kept_as_ignored(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    event = SubscriptionEventFactory(
        organization=None,
        stripe_customer_id=world.customer,
        stripe_object_id=world.subscription,
        state="pending",
    )
    request_sync(world.customer, [world.subscription])
    sync_customer(world.customer)
    event.refresh_from_db()
    assert event.state == "ignored"
    assert mirror.subscription(world.subscription) is not None


def test_an_object_that_cannot_be_read_keeps_its_traceback_and_delays_nobody(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    (invoice,) = mirror.invoices_of(world.customer)
    poisoned, healthy = (
        SubscriptionEventFactory(
            organization=organization, stripe_object_id=object_id, state="pending", processed_at=None
        )
        for object_id in (invoice["id"], world.subscription)
    )
    sandbox.client.v1.subscriptions.update(world.subscription, {"items": [{"id": world.item, "quantity": 9}]})
    sandbox.control(
        "POST", "faults", {"kind": "error_500", "path": f"/v1/invoices/{invoice['id']}", "times": -1}
    )

    request_sync(world.customer, [invoice["id"], world.subscription])
    sync_customer(world.customer)

    for row in (poisoned, healthy, organization):
        row.refresh_from_db()
    assert organization.seats == 9
    assert healthy.state == "done"
    assert (poisoned.state, poisoned.attempts) == ("failed", 1)
    assert "OutcomeUnknown" in poisoned.traceback
    assert poisoned.next_attempt_at > timezone.now()
    inbox_row = CustomerSync.objects.get()
    assert list(inbox_row.objects_wanted) == [invoice["id"]]
    assert inbox_row.lease_token is None
    assert inbox_row.done < inbox_row.wanted

    sandbox.control("DELETE", "faults")
    _make_everything_due()
    assert inbox.overdue_customers() == [world.customer]
    sync_customer(world.customer)
    poisoned.refresh_from_db()
    assert (poisoned.state, poisoned.attempts, poisoned.error) == ("done", 2, "")
    assert inbox.overdue_customers() == []


def _make_everything_due() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE billing_customersync SET next_attempt_at = now(), objects_wanted = (
                SELECT jsonb_object_agg(key, value - 'due') FROM jsonb_each(objects_wanted)
            )
            """
        )


def test_while_one_reads_another_stays_away_and_nothing_is_forgotten(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    make_organization(world)
    request_sync(world.customer, [world.subscription])
    lease = inbox.take_lease(world.customer)
    assert lease is not None

    request_sync(world.customer, [world.subscription])
    assert sync_customer(world.customer) is False

    row = CustomerSync.objects.get()
    assert (
        row.objects_wanted[world.subscription]["version"]
        == row.wanted
        > lease.objects[world.subscription]["version"]
    )


def test_what_was_read_under_a_lost_lease_is_not_written(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    sandbox.control(
        "POST",
        "faults",
        {"kind": "latency", "seconds": 1.5, "path": f"/v1/subscriptions/{world.subscription}"},
    )
    request_sync(world.customer, [world.subscription])
    results: list[bool] = []

    def slow() -> None:
        results.append(sync_customer(world.customer))
        connection.close()

    reader = threading.Thread(target=slow)
    reader.start()
    _wait_for(lambda: CustomerSync.objects.get().lease_token is not None)
    # Somebody thinks the reader dead, takes over, and reads something newer.
    CustomerSync.objects.update(lease_until=timezone.now() - datetime.timedelta(seconds=1))
    sandbox.control("DELETE", "faults")
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"items": [{"id": world.item, "quantity": 30}]}
    )
    assert sync_customer(world.customer) is True
    reader.join()

    organization.refresh_from_db()
    assert results == [False]
    assert organization.seats == 30


def _wait_for(condition: Any) -> None:
    deadline = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=10)
    while not condition():
        assert datetime.datetime.now(datetime.UTC) < deadline, "it never came true"


def test_the_hold_for_non_payment_lifts_when_all_is_paid_and_no_other_does(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    owed = HoldFactory(organization=organization, kind=Hold.Kind.NON_PAYMENT)
    abuse = HoldFactory(organization=organization, kind=Hold.Kind.ABUSE)

    read(world)

    owed.refresh_from_db()
    abuse.refresh_from_db()
    assert owed.lifted_at is not None
    assert abuse.lifted_at is None
    assert SubscriptionEvent.objects.get(type="hold.lifted").organization == organization


def test_a_failed_renewal_marks_since_when_money_is_owed(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    bad = sandbox.client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": world.customer})
    sandbox.client.v1.customers.update(
        world.customer, {"invoice_settings": {"default_payment_method": bad.id}}
    )
    hold = HoldFactory(organization=organization, kind=Hold.Kind.NON_PAYMENT)
    sandbox.control("POST", "clock", {"advance": 32 * 86_400})

    read(world)

    organization.refresh_from_db()
    hold.refresh_from_db()
    assert organization.subscription_status == "past_due"
    assert organization.billing_issue_since is not None
    assert hold.lifted_at is None


def test_a_deleted_customer_stays_in_the_mirror_as_deleted(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    sandbox.client.v1.customers.delete(world.customer)

    request_sync(world.customer, [world.customer, world.subscription])
    sync_customer(world.customer)

    organization.refresh_from_db()
    assert organization.subscription_status == "canceled"
    assert (mirror.customer(world.customer) or {}).get("deleted") is True


def test_a_refund_of_a_charge_we_never_saw_finds_its_organization(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    (charge,) = sandbox.client.v1.charges.list({"customer": world.customer}).data
    refund = sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 500})
    organization = make_organization(world)
    event = SubscriptionEventFactory(
        organization=None,
        organization_label=None,
        stripe_customer_id=None,
        stripe_charge_id=charge.id,
        stripe_object_id=refund.id,
        type="refund.created",
        state="pending",
    )

    request_sync(charge.id, [refund.id, charge.id])
    sync_customer(charge.id)
    sync_customer(world.customer)

    event.refresh_from_db()
    assert (event.organization, event.state) == (organization, "done")
    assert [row["amount"] for row in mirror.refunds_of(world.customer)] == [500]


def test_an_older_answer_about_what_nobody_knew_is_not_written_over_a_newer_one(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_customer(sandbox)
    make_organization(world)
    draft = str(sandbox.client.v1.invoices.create({"customer": world.customer, "description": "old"}).id)
    fetch = sync._read

    def read_while_it_changes(lease: inbox.Lease) -> waiting.Answers:
        answers = fetch(lease)
        if lease.customer_id == draft:
            sandbox.client.v1.invoices.update(draft, {"description": "new"})
            request_sync(world.customer, [draft])
            assert sync_customer(world.customer)
        return answers

    monkeypatch.setattr(sync, "_read", read_while_it_changes)
    request_sync(draft, [draft])
    assert sync_customer(draft)

    assert (mirror.invoice_of(world.customer, draft) or {})["description"] == "new"


def test_an_event_is_done_only_when_all_it_calls_for_was_read(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    (invoice,) = mirror.invoices_of(world.customer)
    objects = [invoice["id"], world.subscription]
    event = SubscriptionEventFactory(
        organization=organization, stripe_object_id=invoice["id"], objects_to_read=objects, state="pending"
    )
    path = f"/v1/subscriptions/{world.subscription}"
    sandbox.control("POST", "faults", {"kind": "error_500", "path": path, "times": -1})

    request_sync(world.customer, objects)
    sync_customer(world.customer)
    event.refresh_from_db()
    assert event.state == "failed"

    sandbox.control("DELETE", "faults")
    _make_everything_due()
    sync_customer(world.customer)
    event.refresh_from_db()
    assert event.state == "done"


@pytest.mark.parametrize("object_id", ["upcoming_in_1", "in_unknown"])
def test_an_event_of_an_object_that_cannot_be_read_does_not_wait_for_ever(
    sandbox: Sandbox, object_id: str
) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    objects = [world.subscription] if object_id.startswith("upcoming") else [object_id]
    event = SubscriptionEventFactory(
        organization=organization, stripe_object_id=object_id, objects_to_read=objects, state="pending"
    )
    request_sync(world.customer, objects)
    sync_customer(world.customer)
    event.refresh_from_db()
    assert event.state == ("done" if object_id.startswith("upcoming") else "ignored")


def test_a_refund_of_a_charge_nobody_knows_is_closed_with_the_reason(sandbox: Sandbox) -> None:
    event = SubscriptionEventFactory(
        organization=None,
        organization_label=None,
        stripe_customer_id=None,
        stripe_charge_id="ch_unknown",
        stripe_object_id="re_unknown",
        state="pending",
    )
    request_sync("ch_unknown", ["ch_unknown"])
    sync_customer("ch_unknown")
    event.refresh_from_db()
    assert (event.state, event.error) == ("ignored", "Stripe knows no such charge.")


def test_a_request_while_somebody_reads_is_never_left_without_a_job(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    make_organization(world)
    request_sync(world.customer, [world.subscription])
    lease = inbox.take_lease(world.customer)
    assert lease is not None
    request_sync(world.customer, [world.subscription])  # queues a job, which finds the lease taken and ends
    CustomerSync.objects.update(objects_wanted={})
    assert inbox.release(world.customer, lease.token)
    before = ProcrastinateJob.objects.count()

    request_sync(world.customer, [world.subscription])

    assert ProcrastinateJob.objects.count() == before + 1


def test_a_flood_of_429_ends_the_round_instead_of_asking_on(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    make_organization(world)
    (invoice,) = mirror.invoices_of(world.customer)
    (charge,) = mirror.charges_of(world.customer)
    sandbox.control("POST", "faults", {"kind": "error_429", "method": "GET", "times": -1})
    sandbox.control("DELETE", "log")
    request_sync(world.customer, [world.subscription, invoice["id"], charge["id"]])
    sync_customer(world.customer)
    assert len(calls(sandbox)) <= 3
    row = CustomerSync.objects.get()
    assert len(row.objects_wanted) == 3
    assert all(state["due"] for state in row.objects_wanted.values())
