"""Where we hold something else than Stripe, in rows and words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.admin.utils import label_for_field
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adminops.pages import words
from adminops.pages.operation import Row
from adminops.pages.timeline import status_in_words
from billing.differences import ORGANIZATION, Difference, Differences
from billing.money import format_money
from organizations.models import Organization

KINDS: dict[str, str | Promise] = {
    "customer": gettext_lazy("Customer"),
    "subscription": gettext_lazy("Subscription"),
    "charge": gettext_lazy("Payment"),
    "invoice": gettext_lazy("Invoice"),
    "refund": gettext_lazy("Refund"),
    "dispute": gettext_lazy("Dispute"),
    "payment_method": gettext_lazy("Payment method"),
}
MISSING: dict[str, str | Promise] = {
    "customer": gettext_lazy("Customers that we have not read yet"),
    "subscription": gettext_lazy("Subscriptions that we have not read yet"),
    "charge": gettext_lazy("Payments that we have not read yet"),
    "invoice": gettext_lazy("Invoices that we have not read yet"),
    "refund": gettext_lazy("Refunds that we have not read yet"),
    "dispute": gettext_lazy("Disputes that we have not read yet"),
    "payment_method": gettext_lazy("Payment methods that we have not read yet"),
}
FIELDS: dict[str, str | Promise] = {
    "amount": gettext_lazy("amount"),
    "amount_paid": gettext_lazy("paid"),
    "amount_refunded": gettext_lazy("refunded"),
    "amount_remaining": gettext_lazy("still owed"),
    "balance": gettext_lazy("balance"),
    "deleted": gettext_lazy("deleted at Stripe"),
    "disputed": gettext_lazy("disputed"),
    "has_billing_issue": gettext_lazy("billing issue"),
    "status": gettext_lazy("status at Stripe"),
    "total": gettext_lazy("total"),
}
MONEY = frozenset(
    {"amount", "amount_paid", "amount_refunded", "amount_remaining", "balance", "total", "unit_amount", "mrr"}
)


def rows(differences: Differences) -> list[Row]:
    """A row for each difference, ours before Stripe's; one that says so where there is none."""
    found = [
        Row(
            _name(each),
            _("%(ours)s → %(stripes)s")
            % {"ours": _value(each, each.ours), "stripes": _value(each, each.stripes)},
            below=each.id,
        )
        for each in differences.found
    ]
    found += [Row(str(MISSING[each.kind]), str(each.n)) for each in differences.missing]
    if differences.detached:
        found.append(Row(_("Payment methods that the customer no longer has"), str(differences.detached)))
    return found or [Row(_("Differences from Stripe"), _("none"))]


def sentences(differences: Differences) -> list[str]:
    """What reading again does, and what follows from it."""
    said = [
        ngettext(
            "What Stripe says replaces what we hold: %(n)d difference.",
            "What Stripe says replaces what we hold: %(n)d differences.",
            differences.number,
        )
        % {"n": differences.number}
        if differences.number
        else _("Nothing differs; reading it again changes nothing.")
    ]
    if differences.lifts_hold:
        said.append(_("Nothing is owed, so the hold for non-payment is lifted."))
    said.append(_("Nothing is changed at Stripe."))
    return said


def _name(difference: Difference) -> str:
    if difference.kind != ORGANIZATION:
        return f"{KINDS[difference.kind]}, {FIELDS[difference.field]}"
    return str(capfirst(str(FIELDS.get(difference.field) or label_for_field(difference.field, Organization))))


def _value(difference: Difference, value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if difference.field in {"deleted", "disputed"} and value is None:
        return _("no")
    if value is None or value == "":
        return _("nothing")
    if difference.field in MONEY and difference.currency:
        return format_money(value, difference.currency)
    if isinstance(value, datetime):
        return words.short_moment(value)
    if difference.field in {"status", "subscription_status"}:
        return status_in_words(value)
    return str(value.upper() if difference.field == "currency" else value)
