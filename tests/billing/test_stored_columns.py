"""Columns that PostgreSQL keeps beside Stripe's documents: what they say, and that no document makes them fail."""

import importlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Sum

from billing import mirror, money
from billing.mirror import stored
from billing.mirror.tables import MODEL_OF

pytestmark = pytest.mark.django_db

BORN = 1_790_000_000


def row(data: dict[str, Any]) -> Any:
    """The row that a document became."""
    mirror.upsert([data])
    return stored.with_columns(MODEL_OF[data["object"]]).get(id=data["id"])


def invoice(**said: Any) -> dict[str, Any]:
    return {
        "id": "in_1",
        "object": "invoice",
        "customer": "cus_1",
        "created": BORN,
        "livemode": False,
        "status": "open",
        "currency": "usd",
        "total": 2900,
        **said,
    }


def test_an_invoice_says_what_it_comes_to_and_when_it_is_due() -> None:
    found = row(invoice(number="NW-0001", amount_paid=900, amount_remaining=2000, due_date=BORN + 60))
    assert (found.bo_status, found.bo_currency, found.bo_number) == ("open", "usd", "NW-0001")
    assert (found.bo_amount, found.bo_amount_paid, found.bo_amount_remaining) == (2900, 900, 2000)
    assert found.bo_due_at == datetime.fromtimestamp(BORN + 60, UTC)


def test_an_invoice_without_a_due_date_is_due_once_its_payment_was_tried() -> None:
    assert row(invoice(attempted=False)).bo_due_at is None
    assert row(invoice(attempted=True)).bo_due_at == datetime.fromtimestamp(BORN, UTC)


@pytest.mark.parametrize(
    ("currency", "whole"), [("usd", "29"), ("jpy", "2900"), ("kwd", "2.9"), ("JPY", "2900")]
)
def test_amounts_of_all_currencies_stand_beside_each_other_in_whole_units(currency: str, whole: str) -> None:
    assert row(invoice(currency=currency)).bo_whole_units == Decimal(whole)


def test_the_migration_knows_the_currencies_that_we_know() -> None:
    migration = importlib.import_module("billing.migrations.0012_columns_of_documents")
    assert set(migration.ZERO_DECIMAL) == money.ZERO_DECIMAL
    assert set(migration.THREE_DECIMAL) == money.THREE_DECIMAL


@pytest.mark.parametrize(
    "said",
    [
        {"total": "a lot", "amount_paid": 10**30, "amount_remaining": 1.5, "due_date": "tomorrow"},
        {"total": [1], "due_date": 10**15, "created": BORN, "attempted": "yes"},
        {"status": {"of": "mind"}, "currency": ["usd"], "number": 7},
        {"number": "😀\"'<script>" * 2000, "status": "x" * 9000, "currency": "y" * 9000},
        {"payments": "none", "total": None},
        {"payments": {"data": [None, 1, {"payment": "x"}, {"payment": {"payment_intent": [2]}}]}},
    ],
)
def test_no_document_makes_the_columns_fail(said: dict[str, Any]) -> None:
    found = row(invoice(**said))
    assert len(found.bo_number or "") <= 100
    assert len(found.bo_status or "") <= 60


def test_a_document_that_is_no_object_has_none_of_them() -> None:
    row(invoice())
    rows = stored.with_columns(MODEL_OF["invoice"])
    poisons: tuple[Any, ...] = ([], 5, "text", {})
    for poison in poisons:
        rows.update(stripe_data=poison)
        found = rows.get()
        assert (found.bo_status, found.bo_amount, found.bo_due_at) == (None, None, None)


def test_what_went_back_of_an_invoice_is_added_up_over_all_that_paid_it() -> None:
    def charge(number: int, **said: Any) -> dict[str, Any]:
        return {
            "id": f"ch_{number}",
            "object": "charge",
            "customer": "cus_1",
            "status": "succeeded",
            "amount": 1000,
            "amount_refunded": 100,
            "currency": "usd",
            "payment_intent": f"pi_{number}",
            "livemode": False,
            **said,
        }

    mirror.upsert(
        [
            charge(1),
            charge(2, payment_intent={"id": "pi_2"}),
            charge(3, status="failed", payment_intent="pi_1"),
            charge(4),
            charge(5, customer="cus_2", payment_intent="pi_1"),
        ]
    )
    payments = [{"payment": {"payment_intent": "pi_1"}}, {"payment": {"payment_intent": {"id": "pi_2"}}}]
    row(invoice(payments={"data": payments}))
    row(invoice(id="in_2"))
    rows = stored.with_columns(MODEL_OF["invoice"]).annotate(refunded=stored.refunded_of_invoice())
    assert dict(rows.values_list("id", "refunded")) == {"in_1": 200, "in_2": None}


def test_columns_are_added_up_and_lead_through_the_charge_to_the_customer() -> None:
    dispute = {
        "id": "du_1",
        "object": "dispute",
        "charge": "ch_1",
        "amount": 500,
        "currency": "eur",
        "status": "needs_response",
        "reason": "fraudulent",
        "livemode": False,
        "evidence_details": {"due_by": BORN},
    }
    payment = {
        "id": "ch_1",
        "object": "charge",
        "customer": "cus_1",
        "amount": 500,
        "currency": "eur",
        "status": "succeeded",
        "disputed": True,
        "livemode": False,
        "payment_method_details": {"card": {"brand": "visa", "last4": "4242"}},
    }
    assert row(payment).bo_card == "visa 4242"
    assert row(dispute).bo_due_by == datetime.fromtimestamp(BORN, UTC)
    rows = stored.with_columns(MODEL_OF["dispute"]).filter(charge__customer_id="cus_1")
    sums = rows.order_by().values("bo_currency").annotate(sum=Sum("bo_amount"))
    assert list(sums.values_list("bo_currency", "sum")) == [("eur", 500)]
    assert rows.filter(charge__in=MODEL_OF["charge"].objects.all()).count() == 1
