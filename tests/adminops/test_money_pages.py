"""The pages of one payment, one refund and one dispute: what a person asks first, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from billing import mirror
from tests.adminops.pages import Page
from tests.adminops.test_money_lists import (
    DISPUTES,
    INVOICES,
    PAYMENTS,
    REFUNDS,
    charge,
    days_ago,
    dispute,
    invoice,
    owed,
    refund,
)
from tests.factories import OrganizationFactory

pytestmark = pytest.mark.django_db


def page_of(client: Client, listing: str, reader: Client) -> str:
    [row] = client.get(listing).context["cl"].result_list
    return str(reader.get(f"{listing}{row.pk}/change/").content.decode())


@pytest.fixture
def money() -> Any:
    organization = OrganizationFactory(name="Northwind Labs")
    paid_by = {"data": [{"payment": {"payment_intent": "pi_1"}}]}
    mirror.upsert(
        [
            invoice(organization, 1, payments=paid_by),
            charge(organization, 1, status="failed", failure_code="expired_card"),
            refund(1, status="failed", failure_reason="lost_or_stolen_card"),
            dispute(1),
        ]
    )
    return organization


def test_each_says_what_a_person_asks_of_it_first(administrator: Client, money: Any) -> None:
    expected = {
        PAYMENTS: ("$10.00", "Visa •••• 4242", "The card has expired", "Refund failed", "To be answered"),
        REFUNDS: ("$10.00", "The card was lost or stolen", "Requested by customer"),
        DISPUTES: ("$10.00", "Answer by", "Product not received"),
    }
    home = f"/admin/organizations/organization/{money.pk}/"
    for listing, said in expected.items():
        page = page_of(administrator, listing, administrator)
        for words in (*said, "Northwind Labs", "NW-0001", f'"{home}change/"', f'"{home}invoices/in_1/"'):
            assert words in page, (listing, words)
        assert "<details" in page.split("<pre", 1)[0]


def test_a_payment_in_yen_is_nowhere_told_as_a_hundredth_of_it(administrator: Client) -> None:
    mirror.upsert([charge(OrganizationFactory(), 2, amount=13058, currency="jpy")])

    page = page_of(administrator, PAYMENTS, administrator)

    assert "¥13,058" in page
    assert "130.58" not in page


def test_what_stripe_said_in_full_is_for_those_who_may_see_payloads(
    administrator: Client, staff: Callable[..., Client], money: Any
) -> None:
    looker = staff("djstripe.view_charge")
    page = page_of(administrator, PAYMENTS, looker)
    assert "<pre" not in page
    assert "Northwind Labs" in page
    assert "/organizations/organization/" not in page.split('id="content"')[1]
    assert "/djstripe/refund/" not in page.split('id="content"')[1]
    text = Page(looker.get(PAYMENTS)).text
    assert "Payments" in text


def test_an_invoice_leads_to_the_page_that_says_why_it_comes_to_what_it_does(
    administrator: Client, money: Any
) -> None:
    listing = administrator.get(INVOICES)
    [row] = listing.context["cl"].result_list
    page = f"/admin/organizations/organization/{money.pk}/invoices/in_1/"
    assert f'href="{page}"' in listing.content.decode()
    change = f"{INVOICES}{row.pk}/change/"
    assert change not in listing.content.decode()
    response = administrator.get(change)
    assert response.status_code == 302
    assert response["Location"] == page


def test_an_invoice_of_nobody_here_is_told_in_words(administrator: Client, money: Any) -> None:
    nobody = OrganizationFactory.build(stripe_customer_id="cus_elsewhere")
    mirror.upsert([owed(nobody, 3, amount_due=3000, due_date=days_ago(2))])
    listing = administrator.get(INVOICES)
    row = next(row for row in listing.context["cl"].result_list if row.id == "in_3")
    change = f"{INVOICES}{row.pk}/change/"
    assert f'href="{change}"' in listing.content.decode()
    text = Page(administrator.get(change)).text
    for words in ("Number NW-0003", "Amount $30.00", "Left to pay $30.00", "Due", "Customer cus_elsewhere"):
        assert words in text


def test_who_sees_invoices_but_no_organizations_is_told_of_one_in_words(
    staff: Callable[..., Client], money: Any
) -> None:
    looker = staff("djstripe.view_invoice")
    listing = looker.get(INVOICES)
    assert f"/organization/{money.pk}/invoices/" not in listing.content.decode()
    page = page_of(looker, INVOICES, looker)
    assert "NW-0001" in page
    assert "Northwind Labs" in page
    assert "<pre" not in page
    [row] = listing.context["cl"].result_list
    assert staff("organizations.view_organization").get(f"{INVOICES}{row.pk}/change/").status_code == 403
