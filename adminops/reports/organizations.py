"""Customers as a file."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from adminops.reports.base import Column, Report, amount
from organizations.models import Hold, Membership


def prepare(organizations: QuerySet[Any]) -> QuerySet[Any]:
    """With seats used and the kinds of open holds, in the same query."""
    used = (
        Membership.objects.filter(organization=OuterRef("pk"), status=Membership.Status.ACTIVE)
        .order_by()
        .values("organization")
        .annotate(count=Count("pk"))
        .values("count")
    )
    prepared: QuerySet[Any] = organizations.annotate(used=Coalesce(Subquery(used), 0)).prefetch_related(
        Prefetch("holds", Hold.objects.open(), to_attr="holds_open")
    )
    return prepared


def _holds(organization: Any) -> str:
    return ", ".join(hold.get_kind_display() for hold in organization.holds_open)


CUSTOMERS = Report(
    name="customers",
    title=_("Customers"),
    model="organizations.organization",
    prepare=prepare,
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
        Column("period_end", _("Period end"), lambda row: row.current_period_end),
        Column("ends_at", _("Ends"), lambda row: row.ends_at),
        Column("trial_end", _("Trial ends"), lambda row: row.trial_end),
        Column("customer_since", _("Customer since"), lambda row: row.created_at),
        Column("last_activity", _("Last activity"), lambda row: row.last_activity_at),
        Column("stripe_customer", _("Stripe customer"), lambda row: row.stripe_customer_id),
        Column("stripe_subscription", _("Stripe subscription"), lambda row: row.stripe_subscription_id),
    ),
)
