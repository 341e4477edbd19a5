"""The middleware and the decorator, as a Django product in the same database uses them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from organizations.models import Membership, Organization
from tests.factories import HoldFactory, MembershipFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def product(settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.organizations.product"
    settings.LOGIN_URL = "/login/"


@pytest.fixture
def guarded(settings: Settings) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "organizations.access.doors.AccessMiddleware"]


@pytest.fixture
def member() -> Membership:
    made: Membership = MembershipFactory()
    return made


@pytest.fixture
def at_work(member: Membership) -> Client:
    client = Client()
    client.force_login(member.user)
    return client


@pytest.mark.usefixtures("guarded")
def test_the_middleware_lets_a_member_in_until_they_lose_access(member: Membership, at_work: Client) -> None:
    assert at_work.get("/work/").content == b"at work"
    hold = HoldFactory(organization=member.organization, kind="abuse", reason="secret")
    refused = at_work.get("/work/")
    assert refused.status_code == 403
    assert "while we look into how it was used" in refused.content.decode()
    assert "secret" not in refused.content.decode()
    assert at_work.get("/goodbye/").status_code == 200
    hold.lifted_at = timezone.now()
    hold.save()
    assert at_work.get("/work/").status_code == 200


@pytest.mark.usefixtures("guarded")
def test_the_middleware_leaves_alone_who_is_not_logged_in() -> None:
    assert Client().get("/work/").status_code == 200


@pytest.mark.usefixtures("guarded")
def test_a_person_without_any_membership_stays_out() -> None:
    client = Client()
    client.force_login(UserFactory())
    assert client.get("/work/").status_code == 403


@pytest.mark.usefixtures("guarded")
def test_the_organization_in_the_address_is_the_one_that_counts(member: Membership, at_work: Client) -> None:
    closed = MembershipFactory(user=member.user, organization__subscription_status="unpaid")
    elsewhere = MembershipFactory()
    assert at_work.get("/work/").status_code == 200
    assert at_work.get(f"/in/{member.organization.slug}/").status_code == 200
    assert at_work.get(f"/in/{closed.organization.slug}/").status_code == 403
    stranger = at_work.get(f"/in/{elsewhere.organization.slug}/")
    assert stranger.status_code == 403
    assert elsewhere.organization.name not in stranger.content.decode()


def test_the_decorator_guards_one_view(member: Membership, at_work: Client) -> None:
    assert at_work.get("/guarded/").status_code == 200
    assert at_work.get(f"/guarded/{member.organization.slug}/").status_code == 200
    Membership.objects.update(status="suspended")
    assert at_work.get("/guarded/").status_code == 403
    assert at_work.get("/work/").status_code == 200


def test_the_decorator_asks_strangers_to_log_in() -> None:
    answer = Client().get("/guarded/?a=1")
    assert answer.status_code == 302
    assert "next=/guarded/%3Fa%3D1" in answer.headers["Location"]


@pytest.mark.usefixtures("guarded")
def test_a_member_at_work_is_seen_at_most_once_in_five_minutes(
    member: Membership, at_work: Client, django_assert_num_queries: Any
) -> None:
    at_work.get("/work/")
    member.refresh_from_db()
    first = member.last_activity_at
    assert first is not None
    with django_assert_num_queries(4):  # the session, the user, the memberships, the holds
        at_work.get("/work/")
    member.refresh_from_db()
    assert member.last_activity_at == first
    earlier = timezone.now() - timedelta(minutes=6)
    Membership.objects.update(last_activity_at=earlier)
    Organization.objects.update(last_activity_at=earlier)
    at_work.get("/work/")
    assert Membership.objects.filter(last_activity_at__gte=first).exists()
    assert Organization.objects.filter(last_activity_at__gte=first).exists()


@pytest.mark.usefixtures("guarded")
def test_names_with_markup_are_text(member: Membership, at_work: Client) -> None:
    Organization.objects.update(name="<script>alert(1)</script>%s", subscription_status="unpaid")
    page = at_work.get("/work/").content.decode()
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;%s" in page
