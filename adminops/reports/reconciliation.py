"""Differences from Stripe, and the runs that looked for them, as files."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from adminops.reports.base import Column, Report, amount
from billing.actors import person_name
from billing.reconciliation import telling
from billing.reconciliation.checks import CHECKS


def _with_people(rows: QuerySet[Any]) -> QuerySet[Any]:
    return rows.select_related("organization", "closed_by")


def _state(row: Any) -> str:
    if row.closed_at is not None:
        return str(row.get_closed_how_display())
    return str(_("not shown for now") if telling.is_ignored(row) else _("open"))


def _side(row: Any, name: str) -> str:
    return "; ".join(f"{side.name}: {getattr(side, name)}" for side in telling.sides(row))


DIFFERENCES = Report(
    name="differences",
    title=_("Differences from Stripe"),
    model="billing.discrepancy",
    prepare=_with_people,
    columns=(
        Column("id", _("Id"), lambda row: row.pk),
        Column("type", _("What differs"), lambda row: str(CHECKS[row.type].label)),
        Column(
            "organization", _("Organization"), lambda row: row.organization.name if row.organization else ""
        ),
        Column("customer", _("Stripe customer"), lambda row: row.stripe_customer_id),
        Column("object", _("Stripe object"), lambda row: row.stripe_object_id),
        Column("sentence", _("In a sentence"), telling.sentence),
        Column("ours", _("Ours"), lambda row: _side(row, "ours")),
        Column("theirs", _("Stripe's"), lambda row: _side(row, "theirs")),
        Column("currency", _("Currency"), lambda row: row.currency.upper()),
        Column("amount", _("At stake"), lambda row: amount(row.amount, row.currency)),
        Column("since", _("Since"), lambda row: row.first_seen_at),
        Column("last_seen", _("Last seen"), lambda row: row.last_seen_at),
        Column("times_seen", _("Seen in runs"), lambda row: row.times_seen),
        Column("state", _("State"), _state),
        Column("ignored_until", _("Not shown until"), lambda row: row.ignored_until),
        Column("closed_at", _("Settled"), lambda row: row.closed_at),
        Column("closed_by", _("Settled by"), lambda row: person_name(row.closed_by) if row.closed_by else ""),
        Column("note", _("Note"), lambda row: row.note),
    ),
)

RUNS = Report(
    name="reconciliation-runs",
    title=_("Reconciliation runs"),
    model="billing.reconciliationrun",
    prepare=lambda rows: rows.select_related("asked_by", "organization"),
    columns=(
        Column("id", _("Id"), lambda row: row.pk),
        Column("kind", _("What"), lambda row: row.get_kind_display()),
        Column(
            "organization", _("Organization"), lambda row: row.organization.name if row.organization else ""
        ),
        Column("state", _("State"), lambda row: row.get_state_display()),
        Column("dry_run", _("Only looked"), lambda row: row.dry_run),
        Column("started", _("Started"), lambda row: row.started_at),
        Column("finished", _("Ended"), lambda row: row.finished_at),
        Column("by", _("By"), lambda row: person_name(row.asked_by) if row.asked_by else ""),
        Column("calls", _("Calls to Stripe"), lambda row: row.calls),
        Column("objects", _("Objects read"), lambda row: row.objects_read),
        Column("organizations", _("Organizations compared"), lambda row: row.organizations),
        Column("differing", _("Organizations that differed"), lambda row: row.differing),
        Column("errors", _("Could not be compared"), lambda row: row.errors),
        Column("left_alone", _("Left for the next run"), lambda row: row.left_alone),
        Column("found", _("New differences"), lambda row: row.found),
        Column("fixed", _("Mended"), lambda row: row.fixed),
        Column("gone", _("Gone by themselves"), lambda row: row.gone),
        Column("message", _("What happened"), lambda row: row.message),
    ),
)
