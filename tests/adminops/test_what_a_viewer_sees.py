"""What stands on a page for whom: parts of it have permissions of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.adminops.pages import Page
from tests.factories import (
    CustomerSyncFactory,
    MembershipFactory,
    OrganizationFactory,
    StaffEventFactory,
    SubscriptionEventFactory,
)

pytestmark = pytest.mark.django_db

ONLOOKER = "organizations.view_organization"


def change_page(organization: Any) -> str:
    return reverse("admin:organizations_organization_change", args=[organization.pk])


def test_members_are_shown_and_searched_only_by_those_who_may_see_them(staff: Callable[..., Client]) -> None:
    organization = OrganizationFactory(seats=5)
    first = MembershipFactory.create_batch(51, organization=organization)[0].user
    ana = MembershipFactory(
        organization=organization, user__first_name="Ana", user__email="ana.diaz@post.example"
    )
    page = change_page(organization)
    onlooker, colleague = staff(ONLOOKER), staff(ONLOOKER, "organizations.view_membership")
    for query in ({}, {"member": "ana.diaz"}, {"member": "nobody"}):
        response = onlooker.get(page, query)
        html = response.content.decode()
        assert first.email not in html
        assert ana.user.email not in html
        assert 'name="member"' not in html
        assert "All members" not in html
        text = Page(response).text
        assert "Nobody of that name" not in text
        assert "Members are shown to those who may see them." in text
        assert "52" in text  # how many seats they take is billing
    assert ana.user.email in colleague.get(page, {"member": "ana.diaz"}).content.decode()
    assert "All members" in colleague.get(page).content.decode()


def test_how_a_reading_failed_is_told_raw_only_to_who_may_read_tracebacks(
    staff: Callable[..., Client],
) -> None:
    CustomerSyncFactory(wanted=2, done=1, queued_at=timezone.now(), last_error="in_1: KeyError: 'secret'")
    waiting = reverse("admin:billing_customersync_changelist")
    told = Page(staff("billing.view_customersync").get(waiting)).text
    assert "It could not be read." in told
    assert "KeyError" not in told
    colleague = staff("billing.view_customersync", "billing.view_traceback")
    assert "in_1: KeyError: 'secret'" in Page(colleague.get(waiting)).text


def test_what_stands_at_the_top_of_a_customer_leads_nowhere_one_may_not_go(
    staff: Callable[..., Client],
) -> None:
    organization = OrganizationFactory()
    event = StaffEventFactory(organization=organization, state="parked", message="Half of it was done.")
    SubscriptionEventFactory(organization=organization, state="failed")
    address = reverse("admin:billing_subscriptionevent_change", args=[event.pk])
    onlooker, colleague = staff(ONLOOKER), staff(ONLOOKER, "billing.view_subscriptionevent")
    seen = Page(onlooker.get(change_page(organization)))
    assert "could not be found out; somebody must look at Stripe." in seen.text
    assert "1 event from Stripe could not be used" in seen.text
    assert "Half of it was done." not in seen.text
    assert not [link for link in seen.links if "subscriptionevent" in link]
    seen = Page(colleague.get(change_page(organization)))
    assert "Half of it was done." in seen.text
    assert address in seen.links
