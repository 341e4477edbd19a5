"""Columns that PostgreSQL keeps beside Stripe's documents, so that lists narrow and add up without reading them.

Migration 0012 of this app makes them; dj-stripe's models do not know of them. Amounts in minor units, moments aware.
"""

from __future__ import annotations

from typing import Any, cast

from django.db import models
from django.db.models import F, Func, OuterRef, Subquery, Sum
from django.db.models.expressions import Col, Combinable, Expression
from django.db.models.functions import Now
from djstripe.models import Charge, Dispute, Invoice, Refund
from djstripe.models.base import StripeModel

_TEXT, _MINOR_UNITS, _MOMENT = models.TextField, models.BigIntegerField, models.DateTimeField
_SHARED: dict[str, type[models.Field[Any, Any]]] = {
    "bo_status": _TEXT,
    "bo_currency": _TEXT,
    # What it comes to: an invoice's total, else Stripe's `amount`.
    "bo_amount": _MINOR_UNITS,
    # The same in whole units of its own currency, by which amounts of many currencies can be told apart.
    "bo_whole_units": models.DecimalField,
}
_KEPT: dict[type[StripeModel], dict[str, type[models.Field[Any, Any]]]] = {
    Invoice: {
        **_SHARED,
        "bo_number": _TEXT,
        "bo_amount_paid": _MINOR_UNITS,
        "bo_amount_remaining": _MINOR_UNITS,
        "bo_due_at": _MOMENT,
        "bo_intents": models.JSONField,
    },
    Charge: {
        **_SHARED,
        "bo_amount_captured": _MINOR_UNITS,
        "bo_amount_refunded": _MINOR_UNITS,
        "bo_disputed": models.BooleanField,
        "bo_failure": _TEXT,
        "bo_card": _TEXT,
        "bo_intent": _TEXT,
    },
    Refund: {**_SHARED, "bo_reason": _TEXT, "bo_failure": _TEXT},
    Dispute: {**_SHARED, "bo_reason": _TEXT, "bo_due_by": _MOMENT},
}

# Whose it is, by the customer's id.
_OWNER: dict[type[StripeModel], str] = {
    Invoice: "customer_id",
    Charge: "customer_id",
    Refund: "charge__customer_id",
    Dispute: "charge__customer_id",
}

TO_ANSWER = ("needs_response", "warning_needs_response")
"""The states of a dispute that waits for our answer."""


OVERDUE = models.Q(bo_status="open", bo_amount_remaining__gt=0, bo_due_at__lt=Now())
"""Invoices that are overdue, as `billing.projection` has it."""


def _fields(model: type[StripeModel]) -> dict[str, models.Field[Any, Any]]:
    made = {}
    for name, kind in _KEPT[model].items():
        field: Any = kind(null=True)
        field.set_attributes_from_name(name)
        # Named by its model, as expressions are compared; the model itself is not told.
        field.model = model
        made[name] = field
    return made


_FIELDS = {model: _fields(model) for model in _KEPT}


class Stored(Expression):
    """One of these columns of the model that is asked for, in `annotate`, `filter` and `aggregate`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def resolve_expression(self, query: Any = None, *args: Any, **kwargs: Any) -> Any:
        """The column, of the table that the query begins with."""
        return Col(query.get_initial_alias(), _FIELDS[query.model][self.name])


def with_columns(model: type[StripeModel]) -> models.QuerySet[Any, Any]:
    """All of a kind, with these columns by their names."""
    columns: dict[str, Combinable] = {name: cast(Any, Stored(name)) for name in _KEPT[model]}
    rows: models.QuerySet[Any, Any] = cast(Any, model)._default_manager.annotate(**columns)
    return rows


def without_documents(rows: models.QuerySet[Any, Any]) -> models.QuerySet[Any, Any]:
    """The same, without reading what Stripe said in full."""
    return rows.defer("stripe_data", "metadata")


def owner_of(model: type[StripeModel]) -> str:
    """Where, seen from a row, the id of its customer stands."""
    return _OWNER[model]


def refunded_of_invoice() -> Subquery:
    """What went back of what paid each invoice, in a query of invoices with these columns; NULL if nothing paid it."""
    paid_it: Any = Func(
        OuterRef("bo_intents"),
        F("bo_intent"),
        function="jsonb_exists",
        output_field=models.BooleanField(),
    )
    charges = with_columns(Charge).filter(paid_it, customer_id=OuterRef("customer_id"), bo_status="succeeded")
    by_customer = charges.order_by().values("customer_id")
    return Subquery(by_customer.annotate(sum=Sum("bo_amount_refunded")).values("sum"))
