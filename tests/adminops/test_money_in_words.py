"""What the pages of operations say of money that is there already: owed, waiting, given back, not to be credited."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from organizations.models import Organization
from tests.adminops.pages import Page
from tests.conftest import Sandbox
from tests.factories import AdministratorFactory
from tests.operating import show
from tests.stripe_world import World, make_customer, make_organization, read

pytestmark = pytest.mark.django_db(transaction=True)

DAY = 86_400


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(AdministratorFactory())
    return client


def url(organization: Organization, action: str) -> str:
    return reverse(f"admin:organizations_organization_{action}", args=[organization.pk])


def previewed(client: Client, organization: Organization, action: str, **answers: Any) -> str:
    given = {"reason": "asked for", "ticket": "", "step": "preview", **answers}
    return Page(client.post(url(organization, action), given)).text


def refuse_cards(sandbox: Sandbox, world: World, why: str = "insufficient_funds") -> None:
    [method] = sandbox.client.v1.customers.payment_methods.list(world.customer).data
    sandbox.control("POST", "cards", {"payment_method": method.id, "refuses": why})


def test_the_refund_page_says_what_is_left_of_each_invoice_and_begins_where_something_is(
    sandbox: Sandbox, client: Client
) -> None:
    world = make_customer(sandbox)
    sandbox.control("POST", "clock", {"advance": 32 * DAY})
    newest, oldest = sandbox.client.v1.charges.list({"customer": world.customer}).data
    sandbox.client.v1.refunds.create({"charge": newest.id})
    sandbox.client.v1.refunds.create({"charge": oldest.id, "amount": 2900})
    organization = make_organization(world)
    response = client.get(url(organization, "refund_invoice"))
    text = Page(response).text
    assert "$232.00: $232.00 refunded, nothing left" in text
    assert "$232.00: $29.00 refunded, $203.00 left" in text
    assert "In USD. Empty gives back all that is left." in text
    chosen = response.content.decode().split("selected>", 1)[1].split("<", 1)[0]
    assert "$203.00 left" in chosen


def test_an_open_invoice_of_an_ended_subscription_is_told_alike_by_cancel_and_suspend(
    sandbox: Sandbox, client: Client
) -> None:
    world = make_customer(sandbox)
    refuse_cards(sandbox, world)
    sandbox.control("POST", "clock", {"advance": 32 * DAY})
    organization = make_organization(world)
    before = previewed(client, organization, "cancel_subscription", when="now")
    assert "Stripe stops collecting it by itself; it stays as it is" in before
    assert show("cancel_subscription", organization, when="now").apply().state == "done"
    read(world)
    after = previewed(
        client, organization, "suspend_organization", kind="abuse", ends_at="", invoices="leave"
    )
    assert "Stripe has stopped collecting it by itself; it stays as it is" in after
    assert "Stripe goes on collecting it" not in after


def test_reactivating_tells_of_what_is_owed_and_of_the_card(sandbox: Sandbox, client: Client) -> None:
    world = make_customer(sandbox)
    refuse_cards(sandbox, world)
    sandbox.control("POST", "clock", {"advance": 32 * DAY})
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at_period_end": True})
    text = Page(client.get(url(make_organization(world), "reactivate_subscription"))).text
    assert "1 earlier invoice is not paid: $232.00. It stays owed." in text
    assert (
        "The last charge failed: the card has too little money on it. The next one may fail as well." in text
    )


def test_reactivating_tells_of_credit_that_waits(sandbox: Sandbox, client: Client) -> None:
    world = make_customer(sandbox)
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at_period_end": True})
    sandbox.client.v1.customers.balance_transactions.create(
        world.customer, {"amount": -3000, "currency": "usd"}
    )
    text = Page(client.get(url(make_organization(world), "reactivate_subscription"))).text
    assert "$202.00 of it to be paid, after the customer's balance" in text


def test_a_trial_is_not_asked_about_credit_for_unused_time(sandbox: Sandbox, client: Client) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    paying = Page(client.get(url(organization, "cancel_subscription"))).text
    assert "Time that is paid for and not used" in paying
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    sandbox.client.v1.subscriptions.create(
        {
            "customer": world.customer,
            "items": [{"price": world.price, "quantity": 2}],
            "trial_period_days": 14,
        }
    )
    read(world)
    trial = Page(client.get(url(organization, "cancel_subscription"))).text
    assert "Time that is paid for and not used" not in trial
    assert "Cancel now" in previewed(client, organization, "cancel_subscription", when="now", invoice_now="")


def test_a_final_invoice_says_plainly_what_was_charged(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    sandbox.control("POST", "clock", {"advance": 10 * DAY})
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"items": [{"id": world.item, "quantity": 12}]}
    )
    organization = make_organization(world)
    event = show("cancel_subscription", organization, when="now", invoice_now=True).apply()
    assert "which was charged." in (event.message or "")
    assert "settled" not in (event.message or "")


def test_a_resync_tells_of_another_name_and_address_at_stripe(sandbox: Sandbox, client: Client) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    sandbox.client.v1.customers.update(world.customer, {"name": "Southwind", "email": "pay@south.example"})
    text = Page(client.get(url(organization, "resync_organization"))).text
    assert "Customer, name" in text
    assert "Northwind Labs → Southwind" in text
    assert "billing@northwind.example → pay@south.example" in text
