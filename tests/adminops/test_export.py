"""Lists as files: what stands in them, that nothing in them runs, and that the ledger says who took them."""

import csv
import io
import tracemalloc
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from adminops.reports import REPORTS
from adminops.reports.files import file_response
from billing.models import SubscriptionEvent
from tests.adminops.pages import Page
from tests.factories import HoldFactory, MembershipFactory, OrganizationFactory

pytestmark = pytest.mark.django_db

EXPORT = "/admin/organizations/organization/export/"
FORMULA = '=HYPERLINK("https://evil.example","x")'


@pytest.fixture
def finance(staff: Callable[..., Client]) -> Client:
    return staff("organizations.view_organization", "organizations.export_lists")


def taken(client: Client, query: str = "", **data: Any) -> bytes:
    data.setdefault("columns", [column.name for column in REPORTS["organizations.organization"].columns])
    response = client.post(f"{EXPORT}{query}", {"kind": "csv", **data})
    assert response.status_code == 200
    assert "attachment" in response["Content-Disposition"]
    return b"".join(response.streaming_content)  # type: ignore[attr-defined]


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def test_a_file_holds_what_is_listed_with_the_columns_chosen(finance: Client) -> None:
    organization = OrganizationFactory(name="Aiko Sushi KK", currency="jpy", mrr=24500, seats=5)
    MembershipFactory.create_batch(3, organization=organization)
    HoldFactory(organization=organization, kind="legal")
    OrganizationFactory(name="Other", currency="usd", mrr=34850)
    rows = table(taken(finance, "?currency=jpy"))
    assert [row["Name"] for row in rows] == ["Aiko Sushi KK"]
    assert rows[0]["MRR"] == "24500"
    assert rows[0]["Seats used"] == "3"
    assert rows[0]["Suspended for"] == "Legal"
    assert table(taken(finance, "?currency=usd", columns=["mrr", "name"])) == [
        {"Name": "Other", "MRR": "348.50"}
    ]


def test_a_customers_name_is_never_a_formula(finance: Client) -> None:
    OrganizationFactory(name=FORMULA)
    assert table(taken(finance))[0]["Name"] == f"'{FORMULA}"
    workbook = zipfile.ZipFile(io.BytesIO(taken(finance, kind="xlsx")))
    sheet = workbook.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "HYPERLINK" in sheet
    assert not [name for name in workbook.namelist() if "rels" in name and "sheet" in name]


def test_a_workbook_keeps_numbers_as_numbers(finance: Client) -> None:
    OrganizationFactory(currency="usd", mrr=34850, seats=12)
    sheet = zipfile.ZipFile(io.BytesIO(taken(finance, kind="xlsx", columns=["mrr", "seats_paid"]))).read(
        "xl/worksheets/sheet1.xml"
    )
    assert b"<v>348.5</v>" in sheet or b"<v>348.50</v>" in sheet
    assert b"<v>12</v>" in sheet


def test_the_ledger_says_who_took_what(finance: Client) -> None:
    OrganizationFactory(currency="jpy")
    taken(finance, "?currency=jpy", columns=["name"], kind="xlsx")
    line = SubscriptionEvent.objects.get(type="list.exported")
    assert line.actor is not None
    assert line.message == "Took the list “Customers” away as XLSX: currency jpy."
    assert line.after["columns"] == ["Name"]


def test_looking_at_the_page_takes_nothing_and_writes_nothing(finance: Client) -> None:
    OrganizationFactory.create_batch(2)
    page = Page(finance.get(f"{EXPORT}?q=<script>"))
    assert not page.could_run()
    assert "2 rows." in Page(finance.get(EXPORT)).text
    assert not SubscriptionEvent.objects.exists()


def test_without_a_column_a_sentence_and_no_file(finance: Client) -> None:
    response = finance.post(EXPORT, {"kind": "csv"})
    assert "Choose at least one column." in Page(response).text
    response = finance.post(EXPORT, {"kind": "exe", "columns": ["password"]})
    assert response.status_code == 200
    assert "attachment" not in response.get("Content-Disposition", "")
    assert not SubscriptionEvent.objects.exists()


def test_only_those_who_may_take_lists(staff: Callable[..., Client]) -> None:
    onlooker = staff("organizations.view_organization")
    assert "Take as a file" not in onlooker.get("/admin/organizations/organization/").content.decode()
    assert onlooker.get(EXPORT).status_code == 403
    assert onlooker.post(EXPORT, {"kind": "csv", "columns": ["name"]}).status_code == 403
    assert staff("organizations.export_lists").get(EXPORT).status_code == 403


def test_the_list_leads_there_with_what_narrows_it(finance: Client) -> None:
    page = finance.get("/admin/organizations/organization/?currency=jpy&p=1").content.decode()
    assert f'href="{EXPORT}?currency=jpy"' in page


def test_a_file_of_many_costs_the_queries_of_a_file_of_few(finance: Client) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            taken(finance)
        return len(captured)

    HoldFactory.create_batch(2)
    few = cost()
    HoldFactory.create_batch(30)
    assert cost() == few


def test_a_workbook_of_many_rows_takes_no_more_memory_than_one_of_few() -> None:
    def peak(rows: int) -> int:
        tracemalloc.start()
        response: Any = file_response("xlsx", "many", ["A", "B"], ([f"text {n}", n] for n in range(rows)))
        response.close()
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(10)
    assert peak(20_000) < peak(2_000) + 500_000


def test_the_page_says_how_long_a_workbook_takes(finance: Client) -> None:
    assert "made whole before it comes, about a minute for 100,000 rows" in Page(finance.get(EXPORT)).text


def test_the_list_of_a_plan_is_taken_away_as_that_of_the_plan(finance: Client) -> None:
    OrganizationFactory(plan="Team", mrr=100, currency="usd")
    page = finance.get("/admin/organizations/organization/?plan=Team&paying=yes&p=1").content.decode()
    assert f'href="{EXPORT}?paying=yes&amp;plan=Team"' in page
