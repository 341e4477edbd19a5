"""The pages of coupons: what one takes off stands there to the cent before it is put on or taken away."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from adminops.actions import action_named
from billing.models import SubscriptionEvent
from billing.operations import OPERATIONS
from organizations.models import Organization
from tests.adminops.pages import Page, Response
from tests.conftest import Sandbox
from tests.stripe_world import World, make_customer, make_organization, read

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world, name="Northwind Labs")


@pytest.fixture
def colleague(staff: Callable[..., Client]) -> Client:
    return staff("organizations.view_organization", "organizations.apply_discount")


def url(name: str, organization: Organization) -> str:
    return action_named(name).url(organization)


def ask(client: Client, address: str, **answers: str) -> Response:
    return client.post(address, {"step": "preview", **answers})


def confirm(client: Client, address: str, shown: Response, **answers: Any) -> Response:
    found = re.search(r'name="token" value="([^"]+)"', shown.content.decode())
    assert found, Page(shown).text
    return client.post(address, {"step": "apply", "token": found[1], "reason": "loyal customer", **answers})


def said(response: Response) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def test_a_coupon_is_previewed_put_on_and_taken_away(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    sandbox.client.v1.coupons.create(
        {
            "id": "SPRING",
            "name": "Spring",
            "percent_off": 20,
            "duration": "repeating",
            "duration_in_months": 3,
        }
    )
    address = url("apply_discount", organization)
    shown = ask(colleague, address, code="SPRING")
    text = Page(shown).text
    for expected in (
        "Spring SPRING 20% off for 3 months",
        "now $232.00 $185.60",
        "For 3 months, each month",
        "Nothing is charged or credited today",
        "Apply Spring",
    ):
        assert expected in text
    done = confirm(colleague, address, shown, code="SPRING")
    assert said(done) == ["Coupon “Spring” applied: 20% off for 3 months. Each period now costs $185.60."]

    address = url("remove_discount", organization)
    shown = colleague.get(address)
    text = Page(shown).text
    assert "Goes: Spring SPRING 20% off for 3 months, until" in text
    assert "now $185.60 $232.00" in text
    [discount] = sandbox.client.v1.subscriptions.retrieve(world.subscription).discounts
    done = confirm(colleague, address, shown, discount=str(discount))
    assert said(done) == ["Coupon “Spring” (20% off for 3 months) removed. Each period now costs $232.00."]
    assert "has a coupon" in Page(colleague.get(address)).text


def test_coupons_that_stay_and_the_customers_own_are_named(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    for id_, percent in (("FIRST", 10), ("SECOND", 20), ("OWN", 5)):
        sandbox.client.v1.coupons.create({"id": id_, "percent_off": percent, "duration": "forever"})
    sandbox.control("POST", "discounts", {"customer": world.customer, "coupon": "OWN"})
    read(world)
    address = url("apply_discount", organization)
    shown = ask(colleague, address, code="FIRST")
    assert "It belongs to the customer, not to the subscription" in Page(shown).text
    confirm(colleague, address, shown, code="FIRST")
    text = Page(ask(colleague, address, code="SECOND")).text
    assert "Stays: FIRST 10% off forever" in text

    address = url("remove_discount", organization)
    text = Page(colleague.get(address)).text
    assert "OWN, which belongs to the customer, not to a subscription" in text
    own = sandbox.client.v1.customers.retrieve(world.customer).discount
    assert own
    shown = ask(colleague, address, discount=own.id)
    assert "it goes for all subscriptions of the customer" in Page(shown).text
    done = confirm(colleague, address, shown, discount=own.id)
    assert said(done)[0].startswith("Coupon “OWN” (5% off forever) removed.")
    [first] = sandbox.client.v1.subscriptions.retrieve(world.subscription).discounts
    text = Page(ask(colleague, address, discount=str(first))).text
    assert "Goes: FIRST" in text


def test_a_promotion_code_is_told_with_its_coupon_and_a_coupon_without_a_name_once(
    sandbox: Sandbox, organization: Organization, colleague: Client
) -> None:
    sandbox.client.v1.coupons.create({"id": "WELCOME20", "percent_off": 20, "duration": "forever"})
    sandbox.client.v1.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": "WELCOME20"}, "code": "SPRING"}
    )
    address = url("apply_discount", organization)
    text = Page(ask(colleague, address, code="WELCOME20")).text
    assert "WELCOME20 20% off forever" in text
    assert "WELCOME20 WELCOME20" not in text

    shown = ask(colleague, address, code="spring")
    assert "WELCOME20 by the promotion code SPRING 20% off forever" in Page(shown).text
    done = confirm(colleague, address, shown, code="spring")
    assert said(done) == [
        "Coupon “WELCOME20” by the promotion code SPRING applied: 20% off forever. Each period now costs $185.60."
    ]
    event = SubscriptionEvent.objects.get(type="apply_discount")
    line = OPERATIONS[event.type].retell(event).done
    assert line == "applied the coupon “WELCOME20” by the promotion code SPRING (20% off forever)"


def test_what_no_coupon_is_and_an_empty_answer_get_a_sentence(
    organization: Organization, colleague: Client
) -> None:
    address = url("apply_discount", organization)
    assert (
        "knows no coupon and no promotion code “NOBODY”" in Page(ask(colleague, address, code="NOBODY")).text
    )
    assert "Say which coupon" in Page(ask(colleague, address, code="")).text
    nasty = ask(colleague, address, code="<script>alert(1)</script>")
    assert Page(nasty).could_run() == []


def test_where_there_are_several_subscriptions_the_page_asks_which(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    second = sandbox.client.v1.subscriptions.create(
        {"customer": world.customer, "items": [{"price": world.price, "quantity": 2}]}
    )
    sandbox.client.v1.coupons.create({"id": "HALF", "percent_off": 50, "duration": "forever"})
    read(world)
    address = url("apply_discount", organization)
    assert "Which subscription" in Page(colleague.get(address)).text
    answers = {"code": "HALF", "subscription": second.id}
    confirm(colleague, address, ask(colleague, address, **answers), **answers)
    assert len(sandbox.client.v1.subscriptions.retrieve(second.id).discounts) == 1
    assert sandbox.client.v1.subscriptions.retrieve(world.subscription).discounts == []
