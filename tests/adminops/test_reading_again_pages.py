"""The pages of resync and reprocess, and what the page of an event offers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from adminops.actions import action_named
from billing.models import SubscriptionEvent
from billing.operations.base import Subject
from organizations.models import Organization
from tests.adminops.pages import Page, Response
from tests.conftest import Sandbox
from tests.factories import StaffEventFactory, SubscriptionEventFactory
from tests.stripe_world import World, make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)

MAY = (
    "organizations.view_organization",
    "organizations.resync_organization",
    "billing.view_subscriptionevent",
    "billing.reprocess_event",
)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world, name="Northwind Labs")


@pytest.fixture
def colleague(staff: Callable[..., Client]) -> Client:
    return staff(*MAY)


def event_page(event: SubscriptionEvent) -> str:
    return reverse("admin:billing_subscriptionevent_change", args=[event.pk])


def url(name: str, subject: Subject) -> str:
    return action_named(name).url(subject)


def confirm(client: Client, address: str, shown: Response, **more: Any) -> Response:
    found = re.search(r'name="token" value="([^"]+)"', shown.content.decode())
    assert found, Page(shown).text
    return client.post(address, {"step": "apply", "token": found[1], **more})


def said(response: Response) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def test_resync_shows_at_once_what_differs_and_corrects_it(
    organization: Organization, colleague: Client
) -> None:
    Organization.objects.filter(pk=organization.pk).update(
        seats=3, mrr=100, subscription_status="past_due", cancel_at_period_end=True, card_brand=""
    )
    address = url("resync_organization", organization)
    shown = colleague.get(address)
    text = Page(shown).text
    for expected in (
        "Last read from Stripe today",
        "Seats 3 → 8",
        "MRR $1.00 → $232.00",
        "Subscription past due → active",
        "Cancels at period end yes → no",
        "Card none → visa",
        "What Stripe says replaces what we hold: 5 differences.",
        "Nothing is changed at Stripe.",
    ):
        assert expected in text
    done = confirm(colleague, address, shown)
    assert done.status_code == 302
    assert said(done) == ["5 differences found; it is being read from Stripe again now."]
    organization.refresh_from_db()
    assert organization.seats == 8
    assert "Differences from Stripe none" in Page(colleague.get(address)).text


def test_what_came_or_changed_at_stripe_is_named(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    charge = sandbox.client.v1.charges.list({"customer": world.customer}).data[0]
    sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 700})
    text = Page(colleague.get(url("resync_organization", organization))).text
    assert f"Payment, refunded {charge.id} $0.00 → $7.00" in text
    assert "Refunds that we have not read yet 1" in text


def test_an_event_is_processed_again_from_its_own_page(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    event = SubscriptionEventFactory(
        organization=organization,
        stripe_object_id=world.subscription,
        state="parked",
        attempts=7,
        error="It failed.",
    )
    Organization.objects.filter(pk=organization.pk).update(seats=3)
    address = url("reprocess_event", event)
    assert address in Page(colleague.get(event_page(event))).links

    shown = colleague.get(address)
    text = Page(shown).text
    for expected in ("Needs a person", "Tried 7 times.", "Seats 3 → 8"):
        assert expected in text
    assert "It failed." not in text
    done = confirm(colleague, address, shown, reason="mended")

    assert done.headers["Location"] == event_page(event)
    assert said(done) == ["1 difference found; it is being read from Stripe again now."]
    event.refresh_from_db()
    assert (event.state, event.error) == ("done", "")
    row = SubscriptionEvent.objects.get(source="staff")
    assert (row.type, row.reason, row.organization) == ("reprocess_event", "mended", organization)


def test_the_page_of_an_event_offers_what_may_be_done_about_it(
    sandbox: Sandbox, world: World, organization: Organization, staff: Callable[..., Client]
) -> None:
    invoice = sandbox.client.v1.invoices.list({"customer": world.customer}).data[0].id
    charge = sandbox.client.v1.charges.list({"customer": world.customer}).data[0].id
    of_invoice = SubscriptionEventFactory(
        organization=organization, type="invoice.paid", stripe_invoice_id=invoice, stripe_object_id=invoice
    )
    of_charge = SubscriptionEventFactory(
        organization=organization, type="charge.succeeded", stripe_charge_id=charge, stripe_object_id=charge
    )
    ours = StaffEventFactory(organization=organization)
    refund = f"{url('refund_invoice', organization)}?invoice={invoice}"
    resync = url("resync_organization", organization)

    everything = staff(*MAY, "organizations.refund_invoice")
    for event in (of_invoice, of_charge):
        links = Page(everything.get(event_page(event))).links
        assert {url("reprocess_event", event), refund, resync} <= set(links)
    links = Page(everything.get(event_page(ours))).links
    assert url("reprocess_event", ours) not in links
    assert resync in links
    assert everything.get(refund).status_code == 200

    onlooker = staff("billing.view_subscriptionevent")
    links = Page(onlooker.get(event_page(of_invoice))).links
    assert not {url("reprocess_event", of_invoice), refund, resync} & set(links)


def test_an_event_of_nobody_offers_no_organizations_operations(colleague: Client) -> None:
    event = SubscriptionEventFactory(organization=None, stripe_object_id=None, objects_to_read=None)
    assert colleague.get(event_page(event)).status_code == 200
    text = Page(colleague.get(url("reprocess_event", event))).text
    assert "call for nothing to be read" in text


@pytest.mark.parametrize("method", ["get", "post"])
def test_who_may_not_reprocess_is_refused_and_leaves_a_row(
    organization: Organization, staff: Callable[..., Client], method: str
) -> None:
    event = SubscriptionEventFactory(organization=organization, state="parked")
    onlooker = staff("billing.view_subscriptionevent")
    answer = getattr(onlooker, method)(url("reprocess_event", event))
    assert answer.status_code == 403
    denied = SubscriptionEvent.objects.get(source="staff")
    assert (denied.type, denied.organization) == ("permission.denied", organization)
    event.refresh_from_db()
    assert event.state == "parked"


def test_an_event_that_is_not_there_is_a_missing_page(colleague: Client) -> None:
    assert colleague.get("/admin/billing/subscriptionevent/999999/reprocess/").status_code == 404
