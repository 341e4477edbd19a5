"""Finding one's way: what stands above a page, page numbers that there are none of, and addresses of what is gone."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from adminops.admin import paging
from billing import mirror
from tests.adminops.pages import Page, Response
from tests.adminops.test_money_lists import INVOICES, LISTS, PAYMENTS, charge, dispute, invoice, refund
from tests.factories import OrganizationFactory, SubscriptionEventFactory, UserFactory

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
        if address != INVOICES:
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


# -- page numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["999", "0", "-1", "x", "9" * 5000])
def test_a_page_there_is_not_is_said_and_the_last_shown(
    administrator: Client, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setattr("adminops.admin.base.BackOfficeAdmin.list_per_page", 2)
    OrganizationFactory.create_batch(5, subscription_status="active")
    response = administrator.get(ORGANIZATIONS, {"p": asked, "access": "active"}, follow=True)
    last = asked == "999"
    assert response.request["QUERY_STRING"] == ("access=active&p=3" if last else "access=active")
    assert response.context["cl"].page_num == (3 if last else 1)
    told = f"There is no page {asked[:20]}"
    assert told in messages(response)
    assert ("Page 3, the last one, is shown." if last else "Page 1 of 3 is shown.") in messages(response)


def test_a_list_of_one_page_has_no_second(administrator: Client) -> None:
    OrganizationFactory()
    response = administrator.get(ORGANIZATIONS, {"p": "2"}, follow=True)
    assert "There is no page 2. All there is stands on one page, which is shown." in messages(response)
    assert messages(administrator.get(ORGANIZATIONS, {"p": "1"})) == ""


def test_beyond_what_is_counted_it_says_to_narrow_the_list(
    administrator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adminops.admin.base.BackOfficeAdmin.list_per_page", 2)
    monkeypatch.setattr(paging, "MOST_COUNTED", 4)
    OrganizationFactory.create_batch(6)
    response = administrator.get(ORGANIZATIONS, {"p": "3"}, follow=True)
    assert "Page 2, the last one, is shown. To see further, search or filter." in messages(response)


@pytest.mark.parametrize("address", [*LISTS, MEMBERS, "/admin/auth/user/", "/admin/auth/group/"])
def test_every_counted_list_says_so(administrator: Client, address: str) -> None:
    response = administrator.get(address, {"p": "999"}, follow=True)
    assert "There is no page 999" in messages(response)


@pytest.mark.parametrize("asked", ["7", "999999999999"])
def test_a_list_that_is_not_counted_shows_its_first_page(administrator: Client, asked: str) -> None:
    mirror.upsert([{"id": "cus_1", "object": "customer", "created": 1_790_000_000, "livemode": False}])
    response = administrator.get(MIRRORED_CUSTOMERS, {"p": asked}, follow=True)
    assert f"There is no page {asked}. The first page is shown." in messages(response)
    assert [row.id for row in response.context["cl"].result_list] == ["cus_1"]


def test_a_list_without_page_numbers_says_so(administrator: Client) -> None:
    SubscriptionEventFactory()
    response = administrator.get(EVENTS, {"p": "999"}, follow=True)
    assert "This list has no page numbers: it goes from newer to older. The newest are shown." in messages(
        response
    )
    assert messages(administrator.get(EVENTS)) == ""


# -- what is gone -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (ORGANIZATIONS, "There is no organization 999."),
        (EVENTS, "There is no subscription event 999."),
        (INVOICES, "There is no invoice 999."),
        (PAYMENTS, "There is no payment 999."),
        ("/admin/auth/user/", "There is no user 999."),
    ],
)
def test_an_address_of_what_is_gone_leads_to_the_list_and_says_so(
    administrator: Client, address: str, said: str
) -> None:
    for gone in (f"{address}999/change/", f"{address}999/history/", f"{address}999/"):
        response = administrator.get(gone, follow=True)
        assert response.request["PATH_INFO"] == address
        assert said in messages(response)
        assert "deleted, or the address is mistyped" in messages(response)


@pytest.mark.parametrize("key", ["x", "9" * 40, "<script>"])
def test_an_address_that_was_never_one_does_too(administrator: Client, key: str) -> None:
    response = administrator.get(f"{ORGANIZATIONS}{key}/change/", follow=True)
    assert response.request["PATH_INFO"] == ORGANIZATIONS
    assert not Page(response).could_run()


def test_an_invoice_that_is_gone_leads_to_its_customer(administrator: Client) -> None:
    organization = OrganizationFactory()
    for name in ("invoice", "invoice_page", "invoice_pdf"):
        address = reverse(f"admin:organizations_organization_{name}", args=[organization.pk, "in_gone"])
        response = administrator.get(address, follow=True)
        assert response.request["PATH_INFO"] == f"{ORGANIZATIONS}{organization.pk}/change/"
        assert f"{organization.name} has no invoice in_gone." in messages(response)
        nobody = reverse(f"admin:organizations_organization_{name}", args=[999_999, "in_gone"])
        response = administrator.get(nobody, follow=True)
        assert response.request["PATH_INFO"] == ORGANIZATIONS
        assert "There is no organization 999999." in messages(response)


def test_who_may_not_see_a_list_is_not_told_what_is_in_it(staff: Callable[..., Client]) -> None:
    client = staff("organizations.view_organization")
    UserFactory()
    assert client.get("/admin/auth/user/999/change/").status_code == 403
    assert client.get(f"{PAYMENTS}999/change/").status_code == 403
