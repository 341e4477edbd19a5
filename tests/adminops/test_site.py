"""The frame around every page: who gets in, what may run, which Stripe it is."""

from collections.abc import Callable

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from adminops import logins
from adminops.admin.mirrored import MirrorAdmin
from tests.adminops.pages import Page
from tests.factories import EventPayloadFactory, OrganizationFactory, StaffFactory, UserFactory

pytestmark = pytest.mark.django_db


def addresses() -> list[str]:
    """One page of every kind."""
    organization = OrganizationFactory()
    event = EventPayloadFactory().event
    lists = [
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for model in admin.site._registry
    ]
    return [
        reverse("admin:index"),
        *lists,
        reverse("admin:organizations_organization_change", args=[organization.pk]),
        reverse("admin:organizations_organization_change_seats", args=[organization.pk]),
        reverse("admin:billing_subscriptionevent_change", args=[event.pk]),
        reverse("admin:auth_user_add"),
        reverse("admin:auth_user_change", args=[UserFactory().pk]),
        reverse("admin:auth_group_add"),
        reverse("admin:password_change"),
    ]


def test_every_page_opens_and_runs_nothing_but_files_of_ours(administrator: Client) -> None:
    for address in addresses():
        response = administrator.get(address)
        assert response.status_code == 200, address
        policy = response.headers["Content-Security-Policy"]
        assert "script-src 'self';" in f"{policy};", address
        page = Page(response)
        assert page.could_run() == [], address
        elsewhere = [link for link in page.links if link.startswith(("http:", "//")) and "static" in link]
        assert elsewhere == [], address


def test_the_login_page_is_as_strict(client: Client) -> None:
    response = client.get(reverse("admin:login"))
    assert response.status_code == 200
    assert Page(response).could_run() == []


def test_too_many_tries_at_the_back_offices_door_are_stopped_as_at_the_members() -> None:
    user = StaffFactory(username="ann")
    user.set_password("quiet-river-7")
    user.save()
    url = reverse("admin:login")
    for number in range(10):
        door = url if number % 2 else reverse("login")
        assert Client().post(door, {"username": "ann", "password": "no"}).status_code == 200
    stopped = Client().post(url, {"username": "ANN", "password": "quiet-river-7"})
    assert stopped.status_code == 429
    assert int(stopped.headers["Retry-After"]) > 0
    page = Page(stopped)
    assert "That was tried too often. Try again in" in page.text
    assert page.could_run() == []
    assert url in page.links
    assert Client().get(url).status_code == 200


def test_an_address_that_tries_many_names_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "PER_ADDRESS", "5/h")
    url = reverse("admin:login")
    answers = [Client().post(url, {"username": f"guess{n}", "password": "no"}).status_code for n in range(6)]
    assert answers == [200] * 5 + [429]


def test_alpine_is_the_build_that_evaluates_nothing() -> None:
    found = finders.find("unfold/js/alpine/alpine.js")
    assert isinstance(found, str)
    assert "/adminops/static/" in found


def test_members_who_are_not_staff_are_sent_to_the_login_page(client: Client) -> None:
    client.force_login(UserFactory())
    for name in ("admin:index", "admin:organizations_organization_changelist"):
        response = client.get(reverse(name))
        assert response.status_code == 302
        assert response.headers["Location"].startswith(reverse("admin:login"))


def test_the_navigation_shows_what_one_may_see_and_no_more(staff: Callable[..., Client]) -> None:
    page = Page(staff("organizations.view_organization").get(reverse("admin:index")))
    assert "Organizations" in page.text
    for hidden in ("Subscription events", "Users", "Invoices", "Members"):
        assert hidden not in page.text


@pytest.mark.parametrize(
    ("base", "live", "word"),
    [
        ("http://127.0.0.1:12111", False, "Sandbox"),
        ("https://api.stripe.com", False, "Test mode"),
        ("https://api.stripe.com", True, "Live"),
    ],
)
def test_every_page_says_which_stripe_it_is(
    settings: Settings, administrator: Client, base: str, live: bool, word: str
) -> None:
    settings.STRIPE_API_BASE = base
    settings.STRIPE_LIVE_MODE = live
    assert word in Page(administrator.get(reverse("admin:index"))).text


def test_no_column_that_we_word_is_hidden_behind_a_field_of_its_name() -> None:
    hidden = [
        f"{type(admin_).__name__}.{name}"
        for model, admin_ in admin.site._registry.items()
        for name in admin_.list_display
        if isinstance(name, str)
        and hasattr(type(admin_), name)
        and name in {field.name for field in model._meta.get_fields()}
    ]
    assert hidden == []


def test_no_admin_of_dj_stripes_own_is_reachable(administrator: Client) -> None:
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label == "djstripe":
            assert isinstance(model_admin, MirrorAdmin)
    assert apps.is_installed("djstripe")
    for address in (
        "/admin/djstripe/subscription/_cancel/",
        "/admin/djstripe/subscription/action/_cancel/",
        "/admin/djstripe/customer/action/_sync_all_instances/",
        "/admin/djstripe/webhookendpoint/",
        "/admin/djstripe/apikey/",
        "/admin/djstripe/account/",
    ):
        assert administrator.get(address).status_code in (302, 404), address
        assert administrator.post(address, {"action": "_cancel"}).status_code in (302, 403, 404), address


def test_what_does_not_exist_and_what_one_may_not_see_is_said_in_words(
    administrator: Client, staff: Callable[..., Client]
) -> None:
    missing = administrator.get("/no-such-page/")
    assert missing.status_code == 404
    assert "There is no such page" in missing.content.decode()
    refused = staff().get(reverse("admin:organizations_organization_changelist"))
    assert refused.status_code == 403
    assert "no permission" in refused.content.decode()
