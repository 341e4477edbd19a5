"""Many events processed again: for each of the first, what Stripe says now and we hold otherwise is shown."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from billing.bulk import readings
from billing.models import BulkJob, BulkRow, SubscriptionEvent
from organizations.models import Organization
from tests.adminops.pages import Page, Response
from tests.conftest import Sandbox
from tests.factories import StaffFactory, SubscriptionEventFactory
from tests.stripe_world import World, make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)

PERMISSIONS = ["billing.view_subscriptionevent", "billing.reprocess_event"]


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    organization = make_organization(world)
    Organization.objects.filter(pk=organization.pk).update(seats=3)
    return organization


@pytest.fixture
def colleague() -> Client:
    client = Client()
    client.force_login(StaffFactory(permissions=PERMISSIONS))
    return client


def told(organization: Organization, world: World, *objects: str) -> SubscriptionEvent:
    """An event about these, or about the subscription."""
    event: SubscriptionEvent = SubscriptionEventFactory(
        organization=organization,
        stripe_object_id=(objects or (world.subscription,))[0],
        objects_to_read=list(objects or (world.subscription,)),
        state="parked",
    )
    return event


def hidden(response: Response, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', response.content.decode())
    assert found, Page(response).text
    return found[1]


def preview(client: Client, events: list[SubscriptionEvent]) -> tuple[str, Response]:
    """The address of the page of those ticked, and what it shows."""
    ticked = client.post(
        reverse("admin:billing_subscriptionevent_changelist"),
        {"action": "reprocess_event", "index": "0", "_selected_action": [event.pk for event in events]},
        follow=True,
    )
    url = re.search(r'action="([^"]+/bulk/[^"]+)"', ticked.content.decode())
    assert url
    sent = {"chosen": hidden(ticked, "chosen"), "reason": "asked", "step": "preview"}
    return url[1], client.post(url[1], sent, follow=True)


def confirm(client: Client, url: str, shown: Response) -> None:
    sent = {name: hidden(shown, name) for name in ("chosen", "token")}
    assert client.post(url, {**sent, "reason": "asked", "step": "apply"}).status_code == 302


def calls(sandbox: Sandbox) -> int:
    return len(sandbox.control("GET", "log")["calls"])


def test_each_row_says_what_would_change_and_each_object_is_read_once(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    events = [told(organization, world), told(organization, world), told(organization, world, "in_gone")]
    sandbox.control("DELETE", "log")

    url, shown = preview(colleague, events)

    text = Page(shown).text
    assert text.count("Seats 3 → 8") == 3
    assert "Seats 3 → 8; not at Stripe, or not any more: in_gone" in text
    assert "What would change is what Stripe says now." in text
    assert calls(sandbox) == 2
    assert not BulkJob.objects.exists()
    confirm(colleague, url, shown)
    assert calls(sandbox) == 2  # to start it, nobody looks a second time
    assert set(BulkRow.objects.values_list("state", flat=True)) == {BulkRow.State.WAITING}


def test_rows_beyond_the_first_are_said_not_to_be_looked_at(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    colleague: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readings, "ROWS_LOOKED_AT", 1)
    sandbox.control("DELETE", "log")
    _url, shown = preview(colleague, [told(organization, world), told(organization, world, "in_gone")])
    text = Page(shown).text
    assert text.count("Seats 3 → 8") == 1
    assert text.count("Not looked at beforehand: only the first 1 are.") == 1
    assert calls(sandbox) == 1


@pytest.mark.parametrize(
    ("kind", "said"), [("error_429", "Stripe is busy just now."), ("error_500", "Stripe gave no answer")]
)
def test_while_stripe_is_busy_the_rows_say_so_and_can_be_confirmed_all_the_same(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client, kind: str, said: str
) -> None:
    events = [told(organization, world), told(organization, world, "in_gone")]
    sandbox.control("POST", "faults", {"kind": kind, "method": "GET", "path": "/v1/*", "times": -1})
    sandbox.control("DELETE", "log")
    url, shown = preview(colleague, events)
    assert Page(shown).text.count(f"Not looked at beforehand: {said}") == 2
    assert calls(sandbox) < 6  # those of the first object, with the client's own retries
    confirm(colleague, url, shown)
    assert BulkRow.objects.filter(state=BulkRow.State.WAITING).count() == 2


def test_a_row_whose_differences_changed_meanwhile_is_started_as_agreed(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    url, shown = preview(colleague, [told(organization, world)])
    Organization.objects.filter(pk=organization.pk).update(seats=4)
    confirm(colleague, url, shown)
    assert BulkRow.objects.get().state == BulkRow.State.WAITING
