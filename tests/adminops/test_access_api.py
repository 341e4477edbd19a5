"""`GET /api/access/`, as a product asks it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from organizations.access.tokens import AccessToken, create_token
from organizations.models import Membership, Organization
from tests.factories import HoldFactory, MembershipFactory

pytestmark = pytest.mark.django_db

URL = "/api/access/"


class Product:
    """A product with a token."""

    def __init__(self) -> None:
        self.row, self.token = create_token("the product")
        self.client = Client()

    def ask(self, member: Membership, headers: dict[str, str] | None = None, **query: str) -> Any:
        asked = {"organization": member.organization.slug, "user": member.user.email, **query}
        authorization = {"Authorization": f"Bearer {self.token}"}
        return self.client.get(URL, asked, headers=authorization | (headers or {}))


@pytest.fixture
def product() -> Product:
    return Product()


@pytest.fixture
def member() -> Membership:
    made: Membership = MembershipFactory(role=Membership.Role.ADMIN)
    return made


def test_a_member_who_may_come_in(product: Product, member: Membership) -> None:
    answer = product.ask(member)
    assert answer.status_code == 200
    assert answer.json() == {
        "allowed": True,
        "reason": "open",
        "sentence": f"You have access to {member.organization.name}.",
        "until": None,
        "organization": {
            "id": member.organization.pk,
            "slug": member.organization.slug,
            "name": member.organization.name,
            "stripe_customer": member.organization.stripe_customer_id,
        },
        "member": {
            "user": member.user_id,
            "email": member.user.email,
            "role": "admin",
            "status": "active",
        },
    }
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert "Authorization" in answer.headers["Vary"]
    assert "Set-Cookie" not in answer.headers


def test_the_customer_at_stripe_names_the_organization_too(product: Product, member: Membership) -> None:
    answer = product.ask(member, organization=member.organization.stripe_customer_id or "")
    assert answer.json()["allowed"] is True


def test_a_hold_locks_out_at_once_even_who_has_the_answer_already(
    product: Product, member: Membership
) -> None:
    etag = product.ask(member).headers["ETag"]
    same = product.ask(member, {"If-None-Match": etag})
    assert same.status_code == 304
    assert same.content == b""
    assert same.headers["ETag"] == etag
    assert same.headers["Cache-Control"] == "private, no-cache"
    ends = timezone.now() + timedelta(hours=1)
    HoldFactory(organization=member.organization, kind="non_payment", ends_at=ends)
    closed = product.ask(member, {"If-None-Match": etag})
    assert closed.status_code == 200
    assert closed.headers["ETag"] != etag
    assert closed.json()["allowed"] is False
    assert closed.json()["reason"] == "hold_non_payment"
    assert closed.json()["until"] == ends.isoformat()


def test_removing_somebody_locks_them_out_at_once(product: Product, member: Membership) -> None:
    etag = product.ask(member).headers["ETag"]
    Membership.objects.filter(pk=member.pk).update(status="removed")
    assert product.ask(member, {"If-None-Match": etag}).json()["reason"] == "member_removed"
    member.delete()
    assert product.ask(member, {"If-None-Match": etag}).json()["reason"] == "not_a_member"


def test_a_person_nobody_knows_is_no_member(product: Product, member: Membership) -> None:
    answer = product.ask(member, user="nobody@example.com")
    assert answer.status_code == 200
    assert (answer.json()["reason"], answer.json()["member"]) == ("not_a_member", None)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer access_wrong",
        "Basic dXNlcjpwYXNz",
        "Bearer \xff\xfe",
        "Token",
    ],
)
def test_without_a_token_of_ours_nothing_is_told(member: Membership, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = Client().get(
        URL, {"organization": member.organization.slug, "user": member.user.email}, headers=headers
    )
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert member.organization.name not in answer.content.decode()
    assert "access token" in answer.json()["error"]


def test_a_token_in_the_wrong_scheme_is_none(product: Product, member: Membership) -> None:
    assert product.ask(member, {"Authorization": f"Basic {product.token}"}).status_code == 401


def test_a_revoked_token_opens_nothing_from_the_next_request_on(product: Product, member: Membership) -> None:
    assert product.ask(member).status_code == 200
    product.row.revoke()
    revoked = product.row.revoked_at
    assert product.ask(member).status_code == 401
    product.row.revoke()
    assert product.row.revoked_at == revoked


def test_wrong_tokens_are_counted_and_right_ones_are_not(product: Product, member: Membership) -> None:
    for _each in range(25):
        assert product.ask(member).status_code == 200
    wrong = [product.ask(member, {"Authorization": f"Bearer {n}"}) for n in range(21)]
    assert [each.status_code for each in wrong] == [401] * 20 + [429]
    assert int(wrong[-1].headers["Retry-After"]) > 0
    assert "error" in wrong[-1].json()
    assert product.ask(member).status_code == 200


def test_behind_a_proxy_the_address_is_what_the_proxy_says(
    settings: Settings, product: Product, member: Membership
) -> None:
    settings.BEHIND_PROXY = True
    for number in range(25):
        headers = {"Authorization": "Bearer no", "X-Forwarded-For": f"10.0.0.9, 192.0.2.{number}"}
        assert product.ask(member, headers).status_code == 401
    for spoofed in ("a lie, 192.0.2.1", "2001:db8::1", "garbage", ""):
        headers = {"Authorization": "Bearer no", "X-Forwarded-For": spoofed}
        assert product.ask(member, headers).status_code == 401


def test_digits_are_an_organizations_number_and_nothing_else(product: Product, member: Membership) -> None:
    answer = product.ask(member, organization=str(member.organization_id))
    assert answer.json()["organization"]["id"] == member.organization_id
    assert product.ask(member, organization=str(member.organization_id + 1)).status_code == 404
    assert product.ask(member, organization="9" * 30).status_code == 404


def test_an_organization_nobody_knows_is_said_in_words(product: Product, member: Membership) -> None:
    for named in ("no-such", "999999999999999999999", "cus_none", "a\0b", "🦆"):
        answer = product.ask(member, organization=named)
        assert answer.status_code == 404
        assert answer.json()["error"].startswith("There is no organization")


def test_what_is_not_asked_is_said_in_words(product: Product, member: Membership) -> None:
    for missing in ("organization", "user"):
        answer = product.ask(member, None, **{missing: ""})
        assert answer.status_code == 400
        assert missing in answer.json()["error"]


def test_two_members_with_one_address_are_asked_for_by_number(product: Product, member: Membership) -> None:
    MembershipFactory(organization=member.organization, user__email=member.user.email.upper())
    assert product.ask(member).status_code == 409
    assert product.ask(member, user=str(member.user_id)).json()["allowed"] is True


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_nothing_but_get_is_answered(product: Product, method: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    answer = getattr(strict, method)(URL, headers={"Authorization": f"Bearer {product.token}"})
    assert answer.status_code == 405


def test_names_with_markup_come_out_as_text(product: Product, member: Membership) -> None:
    Organization.objects.filter(pk=member.organization_id).update(name='<script>"\\</script> 100%s %(x)s')
    answer = product.ask(member)
    assert answer.headers["Content-Type"] == "application/json"
    assert '<script>"\\</script> 100%s %(x)s' in answer.json()["sentence"]


def test_activity_is_written_when_it_is_said_and_at_most_once_in_five_minutes(
    product: Product, member: Membership, django_assert_num_queries: Any
) -> None:
    product.ask(member)
    assert Membership.objects.filter(last_activity_at=None).exists()
    product.ask(member, active="1")
    member.refresh_from_db()
    member.organization.refresh_from_db()
    first = member.last_activity_at
    assert first is not None
    assert member.organization.last_activity_at is not None
    member = Membership.objects.select_related("organization", "user").get()
    with django_assert_num_queries(3):  # the token, the member, the holds
        product.ask(member, active="1")
    Membership.objects.update(last_activity_at=first - timedelta(minutes=6))
    Organization.objects.update(last_activity_at=first - timedelta(minutes=6))
    product.ask(member, active="1")
    assert Membership.objects.filter(last_activity_at__gt=first).exists()


def test_whoever_is_locked_out_is_not_seen(product: Product, member: Membership) -> None:
    HoldFactory(organization=member.organization)
    product.ask(member, active="1")
    member.refresh_from_db()
    assert member.last_activity_at is None


def test_when_a_token_was_used_is_known(product: Product, member: Membership) -> None:
    product.ask(member)
    product.row.refresh_from_db()
    assert product.row.last_used_at is not None


def test_a_token_is_made_by_a_command_told_once_and_kept_nowhere(
    member: Membership, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("create_access_token", "The web shop")
    token = capsys.readouterr().out.strip()
    row = AccessToken.objects.get()
    assert row.name == "The web shop"
    assert token not in str(vars(row))
    answer = Client().get(
        URL,
        {"organization": member.organization.pk, "user": member.user_id},
        headers={"Authorization": f"bearer {token}"},
    )
    assert answer.status_code == 200
    for hostile in ("", "  ", "x" * 101, "a\0b"):
        with pytest.raises(CommandError):
            call_command("create_access_token", hostile)
