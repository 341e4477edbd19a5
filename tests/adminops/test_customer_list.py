"""The list of customers: finding one from any scrap, narrowing it, what it adds up to, and keeping a view of it."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from adminops.admin import paging
from adminops.models import SavedView
from billing import figures, mirror
from billing.models import Discrepancy, OrganizationCheck
from organizations.access.decision import decide
from organizations.models import Hold, Membership, Organization, SubscriptionStatus
from organizations.querysets import ADMITTING_STATUSES
from tests.adminops.pages import Page
from tests.factories import (
    DiscrepancyFactory,
    HoldFactory,
    MembershipFactory,
    OrganizationFactory,
    ReconciliationRunFactory,
    StaffEventFactory,
    SubscriptionEventFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db

LIST = "/admin/organizations/organization/"
NASTY = "<script>alert('x')</script>\"&😀 שלום"


def listed(client: Client, **query: str) -> str:
    response = client.get(LIST, query)
    assert response.status_code == 200, response
    return Page(response).text


def names(client: Client, *known: str, **query: str) -> list[str]:
    """Which of the known names are listed, in their order on the page."""
    text = listed(client, **query)
    return sorted((name for name in known if name in text), key=text.index)


def cards(client: Client, **query: str) -> str:
    page = client.get(LIST, query).content.decode()
    return " ".join(
        Page(
            _Part(page[page.index('<ul class="bo-cards"') : page.index('<div class="bo-views"')])
        ).text.split()
    )


class _Part:
    def __init__(self, html: str) -> None:
        self.content = html.encode()


# -- finding ----------------------------------------------------------------------------------------------


def test_a_customer_is_found_by_a_members_e_mail(support: Client) -> None:
    member = MembershipFactory(organization__name="Northwind Labs", user__email="ana.diaz@post.example")
    left = MembershipFactory(
        organization__name="Former Employer", user=member.user, status=Membership.Status.REMOVED
    )
    assert names(support, "Northwind Labs", left.organization.name, q="diaz@po") == ["Northwind Labs"]


def test_a_row_says_which_member_was_found_to_those_who_may_see_members(
    support: Client, staff: Callable[..., Client]
) -> None:
    member = MembershipFactory(organization__name="Northwind Labs", user__email="ana.diaz@post.example")
    MembershipFactory(organization=member.organization, user__email="bo@post.example")
    MembershipFactory(
        organization=member.organization, user__email="diaz@old.example", status=Membership.Status.REMOVED
    )
    MembershipFactory(organization__name="Diaz Travel", user__email="cy.diaz@travel.example")
    text = listed(support, q="diaz")
    assert "member: ana.diaz@post.example" in text
    assert text.count("member:") == 1  # the other's own name has it
    assert "member:" not in listed(support)
    with CaptureQueriesContext(connection) as asked:
        listed(support, q="diaz")
    assert len(asked) <= 12
    onlooker = staff("organizations.view_organization")
    assert "member:" not in listed(onlooker, q="diaz")


@pytest.mark.parametrize("typed", ["Nortwind", "northwimd", "Nothwind Labs", "norhtwind"])
def test_a_slip_of_the_fingers_still_finds_it(support: Client, typed: str) -> None:
    OrganizationFactory(name="Northwind Labs", billing_email="a@b.example")
    OrganizationFactory(name="Contoso", slug="contoso", billing_email="c@d.example")
    assert names(support, "Northwind Labs", "Contoso", q=typed) == ["Northwind Labs"]


@pytest.mark.parametrize(
    "typed", ["ana.dias", "anna.diaz@post.example", "ana.diza", "harbuor-light", "harborlihgt"]
)
def test_a_slip_in_a_members_e_mail_or_a_slug_still_finds_it(support: Client, typed: str) -> None:
    theirs = OrganizationFactory(name="Northwind Labs", slug="harbor-light", billing_email="a@b.example")
    member = MembershipFactory(organization=theirs, user__email="ana.diaz@post.example")
    left = {"organization__name": "Former Employer", "organization__billing_email": "e@f.example"}
    MembershipFactory(user=member.user, status=Membership.Status.REMOVED, **left)
    OrganizationFactory(name="Contoso", billing_email="c@d.example")
    assert names(support, "Northwind Labs", "Former Employer", "Contoso", q=typed) == ["Northwind Labs"]


def test_a_misspelt_name_is_found_among_many_of_the_same_form(support: Client) -> None:
    OrganizationFactory(name="Acme GmbH", billing_email="billing@acme.example")
    for number in range(25):
        OrganizationFactory(name=f"Bafipune {number} GmbH", billing_email=f"billing@bafipune{number}.example")
    known = ["Acme GmbH", *(f"Bafipune {number} GmbH" for number in range(25))]
    for misspelt in ("Akme GmbH", "Acne GmbH", "billing@acmee.example"):
        assert names(support, *known, q=misspelt)[0] == "Acme GmbH"


@pytest.mark.parametrize("typed", ["halycon", "Hlacyon", "northwnid labs", "hacyon"])
def test_a_name_with_two_letters_exchanged_is_found_where_nothing_else_is(
    support: Client, typed: str
) -> None:
    for name in ("Halcyon Logistics", "Northwind Labs", "Tamarind Travel"):
        OrganizationFactory(name=name, slug=name.split()[0].lower(), billing_email="a@b.example")
    known = ("Halcyon Logistics", "Northwind Labs", "Tamarind Travel")
    assert len(names(support, *known, q=typed)) == 1


def test_what_is_typed_is_found_in_every_script(support: Client) -> None:
    OrganizationFactory(name="Großmann & Söhne")
    OrganizationFactory.create_batch(25, name="Grossmarkt")
    assert names(support, "Großmann & Söhne", "Grossmarkt", q="großmann")[0] == "Großmann & Söhne"


@pytest.mark.parametrize("id_", ["sub_sched_1Abc", "pi_1Abc", "req_1Abc"])
def test_ids_that_only_an_event_names_lead_to_its_customer(support: Client, id_: str) -> None:
    organization = OrganizationFactory()
    column = "stripe_request_id" if id_.startswith("req") else "stripe_object_id"
    SubscriptionEventFactory(organization=organization, **{column: id_})
    answer = support.get(LIST, {"q": id_})
    assert answer.status_code == 302
    assert answer["Location"].endswith(f"/organization/{organization.pk}/change/")


def test_an_e_mail_typed_in_full_brings_nobody_with_a_like_one(support: Client) -> None:
    OrganizationFactory(name="Meant", billing_email="anna@meant-bakery.example")
    OrganizationFactory(name="Likewise", billing_email="anna@ment-bakery.example")

    assert names(support, "Meant", "Likewise", q="Anna@meant-bakery.example") == ["Meant"]
    assert names(support, "Meant", "Likewise", q="anna@meant-bakry.example") == ["Meant", "Likewise"]


def test_members_e_mails_find_nothing_for_those_who_may_not_see_members(
    staff: Callable[..., Client],
) -> None:
    member = MembershipFactory(user__email="secret.person@elsewhere.example", organization__name="Theirs")
    blind = staff("organizations.view_organization", "billing.view_subscriptionevent")
    seeing = staff("organizations.view_organization", "organizations.view_membership")

    for scrap in ("secret.person@elsewhere.example", "secret.person", "secret.persn@elsewhere.example"):
        assert names(seeing, "Theirs", q=scrap) == ["Theirs"]
        assert names(blind, "Theirs", q=scrap) == []
    event = SubscriptionEventFactory(organization=member.organization, type="invoice.paid")
    page = blind.get("/admin/billing/subscriptionevent/", {"q": "secret.person"})
    assert reverse("admin:billing_subscriptionevent_change", args=[event.pk]) not in page.content.decode()


def test_an_id_whose_kind_is_in_capitals_leads_to_its_customer(support: Client) -> None:
    organization = OrganizationFactory(stripe_customer_id="cus_Abc123")

    response = support.get(LIST, {"q": "CUS_Abc123"})

    assert response.headers["Location"] == reverse(
        "admin:organizations_organization_change", args=[organization.pk]
    )


def test_what_sounds_alike_is_read_off_indexes() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for table, column, index in (
            ("auth_user", "split_part(email::text, '@', 1)", "user_local_part_trigram"),
            ("organizations_organization", "slug::text", "org_slug_trigram"),
        ):
            cursor.execute(f"EXPLAIN SELECT id FROM {table} WHERE UPPER({column}) %> 'ANA'")
            assert index in str(cursor.fetchall())


def test_the_best_comes_first(support: Client) -> None:
    for name in ("The Acme Company", "Pacmen", "Acme", "Acme Rockets", "Acne"):
        OrganizationFactory(name=name, billing_email="x@y.example")
    rows = support.get(LIST, {"q": "acme"}).context["cl"].result_list
    assert [row.name for row in rows][:3] == ["Acme", "Acme Rockets", "The Acme Company"]


def test_two_letters_find_beginnings_of_words(support: Client) -> None:
    OrganizationFactory(name="Zu Hause", billing_email="x@y.example")
    OrganizationFactory(name="Bazuka", billing_email="x@y.example")
    assert names(support, "Zu Hause", "Bazuka", q="zu") == ["Zu Hause"]


def mirrored(organization: Organization) -> None:
    owner = organization.stripe_customer_id
    mirror.upsert(
        [
            {
                "id": "in_found",
                "object": "invoice",
                "customer": owner,
                "status": "paid",
                "number": "TGQ5S4FB-0017",
                "livemode": False,
            },
            {"id": "pi_found", "object": "payment_intent", "customer": owner, "livemode": False},
            {
                "id": "ch_found",
                "object": "charge",
                "customer": owner,
                "status": "succeeded",
                "amount": 100,
                "currency": "usd",
                "livemode": False,
            },
            {
                "id": "re_found",
                "object": "refund",
                "charge": "ch_found",
                "amount": 100,
                "currency": "usd",
                "status": "succeeded",
                "livemode": False,
            },
        ]
    )


@pytest.mark.parametrize("pasted", ["cus_found", "sub_found", " cus_found "])
def test_an_id_of_the_customers_leads_to_its_page(support: Client, pasted: str) -> None:
    organization = OrganizationFactory(stripe_customer_id="cus_found", stripe_subscription_id="sub_found")
    response = support.get(LIST, {"q": pasted})
    assert response.status_code == 302
    assert response["Location"] == reverse("admin:organizations_organization_change", args=[organization.pk])


@pytest.mark.parametrize(
    "address", ["customers/cus_found", "test/subscriptions/sub_found/?tab=logs#x", "test/invoices/in_found"]
)
def test_an_address_in_stripes_dashboard_leads_where_its_id_does(support: Client, address: str) -> None:
    organization = OrganizationFactory(stripe_customer_id="cus_found", stripe_subscription_id="sub_found")
    mirrored(organization)
    location = support.get(LIST, {"q": f"https://dashboard.stripe.com/{address}"})["Location"]
    assert location == reverse("admin:organizations_organization_change", args=[organization.pk])


def test_an_invoices_number_leads_to_who_was_billed_and_what_only_looks_like_one_is_searched(
    support: Client,
) -> None:
    organization = OrganizationFactory()
    mirrored(organization)
    location = support.get(LIST, {"q": "tgq5s4fb-0017"})["Location"]
    assert location == reverse("admin:organizations_organization_change", args=[organization.pk])
    OrganizationFactory(name="Studio-2024")
    assert names(support, "Studio-2024", q="studio-2024") == ["Studio-2024"]


@pytest.mark.parametrize("pasted", ["in_found", "pi_found", "ch_found", "re_found"])
def test_an_id_of_its_money_leads_to_the_customer(support: Client, pasted: str) -> None:
    organization = OrganizationFactory()
    mirrored(organization)
    location = support.get(LIST, {"q": pasted})["Location"]
    assert location == reverse("admin:organizations_organization_change", args=[organization.pk])


def test_an_events_id_leads_to_the_event_and_an_operations_to_its_line(support: Client) -> None:
    event = SubscriptionEventFactory(stripe_event_id="evt_found")
    act = StaffEventFactory()
    page = "admin:billing_subscriptionevent_change"
    assert support.get(LIST, {"q": "evt_found"})["Location"] == reverse(page, args=[event.pk])
    assert support.get(LIST, {"q": str(act.uuid)})["Location"] == reverse(page, args=[act.pk])


def test_an_id_that_only_the_ledger_knows_leads_where_it_says(support: Client) -> None:
    organization = OrganizationFactory()
    SubscriptionEventFactory(organization=organization, stripe_invoice_id="in_longago")
    location = support.get(LIST, {"q": "in_longago"})["Location"]
    assert location == reverse("admin:organizations_organization_change", args=[organization.pk])


@pytest.mark.parametrize("pasted", ["in_unknown", "evt_unknown", "xyz_1", str(uuid.UUID(int=5))])
def test_an_id_that_nobody_knows_finds_nothing(support: Client, pasted: str) -> None:
    OrganizationFactory(name="Northwind Labs")
    assert names(support, "Northwind Labs", q=pasted) == []


def test_of_an_id_that_nobody_has_the_list_says_so(support: Client, staff: Callable[..., Client]) -> None:
    text = listed(support, q="cus_UnKnown")
    assert "No customer and no event here has this id." in text
    assert "Stripe's ids tell capitals apart; prices and products belong to nobody." in text
    operation = listed(support, q=str(uuid.UUID(int=5)))
    assert "No customer and no event here has this id." in operation
    assert "tell capitals apart" not in operation
    assert "Nothing matches this search." in listed(support, q="nobody at all")
    onlooker = staff("organizations.view_organization")
    assert "No customer here has this id." in listed(onlooker, q="evt_unknown")


@pytest.mark.parametrize("typed", ["jane_doe", "ann_archer_42@", "acme_inc"])
def test_a_scrap_with_an_underscore_is_no_id(support: Client, typed: str) -> None:
    MembershipFactory(organization__name="Hers", user__email="jane_doe@post.example")
    OrganizationFactory(name="His", billing_email="ann_archer_42@post.example")
    OrganizationFactory(name="Theirs", slug="acme_inc")
    assert len(names(support, "Hers", "His", "Theirs", q=typed)) == 1


def test_a_list_is_narrowed_by_its_filters_and_by_no_other_column(support: Client) -> None:
    OrganizationFactory(price_id="a secret")
    for query in ({"price_id__icontains": "secret"}, {"memberships__user__password__startswith": "x"}):
        page = Page(support.get(LIST, query, follow=True))
        assert "asks for something this list is not narrowed by" in page.text


def test_what_narrows_the_list_stands_above_it_each_with_the_way_back(support: Client) -> None:
    HoldFactory(organization=OrganizationFactory(plan="Team"))
    page = Page(support.get(LIST, {"plan": "Team", "access": "suspended", "o": "1"}))
    assert "Plan: Team" in page.text
    assert "Clear all filters" in page.text
    assert {"?access=suspended&o=1", "?plan=Team&o=1"} <= set(page.links)
    assert "Narrowed by" not in support.get(LIST).content.decode()


def test_a_card_keeps_what_else_narrows_the_list(support: Client) -> None:
    HoldFactory(organization=OrganizationFactory(plan="Team"))
    links = Page(support.get(LIST, {"plan": "Team", "p": "1"})).links
    assert [link for link in links if "access=suspended" in link and "plan=Team" in link]


def test_members_are_found_by_e_mail_login_and_organization(staff: Callable[..., Client]) -> None:
    onlooker = staff("organizations.view_membership")
    MembershipFactory(
        organization__name="Northwind Labs", user__email="ana@north.example", user__username="anadiaz"
    )
    MembershipFactory(organization__name="Contoso", user__email="bo@contoso.example")
    for typed in ("ana@nor", "anadiaz", "northwind labs"):
        text = Page(onlooker.get("/admin/organizations/membership/", {"q": typed})).text
        assert "Northwind Labs" in text
        assert "Contoso" not in text


def test_an_id_tells_nothing_to_whom_may_not_see_customers(staff: Callable[..., Client]) -> None:
    OrganizationFactory(stripe_customer_id="cus_found")
    stranger = staff("billing.view_alert")
    assert stranger.get(LIST, {"q": "cus_found"}).status_code == 403
    assert stranger.get(LIST, {"q": "cus_unknown"}).status_code == 403
    event = SubscriptionEventFactory(stripe_event_id="evt_found", organization=None)
    assert event.pk
    onlooker = staff("organizations.view_organization")
    assert onlooker.get(LIST, {"q": "evt_found"}).status_code == 200


def test_a_nul_in_the_address_is_left_out(support: Client) -> None:
    OrganizationFactory(name="Northwind Labs")
    for query in ("subscription_status__exact=%00x", "plan=%00", "q=north%00wind"):
        assert support.get(f"{LIST}?{query}", follow=True).status_code == 200
    assert support.get("/admin/billing/subscriptionevent/²/change/").status_code in (302, 403, 404)


# -- narrowing --------------------------------------------------------------------------------------------


def test_filters_narrow_by_money_seats_and_dates(support: Client) -> None:
    now = timezone.now()
    OrganizationFactory(name="Small", mrr=2900, seats=1, currency="usd", created_at=now - timedelta(days=400))
    OrganizationFactory(name="Large", mrr=290000, seats=100, currency="usd", last_activity_at=now)
    OrganizationFactory(name="Kyoto", mrr=24500, seats=5, currency="jpy")
    OrganizationFactory(
        name="Trying", subscription_status="trialing", trial_end=now + timedelta(days=3), mrr=0
    )
    OrganizationFactory(
        name="Owing", subscription_status="past_due", billing_issue_since=now - timedelta(days=9), mrr=5000
    )
    known = ("Small", "Large", "Kyoto", "Trying", "Owing")

    def found(**query: str) -> set[str]:
        return set(names(support, *known, **query))

    # In whole units of each one's own currency: ¥24,500 is more than $2,900.
    assert found(mrr_from="2000") == {"Large", "Kyoto"}
    assert found(mrr_from="29", mrr_to="29") == {"Small"}
    assert found(seats_from="2", seats_to="99", currency="jpy") == {"Kyoto"}
    assert found(cancels="trial") == {"Trying"}
    assert found(overdue="7") == {"Owing"}
    assert found(overdue="14") == set()
    assert found(created_at_to=str((now - timedelta(days=300)).date())) == {"Small"}
    assert found(last_activity_at_from=str(now.date()), last_activity_at_to=str(now.date())) == {"Large"}


def test_filters_narrow_by_members_and_by_what_differs(support: Client) -> None:
    MembershipFactory(organization__name="Owned", role=Membership.Role.OWNER)
    MembershipFactory(organization__name="Orphan", role=Membership.Role.VIEWER)
    Discrepancy.objects.create(type="seats", organization=OrganizationFactory(name="Drifting"))
    known = ("Owned", "Orphan", "Drifting")
    assert names(support, *known, role="owner") == ["Owned"]
    assert set(names(support, *known, role="ownerless")) == {"Orphan", "Drifting"}
    assert names(support, *known, drift="yes") == ["Drifting"]
    assert "1 difference, not compared yet" in listed(support, drift="yes")


def test_each_row_says_whether_it_agrees_with_stripe_and_when_that_was_seen(support: Client) -> None:
    now = timezone.now()

    def compared(minutes: int, *, is_stale: bool = False) -> Organization:
        organization = OrganizationFactory()
        OrganizationCheck.objects.create(
            organization=organization,
            stripe_customer_id=organization.stripe_customer_id,
            checked_at=now - timedelta(minutes=minutes),
            is_stale=is_stale,
        )
        return organization

    differing = compared(65, is_stale=True)
    for type_ in ("seats", "card"):
        DiscrepancyFactory(type=type_, organization=differing)
    compared(5, is_stale=True)
    compared(9000)
    OrganizationFactory()
    OrganizationFactory(stripe_customer_id=None)
    ReconciliationRunFactory(started_at=now - timedelta(days=2))
    text = listed(support)
    assert text.count("2 differences, compared 1 hour ago") == 1
    assert text.count("In sync, compared 5 minutes ago") == 1
    assert text.count("In sync, compared 2 days ago") == 1  # the run over everything vouches for it
    assert text.count("Not compared yet") == 1  # where there is no customer, there is nothing to compare


@pytest.mark.parametrize(
    "query",
    [
        {"mrr_from": "abc"},
        {"mrr_to": "-5"},
        {"seats_from": "9" * 40},
        {"created_at_from": "2026-13-45"},
        {"created_at_to": "9999-12-31"},
        {"created_at_from": NASTY},
        {"created_at_from": "0001-01-01"},
    ],
)
def test_what_is_no_value_gets_a_sentence_and_filters_nothing(support: Client, query: dict[str, str]) -> None:
    OrganizationFactory(name="Northwind Labs")
    response = support.get(LIST, query)
    page = Page(response)
    assert "is no value for" in page.text
    assert "Northwind Labs" in page.text
    assert not page.could_run()


# -- what it adds up to -----------------------------------------------------------------------------------


def test_cards_say_what_is_listed_and_lead_to_it(support: Client) -> None:
    for currency, mrr in (("usd", 34800), ("usd", 10000), ("eur", 9870)):
        MembershipFactory(organization=OrganizationFactory(currency=currency, mrr=mrr))
    owing = OrganizationFactory(
        currency="usd",
        subscription_status="past_due",
        billing_issue_since=timezone.now() - timedelta(days=2),
        amount_overdue=2140,
        mrr=2140,
    )
    HoldFactory(organization=owing, kind=Hold.Kind.NON_PAYMENT)
    Discrepancy.objects.create(type="seats", organization=owing)
    Discrepancy.objects.create(type="price", organization=owing)
    SubscriptionEventFactory(organization=owing, state="failed")
    text = cards(support)
    for words in (
        "4 organizations",
        "3 with access",
        "1 suspended",
        "3 members",
        "4 paying",
        "$469.40 · €98.70 MRR",
        "1 past due, $21.40",
        "1 with a difference",
        "1 failed event",
    ):
        assert words in text
    assert "1 organization " in cards(support, overdue="0")
    assert "0 members" in cards(support, overdue="0")
    assert "1 organization " in cards(support, failed="yes")
    assert "3 organizations" in cards(support, role="any")
    # Every card leads to a list; what is no choice of a filter narrows nothing.
    assert {"?failed=yes", "?role=any", "?drift=yes"} <= set(Page(support.get(LIST)).links)
    assert "4 organizations" in cards(support, failed="nonsense", role="?")


def test_only_whom_the_access_decision_lets_in_counts_as_with_access(support: Client) -> None:
    for status in (*SubscriptionStatus.values, ""):
        organization = OrganizationFactory(name=f"Is {status or 'nothing'}", subscription_status=status)
        member = MembershipFactory(organization=organization)
        lets_in = decide(organization, member, []).allowed
        assert lets_in is (status in ADMITTING_STATUSES)
        page = Page(support.get(f"/admin/organizations/organization/{organization.pk}/change/")).text
        assert ("Closed: there is no subscription that lets members in." in page) is not lets_in
        assert (f"Is {status or 'nothing'}" in listed(support, access="active")) is lets_in
        assert (f"Is {status or 'nothing'}" in listed(support, access="closed")) is not lets_in
    assert "3 with access" in cards(support)


def test_a_list_longer_than_is_counted_says_so(support: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MOST_COUNTED", 3)
    OrganizationFactory.create_batch(5, currency="usd", mrr=100)
    assert "being added up" in listed(support)
    figures.store_figures()
    text = listed(support)
    assert "5 organizations" in text
    assert "Added up at today" in text
    assert "3+; filter or search to see further" in text
    assert "More than 3 are listed" in listed(support, currency="usd")
    # Acting on all of an uncounted list is not offered a number that is wrong.
    assert "All 3 selected" not in listed(support)


def test_the_list_costs_the_same_with_everything_in_it(support: Client) -> None:
    def populate(count: int) -> None:
        for organization in OrganizationFactory.create_batch(count, name="Northwind"):
            MembershipFactory.create_batch(2, organization=organization)
            HoldFactory(organization=organization)
            Discrepancy.objects.create(type="seats", organization=organization)

    def cost(**query: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert support.get(LIST, query).status_code == 200
        return len(captured)

    populate(2)
    few = cost(), cost(q="northwind"), cost(q="norhtwind")
    populate(28)
    assert (cost(), cost(q="northwind"), cost(q="norhtwind")) <= few
    assert max(few) <= 12


def test_the_last_invoice_is_told_in_its_row(support: Client) -> None:
    organization = OrganizationFactory(currency="usd")
    mirror.upsert(
        [
            {
                "id": f"in_{number}",
                "object": "invoice",
                "customer": organization.stripe_customer_id,
                "created": 1_790_000_000 + number,
                "status": status,
                "total": total,
                "currency": "usd",
                "livemode": False,
            }
            for number, (status, total) in enumerate((("paid", 11100), ("open", 22200), ("draft", 33300)))
        ]
    )
    text = listed(support)
    assert "$222.00 Open" in " ".join(text.replace("schedule ", "").split())
    assert "$333.00" not in text


# -- quick actions ----------------------------------------------------------------------------------------


def test_the_menu_of_a_row_offers_what_one_may(staff: Callable[..., Client]) -> None:
    organization = OrganizationFactory()
    finance = staff("organizations.view_organization", "organizations.refund_invoice")
    refund = reverse("admin:organizations_organization_refund_invoice", args=[organization.pk])
    assert refund in finance.get(LIST).content.decode()
    onlooker = staff("organizations.view_organization").get(LIST).content.decode()
    assert refund not in onlooker
    assert "Look at the customer" in onlooker


# -- views ------------------------------------------------------------------------------------------------


def keep(client: Client, name: str, query: str) -> Any:
    return client.post(f"{LIST}views/keep/", {"name": name, "query": query}, follow=True)


def test_a_view_is_kept_beside_the_filters_it_keeps(support: Client) -> None:
    page = support.get(LIST, {"currency": "usd"}).content.decode()
    places = [
        page.index(each)
        for each in ('id="changelist-search"', "Keep this view", "filter-open-button", 'id="changelist-form"')
    ]
    assert places == sorted(places)
    form = page[places[1] : places[2]]
    assert f'action="{LIST}views/keep/"' in form
    assert 'name="query" value="currency=usd"' in form


def test_a_view_is_kept_found_again_shared_and_forgotten(
    support: Client, staff: Callable[..., Client]
) -> None:
    OrganizationFactory(name="Owing", billing_issue_since=timezone.now() - timedelta(days=40))
    OrganizationFactory(name="Plain")
    response = keep(support, "Long overdue", "overdue=30&p=2")
    assert "The view “Long overdue” is kept." in Page(response).text
    view = SavedView.objects.get()
    assert view.query == "overdue=30"
    assert "Long overdue" in listed(support)
    # Its link opens for a colleague, who does not get it among their own.
    colleague = staff("organizations.view_organization")
    opened = colleague.get(f"{LIST}views/{view.uuid}/", follow=True)
    assert "Owing" in Page(opened).text
    assert "Plain" not in Page(opened).text
    assert "Long overdue" not in Page(colleague.get(LIST)).text
    # And only its owner may forget it.
    assert colleague.post(f"{LIST}views/{view.uuid}/forget/").status_code == 404
    assert support.get(f"{LIST}views/{view.uuid}/forget/").status_code == 405
    support.post(f"{LIST}views/{view.uuid}/forget/")
    assert not SavedView.objects.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "give it a name"), ("x" * 81, "give it a name"), ("Twice", "you have another called “Twice”")],
)
def test_a_view_that_cannot_be_kept_says_why(support: Client, name: str, said: str) -> None:
    keep(support, "Twice", "overdue=7")
    assert said in Page(keep(support, name, "overdue=0")).text
    assert SavedView.objects.count() == 1


def test_a_views_name_and_query_are_only_text(support: Client) -> None:
    page = Page(keep(support, NASTY, f"q={NASTY}&next=//elsewhere.example"))
    assert not page.could_run()
    assert NASTY in page.text


def test_one_without_a_right_to_customers_keeps_no_view(staff: Callable[..., Client]) -> None:
    stranger = staff("billing.view_alert")
    assert stranger.post(f"{LIST}views/keep/", {"name": "x", "query": ""}).status_code == 403
    assert not SavedView.objects.exists()


def test_a_member_role_filter_knows_users(support: Client) -> None:
    UserFactory()  # somebody who is a member of nothing
    assert listed(support, role="owner")
