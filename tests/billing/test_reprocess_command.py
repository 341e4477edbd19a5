"""`manage.py reprocess`: which events, what would change, and what became of each."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from billing.models import CustomerSync, SubscriptionEvent
from billing.sync import sync_customer
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import StaffEventFactory, SubscriptionEventFactory
from tests.stripe_world import World, make_customer, make_organization
from tests.webhooks.signing import deliver, make_event
from webhooks import handlers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


def told(organization: Organization, world: World, **columns: Any) -> SubscriptionEvent:
    event: SubscriptionEvent = SubscriptionEventFactory(
        organization=organization, stripe_object_id=world.subscription, **{"state": "parked", **columns}
    )
    return event


def run(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("reprocess", *arguments, stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_those_that_failed_are_processed_again(organization: Organization, world: World) -> None:
    parked, failed = told(organization, world), told(organization, world, state="failed")
    done = told(organization, world, state="done")
    Organization.objects.update(seats=3)

    status, words = run("--failed")

    assert status == 0
    assert words.endswith("2 processed again\n")
    assert "1 difference found" in words
    sync_customer(world.customer)
    for event in (parked, failed, done, organization):
        event.refresh_from_db()
    assert (parked.state, failed.state, organization.seats) == ("done", "done", 8)
    acts = SubscriptionEvent.objects.filter(type="reprocess_event")
    assert {(act.source, act.reason, act.actor) for act in acts} == {
        ("system", "Asked for on the command line.", None)
    }


def test_a_dry_run_says_what_would_change_and_changes_nothing(
    organization: Organization, world: World
) -> None:
    event = told(organization, world, state="done")
    Organization.objects.update(seats=3)

    status, words = run(str(event.stripe_event_id), "--dry-run", "--json")

    report = json.loads(words)
    assert (status, report["outcomes"]) == (0, {"would change": 1})
    assert report["events"][0]["message"] == "Seats 3 → 8"
    assert not SubscriptionEvent.objects.filter(type="reprocess_event").exists()


def test_type_and_time_narrow(organization: Organization, world: World) -> None:
    told(organization, world, type="invoice.paid")
    told(organization, world, type="charge.failed")
    assert run("--type", "invoice.paid", "--since", "1d", "--dry-run")[1].endswith("1 would stay\n")
    assert run("--since", "2099-01-01", "--dry-run")[1] == "There is no such event.\n"


def test_what_cannot_be_processed_is_said_with_its_reason(organization: Organization, world: World) -> None:
    told(organization, world, objects_to_read=[])
    status, words = run("--failed")
    assert status == 2
    assert "call for nothing to be read" in words


def test_which_ones_must_be_said_and_known(organization: Organization) -> None:
    with pytest.raises(CommandError, match="Name events"):
        run()
    with pytest.raises(CommandError, match="evt_nobody"):
        run("evt_nobody")
    with pytest.raises(CommandError, match="No such events"):
        run(str(StaffEventFactory(organization=organization).pk))


def test_a_type_that_gets_a_handler_later_can_be_processed_then(
    client: Client, organization: Organization, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.delitem(handlers.HANDLERS, "invoice_payment.paid")
        before.delitem(handlers.HANDLERS, "customer.updated")
        deliver(client, make_event("customer.updated", {"id": world.customer, "object": "customer"}))
    event = SubscriptionEvent.objects.get(type="customer.updated")
    assert (event.state, event.objects_to_read, event.stripe_customer_id) == ("ignored", None, None)

    assert run(str(event.pk))[0] == 0
    sync_customer(world.customer)

    event.refresh_from_db()
    assert (event.state, event.objects_to_read) == ("done", [world.customer])
    assert (event.stripe_customer_id, event.organization) == (world.customer, organization)


def test_what_happened_to_a_product_is_processed_again_too(
    sandbox: Sandbox, client: Client, organization: Organization
) -> None:
    product = sandbox.client.v1.products.list().data[0].id
    deliver(client, make_event("product.updated", {"id": product, "object": "product"}))
    sync_customer(f"product/{product}")
    event = SubscriptionEvent.objects.get(type="product.updated")
    assert run(str(event.pk)) == (
        0,
        f"{event.stripe_event_id}  product.updated  processed again:"
        " No difference found; it is being read from Stripe again now all the same.\n1 processed again\n",
    )
    assert CustomerSync.objects.get(pk=f"product/{product}").objects_wanted


def test_a_dry_run_reads_each_object_once_and_names_what_stripe_has_not(
    sandbox: Sandbox, organization: Organization, world: World
) -> None:
    told(organization, world)
    told(organization, world)
    told(organization, world, objects_to_read=["in_gone"])
    sandbox.control("DELETE", "log")
    status, words = run("--failed", "--dry-run")
    assert (status, words.count("nothing differs")) == (0, 2)
    assert "would stay: not at Stripe, or not any more: in_gone" in words
    assert len(sandbox.control("GET", "log")["calls"]) == 2
