"""Events as a file: what happened, without what Stripe sent and without how our code failed."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from adminops.pages.ledger.event_words import by_whom, source_in_words, type_in_words
from adminops.reports.base import Column, Report, amount

EVENTS = Report(
    name="events",
    title=_("Events"),
    model="billing.subscriptionevent",
    columns=(
        Column("id", _("Id"), lambda row: row.pk),
        Column("recorded", _("Recorded"), lambda row: row.created_at),
        Column("happened", _("Happened"), lambda row: row.occurred_at),
        Column("event", _("Event"), lambda row: type_in_words(row.type)),
        Column("type", _("Type"), lambda row: row.type),
        Column(
            "organization",
            _("Organization"),
            lambda row: row.organization.name if row.organization else row.organization_label,
        ),
        Column("source", _("Source"), source_in_words),
        Column("by", _("By"), by_whom),
        Column("state", _("State"), lambda row: row.get_state_display()),
        Column("attempts", _("Tries"), lambda row: row.attempts),
        Column("currency", _("Currency"), lambda row: (row.currency or "").upper()),
        Column("amount", _("Amount"), lambda row: amount(row.amount, row.currency)),
        Column("quantity_before", _("Seats before"), lambda row: row.previous_quantity),
        Column("quantity", _("Seats after"), lambda row: row.quantity),
        Column("status_before", _("Status before"), lambda row: row.previous_status),
        Column("status", _("Status after"), lambda row: row.status),
        Column("reason", _("Reason"), lambda row: row.reason),
        Column("ticket", _("Ticket"), lambda row: row.ticket),
        Column("notes", _("Notes"), lambda row: row.message),
        Column("uuid", _("Our id"), lambda row: str(row.uuid)),
        Column("stripe_event", _("Stripe event"), lambda row: row.stripe_event_id),
        Column("stripe_object", _("Stripe object"), lambda row: row.stripe_object_id),
        Column("stripe_customer", _("Stripe customer"), lambda row: row.stripe_customer_id),
        Column("stripe_subscription", _("Stripe subscription"), lambda row: row.stripe_subscription_id),
        Column("stripe_invoice", _("Stripe invoice"), lambda row: row.stripe_invoice_id),
        Column("stripe_charge", _("Stripe charge"), lambda row: row.stripe_charge_id),
        Column("stripe_refund", _("Stripe refund"), lambda row: row.stripe_refund_id),
        Column("stripe_request", _("Stripe request"), lambda row: row.stripe_request_id),
    ),
)
