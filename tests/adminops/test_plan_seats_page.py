"""The page "Change seats", where the change comes later: at the renewal, on a day, or not at all after all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from adminops.pages import words
from billing.models import SubscriptionEvent
from organizations.models import Organization
from tests.adminops.pages import Page, Response
from tests.adminops.test_change_seats_page import answers, login, said, token_in, url
from tests.conftest import Sandbox
from tests.factories import MembershipFactory, StaffFactory
from tests.stripe_world import (
    World,
    make_customer,
    make_organization,
    plan_seats_at_stripe,
    read,
    seats_at_stripe,
    seats_planned_at_stripe,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world, name="Northwind Labs")


@pytest.fixture
def ann() -> Client:
    client = Client()
    client.force_login(
        StaffFactory(
            username="ann", permissions=["organizations.view_organization", "organizations.change_seats"]
        )
    )
    return client


def in_days(days: int) -> str:
    return (timezone.localdate() + timedelta(days=days)).isoformat()


def shown_day(iso: str) -> str:
    return words.short_date(datetime.fromisoformat(iso).replace(tzinfo=UTC))


def preview(client: Client, organization: Organization, **more: Any) -> Response:
    response = client.post(url(organization), {**answers(15), "step": "preview", **more})
    assert response.status_code == 200
    return response


def carried_out(client: Client, organization: Organization, **more: Any) -> Response:
    token = token_in(preview(client, organization, **more))
    return client.post(url(organization), {**answers(15), "step": "apply", "token": token, **more})


def customer_page(client: Client, organization: Organization) -> str:
    return Page(client.get(reverse("admin:organizations_organization_change", args=[organization.pk]))).text


def test_a_change_is_planned_for_the_renewal_seen_and_withdrawn(
    sandbox: Sandbox, world: World, organization: Organization, ann: Client
) -> None:
    assert organization.current_period_end is not None
    day = words.short_date(organization.current_period_end)
    assert "Never: withdraw what is planned" not in Page(ann.get(url(organization))).text

    text = Page(preview(ann, organization, when="renewal")).text
    for expected in (
        f"From {day} on, each month",
        "$435.00",
        "until then $232.00",
        "Nothing is charged today, and the seats stay as they are until that day.",
        "The change comes with the renewal, so nothing is prorated.",
        f"Plan 15 seats for {day}",
    ):
        assert expected in text
    assert "Credit for unused time" not in text

    done = carried_out(ann, organization, when="renewal")
    assert done.status_code == 302
    assert said(done)[0].startswith("15 seats are planned from ")
    assert (seats_planned_at_stripe(sandbox, world), seats_at_stripe(sandbox, world)) == (15, 8)
    page = customer_page(ann, organization)
    assert f"15 seats from {day} on" in page
    assert f"about $435.00 on {day}" in page
    assert "15 seats are planned from" in page

    form = Page(ann.get(url(organization)))
    assert "A change to 15 seats is planned for " in form.text
    assert "by ann." in form.text
    assert "Never: withdraw what is planned" in form.text
    assert "Withdraw that first, or plan this change in its place." in Page(preview(ann, organization)).text

    text = Page(preview(ann, organization, when="withdraw", seats="", proration="")).text
    assert "Seats stay" in text
    assert "Nothing is charged or credited" in text
    done = carried_out(ann, organization, when="withdraw", seats="", proration="")
    assert said(done)[0].startswith("The change to 15 seats on ")
    assert (seats_planned_at_stripe(sandbox, world), seats_at_stripe(sandbox, world)) == (None, 8)
    assert f"15 seats from {day} on" not in customer_page(ann, organization)
    types = SubscriptionEvent.objects.filter(source="staff").order_by("pk").values_list("type", flat=True)
    assert list(types) == ["schedule_seats", "withdraw_scheduled_seats"]


@pytest.mark.parametrize(
    ("proration", "sentence"),
    [
        ("create_prorations", "What is prorated goes on the first invoice after that day."),
        ("always_invoice", "What is prorated is invoiced on that day."),
        ("none", "The rest of that period is neither charged nor credited."),
    ],
)
def test_a_change_on_a_day_says_what_is_charged_then(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    ann: Client,
    proration: str,
    sentence: str,
) -> None:
    on = in_days(10)
    text = Page(preview(ann, organization, when="date", on=on, proration=proration)).text
    assert sentence in text
    assert f"Plan 15 seats for {shown_day(on)}" in text
    assert (f"Charged for the rest of the period from {shown_day(on)} on" in text) is (proration != "none")
    assert "about" not in text
    done = carried_out(ann, organization, when="date", on=on, proration=proration)
    assert said(done)[0].startswith("15 seats are planned from ")
    assert seats_planned_at_stripe(sandbox, world) == 15


def test_a_sum_that_is_an_estimate_is_called_one(organization: Organization, ann: Client) -> None:
    text = Page(preview(ann, organization, when="date", on=in_days(45))).text
    assert "about $" in text
    assert "an estimate; Stripe reckons it on that day" in text


def test_fewer_seats_are_credited_and_warned_of(organization: Organization, ann: Client) -> None:
    MembershipFactory.create_batch(3, organization=organization)
    on = in_days(10)
    text = Page(preview(ann, organization, when="date", on=on, seats="2")).text
    assert f"Credited for the rest of the period from {shown_day(on)} on" in text
    assert "3 members are active, more than 2 seats." in text


def test_a_plan_that_takes_anothers_place_says_whose(
    sandbox: Sandbox, world: World, organization: Organization, ann: Client
) -> None:
    carried_out(ann, organization, when="renewal")
    ben = login()
    text = Page(preview(ben, organization, when="date", on=in_days(10), seats="20")).text
    assert "A change to 15 seats is planned for " in text
    assert "by ann. This takes its place." in text
    carried_out(ben, organization, when="date", on=in_days(10), seats="20")
    assert seats_planned_at_stripe(sandbox, world) == 20


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"when": ""}, "Choose when the seats change."),
        ({"when": "someday"}, "Choose when the seats change."),
        ({"when": "withdraw"}, "Choose when the seats change."),
        ({"when": "date"}, "Say on which day the seats change."),
        ({"when": "date", "on": "soon"}, "That is no day."),
        ({"when": "date", "on": "2020-01-01"}, "Choose a day after today"),
        ({"when": "date", "on": "9999-12-31"}, "a year ahead at most"),
        ({"when": "renewal", "seats": "0"}, "There must be at least 1 seat."),
    ],
)
def test_what_is_answered_wrong_gets_a_sentence_and_plans_nothing(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    ann: Client,
    more: dict[str, str],
    sentence: str,
) -> None:
    response = preview(ann, organization, **more)
    assert sentence in Page(response).text
    assert 'value="apply"' not in response.content.decode()
    assert seats_planned_at_stripe(sandbox, world) is None


@pytest.mark.parametrize(
    "more", [{"when": "now", "on": "soon"}, {"when": "renewal", "proration": "sometimes"}]
)
def test_questions_that_are_not_asked_are_not_held_against_anybody(
    organization: Organization, ann: Client, more: dict[str, str]
) -> None:
    assert carried_out(ann, organization, **more).status_code == 302


def test_a_conflict_with_a_cancellation_is_shown(
    sandbox: Sandbox, world: World, organization: Organization, ann: Client
) -> None:
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at_period_end": True})
    read(world)
    assert organization.current_period_end is not None
    day = words.short_date(organization.current_period_end)
    text = Page(preview(ann, organization, when="renewal")).text
    assert "before this change would happen." in text
    text = Page(preview(ann, organization)).text
    assert f"The subscription ends on {day}. This changes its seats until then." in text


def test_a_schedule_made_elsewhere_closes_the_page_in_words(
    sandbox: Sandbox, world: World, organization: Organization, ann: Client
) -> None:
    plan_seats_at_stripe(sandbox, world, 30)
    read(world)
    page = Page(ann.get(url(organization)))
    assert "A schedule that was not made here manages this subscription" in page.text
    assert "30 seats from " in customer_page(ann, organization)


def test_all_of_the_page_counts_towards_one_limit(organization: Organization, ann: Client) -> None:
    token = {"step": "apply", "token": "none"}
    # What a form refuses does not count, so each says all that its form asks.
    day = {"on": str((timezone.now() + timedelta(days=40)).date())}
    statuses = [
        ann.post(url(organization), {**answers(15), **token, **day, "when": when}).status_code
        for when in ("now", "renewal", "date") * 8
    ]
    # Ten, or up to twenty where a new minute of the limit begins meanwhile.
    assert 10 <= statuses.count(200) <= 20
    assert 429 in statuses
