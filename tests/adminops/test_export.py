"""Lists as files: what stands in them, that nothing in them runs, and that the ledger says who took them."""

import csv
import datetime
import io
import tracemalloc
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import openpyxl
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.translation import gettext_lazy
from openpyxl.utils.escape import unescape

from adminops.reports import REPORTS
from adminops.reports.files import file_response
from billing import mirror
from billing.models import OrganizationCheck, SubscriptionEvent
from organizations.models import Organization
from tests.adminops.pages import Page
from tests.adminops.test_money_lists import days_ago, invoice, owed
from tests.factories import (
    DiscrepancyFactory,
    HoldFactory,
    MembershipFactory,
    OrganizationFactory,
    UnbilledOrganizationFactory,
)

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
    assert line.message == "Took the list “Customers” away as XLSX: Currency: JPY."
    assert line.after["columns"] == ["Name"]


def test_a_file_of_customers_says_of_each_what_the_list_does(finance: Client) -> None:
    kept, new = OrganizationFactory(name="Kept"), OrganizationFactory(name="New")
    UnbilledOrganizationFactory(name="Unbilled")
    mirror.upsert(
        [
            owed(kept, 3, currency="jpy", total=2450, due_date=days_ago(2)),
            invoice(kept, 9),
            invoice(kept, 1, status="draft"),
            invoice(new, 4, total=0),
        ]
    )
    for id_ in ("sub_1", "sub_2"):
        DiscrepancyFactory(organization=kept, stripe_object_id=id_)
    compared_at = timezone.now() - datetime.timedelta(minutes=5)
    OrganizationCheck.objects.create(organization=kept, checked_at=compared_at)
    columns = ["name", "invoice_date", "invoice_currency", "invoice_amount", "invoice_state"]
    columns += ["invoice_overdue_since", "differences", "compared"]
    rows = {row.pop("Name"): list(row.values()) for row in table(taken(finance, columns=columns))}
    day, due = (
        datetime.datetime.fromtimestamp(days_ago(n), datetime.UTC).isoformat(timespec="seconds")[:15]
        for n in (3, 2)
    )
    date, *told, since, differences, compared = rows["Kept"]
    assert date.startswith(day)
    assert told == ["JPY", "2450", "Open"]
    assert since.startswith(due)
    assert differences == "2"
    assert compared == compared_at.isoformat(timespec="seconds")
    assert rows["New"][1:] == ["USD", "0.00", "Paid", "", "0", ""]
    assert rows["Unbilled"] == ["", "", "", "", "", "0", ""]


def test_a_file_of_customers_is_read_chunk_by_chunk(finance: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adminops.reports.base.ROWS_AT_ONCE", 10)

    def cost(rows: int) -> int:
        OrganizationFactory.create_batch(rows - Organization.objects.count())
        with CaptureQueriesContext(connection) as captured:
            assert len(table(taken(finance))) == rows
        return len(captured)

    one, two, three = cost(10), cost(20), cost(30)
    assert two - one == three - two <= 3


NARROWED = {
    "organizations/organization/": (
        (
            "access=active&subscription_status__exact=past_due&overdue=7&plan=Team&currency=eur"
            "&mrr_from=100&seats_to=50&created_at_from=2025-03-01&created_at_to=2025-03-09&q=nor+th&o=-6",
            [
                "Access: Open",
                "Subscription: Past due",
                "Past due: For 7 days and more",
                "Plan: Team",
                "Currency: EUR",
                "MRR: from 100",
                "Seats: to 50",
                "Customer since: from 1 Mar 2025 to 9 Mar 2025",
                "Search: nor th",
                "Sorted by MRR, highest first",
            ],
        ),
        ("o=1.-8", ["Sorted by Customer, from A to Z, then by Renews, latest first"]),
        ("o=-6&p=1&overdue=&q=", ["Sorted by MRR, highest first"]),
        # What cannot be used narrows nothing.
        ("currency=gold&mrr_from=x&access=nobody&o=99.x", []),
    ),
    "billing/subscriptionevent/": (
        (
            "source__exact=staff&type=invoice.paid&organization=acme&actor=ann&kind=refund.&o=-6&before=99",
            [
                "Organization: acme",
                "Person: ann",
                "Type: invoice.paid",
                "Kind: Refunds",
                "Source: Staff",
            ],
        ),
    ),
    "djstripe/invoice/": (("state=overdue&amount_to=1000", ["State: Overdue", "Amount: to 1,000"]),),
    "billing/discrepancy/": (("organization=none", ["Organization: none here"]),),
}


@pytest.mark.parametrize(
    ("listing", "query", "told"),
    [(listing, query, told) for listing, those in NARROWED.items() for query, told in those],
)
def test_what_narrows_a_list_is_said_in_its_own_words(
    administrator: Client, listing: str, query: str, told: list[str]
) -> None:
    address = f"/admin/{listing}export/?{query}"
    shown = administrator.get(address)
    assert sorted(shown.context["narrowed"]) == sorted(told)
    text = Page(shown).text
    for sentence in told:
        assert sentence in text
    assert "exact" not in text
    report = REPORTS[listing.strip("/").replace("/", ".")]
    administrator.post(address, {"kind": "csv", "columns": [report.columns[0].name]})
    line = SubscriptionEvent.objects.get(type="list.exported")
    assert sorted(line.after["filters"]) == sorted(told)
    assert line.message.endswith(f": {'; '.join(line.after['filters']) or 'everything'}.")
    page = Page(administrator.get(f"/admin/billing/subscriptionevent/{line.pk}/change/")).text
    for sentence in told:
        assert sentence in page


def test_a_link_of_another_page_is_said_by_its_name(administrator: Client) -> None:
    organization = OrganizationFactory(name="Northwind Labs")
    for listing, name in (
        ("billing/subscriptionevent", "organization__id__exact"),
        ("billing/discrepancy", "organization"),
    ):
        shown = administrator.get(f"/admin/{listing}/export/", {name: str(organization.pk)})
        assert shown.context["narrowed"] == ["Organization: Northwind Labs"]


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


def sent(rows: Iterable[Any], header: tuple[str, ...] = ("A", "B")) -> Iterator[bytes]:
    response: Any = file_response("xlsx", "many", header, rows)
    return iter(response.streaming_content)


def opened(content: bytes) -> Any:
    return openpyxl.load_workbook(io.BytesIO(content))


def test_a_workbook_of_many_rows_takes_no_more_memory_than_one_of_few() -> None:
    def peak(rows: int) -> int:
        tracemalloc.start()
        for _piece in sent([f"text {n}", n] for n in range(rows)):
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(10)
    assert peak(20_000) < peak(2_000) + 500_000


def test_a_workbook_begins_to_come_before_a_row_is_read_and_goes_on_as_they_are() -> None:
    read = 0

    def rows() -> Iterator[list[Any]]:
        nonlocal read
        for read in range(1, 20_001):
            yield [uuid.uuid4().hex, read]

    came, read_by_then = b"", []
    for piece in sent(rows()):
        came += piece
        read_by_then.append(read)
    assert read_by_then[0] == 0
    assert len(set(read_by_then)) > 10
    sheet = opened(came).active
    assert (sheet.max_row, sheet["B20001"].value) == (20_001, 20_000)


def test_a_workbook_cut_short_by_a_failure_is_no_workbook() -> None:
    def rows() -> Iterator[list[Any]]:
        yield ["a", 1]
        raise ConnectionError

    came = b""
    with suppress(ConnectionError):
        for piece in sent(rows()):
            came += piece
    assert came
    assert not zipfile.is_zipfile(io.BytesIO(came))


def test_what_is_longer_than_a_sheet_goes_on_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adminops.reports.workbook.ROWS_OF_A_SHEET", 301)
    for many, sheets in ((300, [301]), (301, [301, 2]), (700, [301, 301, 101])):
        book = opened(b"".join(sent([str(n), n] for n in range(many))))
        assert [sheet.max_row for sheet in book] == sheets
        assert all(sheet["A1"].value == "A" for sheet in book)
        assert book[book.sheetnames[-1]].cell(sheets[-1], 2).value == many - 1


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (FORMULA, FORMULA),
        ("ن" * 5000, "ن" * 5000),
        ("שלום \u202ethere", "שלום \u202ethere"),
        ('  <b> & "two"\tspaces  ', '  <b> & "two"\tspaces  '),
        ("a\x00\x01\x0b\x1f\ufffeb", "a\x00\x01\x0b\x1f\ufffeb"),
        ("one\r\ntwo\rthree\n", "one\ntwo\rthree\n"),
        ("_x0041_x0042_", "_x0041_x0042_"),
        ("half of one: \ud83d", "half of one: ?"),
        ("x" * 40_000, "x" * 32_767),
        # A spreadsheet counts two for each of these, and one cut in half would be none.
        ("😀" * 20_000, "😀" * 16_383),
        (gettext_lazy("Yes"), "Yes"),
    ],
)
def test_any_text_is_that_text_in_a_workbook(text: str, read: str) -> None:
    cell = opened(b"".join(sent([[text, 1]]))).active["A2"]
    assert cell.data_type == "s"
    assert unescape(cell.value) == read


def test_a_workbook_has_numbers_moments_and_days_as_such() -> None:
    moment = datetime.datetime(
        2026, 11, 23, 23, 59, 59, 999_999, datetime.timezone(datetime.timedelta(hours=1))
    )
    row = [
        Decimal("-1348.50"),
        Decimal(24500),
        Decimal("1.234"),
        10**15,
        True,
        moment,
        datetime.date(2026, 2, 28),
        datetime.date(1899, 1, 1),
        None,
        "",
    ]
    cells = opened(b"".join(sent([row], tuple("ABCDEFGHIJ")))).active[2]
    assert [cell.value for cell in cells] == [
        -1348.5,
        24500,
        1.234,
        str(10**15),
        True,
        moment.astimezone(datetime.UTC).replace(tzinfo=None, microsecond=0),
        datetime.datetime.combine(datetime.date(2026, 2, 28), datetime.time()),
        "1899-01-01",
        None,
        None,
    ]
    assert [cell.number_format for cell in cells[:3]] == ["0.00", "0", "0.000"]
    assert [cell.number_format for cell in cells[5:7]] == ["yyyy-mm-dd hh:mm:ss", "yyyy-mm-dd"]


def test_a_workbook_of_nothing_has_its_titles() -> None:
    many = tuple(f"column {n}" for n in range(800))
    sheet = opened(b"".join(sent([], many))).active
    assert tuple(cell.value for cell in sheet[1]) == many
    assert sheet.freeze_panes == "A2"


def test_the_list_of_a_plan_is_taken_away_as_that_of_the_plan(finance: Client) -> None:
    OrganizationFactory(plan="Team", mrr=100, currency="usd")
    page = finance.get("/admin/organizations/organization/?plan=Team&paying=yes&p=1").content.decode()
    assert f'href="{EXPORT}?paying=yes&amp;plan=Team"' in page
