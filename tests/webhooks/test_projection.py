"""What Stripe tells of trials, failed payments and ends reaches the customer's page, in whatever order it comes."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from billing import mirror
from billing.models import CustomerSync, SubscriptionEvent
from billing.sync import sync_customer
from organizations.models import Hold, Organization
from tests.adminops.pages import Page
from tests.conftest import Sandbox
from tests.factories import HoldFactory, StaffFactory
from tests.stripe_world import World, make_customer, make_organization, make_price
from tests.webhooks.signing import deliver

pytestmark = pytest.mark.django_db(transaction=True)


def events_of(sandbox: Sandbox) -> list[Any]:
    """All that Stripe told, oldest first."""
    listed: Any = sandbox.client.raw_request("get", "/v1/events", limit=100).data
    return list(reversed(listed["data"]))


def read_all() -> None:
    for row in CustomerSync.objects.exclude(objects_wanted={}):
        sync_customer(row.pk)


def customer_page(organization: Organization) -> str:
    colleague = Client()
    colleague.force_login(StaffFactory(permissions=["organizations.view_organization"]))
    return Page(colleague.get(f"/admin/organizations/organization/{organization.pk}/change/")).text


def test_what_was_deleted_stays_deleted_whatever_arrives_late(sandbox: Sandbox, client: Client) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    sandbox.client.v1.subscriptions.update(world.subscription, {"items": [{"id": world.item, "quantity": 9}]})
    sandbox.client.v1.customers.update(world.customer, {"name": "Northwind Again"})
    sandbox.client.v1.customers.delete(world.customer)
    told = [each for each in events_of(sandbox) if each["type"].startswith("customer.")]
    assert {"customer.deleted", "customer.subscription.deleted", "customer.updated"} <= {
        each["type"] for each in told
    }

    for each in reversed(told):
        deliver(client, each)
        read_all()

    organization.refresh_from_db()
    assert (mirror.customer(world.customer) or {}).get("deleted") is True
    assert organization.subscription_status == "canceled"
    assert set(SubscriptionEvent.objects.filter(source="stripe").values_list("state", flat=True)) == {"done"}


def test_a_failed_payment_sets_the_billing_issue_and_paying_lifts_that_hold_alone(
    sandbox: Sandbox, client: Client
) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    bad = sandbox.client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": world.customer})
    sandbox.client.v1.customers.update(
        world.customer, {"invoice_settings": {"default_payment_method": bad.id}}
    )
    sandbox.control("POST", "clock", {"advance": 32 * 86_400})
    failed = next(each for each in events_of(sandbox) if each["type"] == "invoice.payment_failed")
    deliver(client, failed)
    read_all()
    organization.refresh_from_db()
    assert organization.billing_issue_since
    owed = HoldFactory(organization=organization, kind=Hold.Kind.NON_PAYMENT)
    manual = HoldFactory(organization=organization, kind=Hold.Kind.MANUAL)

    sandbox.client.v1.invoices.pay(failed["data"]["object"]["id"], {"paid_out_of_band": True})
    for each in events_of(sandbox):
        if each["type"] in ("invoice.paid", "customer.subscription.updated"):
            deliver(client, each)
    read_all()

    for row in (organization, owed, manual):
        row.refresh_from_db()
    assert Organization.objects.filter(billing_issue_since=None, subscription_status="active").exists()
    assert owed.lifted_at is not None
    assert manual.lifted_at is None


def test_a_trial_that_ends_soon_is_kept_and_shown(sandbox: Sandbox, client: Client) -> None:
    api = sandbox.client.v1
    customer = api.customers.create({"name": "Northwind Labs"})
    made = api.subscriptions.create(
        {
            "customer": customer.id,
            "items": [{"price": make_price(sandbox.client), "quantity": 3}],
            "trial_end": int(timezone.now().timestamp()) + 2 * 86_400,
        }
    )
    organization = make_organization(World(customer.id, made.id, "", ""))
    told = next(each for each in events_of(sandbox) if each["type"] == "customer.subscription.trial_will_end")
    deliver(client, told)
    read_all()
    event = SubscriptionEvent.objects.get(type="customer.subscription.trial_will_end")
    assert (event.state, event.organization) == ("done", organization)
    assert "There is no card, so the first payment will fail." in customer_page(organization)


def test_a_payment_that_waits_for_the_customer_is_kept_and_shown(sandbox: Sandbox, client: Client) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    card = sandbox.client.v1.payment_methods.attach(
        "pm_card_authenticationRequired", {"customer": world.customer}
    )
    sandbox.client.v1.customers.update(
        world.customer, {"invoice_settings": {"default_payment_method": card.id}}
    )
    sandbox.control("POST", "clock", {"advance": 32 * 86_400})
    for each in events_of(sandbox):
        deliver(client, each)
    read_all()
    event = SubscriptionEvent.objects.get(type="invoice.payment_action_required")
    assert (event.state, event.organization) == ("done", organization)
    assert "waits until the customer confirms it with their bank" in customer_page(organization)
