"""Where a member stands, and what an owner can do about a bill that is not paid."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx
import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from billing.models import OperationStep, SubscriptionEvent
from billing.sync import sync_customer
from organizations.models import Membership, Organization
from tests.adminops.pages import Page, Response
from tests.adminops.test_access_api import Product
from tests.billing.test_portal import SESSIONS, everything_kept
from tests.conftest import Sandbox
from tests.factories import (
    AdministratorFactory,
    HoldFactory,
    MembershipFactory,
    OrganizationFactory,
    SubscriptionEventFactory,
    UserFactory,
)
from tests.stripe_world import make_customer, make_organization, read

pytestmark = pytest.mark.django_db(transaction=True)

Role, Status = Membership.Role, Membership.Status


def member_of(organization: Organization, **columns: Any) -> Client:
    client = Client()
    client.force_login(MembershipFactory(organization=organization, **columns).user)
    return client


def stripe_link(response: Response) -> str:
    found = re.search(r'<meta http-equiv="refresh" content="0; url=([^"]+)">', response.content.decode())
    assert found, Page(response).text
    return found[1]


@pytest.fixture
def unpaid(sandbox: Sandbox) -> Organization:
    """A customer whose card was declined at a renewal, and who is held for that."""
    world = make_customer(sandbox)
    declined = sandbox.client.v1.payment_methods.attach(
        "pm_card_chargeCustomerFail", {"customer": world.customer}
    )
    sandbox.client.v1.customers.update(
        world.customer, {"invoice_settings": {"default_payment_method": declined.id}}
    )
    sandbox.control("POST", "clock", {"advance": 32 * 86400})
    organization = make_organization(world, name="Tamarind Travel")
    read(world)
    organization.refresh_from_db()
    assert organization.subscription_status == "past_due"
    HoldFactory(organization=organization, kind="non_payment", reason="Four reminders went unanswered.")
    return organization


def test_looking_at_ones_organizations_is_activity_where_one_may_come_in() -> None:
    member = MembershipFactory(last_activity_at=None, organization__last_activity_at=None)
    held = MembershipFactory(user=member.user, last_activity_at=None)
    HoldFactory(organization=held.organization)
    client = Client()
    client.force_login(member.user)
    assert client.get("/").status_code == 200
    member.refresh_from_db()
    held.refresh_from_db()
    assert member.last_activity_at is not None
    assert member.organization.last_activity_at is not None
    assert held.last_activity_at is None


def test_a_member_sees_their_organizations() -> None:
    member = MembershipFactory(role=Role.VIEWER)
    closed = MembershipFactory(user=member.user, organization__subscription_status="canceled")
    client = Client()
    client.force_login(member.user)
    page = Page(client.get("/"))
    assert f"You have access to {member.organization.name}." in page.text
    assert f"Access to {closed.organization.name} is closed because its subscription has ended." in page.text
    assert "Your role: Viewer" in page.text
    assert page.could_run() == []
    assert "Back office" not in page.text
    assert not any("/admin/" in link for link in page.links)


def test_a_stranger_logs_in_first_and_comes_to_the_members_page() -> None:
    member = MembershipFactory(user__username="ann")
    member.user.set_password("quiet-river-7")
    member.user.save()
    client = Client(enforce_csrf_checks=True)
    asked = client.get("/", follow=True)
    assert asked.redirect_chain == [("/login/?next=/", 302)]
    assert Page(asked).could_run() == []
    token = client.cookies["csrftoken"].value
    form = {"username": "ann", "password": "wrong", "csrfmiddlewaretoken": token}
    wrong = client.post("/login/", form)
    assert wrong.status_code == 200
    assert "do not fit together" in Page(wrong).text
    right = client.post("/login/", form | {"password": "quiet-river-7"}, follow=True)
    assert member.organization.name in Page(right).text
    token = client.cookies["csrftoken"].value
    gone = client.post("/logout/", {"csrfmiddlewaretoken": token})
    assert gone.headers["Location"] == "/login/"
    assert client.get("/").status_code == 302


def test_logging_in_leads_nowhere_but_here() -> None:
    user = UserFactory(username="ann")
    user.set_password("quiet-river-7")
    user.save()
    form = {"username": "ann", "password": "quiet-river-7", "next": "https://evil.example/"}
    assert Client().post("/login/", form).headers["Location"] == "/"


def test_too_many_tries_for_one_name_are_stopped() -> None:
    user = UserFactory(username="ann")
    user.set_password("quiet-river-7")
    user.save()
    client = Client()
    for _each in range(10):
        assert client.post("/login/", {"username": "ann", "password": "no"}).status_code == 200
    stopped = client.post("/login/", {"username": "Ann ", "password": "quiet-river-7"})
    assert stopped.status_code == 429
    assert int(stopped.headers["Retry-After"]) > 0
    assert "That was tried too often." in Page(stopped).text
    assert client.post("/login/", {"username": "bob", "password": "no"}).status_code == 200


def test_one_name_written_otherwise_is_still_one_name() -> None:
    for name in ("ann", "ANN", " ann", "ａnn", "aｎn", "anｎ", "ａｎｎ", "𝐚nn", "a𝐧n", "𝐚𝐧𝐧"):
        assert Client().post("/login/", {"username": name, "password": "no"}).status_code == 200
    assert Client().post("/login/", {"username": "aｎ𝐧", "password": "no"}).status_code == 429


@pytest.mark.parametrize("hostile", ["a\0b", "x" * 10_000, "' OR 1=1", "<script>", "\ud83e"])
def test_hostile_names_do_not_log_in(hostile: str) -> None:
    name = hostile.encode("utf-8", "surrogatepass")
    answer = Client().post("/login/", {"username": name.decode("latin-1"), "password": "x"})
    assert answer.status_code == 200
    assert Page(answer).could_run() == []


def test_staff_find_the_back_office() -> None:
    client = Client()
    client.force_login(AdministratorFactory())
    page = Page(client.get("/"))
    assert "/admin/" in page.links
    assert "You work here" in page.text


def test_who_belongs_nowhere_is_told_so() -> None:
    client = Client()
    client.force_login(UserFactory())
    assert "You are a member of no organization." in Page(client.get("/")).text


def test_a_locked_out_member_reads_why_and_whom_to_ask() -> None:
    organization = OrganizationFactory()
    HoldFactory(organization=organization, kind="non_payment", reason="They lie to us.")
    owner = MembershipFactory(
        organization=organization, role=Role.OWNER, user__first_name="Dana", user__last_name="Quinn"
    )
    page = Page(member_of(organization).get("/"))
    assert "is closed because an invoice is not paid. An owner can pay it; then access opens" in page.text
    assert "Owner: Dana Quinn" in page.text
    assert "They lie" not in page.text
    assert not any("pay" in link or "card" in link for link in page.links)
    assert owner.user.email not in page.text


def test_the_page_needs_few_queries_however_many_organizations(django_assert_num_queries: Any) -> None:
    user = UserFactory()
    for role in 5 * (Role.MEMBER, Role.OWNER):
        organization = OrganizationFactory(subscription_status="unpaid")
        MembershipFactory(organization=organization, role=Role.OWNER)
        MembershipFactory(organization=organization, user=user, role=role)
    client = Client()
    client.force_login(user)
    with django_assert_num_queries(6):  # session, user, memberships, holds, owners, open invoices
        client.get("/")


def test_hostile_names_are_text() -> None:
    member = MembershipFactory(
        organization__name='<img src=x onerror="alert(1)">%s{{ user }}', role=Role.OWNER
    )
    Organization.objects.update(subscription_status="unpaid")
    client = Client()
    client.force_login(member.user)
    page = Page(client.get("/"))
    assert page.could_run() == []
    assert "{{ user }}" in page.text


def test_an_owner_pays_on_stripes_page_and_the_ledger_says_so(sandbox: Sandbox, unpaid: Organization) -> None:
    owner = member_of(unpaid, role=Role.OWNER, user__username="dana", user__last_name="Dana")
    page = Page(owner.get("/"))
    assert "is closed because an invoice is not paid" in page.text
    assert "Open: " in page.text
    assert "$232.00" in page.text

    on_the_way = owner.post(f"/{unpaid.pk}/pay/")

    (invoice,) = sandbox.client.v1.invoices.list(
        {"customer": str(unpaid.stripe_customer_id), "status": "open"}
    ).data
    assert stripe_link(on_the_way) == invoice.hosted_invoice_url
    assert "no-store" in on_the_way.headers["Cache-Control"]
    event = SubscriptionEvent.objects.get(type="member.payment_page")
    assert (event.actor_label, event.source, event.state) == ("dana", "system", "done")
    assert (event.stripe_invoice_id, event.amount, event.currency) == (invoice.id, 23200, "usd")
    assert "Sam Dana, an owner, opened the page to pay invoice" in (event.message or "")


def test_an_owner_who_pays_comes_in_again_as_soon_as_stripe_tells_of_it(
    sandbox: Sandbox, unpaid: Organization, arriving_webhooks: str
) -> None:
    owner = MembershipFactory(organization=unpaid, role=Role.OWNER)
    client, product = Client(), Product()
    client.force_login(owner.user)
    assert product.ask(owner).json()["reason"] == "hold_non_payment"

    link = stripe_link(client.post(f"/{unpaid.pk}/pay/"))
    paid = httpx.post(link, data={"number": "4242424242424242"})
    assert paid.status_code == 200
    # The webhook asks for a reading; a worker, here ourselves, does it.
    deadline = time.monotonic() + 20
    while not SubscriptionEvent.objects.filter(type="invoice.paid", source="stripe").exists():
        assert time.monotonic() < deadline
    while product.ask(owner).json()["allowed"] is False:
        assert time.monotonic() < deadline
        sync_customer(str(unpaid.stripe_customer_id))

    assert product.ask(owner).json()["reason"] == "open"
    assert not unpaid.open_holds().exists()
    lifted = SubscriptionEvent.objects.get(type="hold.lifted")
    assert (lifted.organization, lifted.source) == (unpaid, "system")
    assert f"You have access to {unpaid.name}." in Page(client.get("/")).text


def test_an_owner_updates_the_card_on_stripes_page_and_the_link_is_kept_nowhere(
    sandbox: Sandbox, unpaid: Organization
) -> None:
    owner = member_of(unpaid, role=Role.OWNER, user__username="dana", user__last_name="Dana")
    link = stripe_link(owner.post(f"/{unpaid.pk}/card/"))
    assert "/p/session/" in link
    assert link not in everything_kept()
    event = SubscriptionEvent.objects.get(type="update_card")
    assert (event.actor_label, event.source, event.state) == ("dana", "system", "done")
    assert event.message == "Sam Dana, an owner, opened Stripe's page to update the card."
    assert OperationStep.objects.get().params["return_url"] == "http://testserver/"


def test_the_portal_leads_back_to_the_product_where_that_is_set(
    sandbox: Sandbox, unpaid: Organization, settings: Settings
) -> None:
    settings.PORTAL_RETURN_URL = "https://app.example.com/billing"
    member_of(unpaid, role=Role.OWNER).post(f"/{unpaid.pk}/card/")
    assert OperationStep.objects.get().params["return_url"] == "https://app.example.com/billing"


@pytest.mark.parametrize("act", ["pay", "card"])
@pytest.mark.parametrize(
    "columns",
    [
        {"role": Role.ADMIN},
        {"role": Role.MEMBER},
        {"role": Role.OWNER, "status": Status.SUSPENDED},
        {"role": Role.OWNER, "status": Status.REMOVED},
        {"role": Role.OWNER, "status": Status.INVITED},
    ],
)
def test_only_an_active_owner_gets_there(
    sandbox: Sandbox, unpaid: Organization, act: str, columns: dict[str, str]
) -> None:
    sandbox.control("DELETE", "log")
    client = member_of(unpaid, **columns)
    refused = client.post(f"/{unpaid.pk}/{act}/")
    assert refused.headers["Location"] == "/"
    assert "nothing for you to pay" in Page(client.get("/")).text
    assert sandbox.control("GET", "log")["calls"] == []


@pytest.mark.parametrize("act", ["pay", "card"])
def test_owners_of_others_and_staff_without_a_place_find_nothing(unpaid: Organization, act: str) -> None:
    other = member_of(OrganizationFactory(subscription_status="unpaid"), role=Role.OWNER)
    assert other.post(f"/{unpaid.pk}/{act}/").status_code == 404
    staff = Client()
    staff.force_login(AdministratorFactory())
    assert staff.post(f"/{unpaid.pk}/{act}/").status_code == 404
    assert Client().post(f"/{unpaid.pk}/{act}/").headers["Location"].startswith("/login/")
    assert other.get(f"/{unpaid.pk}/{act}/").status_code == 405


def test_an_owner_who_may_come_in_has_nothing_to_pay_here() -> None:
    organization = OrganizationFactory()
    client = member_of(organization, role=Role.OWNER)
    client.post(f"/{organization.pk}/pay/")
    assert "There is nothing for you to pay here." in Page(client.get("/")).text


@pytest.mark.parametrize("act", ["pay", "card"])
def test_stripe_away_is_a_sentence(unpaid: Organization, settings: Settings, act: str) -> None:
    client = member_of(unpaid, role=Role.OWNER)
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    assert client.post(f"/{unpaid.pk}/{act}/").headers["Location"] == "/"
    assert "We could not reach Stripe. Nothing was changed." in Page(client.get("/")).text


def test_an_unclear_answer_says_that_there_is_no_link(sandbox: Sandbox, unpaid: Organization) -> None:
    client = member_of(unpaid, role=Role.OWNER)
    sandbox.control("POST", "faults", {"kind": "error_500_after", "method": "POST", "path": SESSIONS})
    client.post(f"/{unpaid.pk}/card/")
    assert "there is no link to show" in Page(client.get("/")).text


def test_what_staff_do_and_why_is_not_told_to_an_owner(sandbox: Sandbox, unpaid: Organization) -> None:
    SubscriptionEventFactory(
        organization=unpaid,
        source="staff",
        type="create_portal_session",
        state="pending",
        stripe_event_id=None,
        actor_label="carol.secret",
        reason="They are probably insolvent.",
        lock_key=f"portal:{unpaid.stripe_customer_id}",
        next_attempt_at=timezone.now(),
    )
    assert "/p/session/" in stripe_link(member_of(unpaid, role=Role.OWNER).post(f"/{unpaid.pk}/card/"))


def test_two_owners_at_once_learn_nothing_of_each_other(sandbox: Sandbox, unpaid: Organization) -> None:
    sandbox.control("POST", "faults", {"kind": "error_500_after", "method": "POST", "path": SESSIONS})
    member_of(unpaid, role=Role.OWNER, user__username="erin.secret").post(f"/{unpaid.pk}/card/")
    client = member_of(unpaid, role=Role.OWNER)
    client.post(f"/{unpaid.pk}/card/")
    text = Page(client.get("/")).text
    assert "We cannot lead you to Stripe's page just now. Nothing was changed. Try again in a minute" in text
    assert "erin" not in text


def test_what_is_wrong_with_our_key_or_customer_is_not_an_owners_business(
    sandbox: Sandbox, unpaid: Organization
) -> None:
    fault = {"kind": "error_400", "method": "POST", "path": SESSIONS}
    sandbox.control("POST", "faults", fault)
    client = member_of(unpaid, role=Role.OWNER)
    client.post(f"/{unpaid.pk}/card/")
    text = Page(client.get("/")).text
    assert "We cannot lead you to Stripe's page just now." in text
    assert "onfiguration" not in text


def test_a_trial_that_ended_without_a_card_offers_the_card_and_no_payment() -> None:
    organization = OrganizationFactory(subscription_status="paused")
    page = Page(member_of(organization, role=Role.OWNER).get("/"))
    assert "its trial ended without a card. An owner can add one." in page.text
    assert "Update the card" in page.text
    assert "Pay the open invoice" not in page.text
    assert "It leads to Stripe, who takes our payments." in page.text


def test_who_has_just_paid_is_told_to_wait(sandbox: Sandbox, unpaid: Organization) -> None:
    client = member_of(unpaid, role=Role.OWNER)
    (invoice,) = sandbox.client.v1.invoices.list(
        {"customer": str(unpaid.stripe_customer_id), "status": "open"}
    ).data
    sandbox.client.v1.invoices.void_invoice(invoice.id)
    client.post(f"/{unpaid.pk}/pay/")
    assert "No invoice is open any more. If you have just paid" in Page(client.get("/")).text


def test_pressing_very_often_is_stopped(unpaid: Organization) -> None:
    client = member_of(unpaid, role=Role.OWNER)
    for _each in range(10):
        stripe_link(client.post(f"/{unpaid.pk}/pay/"))
    client.post(f"/{unpaid.pk}/pay/")
    assert "That was often. Try again in" in Page(client.get("/")).text
