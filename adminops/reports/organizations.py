"""Customers as a file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext_lazy as _

from adminops.pages.badges import stripe_badge
from adminops.pages.lists import customer_rows
from adminops.reports.base import Cell, Column, Report, amount


def _holds(organization: Any) -> str:
    return ", ".join(hold.get_kind_display() for hold in organization.holds_open)


def _of_invoice(cell: Callable[[dict[str, Any]], Cell]) -> Callable[[Any], Cell]:
    """What a cell says of a customer's newest invoice, where there is one."""
    return lambda row: cell(row.newest_invoice) if row.newest_invoice else None


def _moment(invoice: dict[str, Any], name: str) -> datetime | None:
    return datetime.fromisoformat(invoice[name]) if invoice[name] else None


def _total(invoice: dict[str, Any]) -> Decimal | None:
    return amount(int(invoice["total"] or 0), invoice["currency"])


def _state(invoice: dict[str, Any]) -> str:
    badge = stripe_badge({"object": "invoice", "status": invoice["status"]})
    return str(badge.word) if badge else ""


CUSTOMERS = Report(
    name="customers",
    title=_("Customers"),
    model="organizations.organization",
    tell=customer_rows.tell,
    columns=(
        Column("id", _("Id"), lambda row: row.pk),
        Column("name", _("Name"), lambda row: row.name),
        Column("slug", _("Slug"), lambda row: row.slug),
        Column("billing_email", _("Billing e-mail"), lambda row: row.billing_email),
        Column("suspended_for", _("Suspended for"), _holds),
        Column("subscription", _("Subscription"), lambda row: row.get_subscription_status_display()),
        Column("plan", _("Plan"), lambda row: row.plan),
        Column("interval", _("Billed"), lambda row: row.get_interval_display()),
        Column("seats_used", _("Seats used"), lambda row: row.used),
        Column("seats_paid", _("Seats paid"), lambda row: row.seats),
        Column("currency", _("Currency"), lambda row: row.currency.upper()),
        Column("mrr", _("MRR"), lambda row: amount(row.mrr, row.currency)),
        Column("overdue", _("Overdue"), lambda row: amount(row.amount_overdue, row.currency)),
        Column("overdue_since", _("Overdue since"), lambda row: row.billing_issue_since),
        Column("invoice_date", _("Last invoice"), _of_invoice(lambda invoice: _moment(invoice, "created"))),
        Column(
            "invoice_currency",
            _("Last invoice currency"),
            _of_invoice(lambda invoice: (invoice["currency"] or "").upper()),
        ),
        Column("invoice_amount", _("Last invoice amount"), _of_invoice(_total)),
        Column("invoice_state", _("Last invoice state"), _of_invoice(_state)),
        Column(
            "invoice_overdue_since",
            _("Last invoice overdue since"),
            _of_invoice(lambda invoice: _moment(invoice, "overdue_since")),
        ),
        Column("period_end", _("Period end"), lambda row: row.current_period_end),
        Column("ends_at", _("Ends"), lambda row: row.ends_at),
        Column("trial_end", _("Trial ends"), lambda row: row.trial_end),
        Column("customer_since", _("Customer since"), lambda row: row.created_at),
        Column("last_activity", _("Last activity"), lambda row: row.last_activity_at),
        Column("differences", _("Open differences"), lambda row: row.differences),
        Column("compared", _("Last compared"), lambda row: row.compared_at),
        Column("stripe_customer", _("Stripe customer"), lambda row: row.stripe_customer_id),
        Column("stripe_subscription", _("Stripe subscription"), lambda row: row.stripe_subscription_id),
    ),
)
