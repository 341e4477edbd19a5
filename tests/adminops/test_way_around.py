"""Finding one's way: what stands above a page, page numbers that there are none of, and addresses of what is gone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client

from billing import mirror
from tests.adminops.pages import Page, Response
from tests.adminops.test_money_lists import LISTS, charge, dispute, invoice, refund
from tests.factories import OrganizationFactory

pytestmark = pytest.mark.django_db

ORGANIZATIONS = "/admin/organizations/organization/"
EVENTS = "/admin/billing/subscriptionevent/"
MEMBERS = "/admin/organizations/membership/"
MIRRORED_CUSTOMERS = "/admin/djstripe/customer/"


def crumbs(response: Response) -> list[tuple[str, str]]:
    """What stands above a page: the words, and where they lead."""
    [heading] = re.findall(r"<h1 [^>]*overflow-hidden.*?</h1>", response.content.decode(), re.S)
    found = re.findall(
        r"<(?:a href=\"([^\"]*)\"|span) class=\"align-middle inline-block[^>]*>(.*?)</", heading, re.S
    )
    return [(" ".join(words.split()), link) for link, words in found]


def messages(response: Response) -> str:
    return " ".join(str(message) for message in response.context["messages"])


# -- what stands above a page -----------------------------------------------------------------------------


def test_a_page_of_money_stands_under_the_words_of_the_navigation(administrator: Client) -> None:
    organization = OrganizationFactory()
    mirror.upsert([invoice(organization, 1), charge(organization, 1), refund(1), dispute(1)])
    for address, name in zip(LISTS, ("Invoices", "Payments", "Refunds", "Disputes"), strict=True):
        listing = administrator.get(address)
        assert crumbs(listing) == [("Billing", ""), (name, address)]
        [row] = listing.context["cl"].result_list
        one = crumbs(administrator.get(f"{address}{row.pk}/change/"))
        assert one[:2] == [("Billing", ""), (name, address)]
        assert one[2][1] == f"{address}{row.pk}/change/"
        assert "charge" not in Page(listing).text.lower().replace("charged", "")


def test_other_pages_stand_under_the_words_of_the_navigation_too(administrator: Client) -> None:
    organization = OrganizationFactory(name="Northwind Labs")
    page = f"{ORGANIZATIONS}{organization.pk}/change/"
    assert crumbs(administrator.get(page)) == [
        ("Customers", ""),
        ("Organizations", ORGANIZATIONS),
        ("Northwind Labs", page),
    ]
    assert crumbs(administrator.get("/admin/djstripe/paymentmethod/"))[0][0] == "Stripe mirror"


def test_what_stands_above_a_page_leads_nowhere_one_may_not_be(staff: Callable[..., Client]) -> None:
    organization = OrganizationFactory(name="Northwind Labs")
    client = staff("organizations.change_seats")
    page = crumbs(client.get(f"{ORGANIZATIONS}{organization.pk}/seats/"))
    assert [link for _words, link in page] == ["", "", ""]
