"""What holds for every action of the registry: who may, how often, and that nothing happens by looking."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from adminops.actions import ACTIONS, action_named, offered
from adminops.pages.bulk.forms import FORMS
from adminops.pages.bulk.page import bulk_url
from adminops.pages.operations.action import StaffAction
from billing.models import BulkJob, SubscriptionEvent
from billing.operations import OPERATIONS
from billing.operations.settlement import AnyOperation
from tests.adminops.pages import Page
from tests.conftest import Sandbox
from tests.factories import AdministratorFactory, StaffFactory
from tests.situations import SITUATIONS, Situation
from tests.stripe_world import make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)

ROLES: dict[str, tuple[str, ...]] = importlib.import_module("adminops.migrations.0002_roles").ROLES

every_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)


def login(user: User, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(user)
    return client


def colleague(role: str) -> User:
    user: User = StaffFactory()
    user.groups.add(Group.objects.get(name=role))
    return user


def form(situation: Situation, **more: str) -> dict[str, Any]:
    return {**situation.answers, "reason": "asked on the phone", "ticket": "4711", **more}


def token_in(content: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', content)
    assert found, content
    return found[1]


# -- what is registered -----------------------------------------------------------------------------------


def test_every_operation_has_an_action_and_a_situation() -> None:
    assert {page.operation.type for action in ACTIONS for page in action.pages} == set(OPERATIONS)
    assert set(SITUATIONS) == set(OPERATIONS)
    assert all(name == operation.type for name, operation in OPERATIONS.items())


def test_addresses_and_names_are_told_apart() -> None:
    assert len({(action.subject_class, action.path) for action in ACTIONS}) == len(ACTIONS)
    assert len({action.url_name for action in ACTIONS}) == len(ACTIONS)


@every_action
def test_an_action_has_a_permission_that_exists_and_a_limit(action: StaffAction) -> None:
    app_label, codename = action.permission.split(".")
    assert Permission.objects.filter(content_type__app_label=app_label, codename=codename).exists()
    assert re.fullmatch(r"\d+/m", action.rate)
    assert action_named(action.name) is action
    fields = set(action.page.form_class.base_fields)
    assert set(action.page.previewed_fields) <= fields
    assert set(action.page.form_class.only_when) <= fields
    assert {"reason", "ticket"} <= fields


# -- who may ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("roles")
@every_action
def test_each_role_may_exactly_what_it_was_given(action: StaffAction, sandbox: Sandbox) -> None:
    situation = SITUATIONS[action.name](sandbox)
    url = action.url(situation.subject)
    before = situation.effect()
    for role, permissions in ROLES.items():
        may = action.permission in permissions
        client = login(colleague(role))
        assert client.get(url).status_code == (200 if may else 403), role
        for step in ("preview", "apply"):
            response = client.post(url, form(situation, step=step))
            assert response.status_code == (200 if may else 403), (role, step)
    assert situation.effect() == before


@pytest.mark.usefixtures("roles")
@pytest.mark.parametrize("name", FORMS)
def test_each_role_may_do_to_many_exactly_what_it_may_do_to_one(name: str) -> None:
    action = action_named(name)
    page = bulk_url(action)
    changelist = page.split("bulk/")[0]
    for role, permissions in ROLES.items():
        may = action.permission in permissions
        client = login(colleague(role))
        ticked = {"action": name, "_selected_action": ["1"]}
        assert client.post(changelist, ticked).status_code == (302 if may else 403), role
        for step in ("preview", "apply"):
            # Without a tick there is nothing to show: back to the list.
            assert client.post(page, {"step": step}).status_code == (302 if may else 403), (role, step)
        assert (f'value="{name}"' in client.get(changelist).content.decode()) is may, role
    assert not BulkJob.objects.exists()


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
def test_everything_that_can_be_tried_has_a_phrase_for_it(operation: AnyOperation) -> None:
    phrase = str(operation.attempt)
    assert phrase[:1].islower(), phrase
    assert not phrase.endswith(".")
    assert phrase != str(operation.label)


@every_action
def test_whoever_may_not_sees_no_button_and_leaves_a_line(action: StaffAction, sandbox: Sandbox) -> None:
    situation = SITUATIONS[action.name](sandbox)
    before = situation.effect()
    user = StaffFactory(
        username="nosy", permissions=["organizations.view_organization", "billing.view_subscriptionevent"]
    )
    client = login(user)
    home = f"admin:{situation.subject._meta.app_label}_{situation.subject._meta.model_name}_change"
    shown = client.get(reverse(home, args=[situation.subject.pk]))
    assert shown.status_code == 200
    assert action.url(situation.subject) not in shown.content.decode()

    for _ in range(3):
        assert client.get(action.url(situation.subject)).status_code == 403
        assert client.post(action.url(situation.subject), form(situation, step="apply")).status_code == 403

    (line,) = SubscriptionEvent.objects.filter(type="permission.denied")
    assert (line.actor, line.state) == (user, "done")
    assert f"{user.get_full_name()} tried to {action.operation.attempt}, without being allowed to." in (
        line.message or ""
    )
    assert situation.effect() == before


@every_action
def test_strangers_and_forged_requests_come_to_nothing(action: StaffAction, sandbox: Sandbox) -> None:
    situation = SITUATIONS[action.name](sandbox)
    before = situation.effect()
    url = action.url(situation.subject)
    assert Client().get(url).status_code == 302
    assert Client().post(url, form(situation, step="apply")).status_code == 302
    outsider = login(StaffFactory(is_staff=False, permissions=[action.permission]))
    assert outsider.post(url, form(situation, step="apply")).status_code == 302
    forged = login(StaffFactory(permissions=[action.permission]), enforce_csrf_checks=True)
    assert forged.post(url, form(situation, step="apply")).status_code == 403
    assert situation.effect() == before


# -- the way through --------------------------------------------------------------------------------------


@pytest.fixture
def allowed(action: StaffAction) -> Client:
    """Somebody who may do this, see its subject, and no more."""
    return login(
        StaffFactory(
            permissions=[
                action.permission,
                "organizations.view_organization",
                "billing.view_subscriptionevent",
            ]
        )
    )


@every_action
def test_an_action_is_shown_agreed_to_and_done_once(
    action: StaffAction, sandbox: Sandbox, allowed: Client
) -> None:
    situation = SITUATIONS[action.name](sandbox)
    url = action.url(situation.subject)
    before = situation.effect()

    assert allowed.get(url, form(situation, step="apply")).status_code == 200
    shown = allowed.post(url, form(situation, step="preview"))
    assert "What will happen" in Page(shown).text
    assert Page(shown).could_run() == []
    assert not SubscriptionEvent.objects.filter(source="staff").exists()
    assert situation.effect() == before

    token = token_in(shown.content.decode())
    for _ in range(2):
        answer = allowed.post(url, form(situation, step="apply", token=token))
        assert answer.status_code in (200, 302), Page(answer).text
    (event,) = SubscriptionEvent.objects.filter(source="staff")
    assert (event.type, event.state) == (action.name, "done"), event.error
    assert (event.reason, event.ticket) == ("asked on the phone", "4711")
    assert event.message
    done = situation.effect()

    again = allowed.post(url, form(situation, step="apply", token=token))
    assert again.status_code in (200, 302)
    assert situation.effect() == done


@every_action
def test_too_often_within_a_minute_is_too_often(
    action: StaffAction, sandbox: Sandbox, allowed: Client
) -> None:
    situation = SITUATIONS[action.name](sandbox)
    before = situation.effect()
    most = int(action.rate.removesuffix("/m"))
    url = action.url(situation.subject)
    # Up to twice as many where a new minute of the limit begins meanwhile.
    passed = 0
    while passed <= 2 * most:
        response = allowed.post(url, form(situation, step="apply", token="none"))
        if response.status_code == 429:
            break
        assert response.status_code == 200
        passed += 1
    assert most <= passed <= 2 * most
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert "Nothing was changed." in Page(response).text
    other = login(StaffFactory(permissions=[action.permission]))
    assert other.post(url, form(situation, step="apply", token="none")).status_code == 200
    assert situation.effect() == before


@every_action
def test_without_a_key_nothing_that_needs_stripe_can_be_done(
    action: StaffAction, sandbox: Sandbox, allowed: Client, settings: Any
) -> None:
    situation = SITUATIONS[action.name](sandbox)
    url = action.url(situation.subject)
    if not action.operation.calls_stripe:
        return
    for key in ("", "pk_test_nothing"):
        settings.STRIPE_SECRET_KEY = key
        assert "Stripe key" in Page(allowed.get(url)).text
        answer = allowed.post(url, form(situation, step="apply"))
        assert "Stripe key" in Page(answer).text
    assert not SubscriptionEvent.objects.filter(source="staff").exists()


def test_what_can_be_done_to_a_customer_is_found_out_in_one_look(
    sandbox: Sandbox, django_assert_max_num_queries: Any
) -> None:
    organization = make_organization(make_customer(sandbox))
    administrator = AdministratorFactory()
    with django_assert_max_num_queries(len(ACTIONS)):
        assert len(offered(administrator, organization)) > 10
