"""Invoices, payments, refunds and disputes of everybody: what the lists show, narrow, add up and lead to."""

import csv
import io
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
from adminops.pages.lists.saved_views import READY
from adminops.reports import REPORTS
from billing import mirror
from billing.models import SubscriptionEvent
from organizations.models import Organization
from tests.adminops.pages import Page
from tests.factories import OrganizationFactory

pytestmark = pytest.mark.django_db

INVOICES = "/admin/djstripe/invoice/"
PAYMENTS = "/admin/djstripe/charge/"
REFUNDS = "/admin/djstripe/refund/"
DISPUTES = "/admin/djstripe/dispute/"
LISTS = (INVOICES, PAYMENTS, REFUNDS, DISPUTES)
NASTY = "<script>alert('x')</script>\"&😀 שלום"


def days_ago(days: float) -> int:
    return int((timezone.now() - timedelta(days=days)).timestamp())


def invoice(organization: Organization, number: int, /, **said: Any) -> dict[str, Any]:
    return {
        "id": f"in_{number}",
        "object": "invoice",
        "customer": organization.stripe_customer_id,
        "created": days_ago(number),
        "livemode": False,
        "status": "paid",
        "number": f"NW-000{number}",
        "currency": "usd",
        "total": 1000 * number,
        "amount_paid": 1000 * number,
        "amount_remaining": 0,
        **said,
    }


def owed(organization: Organization, number: int, /, **said: Any) -> dict[str, Any]:
    left = {"status": "open", "amount_paid": 0, "amount_remaining": 1000 * number}
    return invoice(organization, number, **left, **said)


def charge(organization: Organization, number: int, /, **said: Any) -> dict[str, Any]:
    return {
        "id": f"ch_{number}",
        "object": "charge",
        "customer": organization.stripe_customer_id,
        "created": days_ago(number),
        "livemode": False,
        "status": "succeeded",
        "currency": "usd",
        "amount": 1000 * number,
        "amount_captured": 1000 * number,
        "amount_refunded": 0,
        "payment_intent": f"pi_{number}",
        "payment_method_details": {"card": {"brand": "visa", "last4": "4242"}},
        **said,
    }


def refund(number: int, /, **said: Any) -> dict[str, Any]:
    return {
        "id": f"re_{number}",
        "object": "refund",
        "charge": f"ch_{number}",
        "created": days_ago(number),
        "livemode": False,
        "status": "succeeded",
        "currency": "usd",
        "amount": 1000 * number,
        "reason": "requested_by_customer",
        **said,
    }


def dispute(number: int, due_in: float = 20, **said: Any) -> dict[str, Any]:
    return {
        "id": f"du_{number}",
        "object": "dispute",
        "charge": f"ch_{number}",
        "created": days_ago(number),
        "livemode": False,
        "status": "needs_response",
        "currency": "usd",
        "amount": 1000 * number,
        "reason": "product_not_received",
        "evidence_details": {"due_by": days_ago(-due_in)},
        **said,
    }


def listed(client: Client, address: str, **query: str) -> list[str]:
    """The ids listed, in their order."""
    response = client.get(address, query)
    assert response.status_code == 200, response
    return [row.id for row in response.context["cl"].result_list]


@pytest.mark.parametrize("address", LISTS)
def test_amounts_stand_in_their_own_currency(administrator: Client, address: str) -> None:
    yen: dict[str, Any] = {"currency": "jpy", "amount": 12418, "amount_captured": 12418, "total": 12418}
    organization = OrganizationFactory()
    mirror.upsert([invoice(organization, 3, **yen), charge(organization, 3, **yen)])
    mirror.upsert([refund(3, **yen), dispute(3, **yen)])
    # In the row, not only in what all of them come to.
    _above, rows = administrator.get(address).content.decode().split('id="result_list"')
    assert "¥12,418" in rows
    assert not {"12418", "124.18"} & set(Page(administrator.get(address)).text.split())


def cards(client: Client, address: str, **query: str) -> list[str]:
    shown = client.get(address, query).context["cl"].cards.shown
    return [f"{card.value} {card.label}" for card in shown]


def words_of(client: Client, address: str, **query: str) -> str:
    page = Page(client.get(address, query))
    assert not page.could_run()
    return page.text


# -- what a row says --------------------------------------------------------------------------------------


def test_an_invoice_says_whose_it_is_and_what_of_it_was_paid_and_given_back(administrator: Client) -> None:
    organization = OrganizationFactory(name="Northwind Labs")
    payments = {"data": [{"payment": {"payment_intent": "pi_3"}}]}
    mirror.upsert(
        [invoice(organization, 3, payments=payments), charge(organization, 3, amount_refunded=1200)]
    )
    text = words_of(administrator, INVOICES)
    row = text[text.index("NW-0003") :]
    assert "NW-0003 in_3" in row
    assert "Northwind Labs $30.00 $30.00 $12.00" in row
    page = administrator.get(INVOICES).content.decode()
    assert reverse("admin:organizations_organization_change", args=[organization.pk]) in page


def test_an_invoice_says_since_when_it_is_overdue(administrator: Client) -> None:
    organization = OrganizationFactory()
    mirror.upsert(
        [
            owed(organization, 9, attempted=True),
            owed(organization, 8, due_date=days_ago(-3)),
            owed(organization, 7, attempted=False),
            owed(organization, 6, due_date=days_ago(2)),
        ]
    )
    text = words_of(administrator, INVOICES)
    assert "Overdue 9 days" in text
    assert "Overdue 2 days" in text
    assert "open: 7 days" in text
    assert "8 days" not in text
    assert listed(administrator, INVOICES, state="overdue") == ["in_6", "in_9"]


def test_payments_and_refunds_say_why_they_failed(administrator: Client) -> None:
    organization = OrganizationFactory()
    mirror.upsert(
        [
            charge(organization, 1, status="failed", failure_code="expired_card"),
            charge(organization, 2, amount_refunded=500),
            charge(organization, 3, amount_refunded=3000),
            charge(organization, 4, disputed=True),
            refund(2, status="failed", failure_reason="lost_or_stolen_card"),
        ]
    )
    text = words_of(administrator, PAYMENTS)
    assert "the card has expired" in text
    assert "Visa •••• 4242" in text
    assert "Partly refunded" in text
    assert "Disputed" in text
    assert listed(administrator, PAYMENTS, state="refunded") == ["ch_2", "ch_3"]
    assert listed(administrator, PAYMENTS, state="disputed") == ["ch_4"]
    assert "lost or stolen card" in words_of(administrator, REFUNDS)
    assert listed(administrator, REFUNDS, state="failed") == ["re_2"]


def test_disputes_to_answer_come_by_their_deadline_the_soon_ones_in_red(administrator: Client) -> None:
    organization = OrganizationFactory(name="Northwind Labs")
    mirror.upsert(
        [
            *(charge(organization, number) for number in (1, 2, 3, 4)),
            dispute(1, due_in=20),
            dispute(2, due_in=2.5, status="warning_needs_response"),
            dispute(3, status="lost"),
            dispute(4, due_in=-1),
        ]
    )
    assert listed(administrator, DISPUTES) == ["du_1", "du_2", "du_3", "du_4"]
    assert listed(administrator, DISPUTES, state="to_answer") == ["du_4", "du_2", "du_1"]
    page = administrator.get(DISPUTES, {"state": "to_answer"}).content.decode()
    assert page.count("bo-red-text") == 2
    assert "2 days left" in page
    assert "was due" in page
    assert "product not received" in page
    assert "https://dashboard.stripe.com/test/disputes/du_1" in page
    assert "Northwind Labs" in page
    later = str(timezone.localdate() + timedelta(days=10))
    assert listed(administrator, DISPUTES, answer_by_from=later, state="to_answer") == ["du_1"]


def test_home_leads_to_the_disputes_to_answer(administrator: Client) -> None:
    mirror.upsert([charge(OrganizationFactory(), 1), dispute(1), dispute(1, id="du_2", status="won")])
    page = administrator.get("/admin/").content.decode()
    assert f'href="{DISPUTES}?state=to_answer"' in page
    assert len(listed(administrator, DISPUTES, state="to_answer")) == 1


def test_a_payment_is_found_by_its_intent_and_an_unknown_state_narrows_nothing(administrator: Client) -> None:
    mirror.upsert([charge(OrganizationFactory(), 1), charge(OrganizationFactory(), 2)])
    assert listed(administrator, PAYMENTS, q=" pi_2 ") == ["ch_2"]
    assert listed(administrator, PAYMENTS, q="pi_3") == []
    response = administrator.get(PAYMENTS, {"state": "zzz", "age": "8"})
    assert not response.context["cl"].has_active_filters
    assert len(response.context["cl"].result_list) == 2


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (INVOICES, "Stripe writes the first one"),
        (PAYMENTS, "Every attempt to charge a card"),
        (REFUNDS, "Refund an invoice from its row"),
        (DISPUTES, "asks their bank for a payment back"),
    ],
)
def test_an_empty_list_says_what_would_come(administrator: Client, address: str, said: str) -> None:
    assert said in words_of(administrator, address)
    assert "Nothing matches these filters. Clear them" in words_of(administrator, address, currency="chf")


# -- narrowing --------------------------------------------------------------------------------------------


def test_invoices_are_narrowed_by_state_currency_amount_date_and_age(administrator: Client) -> None:
    organization = OrganizationFactory()
    mirror.upsert(
        [
            invoice(organization, 1),
            owed(organization, 40),
            owed(organization, 5),
            invoice(organization, 2, currency="jpy", total=2500),
            invoice(organization, 3, status="void"),
        ]
    )
    assert listed(administrator, INVOICES) == ["in_1", "in_2", "in_3", "in_5", "in_40"]
    assert listed(administrator, INVOICES, state="open") == ["in_5", "in_40"]
    assert listed(administrator, INVOICES, age="7") == ["in_40"]
    assert listed(administrator, INVOICES, age="90") == []
    assert listed(administrator, INVOICES, currency=" JPY ") == ["in_2"]
    # In whole units of each one's own currency: ¥2,500 is more than $50.
    assert listed(administrator, INVOICES, amount_from="50") == ["in_2", "in_5", "in_40"]
    assert listed(administrator, INVOICES, amount_from="10", amount_to="30") == ["in_1", "in_3"]
    long_ago = str(timezone.localdate() - timedelta(days=20))
    assert listed(administrator, INVOICES, created_to=long_ago) == ["in_40"]


def test_refunds_and_disputes_are_narrowed_by_how_long_they_wait(administrator: Client) -> None:
    organization = OrganizationFactory()
    mirror.upsert(
        [
            *(charge(organization, number) for number in (5, 35)),
            refund(35, status="pending"),
            refund(5, status="pending"),
            dispute(35, status="under_review"),
            dispute(5),
        ]
    )
    assert listed(administrator, REFUNDS, age="7") == ["re_35"]
    assert listed(administrator, DISPUTES, age="30") == ["du_35"]
    assert "35 days" in words_of(administrator, REFUNDS)


@pytest.mark.parametrize("address", LISTS)
@pytest.mark.parametrize(
    "query",
    [
        {"state": NASTY},
        {"age": "-7"},
        {"currency": NASTY},
        {"amount_from": "1.5"},
        {"amount_to": "9" * 40},
        {"created_from": "2026-13-45"},
        {"created_to": "9999-12-31"},
        {"q": NASTY * 100},
        {"q": "in_1'; DROP"},
        {"p": "0"},
    ],
)
def test_bent_addresses_are_answered_harmlessly(
    administrator: Client, address: str, query: dict[str, str]
) -> None:
    mirror.upsert([charge(OrganizationFactory(), 1), refund(1), dispute(1)])
    response = administrator.get(address, query, follow=True)
    assert response.status_code == 200
    assert not Page(response).could_run()


def test_what_strangers_wrote_is_only_text(administrator: Client) -> None:
    organization = OrganizationFactory(name=NASTY + "x" * 150)
    strange: dict[str, Any] = {"reason": NASTY, "status": NASTY}
    mirror.upsert(
        [
            owed(organization, 1, number=NASTY * 200),
            invoice(organization, 2, currency="<b>", total=[1], created=None),
            charge(organization, 1, failure_code=NASTY, payment_method_details=NASTY),
            refund(1, failure_reason=NASTY, **strange),
            dispute(1, **strange),
        ]
    )
    for address in LISTS:
        assert "<script>alert('x')" in words_of(administrator, address)


# -- finding ----------------------------------------------------------------------------------------------


def test_money_is_found_by_number_id_and_customer(administrator: Client) -> None:
    northwind = OrganizationFactory(name="Northwind Labs", stripe_customer_id="cus_nw")
    contoso = OrganizationFactory(name="Contoso", slug="contoso", billing_email="a@b.example")
    mirror.upsert(
        [
            invoice(northwind, 1),
            invoice(contoso, 2),
            charge(northwind, 1),
            charge(northwind, 2),
            refund(1),
            dispute(2),
        ]
    )
    for typed in ("NW-0001", "nw-0001", "in_1", "cus_nw", "Northwind", "northwind labs"):
        assert listed(administrator, INVOICES, q=typed) == ["in_1"], typed
    assert listed(administrator, PAYMENTS, q="northwind") == ["ch_1", "ch_2"]
    for typed in ("re_1", "ch_1", "cus_nw", "Northwind"):
        assert listed(administrator, REFUNDS, q=typed) == ["re_1"], typed
    for typed in ("du_2", "ch_2", "cus_nw", "Northwind"):
        assert listed(administrator, DISPUTES, q=typed) == ["du_2"], typed
    for address in LISTS:
        assert listed(administrator, address, q="nobody at all") == []
        assert listed(administrator, address, q="xx_unknown") == []


def test_money_of_whoever_is_only_called_alike_is_not_listed(administrator: Client) -> None:
    northwind = OrganizationFactory(name="Northwind Labs", slug="a", billing_email="a@a.example")
    alike = OrganizationFactory(name="Northwynd Lab", slug="b", billing_email="b@b.example")
    mirror.upsert([invoice(northwind, 1), invoice(alike, 2)])
    assert listed(administrator, INVOICES, q="Northwind Labs") == ["in_1"]


# -- what it comes to -------------------------------------------------------------------------------------


def test_cards_add_up_what_is_listed_in_each_currency(administrator: Client) -> None:
    organization = OrganizationFactory()
    mirror.upsert(
        [
            invoice(organization, 1),
            owed(organization, 2),
            invoice(organization, 3, currency="jpy", total=500, amount_paid=500),
            charge(organization, 1, amount_refunded=250),
            charge(organization, 2, status="failed", amount_captured=0),
            refund(1, amount=250),
            refund(1, id="re_9", amount=100, status="failed"),
            dispute(1),
        ]
    )
    assert cards(administrator, INVOICES) == [
        "$30.00 USD on 2 invoices: $10.00 paid, $20.00 open",
        "¥500 JPY on 1 invoice: ¥500 paid, ¥0 open",
    ]
    assert cards(administrator, INVOICES, state="open") == [
        "$20.00 USD on 1 invoice: $0.00 paid, $20.00 open"
    ]
    assert cards(administrator, PAYMENTS) == ["$10.00 USD paid by 1 of 2 attempts, $2.50 given back"]
    assert cards(administrator, REFUNDS) == ["$3.50 USD in 2 refunds, of which $1.00 failed or canceled"]
    assert cards(administrator, DISPUTES) == ["$10.00 USD in 1 dispute, of which $10.00 to be answered"]
    card = administrator.get(INVOICES, {"state": "paid"}).context["cl"].cards.shown[0]
    assert set(card.url.strip("?").split("&")) == {"state=paid", "currency=jpy"}


def test_a_list_longer_than_is_counted_is_not_added_up(
    administrator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "MOST_COUNTED", 3)
    organization = OrganizationFactory()
    mirror.upsert([invoice(organization, number) for number in range(1, 6)])
    assert "More than 3 are listed; narrow the list" in words_of(administrator, INVOICES)
    assert cards(administrator, INVOICES) == []
    assert len(cards(administrator, INVOICES, amount_to="20")) == 1


@pytest.mark.parametrize("address", LISTS)
def test_a_list_costs_the_same_with_more_in_it_and_never_reads_documents(
    administrator: Client, address: str
) -> None:
    def populate(numbers: range) -> None:
        for number in numbers:
            organization = OrganizationFactory(name=f"Northwind {number}")
            mirror.upsert(
                [owed(organization, number), charge(organization, number), refund(number), dispute(number)]
            )

    def cost(**query: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert administrator.get(address, query).status_code == 200
        assert not [query["sql"] for query in captured if "stripe_data" in query["sql"]]
        return len(captured)

    populate(range(1, 3))
    few = cost(), cost(q="northwind", currency="usd", amount_from="1")
    populate(range(3, 30))
    assert (cost(), cost(q="northwind", currency="usd", amount_from="1")) <= few
    assert max(few) <= 12


# -- files, views, permissions ----------------------------------------------------------------------------


@pytest.mark.parametrize("address", LISTS)
def test_what_is_listed_is_taken_as_a_file(staff: Callable[..., Client], address: str) -> None:
    model = address.split("/")[3]
    finance = staff(f"djstripe.view_{model}", "organizations.export_lists")
    organization = OrganizationFactory(name='=HYPERLINK("x")')
    mirror.upsert(
        [
            owed(organization, 2, currency="jpy", total=500),
            owed(organization, 3, attempted=True),
            charge(organization, 2, currency="jpy", amount=500),
            charge(organization, 3),
            refund(2, currency="jpy", amount=500),
            refund(3),
            dispute(2, currency="jpy", amount=500),
            dispute(3),
        ]
    )
    columns = [column.name for column in REPORTS[f"djstripe.{model}"].columns]
    with CaptureQueriesContext(connection) as captured:
        response = finance.post(f"{address}export/?currency=jpy", {"kind": "csv", "columns": columns})
        content = b"".join(response.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    rows = list(csv.DictReader(io.StringIO(content)))
    assert [(row["Amount"], row["Currency"], row["Organization"]) for row in rows] == [
        ("500", "JPY", '\'=HYPERLINK("x")')
    ]
    assert not [query["sql"] for query in captured if "stripe_data" in query["sql"]]
    assert SubscriptionEvent.objects.get(type="list.exported").actor is not None
    assert staff("organizations.export_lists").get(f"{address}export/").status_code == 403


@pytest.mark.parametrize("address", LISTS)
def test_views_that_come_ready_open(administrator: Client, address: str) -> None:
    mirror.upsert([charge(OrganizationFactory(), 1), refund(1), dispute(1)])
    for name, query in READY[f"djstripe.{address.split('/')[3]}"]:
        views = administrator.get(address, query).context["cl"].views
        assert [view.name for view in views if view.is_chosen] == [str(name)]


def test_lists_are_for_those_who_may_see_them(staff: Callable[..., Client], support: Client) -> None:
    for address in LISTS:
        assert support.get(address).status_code == 403
        assert staff(f"djstripe.view_{address.split('/')[3]}").get(address).status_code == 200
