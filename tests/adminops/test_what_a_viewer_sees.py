"""What stands on a page for whom: parts of it have permissions of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.adminops.pages import Page
from tests.factories import MembershipFactory, OrganizationFactory

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
