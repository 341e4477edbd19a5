"""What Stripe never delivered is read from its list: once, oldest first, and only read again where it has to be."""

import datetime
import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from billing.importing import import_organizations
from billing.models import CustomerSync, SubscriptionEvent
from billing.sync import sync_customer
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.stripe_world import make_customer, make_organization, seats_at_stripe
from tests.webhooks.signing import deliver
from webhooks.backfill import Backfill, backfill_events

pytestmark = pytest.mark.django_db(transaction=True)


def backfill(days: float = 30) -> Backfill:
    *_parts, result = backfill_events(timezone.now() - datetime.timedelta(days=days))
    return result


def run(*arguments: str) -> tuple[int, str]:
    """The command's exit status and output."""
    out = io.StringIO()
    try:
        call_command("backfill_events", *arguments, stdout=out, stderr=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_events_are_taken_in_oldest_first_and_marked_as_recovered(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)

    result = backfill()

    events = list(SubscriptionEvent.objects.filter(source="stripe").order_by("id"))
    assert (result.new, result.known, result.read) == (len(events), 0, len(events))
    assert all(event.recovered for event in events)
    assert [event.occurred_at for event in events] == sorted(
        event.occurred_at for event in events if event.occurred_at
    )
    ours = [event for event in events if event.stripe_customer_id == world.customer]
    assert "customer.subscription.created" in {event.type for event in ours}
    assert {event.organization for event in ours} == {organization}
    event = ours[0]
    assert json.loads(event.payload.body)["id"] == event.stripe_event_id


def test_a_second_time_nothing_is_new(sandbox: Sandbox) -> None:
    make_organization(make_customer(sandbox))
    first = backfill()
    syncs = list(CustomerSync.objects.values())

    second = backfill()

    assert (second.new, second.known) == (0, first.new)
    assert SubscriptionEvent.objects.filter(source="stripe").count() == first.new
    assert list(CustomerSync.objects.values()) == syncs


def test_an_event_that_was_delivered_stays_as_it_was_delivered(sandbox: Sandbox, client: Client) -> None:
    make_organization(make_customer(sandbox))
    listed: Any = sandbox.client.raw_request("get", "/v1/events", type="customer.subscription.created").data
    (event,) = listed["data"]
    assert deliver(client, event).status_code == 200

    result = backfill()

    assert result.known == 1
    assert SubscriptionEvent.objects.get(stripe_event_id=event["id"]).recovered is False


def test_what_was_missed_while_we_were_away_is_read_now(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    backfill()
    sync_customer(world.customer)
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"items": [{"id": world.item, "quantity": 12}]}
    )

    result = backfill(days=1)

    assert result.settled == 0
    assert SubscriptionEvent.objects.filter(state="pending", quantity=12).exists()
    sync_customer(world.customer)
    organization.refresh_from_db()
    assert organization.seats == seats_at_stripe(sandbox, world) == 12
    theirs = SubscriptionEvent.objects.filter(stripe_customer_id=world.customer)
    assert not theirs.filter(state="pending").exists()


def test_what_an_import_has_read_since_is_settled_without_another_call(sandbox: Sandbox) -> None:
    begin = sandbox.control("GET", "clock")["now"] - 3 * 86_400
    sandbox.control("POST", "clock", {"now": begin})
    world = make_customer(sandbox)
    sandbox.control("POST", "clock", {"advance": 3 * 86_400 - 600})
    list(import_organizations())

    result = backfill()

    states = SubscriptionEvent.objects.filter(source="stripe", stripe_customer_id=world.customer)
    assert set(states.values_list("state", flat=True)) <= {"done", "ignored"}
    assert result.settled == states.filter(state="done").count() > 5
    assert CustomerSync.objects.get(pk=world.customer).objects_wanted == {}


def test_what_happened_just_before_or_since_the_import_is_read_again(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    list(import_organizations())

    assert backfill().settled == 0
    assert world.subscription in CustomerSync.objects.get(pk=world.customer).objects_wanted


def test_events_of_nobody_are_kept_for_whoever_comes(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    backfill()
    sync_customer(world.customer)

    list(import_organizations())

    organization = Organization.objects.get(stripe_customer_id=world.customer)
    assert organization.events.filter(source="stripe", type="customer.subscription.created").exists()


def test_only_events_since_the_moment_are_read(sandbox: Sandbox) -> None:
    begin = sandbox.control("GET", "clock")["now"] - 20 * 86_400
    sandbox.control("POST", "clock", {"now": begin})
    make_customer(sandbox)
    sandbox.control("POST", "clock", {"advance": 20 * 86_400})

    assert backfill(days=5).read == 0
    assert backfill(days=21).read > 5


def test_the_command_says_how_many_were_new_and_known(sandbox: Sandbox) -> None:
    make_organization(make_customer(sandbox))

    status, words = run("--since", "2d")
    assert status == 0
    assert " new (0 of them settled already), 0 known." in words

    status, words = run("--since", (timezone.now() - datetime.timedelta(days=2)).isoformat(), "--json")
    report = json.loads(words)
    assert (status, report["new"], report["failure"]) == (0, 0, "")
    assert report["known"] == report["read"] > 5


def test_the_command_says_what_is_out_of_reach(sandbox: Sandbox) -> None:
    assert "last 30 days only" in run("--since", "90d")[1]


def test_a_stripe_that_does_not_answer_is_said_in_a_sentence(sandbox: Sandbox) -> None:
    sandbox.control("POST", "faults", {"kind": "error_429", "path": "/v1/events", "times": -1})

    status, words = run("--since", "2h")

    assert status == 2
    assert "Stripe is busy" in words


@pytest.mark.parametrize("since", ["yesterday", "30", "3w", ""])
def test_a_moment_that_is_none_is_refused(since: str) -> None:
    with pytest.raises(CommandError, match="neither like 7d"):
        call_command("backfill_events", "--since", since)
