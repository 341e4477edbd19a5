"""The pages that pause and resume collection, over HTTP and against a sandbox."""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from billing.models import SubscriptionEvent
from organizations.models import Organization
from tests.adminops.pages import Page, Response
from tests.conftest import Sandbox
from tests.factories import AdministratorFactory, HoldFactory, StaffFactory
from tests.operating import show
from tests.stripe_world import World, make_customer, make_organization, read

pytestmark = pytest.mark.django_db(transaction=True)

PERMISSIONS = ["organizations.view_organization", "organizations.pause_subscription"]
DAY = 86_400


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world, name="Northwind <script>alert(1)</script>")


@pytest.fixture
def colleague() -> Client:
    client = Client()
    client.force_login(StaffFactory(permissions=PERMISSIONS))
    return client


def url(organization: Organization, what: str) -> str:
    return reverse(f"admin:organizations_organization_{what}_collection", args=[organization.pk])


def day(days: int) -> datetime.date:
    return timezone.localdate() + datetime.timedelta(days=days)


def answers(**more: str) -> dict[str, str]:
    return {"behavior": "void", "resumes_at": "", "reason": "goodwill", "ticket": "", **more}


def preview(client: Client, organization: Organization, what: str, **more: str) -> Response:
    return client.post(url(organization, what), {**answers(**more), "step": "preview"})


def token_in(response: Response) -> str:
    found = re.search(r'name="token" value="([^"]+)"', response.content.decode())
    assert found, Page(response).text
    return found[1]


def apply(client: Client, organization: Organization, what: str, shown: Response, **more: str) -> Response:
    return client.post(
        url(organization, what), {**answers(**more), "step": "apply", "token": token_in(shown)}
    )


def said(response: Response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def pause_at_stripe(sandbox: Sandbox, world: World) -> Any:
    return sandbox.client.v1.subscriptions.retrieve(world.subscription).pause_collection


def test_a_pause_is_explained_confirmed_and_made(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    form = colleague.get(url(organization, "pause"))
    assert "members keep their access: this is no suspension." in Page(form).text
    assert Page(form).could_run() == []
    shown = preview(colleague, organization, "pause")
    text = Page(shown).text
    for expected in (
        "Invoice of",
        "will not be collected",
        "$232.00",
        "Every invoice after that",
        "until somebody resumes",
        "the customer never owes them",
        "Members keep their access, and the subscription stays as it is.",
        "Pause collection",
    ):
        assert expected in text
    assert pause_at_stripe(sandbox, world) is None
    done = apply(colleague, organization, "pause", shown)
    assert done.status_code == 302
    assert "Collection paused." in said(done)
    assert pause_at_stripe(sandbox, world).behavior == "void"


@pytest.mark.parametrize(
    ("behavior", "sentence"),
    [
        ("keep_as_draft", "stay drafts, and are not issued by themselves later"),
        ("void", "are voided"),
        ("mark_uncollectible", "are written off as uncollectible"),
    ],
)
def test_each_fate_of_invoices_is_said(
    organization: Organization, colleague: Client, behavior: str, sentence: str
) -> None:
    assert sentence in Page(preview(colleague, organization, "pause", behavior=behavior)).text


def test_a_day_on_which_it_resumes_is_kept_and_said(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    until = day(70)
    shown = preview(colleague, organization, "pause", resumes_at=until.isoformat())
    text = Page(shown).text
    assert text.count("Invoice of") == 2
    assert "Every invoice after that" not in text
    assert f"Stripe collects again by itself from {until.day} " in text
    assert f"Pause collection until {until.day} " in text
    assert apply(colleague, organization, "pause", shown, resumes_at=until.isoformat()).status_code == 302
    begins = datetime.datetime.combine(until, datetime.time(), timezone.get_current_timezone())
    assert pause_at_stripe(sandbox, world).resumes_at == int(begins.timestamp())


@pytest.mark.parametrize(
    ("resumes_at", "sentence"),
    [
        ("tomorrow", "That is no day."),
        ("2026-02-30", "That is no day."),
        ("9999-12-31", "That is too far away."),
        ("0001-01-01", "That is too far away."),
        ("2020-01-01", "must be in the future"),
        ("\x00", "That is no day."),
    ],
)
def test_a_bad_day_gets_a_sentence(
    organization: Organization, colleague: Client, resumes_at: str, sentence: str
) -> None:
    response = preview(colleague, organization, "pause", resumes_at=resumes_at)
    assert response.status_code == 200
    assert sentence in Page(response).text
    assert 'value="apply"' not in response.content.decode()


@pytest.mark.parametrize("behavior", ["", "burn"])
def test_an_unknown_fate_is_refused(organization: Organization, colleague: Client, behavior: str) -> None:
    text = Page(preview(colleague, organization, "pause", behavior=behavior)).text
    assert "Choose what becomes of invoices that fall due meanwhile." in text


def test_open_invoices_are_said_to_go_on_being_collected(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    card = sandbox.client.v1.customers.retrieve(world.customer).invoice_settings.default_payment_method
    sandbox.control("POST", "cards", {"payment_method": card, "refuses": "insufficient_funds"})
    sandbox.control("POST", "clock", {"advance": 32 * DAY})
    text = Page(preview(colleague, organization, "pause")).text
    assert "was issued before, so Stripe goes on collecting it" in text


def test_a_suspended_organization_is_not_told_that_members_keep_access(
    organization: Organization, colleague: Client
) -> None:
    HoldFactory(organization=organization)
    assert (
        "Access is closed by a hold, and stays closed."
        in Page(preview(colleague, organization, "pause")).text
    )


def test_a_reason_is_asked_for_before_it_is_paused(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    shown = preview(colleague, organization, "pause", reason="")
    response = apply(colleague, organization, "pause", shown, reason="")
    assert "Say why" in Page(response).text
    assert pause_at_stripe(sandbox, world) is None


def test_resuming_shows_the_next_invoice_who_paused_and_the_drafts_that_waited(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    ann = StaffFactory(username="ann", permissions=PERMISSIONS)
    show("pause_collection", organization, behavior="keep_as_draft").apply(ann)
    sandbox.control("POST", "clock", {"advance": 40 * DAY})
    read(world)
    shown = colleague.get(url(organization, "resume"))
    text = Page(shown).text
    for expected in (
        "Next invoice, on",
        "Draft invoice",
        "a draft that is not issued by itself",
        "Collection was paused by ann.",
        "Drafts that waited are not issued by themselves.",
        "Resume collection",
    ):
        assert expected in text
    done = apply(colleague, organization, "resume", shown, reason="")
    assert done.status_code == 302
    assert "Collection resumed. 1 draft ($232.00) still waits" in said(done)
    assert pause_at_stripe(sandbox, world) is None


def test_resuming_what_a_suspension_stopped_is_warned_of(
    organization: Organization, colleague: Client
) -> None:
    show("suspend_organization", organization, kind="abuse", billing="stops").apply()
    text = Page(colleague.get(url(organization, "resume"))).text
    assert "A suspension stopped billing." in text


def test_what_cannot_be_done_is_said_instead_of_asked(organization: Organization, colleague: Client) -> None:
    response = colleague.get(url(organization, "resume"))
    assert "Collection is not paused, so there is nothing to resume." in Page(response).text
    assert "<script>alert" not in response.content.decode()
    show("pause_collection", organization).apply()
    assert "paused already" in Page(colleague.get(url(organization, "pause"))).text


def test_several_subscriptions_are_asked_for(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    sandbox.client.v1.subscriptions.create(
        {"customer": world.customer, "items": [{"price": world.price, "quantity": 1}]}
    )
    read(world)
    assert "Which subscription" in Page(colleague.get(url(organization, "pause"))).text
    shown = preview(colleague, organization, "pause", subscription=world.subscription)
    done = apply(colleague, organization, "pause", shown, subscription=world.subscription)
    assert done.status_code == 302
    assert pause_at_stripe(sandbox, world) is not None


def test_a_second_click_does_nothing(
    sandbox: Sandbox, world: World, organization: Organization, colleague: Client
) -> None:
    shown = preview(colleague, organization, "pause")
    for _ in range(2):
        apply(colleague, organization, "pause", shown)
    assert SubscriptionEvent.objects.filter(source="staff").count() == 1


def test_a_pause_is_seen_where_money_is_promised(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    sandbox.client.v1.subscriptions.update(world.subscription, {"pause_collection": {"behavior": "void"}})
    organization = make_organization(world)
    client = Client()
    client.force_login(AdministratorFactory())

    home = Page(client.get(f"/admin/organizations/organization/{organization.pk}/change/")).text
    assert "Collection is paused. Invoices that fall due are voided until somebody resumes." in home
    assert "Next invoice" not in home
    assert "Subscription active pause_circle Collection paused" in home
    assert "will be voided, not counting tax or changes made at Stripe." in home
    seats = {"seats": "12", "when": "now", "proration": "always_invoice", "step": "preview"}
    shown = Page(client.post(f"/admin/organizations/organization/{organization.pk}/seats/", seats)).text
    assert "Collection is paused: an invoice that is made meanwhile is voided, so nobody pays it." in shown
    assert "is charged today" not in shown.replace("Nothing is charged today", "")
