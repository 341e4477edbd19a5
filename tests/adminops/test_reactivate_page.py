"""The page of reactivating, over HTTP and against a sandbox: an undo is simple, a new subscription is a choice."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from adminops.pages import words
from organizations.models import Organization
from tests.adminops.pages import Page, Response
from tests.conftest import Sandbox
from tests.factories import StaffFactory
from tests.operating import show
from tests.stripe_world import World, make_customer, make_organization, make_price, read

pytestmark = pytest.mark.django_db(transaction=True)

PERMISSIONS = ["organizations.view_organization", "organizations.reactivate_subscription"]


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def colleague() -> Client:
    client = Client()
    client.force_login(StaffFactory(permissions=PERMISSIONS))
    return client


def leaving(sandbox: Sandbox, world: World) -> Organization:
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at_period_end": True})
    return make_organization(world, name="Northwind Labs")


def gone(sandbox: Sandbox, world: World) -> Organization:
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    return make_organization(world, name="Northwind Labs")


def url(organization: Organization) -> str:
    return reverse("admin:organizations_organization_reactivate_subscription", args=[organization.pk])


def token_in(response: Response) -> str:
    found = re.search(r'name="token" value="([^"]+)"', response.content.decode())
    assert found, Page(response).text
    return found[1]


def apply(client: Client, organization: Organization, shown: Response, **answers: Any) -> Response:
    return client.post(url(organization), {**answers, "step": "apply", "token": token_in(shown)})


def live(sandbox: Sandbox, world: World) -> list[Any]:
    return sandbox.client.v1.subscriptions.list({"customer": world.customer}).data


def test_a_planned_end_is_shown_at_once_and_taken_back_with_one_click(
    sandbox: Sandbox, world: World, colleague: Client
) -> None:
    organization = leaving(sandbox, world)
    shown = colleague.get(url(organization))
    assert organization.current_period_end
    day = words.short_date(organization.current_period_end)
    text = Page(shown).text
    for expected in (f"Next invoice, on {day} $232.00", "Nothing is charged today.", "Keep the subscription"):
        assert expected in text
    assert 'name="how"' not in shown.content.decode()

    done = apply(colleague, organization, shown)

    assert done.status_code == 302
    (message,) = get_messages(done.wsgi_request)
    assert "The cancellation was undone." in str(message)
    assert not live(sandbox, world)[0].cancel_at_period_end
    assert "Nothing to reactivate" in Page(colleague.get(url(organization))).text


def test_the_preview_says_that_withdrawn_seats_do_not_come_back(world: World, colleague: Client) -> None:
    organization = make_organization(world)
    show("schedule_seats", organization, seats=12, when="renewal").apply()
    show("cancel_subscription", organization, when="period_end").apply()
    text = Page(colleague.get(url(organization))).text
    assert "The planned change to 12 seats that the cancellation withdrew is not restored." in text


def test_a_new_subscription_is_chosen_priced_and_charged(
    sandbox: Sandbox, world: World, colleague: Client
) -> None:
    organization = gone(sandbox, world)
    asked = colleague.get(url(organization))
    assert "Make a new subscription with the same plan and seats" in Page(asked).text
    assert 'value="apply"' not in asked.content.decode()
    assert "checked" not in asked.content.decode().split('name="how"')[1].split(">")[0]
    unanswered = colleague.post(url(organization), {"step": "preview"})
    assert "choose that a new one shall be made" in Page(unanswered).text

    shown = colleague.post(url(organization), {"how": "new", "step": "preview"})
    text = Page(shown).text
    for expected in (
        "Team 8 seats",
        "Charged today $232.00",
        "A new subscription is made. $232.00 is charged today to Visa •••• 4242.",
        "Coupons, a trial and tax settings of the old subscription are not taken over.",
        "Make a new subscription and charge $232.00",
    ):
        assert expected in text
    assert live(sandbox, world) == []

    done = apply(colleague, organization, shown, how="new")

    assert done.status_code == 302
    (new,) = live(sandbox, world)
    organization.refresh_from_db()
    assert organization.stripe_subscription_id == new.id
    text = Page(colleague.get(done.headers["Location"])).text
    assert "$232.00 was charged." in text


def test_whoever_pays_by_invoice_is_said_to_get_one(
    sandbox: Sandbox, world: World, colleague: Client
) -> None:
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"collection_method": "send_invoice", "days_until_due": 14}
    )
    organization = gone(sandbox, world)
    text = Page(colleague.post(url(organization), {"how": "new", "step": "preview"})).text
    assert "Stripe sends the customer an invoice over $232.00, due within 14 days." in text
    assert "is charged today" not in text


def test_a_subscription_that_ended_in_another_tab_is_not_replaced_unasked(
    sandbox: Sandbox, world: World, colleague: Client
) -> None:
    organization = leaving(sandbox, world)
    shown = colleague.get(url(organization))
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    late = apply(colleague, organization, shown)
    assert "can no longer be undone" in Page(late).text
    read(world)
    later = apply(colleague, organization, shown)
    assert "choose that a new one shall be made" in Page(later).text
    assert live(sandbox, world) == []


def test_of_several_subscriptions_the_page_asks_which(
    sandbox: Sandbox, world: World, colleague: Client
) -> None:
    organization = leaving(sandbox, world)
    sandbox.client.v1.subscriptions.create(
        {"customer": world.customer, "items": [{"price": make_price(sandbox.client), "quantity": 3}]}
    )
    read(world)
    assert "Which subscription" in Page(colleague.get(url(organization))).text
    answers = {"subscription": world.subscription}
    shown = colleague.post(url(organization), {**answers, "step": "preview"})
    assert apply(colleague, organization, shown, **answers).status_code == 302
    assert not any(each.cancel_at_period_end for each in live(sandbox, world))


def test_what_the_balance_pays_or_owes_is_told(sandbox: Sandbox, world: World, colleague: Client) -> None:
    organization = leaving(sandbox, world)
    sandbox.client.v1.customers.balance_transactions.create(
        world.customer, {"amount": -5000, "currency": "usd"}
    )
    undo = Page(colleague.get(url(organization))).text
    assert "$182.00 of it to be paid, after the customer's balance" in undo
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    read(world)
    answers = {"how": "new", "step": "preview"}
    credit = Page(colleague.post(url(organization), answers)).text
    assert "From the customer's balance −$50.00 Charged today $182.00" in credit
    sandbox.client.v1.customers.balance_transactions.create(
        world.customer, {"amount": 6000, "currency": "usd"}
    )
    debt = Page(colleague.post(url(organization), answers)).text
    assert "Owed on the customer's balance $10.00 Charged today $242.00" in debt
