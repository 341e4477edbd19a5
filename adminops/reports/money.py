"""Invoices, payments, refunds and disputes of all organizations as files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from adminops.pages.lists import money_rows
from adminops.reports.base import Column, Report, amount


def _money(name: str, title: str | Promise, of: Callable[[Any], int | None]) -> Column:
    return Column(name, title, lambda row: amount(of(row), row.bo_currency))


_ID = Column("id", _("Stripe id"), lambda row: row.id)
_CREATED = Column("created", _("Date"), lambda row: row.created)
_ORGANIZATION = (
    Column("organization", _("Organization"), money_rows.name_of),
    Column("customer", _("Stripe customer"), lambda row: row.owner),
)
_CURRENCY = Column("currency", _("Currency"), lambda row: (row.bo_currency or "").upper())
_AMOUNT = _money("amount", _("Amount"), lambda row: row.bo_amount)
_STATE = Column("state", _("State"), money_rows.state_of)
_REASON = Column("reason", _("Reason"), money_rows.reason_of)
_FAILURE = Column("failure", _("Why it failed"), money_rows.failure_of)
_CHARGE = Column("charge", _("Payment"), lambda row: row.charge_id)

INVOICES = Report(
    name="invoices",
    title=_("Invoices"),
    model="djstripe.invoice",
    prepare=money_rows.with_refunded,
    columns=(
        Column("number", _("Number"), lambda row: row.bo_number),
        _ID,
        _CREATED,
        *_ORGANIZATION,
        _STATE,
        _CURRENCY,
        _AMOUNT,
        _money("paid", _("Paid"), lambda row: row.bo_amount_paid),
        _money("remaining", _("Left to pay"), lambda row: row.bo_amount_remaining),
        _money("refunded", _("Refunded"), lambda row: row.refunded or 0),
        Column("due", _("Due"), lambda row: row.bo_due_at),
        Column("overdue_since", _("Overdue since"), money_rows.overdue_since),
    ),
)

PAYMENTS = Report(
    name="payments",
    title=_("Payments"),
    model="djstripe.charge",
    prepare=money_rows.with_organization,
    columns=(
        _ID,
        _CREATED,
        *_ORGANIZATION,
        _STATE,
        _CURRENCY,
        _AMOUNT,
        _money("captured", _("Paid"), lambda row: row.bo_amount_captured),
        _money("refunded", _("Refunded"), lambda row: row.bo_amount_refunded),
        Column("card", _("Card"), money_rows.card_of),
        _FAILURE,
    ),
)

REFUNDS = Report(
    name="refunds",
    title=_("Refunds"),
    model="djstripe.refund",
    prepare=money_rows.with_organization,
    columns=(_ID, _CREATED, *_ORGANIZATION, _STATE, _CURRENCY, _AMOUNT, _REASON, _FAILURE, _CHARGE),
)

DISPUTES = Report(
    name="disputes",
    title=_("Disputes"),
    model="djstripe.dispute",
    prepare=money_rows.with_organization,
    columns=(
        _ID,
        _CREATED,
        *_ORGANIZATION,
        _REASON,
        _STATE,
        _CURRENCY,
        _AMOUNT,
        Column("due_by", _("Answer by"), lambda row: row.bo_due_by),
        _CHARGE,
    ),
)
