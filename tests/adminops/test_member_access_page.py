"""Can they get in? As support reads it while the member is on the phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from adminops.pages.customer.member_access import member_access_url
from organizations.models import Membership, Organization
from tests.adminops.pages import Page
from tests.factories import HoldFactory, MembershipFactory, OrganizationFactory

pytestmark = pytest.mark.django_db

MAY_LOOK = ("organizations.view_organization", "organizations.view_membership")


@pytest.fixture
def member() -> Membership:
    made: Membership = MembershipFactory(user__first_name="Dana", user__last_name="Quinn")
    return made


def test_all_three_questions_are_answered_in_order(member: Membership, staff: Callable[..., Client]) -> None:
    page = Page(staff(*MAY_LOOK).get(member_access_url(member)))
    assert "Can Dana Quinn get in? check_circle Yes" in page.text
    questions = ["No hold keeps", "The subscription lets", "The person is an active member"]
    places = [page.text.index(question) for question in questions]
    assert places == sorted(places)
    assert page.text.count("check_circle Yes") == 4
    assert page.could_run() == []


def test_the_first_no_is_named_and_so_is_what_the_member_reads(
    member: Membership, staff: Callable[..., Client]
) -> None:
    Organization.objects.update(subscription_status="unpaid")
    HoldFactory(organization=member.organization, kind="abuse", reason="Copied our templates.")
    page = Page(staff(*MAY_LOOK).get(member_access_url(member)))
    assert "Can Dana Quinn get in? block No" in page.text
    assert "Abuse: Copied our templates." in page.text
    assert page.text.count("block No") == 3
    assert "is closed while we look into how it was used." in page.text


def test_few_queries_are_enough(
    member: Membership, administrator: Client, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(4):  # session, user, member, holds
        administrator.get(member_access_url(member))


def test_only_who_may_see_members_sees_it(member: Membership, staff: Callable[..., Client]) -> None:
    for permission in MAY_LOOK:
        assert staff(permission).get(member_access_url(member)).status_code == 403
    assert Client().get(member_access_url(member)).status_code == 302


def test_a_member_of_another_organization_is_not_found_here(
    member: Membership, administrator: Client
) -> None:
    elsewhere = MembershipFactory(organization=OrganizationFactory())
    address = member_access_url(elsewhere).replace(
        f"/{elsewhere.organization_id}/members/", f"/{member.organization_id}/members/"
    )
    assert administrator.get(address).status_code == 404


def test_the_customer_page_leads_there(member: Membership, staff: Callable[..., Client]) -> None:
    customer = reverse("admin:organizations_organization_change", args=[member.organization_id])
    assert member_access_url(member) in Page(staff(*MAY_LOOK).get(customer)).links
    assert member_access_url(member) not in Page(staff(MAY_LOOK[0]).get(customer)).links


def test_hostile_names_are_text(member: Membership, administrator: Client) -> None:
    Organization.objects.update(name="<script>alert(1)</script>%(organization)s")
    type(member.user).objects.filter(pk=member.user_id).update(
        first_name="<b onclick=x>{{ 7 }}", last_name=""
    )
    page = Page(administrator.get(member_access_url(member)))
    assert page.could_run() == []
    assert "Can <b onclick=x>{{ 7 }} get in?" in page.text
