"""The pages that suspend and lift holds, over HTTP and against a sandbox."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from billing.models import SubscriptionEvent
from organizations.models import Hold, Organization
from tests.adminops.pages import Page, Response
from tests.conftest import Sandbox
from tests.environment import free_port
from tests.factories import HoldFactory, MembershipFactory, StaffFactory, UnbilledOrganizationFactory
from tests.operating import show
from tests.stripe_world import World, make_customer, make_organization, read

pytestmark = pytest.mark.django_db(transaction=True)

PERMISSIONS = ["organizations.view_organization", "organizations.suspend_organization"]
LEGAL = "organizations.place_legal_hold"
NASTY = "<script>alert(1)</script>"
DAY = 86_400


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    organization = make_organization(world, name=f"Northwind {NASTY}")
    MembershipFactory.create_batch(3, organization=organization)
    return organization


@pytest.fixture
def colleague() -> Client:
    return login(*PERMISSIONS)


def login(*permissions: str) -> Client:
    client = Client()
    client.force_login(StaffFactory(permissions=list(permissions)))
    return client


def url(organization: Organization, what: str = "suspend") -> str:
    return reverse(f"admin:organizations_organization_{what}_organization", args=[organization.pk])


def answers(**more: Any) -> dict[str, Any]:
    return {
        "kind": "abuse",
        "ends_at": "",
        "billing": "continues",
        "invoices": "leave",
        "reason": "scraping",
        **more,
    }


def preview(client: Client, organization: Organization, what: str = "suspend", **more: Any) -> Response:
    return client.post(url(organization, what), {**answers(**more), "step": "preview"})


def token_in(response: Response) -> str:
    found = re.search(r'name="token" value="([^"]+)"', response.content.decode())
    assert found, Page(response).text
    return found[1]


def apply(
    client: Client, organization: Organization, shown: Response, what: str = "suspend", **more: Any
) -> Response:
    token = token_in(shown)
    return client.post(url(organization, what), {**answers(**more), "step": "apply", "token": token})


def said(response: Response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def is_paused(sandbox: Sandbox, world: World) -> bool:
    return sandbox.client.v1.subscriptions.retrieve(world.subscription).pause_collection is not None


def fail_a_renewal(sandbox: Sandbox, world: World, organization: Organization) -> None:
    card = sandbox.client.v1.customers.retrieve(world.customer).invoice_settings.default_payment_method
    sandbox.control("POST", "cards", {"payment_method": card, "refuses": "insufficient_funds"})
    sandbox.control("POST", "clock", {"advance": 32 * DAY})
    read(world)
    organization.refresh_from_db()


# -- suspending -------------------------------------------------------------------------------------------


def test_a_suspension_is_explained_confirmed_and_made(organization: Organization, colleague: Client) -> None:
    form = colleague.get(url(organization))
    assert Page(form).could_run() == []
    assert NASTY not in form.content.decode()
    assert "Access closes at once; the subscription stays as it is." in Page(form).text
    shown = preview(colleague, organization)
    text = Page(shown).text
    for expected in (
        "Members who lose access 3",
        "Invoice of",
        "Stripe goes on collecting",
        "$232.00",
        "The hold stays until somebody lifts it.",
        "Stripe goes on billing.",
        "Suspend: lock out 3 members",
    ):
        assert expected in text
    assert not Hold.objects.exists()
    done = apply(colleague, organization, shown)
    assert done.status_code == 302
    assert "Suspended (abuse): 3 members have lost access." in said(done)
    home = colleague.get(done.headers["Location"])
    assert "Suspended: Abuse" in Page(home).text
    assert NASTY not in home.content.decode()


@pytest.mark.parametrize(
    ("invoices", "words", "status"),
    [
        ("leave", "Stripe goes on collecting it", "open"),
        ("void", "is voided", "void"),
        ("mark_uncollectible", "is written off as uncollectible", "uncollectible"),
    ],
)
def test_every_choice_about_billing_is_shown_and_done(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    colleague: Client,
    invoices: str,
    words: str,
    status: str,
) -> None:
    fail_a_renewal(sandbox, world, organization)
    chosen = {"billing": "stops", "invoices": invoices}
    shown = preview(colleague, organization, **chosen)
    text = Page(shown).text
    assert "will be voided" in text
    assert words in text
    assert "Until then Stripe voids what falls due." in text
    assert apply(colleague, organization, shown, **chosen).status_code == 302
    assert is_paused(sandbox, world)
    newest = sandbox.client.v1.invoices.list({"customer": world.customer}).data[0]
    assert newest.status == status


def test_only_what_there_is_to_decide_is_asked(organization: Organization, colleague: Client) -> None:
    def asked(of: Organization) -> set[str]:
        content = colleague.get(url(of)).content.decode()
        return set(re.findall(r'name="(kind|ends_at|billing|invoices)"', content))

    assert asked(organization) == {"kind", "ends_at", "billing"}
    assert asked(UnbilledOrganizationFactory()) == {"kind", "ends_at"}


def test_legal_holds_are_offered_to_those_who_may(organization: Organization, colleague: Client) -> None:
    assert 'value="legal"' not in colleague.get(url(organization)).content.decode()
    text = Page(preview(colleague, organization, kind="legal")).text
    assert "Choose one of the kinds of hold that you may place." in text
    lawyer = login(*PERMISSIONS, LEGAL)
    assert 'value="legal"' in lawyer.get(url(organization)).content.decode()
    shown = preview(lawyer, organization, kind="legal")
    assert apply(lawyer, organization, shown, kind="legal").status_code == 302
    assert Hold.objects.get().kind == "legal"


def test_a_day_on_which_it_ends_is_kept(organization: Organization, colleague: Client) -> None:
    until = timezone.localdate() + datetime.timedelta(days=9)
    shown = preview(colleague, organization, ends_at=until.isoformat())
    assert f"The hold ends by itself on {until.day} " in Page(shown).text
    apply(colleague, organization, shown, ends_at=until.isoformat())
    ends_at = Hold.objects.get().ends_at
    assert ends_at is not None
    assert timezone.localtime(ends_at).isoformat().startswith(f"{until}T00:00:00")
    yesterday = timezone.localdate() - datetime.timedelta(days=1)
    text = Page(preview(colleague, organization, kind="manual", ends_at=yesterday.isoformat())).text
    assert "must be in the future" in text


def test_a_second_hold_of_a_kind_says_whose_the_first_is(
    organization: Organization, colleague: Client
) -> None:
    ann = StaffFactory(last_name="Ann")
    HoldFactory(organization=organization, kind="abuse", reason=f"spam {NASTY}", placed_by=ann)
    shown = preview(colleague, organization)
    assert "by Sam Ann: “spam" in Page(shown).text
    assert NASTY not in shown.content.decode()
    assert "other holds have closed it already" in Page(preview(colleague, organization, kind="manual")).text


def test_with_stripe_away_access_is_closed_and_the_person_told_that_stripe_is_being_told(
    organization: Organization, colleague: Client, settings: Settings
) -> None:
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"
    shown = preview(colleague, organization, billing="stops")
    done = apply(colleague, organization, shown, billing="stops")
    assert done.status_code == 302
    assert said(done).startswith("Access is closed. Stripe has not confirmed yet")
    assert organization.open_holds().exists()
    text = Page(colleague.get(done.headers["Location"])).text
    assert "Suspended: Abuse" in text
    assert "is under way; its outcome is not known yet" in text
    assert "still in progress" in Page(colleague.get(url(organization))).text


def test_without_a_key_one_can_suspend_but_not_stop_billing(
    organization: Organization, colleague: Client, settings: Settings
) -> None:
    settings.STRIPE_SECRET_KEY = ""
    assert "No Stripe key is set" in Page(preview(colleague, organization, billing="stops")).text
    assert apply(colleague, organization, preview(colleague, organization)).status_code == 302
    assert organization.open_holds().exists()


def test_a_pause_that_was_there_before_is_named_and_left(
    organization: Organization, colleague: Client
) -> None:
    ann = StaffFactory(username="ann", permissions=["organizations.pause_subscription"])
    show("pause_collection", organization).apply(ann)
    text = Page(preview(colleague, organization, billing="stops")).text
    assert "collection is paused already, by ann" in text
    assert "That pause is left as it is" in text


def test_a_double_click_places_one_hold(organization: Organization, colleague: Client) -> None:
    shown = preview(colleague, organization)
    for _ in range(2):
        apply(colleague, organization, shown)
    assert Hold.objects.count() == 1
    assert SubscriptionEvent.objects.filter(source="staff").count() == 1


def test_without_the_permission_there_is_no_page(organization: Organization) -> None:
    onlooker = login("organizations.view_organization", LEGAL)
    for what in ("suspend", "activate"):
        assert onlooker.get(url(organization, what)).status_code == 403
        assert onlooker.post(url(organization, what), {**answers(), "step": "apply"}).status_code == 403


# -- lifting ----------------------------------------------------------------------------------------------


def test_holds_are_chosen_explained_and_lifted(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    show("suspend_organization", organization, kind="abuse", billing="stops").apply(reason=f"spam {NASTY}")
    hold = Hold.objects.get()
    form = colleague.get(url(organization, "activate"))
    content = form.content.decode()
    assert re.search(rf'<input[^>]*name="holds"[^>]*value="{hold.pk}"[^>]*checked', content)
    assert NASTY not in content
    chosen = {"holds": [str(hold.pk)]}
    shown = preview(colleague, organization, "activate", **chosen)
    text = Page(shown).text
    for expected in (
        "Abuse",
        "Members who come in again 3",
        "will be collected again",
        "Access opens at once.",
        "Stripe bills again from the next invoice on.",
        "Lift 1 hold",
    ):
        assert expected in text
    done = apply(colleague, organization, shown, "activate", **chosen)
    assert "3 members have access again. Stripe bills again." in said(done)
    assert not is_paused(sandbox, world)
    assert "members have access already" in Page(colleague.get(url(organization, "activate"))).text


def test_what_remains_is_said_to_keep_access_closed(organization: Organization, colleague: Client) -> None:
    first = HoldFactory(organization=organization)
    HoldFactory(organization=organization, kind="legal", reason="court order")
    page = colleague.get(url(organization, "activate"))
    assert "The legal hold “court order” is not yours to lift, so it stays." in Page(page).text
    text = Page(preview(colleague, organization, "activate", holds=[str(first.pk)])).text
    assert "Access stays closed by what remains: legal." in text
    assert "Members who come in again 0" in text


def test_a_legal_hold_is_lifted_by_those_who_may_only(organization: Organization, colleague: Client) -> None:
    hold = HoldFactory(organization=organization, kind="legal")
    chosen = {"holds": [str(hold.pk)]}
    shown = preview(colleague, organization, "activate", **chosen)
    assert 'value="apply"' not in shown.content.decode()
    lawyer = login(*PERMISSIONS, LEGAL)
    shown = preview(lawyer, organization, "activate", **chosen)
    assert apply(lawyer, organization, shown, "activate", **chosen).status_code == 302
    assert not organization.open_holds().exists()


def test_only_what_is_no_legal_matter_is_ticked_beforehand_and_each_hold_says_when_it_ends(
    organization: Organization,
) -> None:
    until = timezone.now() + datetime.timedelta(days=9)
    manual = HoldFactory(organization=organization, ends_at=until)
    legal = HoldFactory(organization=organization, kind="legal", reason="court order")
    page = login(*PERMISSIONS, LEGAL).get(url(organization, "activate"))
    content = page.content.decode()
    ticked = re.findall(r'<input[^>]*name="holds"[^>]*value="(\d+)"[^>]*checked', content)
    assert ticked == [str(manual.pk)]
    assert f'value="{legal.pk}"' in content
    assert f"ends by itself on {timezone.localtime(until).day} " in Page(page).text
    assert re.search(r"Legal: “court order” \(Sam Person \d+, [^)]*; stays until lifted\)", Page(page).text)
    assert "Lift 1 hold" in Page(page).text


def test_where_one_may_lift_none_of_the_holds_there_is_a_sentence_and_no_form(
    organization: Organization, colleague: Client
) -> None:
    HoldFactory(organization=organization, kind="legal")
    page = colleague.get(url(organization, "activate"))
    assert "The open hold is a legal one, which you may not lift." in Page(page).text
    assert 'name="reason"' not in page.content.decode()


@pytest.mark.parametrize("holds", [[], ["999999"], ["x"], ["\x00"]])
def test_what_cannot_be_lifted_gets_a_sentence(
    organization: Organization, colleague: Client, holds: list[str]
) -> None:
    HoldFactory(organization=organization)
    response = preview(colleague, organization, "activate", holds=holds)
    assert response.status_code == 200
    assert re.search("Choose at least one hold|open no longer", Page(response).text)


def test_a_pause_of_somebody_elses_is_said_to_stay(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"pause_collection": {"behavior": "keep_as_draft"}}
    )
    read(world)
    hold = HoldFactory(organization=organization)
    text = Page(preview(colleague, organization, "activate", holds=[str(hold.pk)])).text
    assert "Collection is paused, and not by a suspension, so it stays paused." in text
    assert "Nothing is changed about billing." in text
