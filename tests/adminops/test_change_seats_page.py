"""The page of the first operation, over HTTP and against a sandbox: nothing happens but what was agreed to."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.core import signing
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from adminops.actions import ACTIONS, action_named
from billing.models import SubscriptionEvent
from organizations.models import Membership, Organization
from tests.adminops.pages import Page, Response
from tests.conftest import Sandbox
from tests.factories import MembershipFactory, OrganizationFactory, StaffFactory, UnbilledOrganizationFactory
from tests.stripe_world import World, make_customer, make_organization, make_price, seats_at_stripe

# Stripe is never called inside a transaction, so neither are these.
pytestmark = pytest.mark.django_db(transaction=True)

PERMISSIONS = ["organizations.view_organization", "organizations.change_seats"]


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world, name="Northwind Labs")


@pytest.fixture
def colleague() -> Client:
    return login()


def login(*permissions: str) -> Client:
    client = Client()
    client.force_login(StaffFactory(permissions=list(permissions or PERMISSIONS)))
    return client


def url(organization: Organization) -> str:
    return reverse("admin:organizations_organization_change_seats", args=[organization.pk])


def answers(seats: Any = 12, **more: str) -> dict[str, str]:
    return {
        "seats": str(seats),
        "when": "now",
        "proration": "create_prorations",
        "reason": "new hires",
        "ticket": "4711",
        **more,
    }


def preview(client: Client, organization: Organization, seats: Any = 12, **more: str) -> Response:
    response = client.post(url(organization), {**answers(seats), "step": "preview", **more})
    assert response.status_code == 200
    return response


def token_in(response: Response) -> str:
    found = re.search(r'name="token" value="([^"]+)"', response.content.decode())
    assert found, Page(response).text
    return found[1]


def apply(client: Client, organization: Organization, token: str, seats: Any = 12, **more: str) -> Response:
    return client.post(url(organization), {**answers(seats), "step": "apply", "token": token, **more})


def said(response: Response) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def attempts() -> int:
    return SubscriptionEvent.objects.filter(source="staff").count()


# -- the way through --------------------------------------------------------------------------------------


def test_seats_are_previewed_confirmed_and_changed(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    form = Page(colleague.get(url(organization)))
    assert "Seats now 8, used 0." in form.text
    shown = preview(colleague, organization)
    text = Page(shown).text
    for expected in (
        "Credit for unused time on 8 seats",
        "Charge for remaining time on 12 seats",
        "−$232.00",
        "$116.00",
        "From then on, each month",
        "Nothing is charged today.",
        "valid for 10 min.",
        "Change to 12 seats",
    ):
        assert expected in text
    assert seats_at_stripe(sandbox, world) == 8
    assert attempts() == 0

    done = apply(colleague, organization, token_in(shown))
    assert done.status_code == 302
    assert done.headers["Location"] == reverse(
        "admin:organizations_organization_change", args=[organization.pk]
    )
    assert re.match(r"Seats changed from 8 to 12\. Stripe confirmed at \d\d:\d\d:\d\d\.", said(done)[0])
    assert seats_at_stripe(sandbox, world) == 12
    event = SubscriptionEvent.objects.get(source="staff")
    assert (event.state, event.reason, event.ticket) == ("done", "new hires", "4711")
    text = Page(colleague.get(done.headers["Location"])).text
    assert "Seats changed from 8 to 12." in text
    assert "12 paid, 0 used" in text


def test_the_script_gets_the_preview_alone(organization: Organization, colleague: Client) -> None:
    response = colleague.post(
        url(organization), {**answers(9), "reason": "", "step": "preview"}, headers={"X-Preview": "1"}
    )
    content = response.content.decode()
    assert "<html" not in content
    assert "Change to 9 seats" in content
    assert token_in(response)


def test_invoicing_now_says_what_is_charged_today(organization: Organization, colleague: Client) -> None:
    text = Page(preview(colleague, organization, proration="always_invoice")).text
    assert "Invoiced today" in text
    assert "$116.00 is charged today." in text


def test_nothing_for_this_period_says_so(organization: Organization, colleague: Client) -> None:
    text = Page(preview(colleague, organization, proration="none")).text
    assert "The rest of this period is neither charged nor credited." in text
    assert "Credit for unused time" not in text


def test_yen_have_no_decimals(sandbox: Sandbox, colleague: Client) -> None:
    world = make_customer(sandbox, seats=5, price=make_price(sandbox.client, amount=4900, currency="jpy"))
    text = Page(preview(colleague, make_organization(world), 6)).text
    assert "¥29,400" in text
    assert "¥29,400." not in text


def test_fewer_seats_than_members_is_allowed_and_warned(
    organization: Organization, colleague: Client
) -> None:
    MembershipFactory.create_batch(3, organization=organization)
    MembershipFactory(organization=organization, status=Membership.Status.INVITED)
    shown = preview(colleague, organization, 2)
    assert "3 members are active, more than 2 seats." in Page(shown).text
    assert apply(colleague, organization, token_in(shown), 2).status_code == 302
    assert "members are active" not in Page(preview(colleague, organization, 5)).text


# -- what is typed wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seats", "sentence"),
    [
        ("0", "There must be at least 1 seat."),
        ("-1", "There must be at least 1 seat."),
        ("1.5", "Seats are a whole number"),
        ("ten", "Seats are a whole number"),
        (str(10**12), "More than 1,000,000 seats cannot be set from here."),
        ("9" * 5000, "Seats are a whole number"),
        ("", "Say how many seats it shall be."),
        ("8", "8 seats already"),
        ("\x00", "Seats are a whole number"),
        ("１２x", "Seats are a whole number"),
    ],
)
def test_a_bad_number_gets_a_sentence_and_changes_nothing(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client, seats: str, sentence: str
) -> None:
    token = token_in(preview(colleague, organization, 12))
    for step in ("preview", "apply"):
        response = colleague.post(url(organization), {**answers(seats), "step": step, "token": token})
        assert response.status_code == 200
        page = Page(response)
        assert sentence in page.text or (step, seats) == ("apply", "8")
        assert 'value="apply"' not in response.content.decode()
    assert seats_at_stripe(sandbox, world) == 8
    assert attempts() == 0


def test_a_reason_is_asked_for_before_anything_is_done(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    shown = preview(colleague, organization, reason="")
    assert "Say why" not in Page(shown).text
    response = apply(colleague, organization, token_in(shown), reason=" ")
    assert response.status_code == 200
    assert "Say why" in Page(response).text
    assert "Change to 12 seats" in Page(response).text
    assert seats_at_stripe(sandbox, world) == 8


@pytest.mark.parametrize("proration", ["", "sometimes"])
def test_an_unknown_proration_is_refused(
    organization: Organization, colleague: Client, proration: str
) -> None:
    response = preview(colleague, organization, proration=proration)
    assert "Choose how the rest of this period is charged." in Page(response).text


# -- what was agreed to -----------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "x", "a:b:c", "\x00"])
def test_nothing_is_done_without_a_preview_that_was_shown(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client, token: str
) -> None:
    response = apply(colleague, organization, token)
    assert response.status_code == 200
    assert "Nothing was changed. Please look at what will happen, then confirm." in Page(response).text
    assert "Change to 12 seats" in Page(response).text
    assert seats_at_stripe(sandbox, world) == 8


def test_a_preview_holds_for_one_person_and_one_organization(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    token = token_in(preview(colleague, organization))
    other = make_organization(make_customer(sandbox))
    for client, target in ((login(), organization), (colleague, other)):
        response = apply(client, target, token)
        assert "Please look at what will happen" in Page(response).text
    assert seats_at_stripe(sandbox, world) == 8
    assert attempts() == 0


def test_a_token_signed_for_something_else_is_worth_nothing(
    organization: Organization, colleague: Client
) -> None:
    shown = preview(colleague, organization)
    content = signing.loads(token_in(shown), salt="adminops.preview.change_seats")
    forged = signing.dumps(content, salt="adminops.preview.another")
    assert "Please look at what will happen" in Page(apply(colleague, organization, forged)).text


def test_an_old_preview_is_shown_anew(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client, settings: Settings
) -> None:
    token = token_in(preview(colleague, organization))
    settings.PREVIEW_MAX_AGE_SECONDS = -1
    response = apply(colleague, organization, token)
    assert response.status_code == 200
    assert "Nothing was changed; here" in Page(response).text
    assert seats_at_stripe(sandbox, world) == 8


def test_a_form_changed_after_the_preview_is_shown_anew(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    token = token_in(preview(colleague, organization, 12))
    response = apply(colleague, organization, token, 13)
    text = Page(response).text
    assert "You changed the form after this was shown." in text
    assert "Change to 13 seats" in text
    assert seats_at_stripe(sandbox, world) == 8


def test_a_second_click_says_what_the_first_did_and_does_nothing(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    token = token_in(preview(colleague, organization))
    assert apply(colleague, organization, token).status_code == 302
    assert apply(colleague, organization, token).status_code == 302
    said = Page(colleague.get(f"/admin/organizations/organization/{organization.pk}/change/")).text
    assert "Seats changed from 8 to 12." in said
    assert attempts() == 1


def test_a_second_tab_of_ones_own_says_what_one_did_there_and_offers_no_button(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    here, there, other = (
        token_in(preview(colleague, organization)),
        token_in(preview(colleague, organization)),
        token_in(preview(colleague, organization, 20)),
    )
    assert apply(colleague, organization, there).status_code == 302
    again = apply(colleague, organization, here)
    assert re.search(r"You did this already at \d\d:\d\d: Seats changed from 8 to 12\.", Page(again).text)
    assert "faster" not in Page(again).text
    assert "Look again" in Page(again).text
    assert 'value="apply"' not in again.content.decode()
    otherwise = apply(colleague, organization, other, 20)
    assert re.search(r"You changed this at \d\d:\d\d, after it was shown here: Seats", Page(otherwise).text)
    assert 'value="apply"' not in otherwise.content.decode()
    assert seats_at_stripe(sandbox, world) == 12
    assert attempts() == 1


def test_a_second_person_reads_what_the_first_did_in_place_of_the_button(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    second = login()
    late, otherwise = token_in(preview(second, organization)), token_in(preview(second, organization, 20))
    assert apply(colleague, organization, token_in(preview(colleague, organization))).status_code == 302
    for token, seats in ((late, 12), (otherwise, 20)):
        response = apply(second, organization, token, seats)
        text = Page(response).text
        assert "was faster: Seats changed from 8 to 12." in text
        assert "Nothing was changed by you." in text
        assert "Look again" in text
        assert 'value="apply"' not in response.content.decode()
    assert seats_at_stripe(sandbox, world) == 12
    assert attempts() == 1


def test_a_second_person_is_told_what_is_in_progress_once_and_may_look_again(
    sandbox: Sandbox, organization: Organization, colleague: Client, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    second = login()
    late = token_in(preview(second, organization))
    token = token_in(preview(colleague, organization, 30))
    sandbox.control(
        "POST", "faults", {"kind": "timeout_after", "method": "POST", "path": "/v1/subscriptions/*"}
    )
    assert apply(colleague, organization, token, 30).status_code == 302
    for response in (apply(second, organization, late), second.get(url(organization))):
        text = Page(response).text
        assert re.search(r"Here \S+ began to change seats to 30 at \d\d:\d\d \(“new hires”\)", text), text
        assert text.count("still in progress") == 1, text
        assert "Look again" in text


# -- who, how often, and whether at all -------------------------------------------------------------------


def test_without_the_permission_there_is_no_page(organization: Organization) -> None:
    onlooker = login("organizations.view_organization", "organizations.change_organization")
    assert onlooker.get(url(organization)).status_code == 403
    assert onlooker.post(url(organization), {**answers(), "step": "apply"}).status_code == 403
    denied = SubscriptionEvent.objects.get(source="staff")
    assert (denied.type, denied.organization, denied.state) == ("permission.denied", organization, "done")
    assert "tried to change seats, without being allowed to. Nothing was changed." in (denied.message or "")
    stranger = Client()
    assert stranger.get(url(organization)).status_code == 302


def test_a_missing_organization_is_a_missing_page(colleague: Client) -> None:
    assert colleague.get("/admin/organizations/organization/999999/seats/").status_code == 404


def test_a_request_from_elsewhere_is_refused(organization: Organization) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(StaffFactory(permissions=PERMISSIONS))
    assert client.post(url(organization), {**answers(), "step": "apply"}).status_code == 403


def test_looking_changes_nothing(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    token = token_in(preview(colleague, organization))
    response = colleague.get(url(organization), {**answers(), "step": "apply", "token": token})
    assert response.status_code == 200
    assert seats_at_stripe(sandbox, world) == 8


def test_the_eleventh_within_a_minute_waits_and_says_until_when(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    token = token_in(preview(colleague, organization))
    # Ten, or up to twenty where a new minute of the limit begins meanwhile.
    passed = 0
    while passed < 21 and apply(colleague, organization, "no token").status_code == 200:
        passed += 1
    assert 10 <= passed <= 20
    response = apply(colleague, organization, token)
    assert response.status_code == 429
    seconds = int(response.headers["Retry-After"])
    assert 1 <= seconds <= 60
    assert "10 times within a minute" in Page(response).text
    assert "Nothing was changed." in Page(response).text
    assert f"Try again in {seconds} second" in Page(response).text
    assert "You have tried this 10 times within a minute" in Page(response).text
    assert "Back to the form" in Page(response).text
    assert seats_at_stripe(sandbox, world) == 8
    # A colleague has a count of their own.
    other = login()
    assert apply(other, organization, token_in(preview(other, organization))).status_code == 302


def test_what_the_form_refuses_does_not_use_up_the_limit(
    organization: Organization, colleague: Client
) -> None:
    token = token_in(preview(colleague, organization))
    for _ in range(20):
        assert apply(colleague, organization, token, reason="").status_code == 200
    assert apply(colleague, organization, token).status_code == 302


@pytest.mark.parametrize(
    ("key", "sentence"), [("", "No Stripe key is set"), ("pk_test_x", "is not one of Stripe's")]
)
def test_without_a_key_the_button_is_off_and_says_why(
    organization: Organization, colleague: Client, settings: Settings, key: str, sentence: str
) -> None:
    settings.STRIPE_SECRET_KEY = key
    customer = colleague.get(reverse("admin:organizations_organization_change", args=[organization.pk]))
    assert sentence in Page(customer).text
    assert f'href="{url(organization)}"' not in customer.content.decode()
    for response in (colleague.get(url(organization)), apply(colleague, organization, "x")):
        assert response.status_code == 200
        assert sentence in Page(response).text
        assert "<form" not in Page(response).text
        assert 'name="seats"' not in response.content.decode()
    assert attempts() == 0


def test_a_customer_without_a_subscription_is_told_so(colleague: Client) -> None:
    organization = UnbilledOrganizationFactory(stripe_customer_id="cus_alone")
    assert "no subscription" in Page(colleague.get(url(organization))).text


def test_an_ended_subscription_is_told_so(sandbox: Sandbox, world: World, colleague: Client) -> None:
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    text = Page(colleague.get(url(make_organization(world)))).text
    assert "nothing can be changed about it" in text


# -- Stripe in trouble ------------------------------------------------------------------------------------


def fault(sandbox: Sandbox, kind: str, path: str, **more: Any) -> None:
    sandbox.control("POST", "faults", {"kind": kind, "method": "POST", "path": path, **more})


def test_a_preview_that_stripe_does_not_give_is_a_sentence(
    sandbox: Sandbox, organization: Organization, colleague: Client
) -> None:
    fault(sandbox, "error_429", "/v1/invoices/create_preview", times=10)
    text = Page(preview(colleague, organization)).text
    assert "Stripe is busy and asked us to wait. Try again in a minute." in text
    assert "Change to 12 seats" not in text


def test_an_outcome_that_is_unknown_is_never_called_a_failure(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    token = token_in(preview(colleague, organization))
    fault(sandbox, "error_500", f"/v1/subscriptions/{world.subscription}")
    done = apply(colleague, organization, token)
    assert done.status_code == 302
    [message] = get_messages(done.wsgi_request)
    assert message.level_tag == "warning"
    assert "we do not know yet" in str(message)
    text = Page(colleague.get(done.headers["Location"])).text
    assert "we do not know yet" in text


# -- the registry -----------------------------------------------------------------------------------------


def test_every_action_has_a_page_a_permission_and_a_limit() -> None:
    from django.contrib.auth.models import Permission

    organization = OrganizationFactory()
    granted = {
        f"{app}.{codename}"
        for app, codename in Permission.objects.values_list("content_type__app_label", "codename")
    }
    for action in ACTIONS:
        assert action.permission in granted
        assert re.fullmatch(r"\d+/m", action.rate)
        assert action.url(organization).startswith("/admin/")
        assert action_named(action.name) is action
        assert set(action.page.previewed_fields) <= set(action.page.form_class.base_fields)
        assert {"reason"} <= set(action.page.form_class.base_fields)
