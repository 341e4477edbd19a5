"""The money on the customer page: what is paid, owed, given back and expected; nothing of it asks Stripe."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from adminops.pages.customer import page
from billing import mirror
from billing.money import format_money
from organizations.models import Organization
from tests.adminops.pages import Page
from tests.billing.test_refund import in_the_last_moment, pay_back_in_the_dashboard
from tests.conftest import Sandbox
from tests.factories import AdministratorFactory, OrganizationFactory, StaffFactory, SubscriptionEventFactory
from tests.operating import show
from tests.stripe_world import World, make_customer, make_organization, read

pytestmark = pytest.mark.django_db(transaction=True)

DAY = 86_400


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(AdministratorFactory())
    return client


def home(organization: Organization, query: str = "") -> str:
    return reverse("admin:organizations_organization_change", args=[organization.pk]) + query


def text_of(client: Client, world: World) -> str:
    """The page of that customer, all read from Stripe just now."""
    organization = Organization.objects.filter(stripe_customer_id=world.customer).first()
    if organization is None:
        organization = make_organization(world, name="Northwind Labs")
    else:
        read(world)
    return Page(client.get(home(organization))).text


def part(client: Client, organization: Organization, id_: str) -> str:
    """The text of one section."""
    content = client.get(home(organization)).content.decode()
    section = content.split(f'id="{id_}"', 1)[1].split("</section>", 1)[0]
    return " ".join(section.split())


def invoice_of(sandbox: Sandbox, world: World) -> Any:
    return sandbox.client.v1.invoices.list({"customer": world.customer}).data[0]


def test_the_page_asks_stripe_nothing_and_costs_few_queries(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    organization = make_organization(world)
    for _month in range(3):
        sandbox.control("POST", "clock", {"advance": 31 * DAY})
    read(world)
    client.get(home(organization))
    sandbox.control("DELETE", "log")
    with CaptureQueriesContext(connection) as captured:
        assert client.get(home(organization)).status_code == 200
    assert sandbox.control("GET", "log")["calls"] == []
    assert len(captured) <= 12


@pytest.mark.parametrize("livemode", [True, False])
def test_links_to_stripe_follow_the_mode_of_what_they_lead_to(client: Client, livemode: bool) -> None:
    organization = OrganizationFactory()
    common = {"livemode": livemode, "created": 1_790_000_000, "currency": "usd"}
    owned = {"customer": organization.stripe_customer_id, "amount": 100, "status": "succeeded", **common}
    mirror.upsert([{"id": organization.stripe_customer_id, "object": "customer", **common}])
    mirror.upsert([{"id": "ch_1", "object": "charge", "amount_captured": 100, **owned}])
    event = SubscriptionEventFactory(organization=organization, livemode=livemode, stripe_charge_id="ch_1")
    pages = [home(organization), reverse("admin:billing_subscriptionevent_change", args=[event.pk])]
    links = {
        link for page in pages for link in Page(client.get(page)).links if "dashboard.stripe.com" in link
    }
    mode = "" if livemode else "test/"
    assert f"https://dashboard.stripe.com/{mode}customers/{organization.stripe_customer_id}" in links
    assert f"https://dashboard.stripe.com/{mode}payments/ch_1" in links
    assert all(("/test/" in link) is not livemode for link in links)


# -- header and subscription ------------------------------------------------------------------------------


def test_revenue_is_told_whole_however_many_invoices_there_are(client: Client) -> None:
    organization = OrganizationFactory()
    common = {"customer": organization.stripe_customer_id, "currency": "usd", "livemode": False}
    for n in range(40):
        mirror.upsert(
            [
                {"id": f"in_{n}", "object": "invoice", "created": 1_790_000_000 + n, "status": "paid",
                 "total": 100, "amount_due": 100, "amount_paid": 100, "subtotal": 100,
                 "amount_paid_off_stripe": 100 if n == 0 else 0,
                 "payments": {"data": [{"payment": {"payment_intent": f"pi_{n}"}}]}, **common},
            ]
        )  # fmt: skip
        if n:
            mirror.upsert(
                [
                    {"id": f"ch_{n}", "object": "charge", "created": 1_790_000_000 + n, "status": "succeeded",
                     "amount": 100, "amount_captured": 100, "amount_refunded": 30 if n == 1 else 0,
                     "captured": True, "paid": True, "refunded": False, "payment_intent": f"pi_{n}", **common},
                ]
            )  # fmt: skip
    text = Page(client.get(home(organization))).text
    assert "$39.70 paid in all" in text
    assert "All 40 invoices" in text
    everything = Page(client.get(home(organization, "?invoices=all"))).text
    assert "All 40 invoices" not in everything


@pytest.mark.parametrize(("payments", "refunds", "links"), [(50, 99, 0), (51, 100, 2)])
def test_what_is_left_out_of_payments_and_refunds_is_a_link_away(
    client: Client, payments: int, refunds: int, links: int
) -> None:
    organization = OrganizationFactory()
    common = {"currency": "usd", "livemode": False, "status": "succeeded", "amount": 100}
    common["customer"] = organization.stripe_customer_id
    for n in range(payments):
        made = {"created": 1_790_000_000 + n, "amount_captured": 100, "payment_intent": f"pi_{n}"}
        mirror.upsert([{"id": f"ch_{n}", "object": "charge", **made, **common}])
    for n in range(refunds):
        made = {"created": 1_790_000_000 + n, "charge": "ch_0"}
        mirror.upsert([{"id": f"re_{n}", "object": "refund", **made, **common}])
    lists = [f"/admin/djstripe/{kind}/?q={organization.stripe_customer_id}" for kind in ("charge", "refund")]
    found = [link for link in Page(client.get(home(organization))).links if link in lists]
    assert len(found) == links
    for link, most in zip(found, (payments, refunds), strict=False):
        assert client.get(link).context["cl"].paginator.count == most
    of_support = Client()
    of_support.force_login(StaffFactory(permissions=["organizations.view_organization"]))
    assert not {*Page(of_support.get(home(organization))).links} & {*lists}


def test_more_invoices_than_a_page_can_bear_lead_to_their_list(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "INVOICES_SHOWN", 1)
    monkeypatch.setattr(page, "MOST_INVOICES", 2)
    organization = OrganizationFactory()
    for n in range(3):
        mirror.upsert(
            [{"id": f"in_{n}", "object": "invoice", "customer": organization.stripe_customer_id,
              "created": 1_790_000_000 + n, "status": "open", "currency": "usd", "total": 100, "amount_paid": 0,
              "livemode": False}]
        )  # fmt: skip
    assert "?invoices=all#invoices" in Page(client.get(home(organization))).links
    links = Page(client.get(home(organization, "?invoices=all"))).links
    assert "?invoices=all#invoices" not in links
    assert f"/admin/djstripe/invoice/?q={organization.stripe_customer_id}" in links


def test_a_planned_end_stands_in_the_header_and_no_next_invoice_is_promised(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at_period_end": True})
    text = text_of(client, world)
    assert "Cancels on" in text
    assert "No further invoice, but for changes that were not invoiced yet" in text
    assert "Next invoice" not in text


def test_the_next_invoice_knows_what_a_change_of_seats_prorated(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    event = show("change_seats", make_organization(world), seats=12).apply()
    assert event.amount
    read(world)
    text = text_of(client, world)
    prorated = format_money(event.amount, "usd")
    assert f"about {format_money(12 * 2900 + event.amount, 'usd')} on" in text
    assert (
        f"with {prorated} prorated for changes of seats, not counting tax or changes made at Stripe" in text
    )


def test_the_next_invoice_knows_coupon_and_credit_and_says_what_it_does_not_know(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    coupon = sandbox.client.v1.coupons.create(
        {"percent_off": 25, "duration": "repeating", "duration_in_months": 3, "name": "Launch"}
    )
    sandbox.client.v1.subscriptions.update(world.subscription, {"discounts": [{"coupon": coupon.id}]})
    sandbox.client.v1.customers.balance_transactions.create(
        world.customer, {"amount": -5000, "currency": "usd"}
    )
    text = text_of(client, world)
    for expected in (
        "Launch: 25% off for 3 months, until",
        "about $174.00 on",
        "$58.00 off by coupon, $50.00 of it from the customer's credit,"
        " not counting tax or changes made at Stripe",
        "$50.00 Credit waiting",
        "Credit, which pays the next invoices before any card is charged",
    ):
        assert expected in text.replace("savings ", "")


def test_an_ended_subscription_says_when_and_those_before_it_are_folded(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    text = text_of(client, world)
    assert "Ended" in text
    assert "Last period" in text
    assert "previous subscription" not in text
    sandbox.control("POST", "clock", {"advance": DAY})
    sandbox.client.v1.subscriptions.create(
        {"customer": world.customer, "items": [{"price": world.price, "quantity": 2}]}
    )
    text = text_of(client, world)
    assert "1 previous subscription" in text
    assert world.subscription in text


# -- invoices ---------------------------------------------------------------------------------------------


def test_an_invoice_says_what_went_back_and_offers_a_refund_only_while_something_is_left(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    organization, invoice = make_organization(world), invoice_of(sandbox, world)
    [charge] = sandbox.client.v1.charges.list({"customer": world.customer}).data
    link = f"?invoice={invoice.id}"
    assert link in part(client, organization, "invoices")
    sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 2900})
    read(world)
    section = part(client, organization, "invoices")
    assert "Partly refunded" in section
    assert "$29.00" in section
    assert link in section
    sandbox.client.v1.refunds.create({"charge": charge.id})
    read(world)
    section = part(client, organization, "invoices")
    assert "Refunded" in section
    assert link not in section


def test_a_disputed_invoice_says_so_and_offers_no_refund(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    organization = make_organization(world)
    [charge] = sandbox.client.v1.charges.list({"customer": world.customer}).data
    sandbox.control("POST", "disputes", {"charge": charge.id})
    read(world)
    section = part(client, organization, "invoices")
    assert "Disputed" in section
    assert "?invoice=" not in section


def test_an_open_invoice_says_until_when(sandbox: Sandbox, world: World, client: Client) -> None:
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"collection_method": "send_invoice", "days_until_due": 30}
    )
    sandbox.control("POST", "clock", {"advance": 32 * DAY})
    text = text_of(client, world)
    assert "Open · due" in text


def test_an_overdue_invoice_says_for_how_long(client: Client) -> None:
    organization = OrganizationFactory(subscription_status="active")
    day = int(timezone.now().timestamp()) - 48 * DAY
    mirror.upsert(
        [
            {
                "id": "in_late",
                "object": "invoice",
                "customer": organization.stripe_customer_id,
                "created": day - DAY,
                "due_date": day,
                "livemode": False,
                "status": "open",
                "number": "NW-1",
                "currency": "usd",
                "total": 2900,
                "subtotal": 2900,
                "amount_due": 2900,
                "amount_paid": 0,
                "amount_remaining": 2900,
                "auto_advance": False,
            }
        ]
    )
    page = f"/admin/organizations/organization/{organization.pk}/"
    for address in (f"{page}change/", f"{page}invoices/in_late/", "/admin/organizations/organization/"):
        assert "Overdue 48 days" in Page(client.get(address)).text


def test_what_was_credited_here_counts_against_the_invoice(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    organization, invoice = make_organization(world), invoice_of(sandbox, world)
    event = show(
        "refund_invoice", organization, invoice=invoice.id, amount=3200, destination="balance"
    ).apply()
    assert event.state == "done"
    read(world)
    assert "Partly credited" in part(client, organization, "invoices")
    section = part(client, organization, "given-back")
    assert "Credit to the balance" in section
    assert section.count("$32.00") == 1


def test_a_credit_that_was_taken_back_is_not_shown_whole(
    sandbox: Sandbox, world: World, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    organization, invoice = make_organization(world), invoice_of(sandbox, world)
    shown = show("refund_invoice", organization, invoice=invoice.id, amount=10_000, destination="balance")
    in_the_last_moment(monkeypatch, lambda: pay_back_in_the_dashboard(sandbox, world, 20_000))
    assert shown.apply().state == "done"
    monkeypatch.undo()
    read(world)
    section = part(client, organization, "given-back")
    assert "$32.00" in section
    assert "$68.00 of $100.00 was taken off the balance again, given back twice" in section


def test_where_only_stripe_knows_what_is_left_it_says_at_most(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    organization, invoice = make_organization(world), invoice_of(sandbox, world)
    pay_back_in_the_dashboard(sandbox, world, 4000)
    sandbox.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 3000, "credit_amount": 3000})
    read(world)
    assert "at most $192.00 left" in part(client, organization, "invoices")
    form = reverse("admin:organizations_organization_refund_invoice", args=[organization.pk])
    assert "$40.00 refunded, at most $192.00 left" in Page(client.get(form)).text


def test_the_documents_are_fetched_when_somebody_follows_the_link(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    organization, invoice = make_organization(world), invoice_of(sandbox, world)
    assert str(invoice.hosted_invoice_url) not in client.get(home(organization)).content.decode()
    for document, url in (("page", invoice.hosted_invoice_url), ("pdf", invoice.invoice_pdf)):
        name = f"admin:organizations_organization_invoice_{document}"
        response = client.get(reverse(name, args=[organization.pk, invoice.id]))
        assert (response.status_code, response.headers["Location"]) == (302, url)


def test_without_stripe_there_is_a_sentence_instead_of_a_document(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    organization, invoice = make_organization(world), invoice_of(sandbox, world)
    sandbox.control("POST", "faults", {"kind": "drop_connection", "times": -1})
    address = reverse("admin:organizations_organization_invoice_page", args=[organization.pk, invoice.id])
    response = client.get(address, follow=True)
    sandbox.control("DELETE", "faults")
    assert response.status_code == 200
    assert "this could not be read. Nothing was changed; try again." in Page(response).text


def test_an_invoice_is_shown_to_those_who_may_see_its_customer_and_under_no_other(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    organization, invoice = make_organization(world), invoice_of(sandbox, world)
    other = OrganizationFactory()
    stranger = Client()
    stranger.force_login(StaffFactory(permissions=["billing.view_subscriptionevent"]))
    for name in ("", "_page", "_pdf"):
        view = f"admin:organizations_organization_invoice{name}"
        assert stranger.get(reverse(view, args=[organization.pk, invoice.id])).status_code == 403
        # Back to the customer, who has none of that id (tests/adminops/test_way_around.py).
        assert client.get(reverse(view, args=[other.pk, invoice.id])).status_code == 302
        assert client.get(reverse(view, args=[organization.pk, "in_none"])).status_code == 302


def test_why_this_amount_explains_the_invoice_down_to_the_amount_due(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    organization, invoice = make_organization(world), invoice_of(sandbox, world)
    address = reverse("admin:organizations_organization_invoice", args=[organization.pk, invoice.id])
    assert address in client.get(home(organization)).content.decode()
    text = Page(client.get(address)).text
    for expected in (
        f"Why this amount? Invoice {invoice.number}",
        "8 at $29.00 each.",
        "Amount due $232.00",
        "$232.00 was paid on",
    ):
        assert expected in text


# -- payments ---------------------------------------------------------------------------------------------


def test_a_declined_attempt_says_why_and_the_card_stands_as_failing(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    [method] = sandbox.client.v1.customers.payment_methods.list(world.customer).data
    sandbox.control("POST", "cards", {"payment_method": method.id, "refuses": "insufficient_funds"})
    sandbox.control("POST", "clock", {"advance": 32 * DAY})
    text = text_of(client, world)
    assert "The card has too little money on it" in text
    assert "Last payment failed" in text
    assert "Unpaid · next try" in text


def test_two_payments_alike_within_minutes_are_flagged(
    sandbox: Sandbox, world: World, client: Client
) -> None:
    organization = make_organization(world)
    [charge] = sandbox.client.v1.charges.list({"customer": world.customer}).data
    found = sandbox.client.v1.charges.retrieve(charge.id)
    plain = found.to_dict()
    mirror.upsert([{**plain, "id": "ch_again", "created": plain["created"] + 130, "payment_intent": "pi_x"}])
    assert (
        "Maybe paid twice: the same amount on the same card 2 minutes earlier."
        in Page(client.get(home(organization))).text
    )


def test_a_refund_that_failed_stands_in_red_with_why(sandbox: Sandbox, world: World, client: Client) -> None:
    organization = make_organization(world)
    [charge] = sandbox.client.v1.charges.list({"customer": world.customer}).data
    refund = sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 2900})
    read(world)
    sandbox.control(
        "POST",
        "refunds",
        {"refund": refund.id, "status": "failed", "failure_reason": "expired_or_canceled_card"},
    )
    read(world)
    section = part(client, organization, "given-back")
    assert "Refund failed" in section
    assert "bo-red" in section
    assert "The card has expired or was cancelled" in section


def test_nothing_yet_is_said_in_words(client: Client) -> None:
    organization = OrganizationFactory(current_period_end=timezone.now())
    text = Page(client.get(home(organization))).text
    assert "No payments yet." in text
    assert "No refunds and no credits yet." in text
    assert "No credit waits and nothing is owed from before" in text
