"""Access tokens in the admin: made, told once, revoked."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from organizations.access.tokens import AccessToken
from tests.adminops.pages import Page
from tests.factories import MembershipFactory

pytestmark = pytest.mark.django_db

LIST = reverse("admin:organizations_accesstoken_changelist")
ADD = reverse("admin:organizations_accesstoken_add")


def page_of(row: AccessToken) -> str:
    return reverse("admin:organizations_accesstoken_change", args=[row.pk])


def make(client: Client) -> str:
    """Make a token as a person does; what the page told once."""
    made = client.post(ADD, {"name": "The web shop"})
    found = re.search(r'id="access-token"[^>]* value="([^"]+)" readonly', made.content.decode())
    assert found, Page(made).text
    assert "no-store" in made.headers["Cache-Control"]
    assert Page(made).could_run() == []
    return found[1]


def status_with(token: str) -> int:
    member = MembershipFactory()
    query = {"organization": member.organization.slug, "user": member.user.email}
    return Client().get("/api/access/", query, headers={"Authorization": f"Bearer {token}"}).status_code


def test_a_token_is_told_once_and_works_until_it_is_revoked(administrator: Client) -> None:
    token = make(administrator)
    row = AccessToken.objects.get()
    assert row.created_by is not None
    assert status_with(token) == 200
    for address in (LIST, page_of(row)):
        page = administrator.get(address)
        assert token not in page.content.decode()
        assert row.digest not in page.content.decode()
        assert "Works" in Page(page).text
    administrator.post(page_of(row), {"name": "The shop"})
    row.refresh_from_db()
    assert (row.name, row.revoked_at) == ("The shop", None)
    assert status_with(token) == 200
    administrator.post(page_of(row), {"name": "The shop", "revoke": "on"})
    row.refresh_from_db()
    assert row.revoked_at is not None
    assert status_with(token) == 401
    assert "Revoked" in Page(administrator.get(page_of(row))).text


def test_a_token_is_never_deleted_nor_brought_back(administrator: Client) -> None:
    token = make(administrator)
    row = AccessToken.objects.get()
    row.revoke()
    administrator.post(page_of(row), {"name": "The shop"})
    assert status_with(token) == 401
    delete = reverse("admin:organizations_accesstoken_delete", args=[row.pk])
    assert administrator.post(delete, {"post": "yes"}).status_code == 403


def test_who_may_not_finds_no_tokens(staff: Callable[..., Client]) -> None:
    support = staff("organizations.view_organization")
    assert support.get(LIST).status_code == 403
    assert support.post(ADD, {"name": "mine"}).status_code == 403
    assert "Access tokens" not in Page(support.get(reverse("admin:index"))).text


def test_who_may_look_makes_none(staff: Callable[..., Client]) -> None:
    onlooker = staff("organizations.view_accesstoken")
    assert onlooker.get(LIST).status_code == 200
    assert onlooker.post(ADD, {"name": "mine"}).status_code == 403
    assert not AccessToken.objects.exists()
