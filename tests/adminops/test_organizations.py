"""The list of customers and the page of one: what they show, how fast, and what nobody can type there."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from billing import mirror
from billing.customer_details import DETAILS_CHANGED, change_details
from billing.models import SubscriptionEvent
from organizations.models import Hold, Membership, Organization
from tests.adminops.pages import Page
from tests.factories import (
    DiscrepancyFactory,
    HoldFactory,
    MembershipFactory,
    NoteFactory,
    OperationStepFactory,
    OrganizationFactory,
    StaffEventFactory,
    StaffFactory,
    SubscriptionEventFactory,
    UnbilledOrganizationFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db

LIST = "/admin/organizations/organization/"
NASTY = "<script>alert('x')</script>\"&😀 שלום"


def change_page(organization: Organization) -> str:
    return reverse("admin:organizations_organization_change", args=[organization.pk])


def listed(client: Client, **query: str) -> str:
    response = client.get(LIST, query)
    assert response.status_code == 200
    return Page(response).text


def populate(count: int) -> None:
    for organization in OrganizationFactory.create_batch(count):
        MembershipFactory.create_batch(2, organization=organization)
        HoldFactory(organization=organization)


def queries(client: Client, address: str) -> int:
    client.get(address)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(address).status_code == 200
    return len(captured)


# -- the list ---------------------------------------------------------------------------------------------


def test_the_list_costs_the_same_for_three_and_for_thirty(support: Client) -> None:
    populate(3)
    few = queries(support, LIST)
    populate(27)
    assert queries(support, LIST) == few
    assert few <= 12


def test_a_row_says_who_pays_what_for_how_many(support: Client) -> None:
    organization = OrganizationFactory(name="Aiko Sushi KK", currency="jpy", unit_amount=4900, seats=5)
    MembershipFactory.create_batch(3, organization=organization)
    MembershipFactory(organization=organization, status=Membership.Status.INVITED)
    text = listed(support)
    assert "Aiko Sushi KK" in text
    assert organization.billing_email in text
    assert "3/5" in text
    assert "¥24,500" in text
    assert "Team" in text


def test_the_seats_lead_to_changing_them_for_those_who_may(
    support: Client, staff: Callable[..., Client]
) -> None:
    organization = OrganizationFactory()
    seats = reverse("admin:organizations_organization_change_seats", args=[organization.pk])
    assert seats in support.get(LIST).content.decode()
    onlooker = staff("organizations.view_organization")
    assert seats not in onlooker.get(LIST).content.decode()


@pytest.mark.parametrize(
    "term", ["northw", "NORTHWIND", "labs-x", "billing@nor", "  northw ", "Nortwind", "norhtwind"]
)
def test_search_finds_a_customer_from_a_scrap(support: Client, term: str) -> None:
    OrganizationFactory(
        name="Northwind Labs",
        slug="labs-x",
        billing_email="billing@northwind.example",
        stripe_customer_id="cus_exact",
        stripe_subscription_id="sub_exact",
    )
    OrganizationFactory(name="Other", slug="other", billing_email="o@other.example")
    text = listed(support, q=term)
    assert "Northwind Labs" in text
    assert "Other" not in text


@pytest.mark.parametrize("term", ["cus_", "cus_exac", "sub_x", "%", "\\", NASTY, "x" * 5000])
def test_search_takes_anything(support: Client, term: str) -> None:
    OrganizationFactory(name="Northwind Labs", stripe_customer_id="cus_exact")
    assert "Northwind Labs" not in listed(support, q=term)


def test_filters_separate_access_from_subscription(support: Client) -> None:
    OrganizationFactory(name="Plain")
    HoldFactory(organization=OrganizationFactory(name="Abusive"), kind=Hold.Kind.ABUSE)
    HoldFactory(organization=OrganizationFactory(name="Lifted"), lifted_at=timezone.now())
    OrganizationFactory(name="Owing", subscription_status="past_due")
    OrganizationFactory(name="Leaving", cancel_at_period_end=True, plan="Business", currency="eur")

    def names(**query: str) -> set[str]:
        text = listed(support, **query)
        return {name for name in ("Plain", "Abusive", "Lifted", "Owing", "Leaving") if name in text}

    assert names(access="suspended") == {"Abusive"}
    assert names(access="abuse") == {"Abusive"}
    assert names(access="legal") == set()
    assert names(access="active") == {"Plain", "Lifted", "Owing", "Leaving"}
    assert names(subscription_status__exact="past_due") == {"Owing"}
    assert names(cancels="soon") == {"Leaving"}
    assert names(plan="busi") == {"Leaving"}
    assert names(currency="EUR") == {"Leaving"}
    assert len(names(access="nonsense")) == 5


def test_no_filter_reads_the_table_to_know_what_to_offer(support: Client) -> None:
    populate(2)
    with CaptureQueriesContext(connection) as captured:
        support.get(LIST)
    assert not [query["sql"] for query in captured if "DISTINCT" in query["sql"]]


@pytest.mark.parametrize("query", ["p=999", "p=x", "q='", "q=%00", "o=99", "o=x.y", "all=", "e=1"])
def test_a_bent_address_is_no_failure(support: Client, query: str) -> None:
    OrganizationFactory()
    assert support.get(f"{LIST}?{query}").status_code in (200, 302)


# -- the page ---------------------------------------------------------------------------------------------


def invoice(organization: Organization, number: int, /, **columns: Any) -> dict[str, Any]:
    """An invoice as Stripe describes it, as far as the page reads it."""
    return {
        "id": f"in_{organization.pk}_{number}",
        "object": "invoice",
        "number": f"NW-{number:04}",
        "customer": organization.stripe_customer_id,
        "created": 1_790_000_000 + number,
        "currency": organization.currency,
        "status": "paid",
        "total": 34800,
        "amount_due": 34800,
        "amount_paid": 34800,
        "amount_remaining": 0,
        "livemode": False,
        "hosted_invoice_url": f"https://invoice.stripe.example/{number}",
        "invoice_pdf": f"https://invoice.stripe.example/{number}/pdf",
        "payments": {"data": [{"payment": {"type": "payment_intent", "payment_intent": f"pi_{number}"}}]},
        **columns,
    }


def charge(organization: Organization, number: int, /, **columns: Any) -> dict[str, Any]:
    """A charge as Stripe describes it, as far as the page reads it."""
    return {
        "id": f"ch_{organization.pk}_{number}",
        "object": "charge",
        "customer": organization.stripe_customer_id,
        "created": 1_790_000_060 + number,
        "currency": organization.currency,
        "status": "succeeded",
        "amount": 34800,
        "amount_captured": 34800,
        "amount_refunded": 0,
        "captured": True,
        "paid": True,
        "refunded": False,
        "livemode": False,
        "payment_intent": f"pi_{number}",
        "payment_method_details": {"card": {"brand": "visa", "last4": "4242"}},
        **columns,
    }


def refund(organization: Organization, number: int, /, **columns: Any) -> dict[str, Any]:
    """A refund as Stripe describes it, as far as the page reads it."""
    return {
        "id": f"re_{organization.pk}_{number}",
        "object": "refund",
        "charge": f"ch_{organization.pk}_{number}",
        "created": 1_790_000_120 + number,
        "currency": organization.currency,
        "status": "succeeded",
        "amount": 2900,
        "livemode": False,
        **columns,
    }


def test_the_page_answers_who_pays_what_and_what_happened(support: Client) -> None:
    organization = OrganizationFactory(name="Northwind Labs", seats=12)
    MembershipFactory(organization=organization, user=UserFactory(first_name="Ana", last_name="Diaz"))
    StaffEventFactory(organization=organization, ticket="4711")
    mirror.upsert(
        [
            invoice(organization, 18),
            charge(organization, 18, amount_refunded=2900),
            invoice(organization, 19, status="open", amount_paid=0),
            charge(organization, 19, status="failed", failure_message="Your card was declined."),
        ]
    )
    text = Page(support.get(change_page(organization))).text
    for expected in (
        "Northwind Labs",
        "Subscription active",
        "$348.00 MRR",
        "Team, monthly, $29.00 a seat",
        "12 paid, 1 used",
        "NW-0018",
        "Partly refunded",
        "$29.00",
        "NW-0019",
        "Your card was declined.",
        "Ana Diaz",
        "Seats changed from 8 to 12. Stripe confirmed at 14:05:07.",
        "“new hires”",
        "ticket 4711",
        "Change seats",
    ):
        assert expected in text


def test_the_page_costs_the_same_however_much_has_happened() -> None:
    organization = OrganizationFactory()
    support = Client()
    # Somebody who may do everything, yet is asked for each permission: everything is on this page.
    support.force_login(colleague := StaffFactory())
    colleague.user_permissions.set(Permission.objects.all())

    def live(start: int, count: int) -> None:
        MembershipFactory.create_batch(count, organization=organization)
        StaffEventFactory.create_batch(count, organization=organization, lock_key=None)
        NoteFactory.create_batch(count, organization=organization)
        for number in range(start, start + count):
            DiscrepancyFactory(
                organization=organization, type="seats" if number else "plan", stripe_object_id=number
            )
            OperationStepFactory(event__organization=organization, event__state="pending")
            SubscriptionEventFactory(organization=organization, state="failed")
            mirror.upsert(
                [
                    invoice(organization, number),
                    charge(organization, number),
                    refund(organization, number, status="failed"),
                ]
            )

    live(0, 2)
    HoldFactory(organization=organization)
    few = queries(support, change_page(organization))
    live(2, 45)
    HoldFactory(organization=organization, kind=Hold.Kind.LEGAL)
    narrowed = f"{change_page(organization)}?kind=operations&by=stripe&invoices=all"
    assert queries(support, change_page(organization)) <= few
    assert queries(support, narrowed) <= few
    # Session, user and two of permissions are Django's own.
    assert few <= 12


def soon(days: int) -> Any:
    return timezone.now() + timedelta(days=days)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"subscription_status": "past_due", "billing_issue_since": soon(-9)}, "Payment overdue since"),
        ({"subscription_status": "past_due", "billing_issue_since": soon(-9)}, "(9 days)"),
        ({"subscription_status": "unpaid"}, "Stripe has stopped trying."),
        ({"subscription_status": "incomplete"}, "The first payment has not gone through"),
        ({"cancel_at": soon(9)}, "will not renew"),
        ({"card_exp_month": 1, "card_exp_year": 2020}, "expired in 01/20"),
        ({"stripe_customer_id": None, "stripe_subscription_id": None}, "Stripe knows no customer"),
    ],
)
def test_what_is_wrong_stands_above_everything(
    support: Client, columns: dict[str, Any], sentence: str
) -> None:
    organization = OrganizationFactory(**columns)
    assert sentence in Page(support.get(change_page(organization))).text


def test_a_healthy_customer_has_nothing_wrong(support: Client) -> None:
    organization = OrganizationFactory(current_period_end=soon(20))
    content = support.get(change_page(organization)).content.decode()
    assert "bo-note bo-red" not in content
    assert "bo-note bo-amber" not in content


def test_a_hold_says_why_and_who(support: Client) -> None:
    hold = HoldFactory(kind=Hold.Kind.LEGAL, reason="Court order 12/7.")
    text = Page(support.get(change_page(hold.organization))).text
    assert "Suspended: Legal" in text
    assert "“Court order 12/7.”" in text
    assert f"by {hold.placed_by.get_full_name()} (" in text
    assert f"by {hold.placed_by.get_full_name()}," in text


def test_more_members_than_seats_and_unused_events_are_said(support: Client) -> None:
    organization = OrganizationFactory(seats=1)
    MembershipFactory.create_batch(3, organization=organization)
    SubscriptionEventFactory(organization=organization, state="failed")
    text = Page(support.get(change_page(organization))).text
    assert "3 active members on 1 seat." in text
    assert "1 event from Stripe could not be used" in text


def test_what_was_found_to_differ_from_stripe_is_said_with_what_mends_it(
    staff: Callable[..., Client],
) -> None:
    organization = OrganizationFactory()
    DiscrepancyFactory(organization=organization)
    DiscrepancyFactory(organization=OrganizationFactory(), ours={"seats": 7777})
    page = Page(
        staff("organizations.view_organization", "organizations.resync_organization").get(
            change_page(organization)
        )
    )
    assert "Seats 8 → 11 at Stripe." in page.text
    assert "7777" not in page.text
    assert (
        reverse("admin:organizations_organization_resync_organization", args=[organization.pk]) in page.links
    )


def test_a_member_among_many_is_found_on_the_page(support: Client) -> None:
    organization = OrganizationFactory()
    MembershipFactory.create_batch(11, organization=organization)
    MembershipFactory(
        organization=organization,
        status=Membership.Status.SUSPENDED,
        user=UserFactory(first_name="Ana", last_name="Diaz", last_login=soon(-2)),
    )
    assert 'name="member"' in support.get(change_page(organization)).content.decode()

    def found(term: str) -> str:
        text = Page(support.get(change_page(organization), {"member": term})).text
        assert "Members 12" in text
        return text[text.rindex("Members 12") : text.rindex("Timeline")]

    text = found("ana di")
    assert "Ana Diaz" in text
    assert "Suspended" in text
    assert "2 d" in text
    assert "Sam Person" not in text
    for nobody in ("zzz", NASTY, "%"):
        assert "Nobody of that name or e-mail is a member here." in found(nobody)
    assert "Sam Person" in found("\0")
    few = OrganizationFactory()
    MembershipFactory(organization=few)
    assert 'name="member"' not in support.get(change_page(few)).content.decode()


def test_an_unbilled_organization_has_words_for_what_is_not_there(support: Client) -> None:
    text = Page(support.get(change_page(UnbilledOrganizationFactory()))).text
    for sentence in ("No subscription yet.", "No invoices yet.", "No members.", "Nothing has happened yet."):
        assert sentence in text


def test_names_and_reasons_are_harmless_everywhere(administrator: Client) -> None:
    organization = OrganizationFactory(
        name=NASTY, plan=NASTY[:40], billing_email="a@b.example", card_brand="<b>x</b>"
    )
    person = UserFactory(first_name=NASTY[:30], last_name=NASTY[:30])
    MembershipFactory(organization=organization, user=person)
    HoldFactory(organization=organization, reason=NASTY)
    StaffEventFactory(
        organization=organization, reason=NASTY, ticket=NASTY, actor_label=NASTY, message=NASTY, type=NASTY
    )
    mirror.upsert([invoice(organization, 1, number=NASTY), charge(organization, 1, failure_message=NASTY)])
    for address in (
        LIST,
        change_page(organization),
        reverse("admin:organizations_organization_change_seats", args=[organization.pk]),
        "/admin/organizations/membership/",
        "/admin/billing/subscriptionevent/",
        f"{LIST}?{urlencode({'q': NASTY})}",
    ):
        response = administrator.get(address)
        assert response.status_code == 200
        assert Page(response).could_run() == [], address
        assert b"<script>alert" not in response.content, address
        assert b"<b>x</b>" not in response.content, address


# -- what nobody can type ---------------------------------------------------------------------------------


def test_name_and_email_are_ours_to_edit_and_nothing_else(support: Client) -> None:
    organization = OrganizationFactory(seats=8, mrr=23200)
    response = support.post(
        change_page(organization),
        {
            "name": "New name",
            "billing_email": "new@example.com",
            "slug": "taken-over",
            "seats": "99",
            "mrr": "1",
            "subscription_status": "canceled",
            "stripe_customer_id": "cus_other",
            "_continue": "1",
        },
    )
    assert response.status_code == 302
    before = (organization.slug, organization.stripe_customer_id)
    organization.refresh_from_db()
    assert organization.name == "New name"
    assert (organization.seats, organization.mrr, organization.subscription_status) == (8, 23200, "active")
    assert (organization.slug, organization.stripe_customer_id) == before


def test_an_onlooker_edits_nothing_and_is_offered_nothing(staff: Callable[..., Client]) -> None:
    organization = OrganizationFactory(name="Northwind Labs")
    onlooker = staff("organizations.view_organization")
    page = Page(onlooker.get(change_page(organization)))
    assert "Save details" not in page.text
    assert "Change seats" not in page.text
    assert onlooker.post(change_page(organization), {"name": "x"}).status_code == 403
    organization.refresh_from_db()
    assert organization.name == "Northwind Labs"


def test_nobody_adds_or_deletes_an_organization_here(administrator: Client) -> None:
    organization = OrganizationFactory()
    assert administrator.get(f"{LIST}add/").status_code == 403
    address = reverse("admin:organizations_organization_delete", args=[organization.pk])
    assert administrator.post(address, {"post": "yes"}).status_code == 403
    assert Organization.objects.filter(pk=organization.pk).exists()


def test_an_empty_list_promises_nothing_that_cannot_be_done(administrator: Client) -> None:
    customers, members = (
        Page(administrator.get(address)).text for address in (LIST, "/admin/organizations/membership/")
    )
    assert "No customers yet." in customers
    assert "add one here" not in customers
    assert "No members yet." in members
    assert "here or by" not in members


def test_members_are_listed_and_found_and_not_edited(administrator: Client) -> None:
    organization = OrganizationFactory(name="Northwind Labs")
    membership = MembershipFactory(organization=organization, user=UserFactory(email="ana@northwind.example"))
    MembershipFactory(user=UserFactory(email="other@example.com"))
    text = Page(administrator.get("/admin/organizations/membership/", {"q": "ana@north"})).text
    assert "ana@northwind.example" in text
    assert "other@example.com" not in text
    only = f"/admin/organizations/membership/?organization__id__exact={organization.pk}"
    assert "other@example.com" not in Page(administrator.get(only)).text
    address = reverse("admin:organizations_membership_change", args=[membership.pk])
    assert administrator.post(address, {"role": "owner"}).status_code == 403


def test_changed_details_are_told_by_the_ledger_and_in_words_everywhere(
    administrator: Client,
) -> None:
    organization = OrganizationFactory(name="Northwind Labs", billing_email="")
    ann = Client()
    permissions = ["organizations.view_organization", "organizations.change_organization"]
    ann.force_login(StaffFactory(first_name="Ann", last_name="Archer", permissions=permissions))
    saved = ann.post(
        change_page(organization),
        {"name": "Northwind", "billing_email": "pay@northwind.example"},
        follow=True,
    )
    said = "the name Northwind Labs → Northwind and the billing e-mail none → pay@northwind.example"
    assert f"The details are saved. Changed {said}." in Page(saved).text
    assert "changed successfully" not in Page(saved).text

    event = SubscriptionEvent.objects.get(type=DETAILS_CHANGED)
    assert (event.source, event.state, event.organization) == ("staff", "done", organization)
    assert event.before == {"name": "Northwind Labs", "billing_email": ""}
    assert event.after == {"name": "Northwind", "billing_email": "pay@northwind.example"}
    assert f"Ann Archer changed {said}" in Page(administrator.get(change_page(organization))).text
    events = Page(administrator.get("/admin/billing/subscriptionevent/")).text
    assert "Name or billing e-mail changed" in events
    assert f"Changed {said}." in events
    assert f"Changed {said}." in Page(administrator.get("/admin/")).text


def test_details_saved_as_they_are_leave_no_line(support: Client) -> None:
    organization = OrganizationFactory()
    as_it_is = {"name": organization.name, "billing_email": organization.billing_email}
    saved = support.post(change_page(organization), as_it_is, follow=True)
    assert "Nothing was different, so nothing was saved." in Page(saved).text
    assert not SubscriptionEvent.objects.exists()


def test_what_changed_meanwhile_is_not_undone_by_saving_details(support: Client) -> None:
    organization = OrganizationFactory(seats=8)
    looked_at = Organization.objects.get(pk=organization.pk)
    Organization.objects.filter(pk=organization.pk).update(seats=12)
    looked_at.name = "Northwind"
    change_details(looked_at, StaffFactory())
    organization.refresh_from_db()
    assert (organization.name, organization.seats) == ("Northwind", 12)


def test_details_that_cannot_be_saved_are_refused_at_the_top_with_a_way_to_the_field(support: Client) -> None:
    organization = OrganizationFactory(name="Northwind Labs", billing_email="pay@northwind.example")
    refused = support.post(
        change_page(organization), {"name": "Contoso", "billing_email": "pay at northwind"}
    )
    page = refused.content.decode()
    note = page.index("The details were not saved.")
    assert note < page.index("Northwind Labs</h2>") < page.index('id="details"')
    assert 'role="alert" tabindex="-1" autofocus' in page
    assert 'href="#id_billing_email"' in page[note : page.index("Northwind Labs</h2>")]
    assert 'id="id_billing_email"' in page
    assert Page(refused).could_run() == []
    assert not SubscriptionEvent.objects.exists()

    nameless = support.post(change_page(organization), {"name": " ", "billing_email": ""})
    assert "The details were not saved. Name : This field is required." in Page(nameless).text
    assert "The details were not saved." not in support.get(change_page(organization)).content.decode()


@pytest.mark.parametrize("character", ["\u202e", "\u202a", "\u2066", "\u2069"])
def test_a_name_turns_no_sentence_around(support: Client, character: str) -> None:
    organization = OrganizationFactory(name="Northwind Labs")
    refused = support.post(change_page(organization), {"name": f"North{character}wind", "billing_email": ""})
    assert (
        "The name has an invisible character that turns the direction of text around." in Page(refused).text
    )
    organization.refresh_from_db()
    assert organization.name == "Northwind Labs"
    for name in ("שלום", "مرحبا Ltd", "Ann\u200d & Co"):
        assert support.post(change_page(organization), {"name": name, "billing_email": ""}).status_code == 302
