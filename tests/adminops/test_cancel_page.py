"""The page of cancelling, over HTTP and against a sandbox: what it asks, what it says, and that it does just that."""

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
from tests.stripe_world import World, make_customer, make_organization, make_price, read

pytestmark = pytest.mark.django_db(transaction=True)

PERMISSIONS = ["organizations.view_organization", "organizations.cancel_subscription"]
REASON = {"reason": "asked by mail", "ticket": "4711"}


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world, name="Northwind Labs")


@pytest.fixture
def colleague() -> Client:
    client = Client()
    client.force_login(StaffFactory(permissions=PERMISSIONS))
    return client


def url(organization: Organization) -> str:
    return reverse("admin:organizations_organization_cancel_subscription", args=[organization.pk])


def preview(client: Client, organization: Organization, **answers: Any) -> Response:
    response = client.post(url(organization), {**REASON, **answers, "step": "preview"})
    assert response.status_code == 200
    return response


def token_in(response: Response) -> str:
    found = re.search(r'name="token" value="([^"]+)"', response.content.decode())
    assert found, Page(response).text
    return found[1]


def apply(client: Client, organization: Organization, shown: Response, **answers: Any) -> Response:
    return client.post(url(organization), {**REASON, **answers, "step": "apply", "token": token_in(shown)})


def status(sandbox: Sandbox, world: World) -> str:
    return sandbox.client.v1.subscriptions.retrieve(world.subscription).status


def test_the_page_shows_at_once_what_the_end_of_the_period_means_and_does_it(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    shown = colleague.get(url(organization))
    assert organization.current_period_end
    day = words.short_date(organization.current_period_end)
    text = Page(shown).text
    for expected in (
        f"The subscription ends {day}",
        "Until then nothing changes, and the cancellation can be undone.",
        "From then on, each month",
        "now $232.00",
        f"Cancel on {day}",
    ):
        assert expected in text

    done = apply(colleague, organization, shown, when="period_end")

    assert done.status_code == 302
    (message,) = get_messages(done.wsgi_request)
    assert "The subscription is set to end on" in str(message)
    assert status(sandbox, world) == "active"
    again = Page(colleague.get(url(organization))).text
    assert re.search(r"This subscription is set to end on .* already", again)


def test_an_end_now_says_that_the_credit_goes_to_the_balance_and_that_it_is_final(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    answers = {"when": "now", "prorate": "yes", "invoice_now": "yes", "feedback": "unused", "comment": "Bye"}
    shown = preview(colleague, organization, **answers)
    text = Page(shown).text
    for expected in (
        "The subscription ends now",
        "Credit for unused time",
        "Credited to the customer's balance",
        "nothing goes back to a card",
        "so the credit may be up to",
        "This cannot be undone.",
        "Cancel now",
    ):
        assert expected in text
    assert status(sandbox, world) == "active"

    done = apply(colleague, organization, shown, **answers)

    assert done.status_code == 302
    assert status(sandbox, world) == "canceled"
    customer = sandbox.client.v1.customers.retrieve(world.customer)
    assert (customer.balance or 0) < 0
    text = Page(colleague.get(done.headers["Location"])).text
    assert "credited $" in text
    assert "to the customer's balance" in text


def test_a_credit_without_a_final_invoice_is_warned_of(organization: Organization, colleague: Client) -> None:
    text = Page(preview(colleague, organization, when="now", prorate="yes")).text
    assert "Without a final invoice the credit only waits at Stripe" in text


def test_what_would_not_be_invoiced_is_warned_of_and_charged_where_it_is(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"items": [{"id": world.item, "quantity": 12}]}
    )
    assert "only a final invoice would settle it" in Page(preview(colleague, organization, when="now")).text
    text = Page(preview(colleague, organization, when="now", invoice_now="yes")).text
    assert "Final invoice $116.00" in text
    assert "$116.00 is charged today." in text
    assert "Still owed on" in Page(preview(colleague, organization, when="period_end")).text


def test_answers_that_do_not_apply_do_not_count(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    answers = {"when": "period_end", "prorate": "yes", "invoice_now": "yes"}
    shown = preview(colleague, organization, **answers)
    assert "Credit for unused time" not in Page(shown).text
    assert apply(colleague, organization, shown, **answers).status_code == 302
    assert status(sandbox, world) == "active"


def test_open_invoices_are_named_with_what_becomes_of_them(
    sandbox: Sandbox, world: World, colleague: Client
) -> None:
    card = sandbox.client.v1.payment_methods.list({"customer": world.customer}).data[0]
    sandbox.control("POST", "cards", {"payment_method": card.id, "refuses": "insufficient_funds"})
    sandbox.client.v1.subscriptions.update(
        world.subscription,
        {"items": [{"id": world.item, "quantity": 12}], "proration_behavior": "always_invoice"},
    )
    organization = make_organization(world)
    assert organization.subscription_status == "past_due"
    number = sandbox.client.v1.invoices.list({"customer": world.customer}).data[0].number
    text = Page(preview(colleague, organization, when="period_end")).text
    assert f"Open invoice {number} Stripe goes on collecting it $116.00" in text
    text = Page(preview(colleague, organization, when="now", prorate="yes", invoice_now="yes")).text
    assert f"Open invoice {number} Stripe stops collecting it by itself" in text
    assert "credits unused time that was never paid for" in text


def test_of_several_subscriptions_the_page_asks_which(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    sandbox.client.v1.subscriptions.create(
        {"customer": world.customer, "items": [{"price": make_price(sandbox.client), "quantity": 3}]}
    )
    read(world)
    assert "Which subscription" in Page(colleague.get(url(organization))).text
    missing = preview(colleague, organization, when="now")
    assert "Choose the one you mean." in Page(missing).text
    answers = {"when": "now", "subscription": world.subscription}
    shown = preview(colleague, organization, **answers)
    assert apply(colleague, organization, shown, **answers).status_code == 302
    assert status(sandbox, world) == "canceled"


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"when": ""}, "Choose when the subscription ends."),
        ({"when": "later"}, "Choose when the subscription ends."),
        ({"when": "now", "comment": "x" * 1001}, "at most 1000 characters"),
        ({"when": "now", "feedback": "bored"}, "bored is not one of the available choices"),
    ],
)
def test_what_is_answered_wrong_gets_a_sentence(
    organization: Organization, colleague: Client, answers: dict[str, str], sentence: str
) -> None:
    response = preview(colleague, organization, **answers)
    assert sentence in Page(response).text
    assert 'value="apply"' not in response.content.decode()
