"""One payment, refund, dispute or invoice in words: what it came to, why, whose it is, and what belongs to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from adminops.pages import words
from adminops.pages.badges import stripe_badge
from adminops.pages.customer.invoice_page import invoice_url
from adminops.pages.customer.payments import card_in_words
from billing import mirror
from billing.attempts import decline_in_words
from billing.mirror.stored import TO_ANSWER
from billing.money import format_money
from billing.operations.failed_refunds import failure_in_words
from billing.stripe_api import StripeObject
from organizations.models import Organization

SEE_RAW = "billing.view_eventpayload"

type Facts = list[tuple[str | Promise, Any]]


def facts_of(item: Any, user: Any) -> Facts:
    """What a person asks of it, each with its answer; empty for kinds that have no words of their own."""
    data: StripeObject = item.stripe_data or {}
    kind = data.get("object")
    if kind not in {"charge", "refund", "dispute", "invoice"} or not data.get("currency"):
        return []
    return [(label, value) for label, value in _told_of(item, data, user) if value]


def _told_of(item: Any, data: StripeObject, user: Any) -> Facts:
    kind, amount = data["object"], (_("Amount"), _sum(data))
    if kind == "invoice":
        return [amount, *_of_invoice(data), *_whose(data.get("customer"), None, user)]
    charge = item if kind == "charge" else item.charge
    paid: StripeObject = (charge.stripe_data or {}) if charge else {}
    told: Facts = [amount]
    told += {"charge": _of_payment, "refund": _of_refund, "dispute": _of_dispute}[kind](data)
    if kind != "charge":
        told.append((_("Payment"), _linked([charge] if charge else [], user)))
    else:
        told.append((_("Refunds"), _linked(item.refunds.all(), user)))
        told.append((_("Dispute"), _linked(item.disputes.all(), user)))
    told += _whose(paid.get("customer"), paid.get("id"), user)
    return told


def _of_payment(data: StripeObject) -> Facts:
    card = (data.get("payment_method_details") or {}).get("card") or {}
    back = data.get("amount_refunded") or 0
    return [
        (_("Why it was declined"), capfirst(decline_in_words(data))),
        (_("Card"), card_in_words(card)),
        (_("Given back"), format_money(back, data["currency"]) if back else ""),
    ]


def _of_refund(data: StripeObject) -> Facts:
    has_failed = data.get("status") == "failed"
    return [
        (_("Why it failed"), capfirst(failure_in_words(data.get("failure_reason"))) if has_failed else ""),
        (_("Reason"), capfirst((data.get("reason") or "").replace("_", " "))),
    ]


def _of_dispute(data: StripeObject) -> Facts:
    due = words.from_unix((data.get("evidence_details") or {}).get("due_by"))
    waits = due is not None and data.get("status") in TO_ANSWER
    return [
        (_("Answer by"), words.exact_moment(due) if due and waits else ""),
        (_("Reason"), capfirst((data.get("reason") or "").replace("_", " "))),
    ]


def _of_invoice(data: StripeObject) -> Facts:
    left, due = data.get("amount_remaining") or 0, words.from_unix(data.get("due_date"))
    is_open = data.get("status") == "open"
    return [
        (_("Number"), data.get("number")),
        (_("Paid"), format_money(data.get("amount_paid") or 0, data["currency"])),
        (_("Left to pay"), format_money(left, data["currency"]) if is_open else ""),
        (_("Due"), words.exact_moment(due) if due and is_open else ""),
    ]


def _whose(customer_id: str | None, charge_id: str | None, user: Any) -> Facts:
    """The customer, and the invoice that a charge paid."""
    organization = (
        Organization.objects.filter(stripe_customer_id=customer_id).first() if customer_id else None
    )
    if organization is None:
        return [(_("Customer"), customer_id)]
    invoice_id = mirror.invoice_of_charge(charge_id) if charge_id else None
    invoice = mirror.invoice_of(str(customer_id), invoice_id) if invoice_id else None
    number = (invoice or {}).get("number") or invoice_id or ""
    if not user.has_perm("organizations.view_organization"):
        return [(_("Customer"), organization.name), (_("Invoice"), number)]
    home = reverse("admin:organizations_organization_change", args=[organization.pk])
    told: Facts = [(_("Customer"), _link(home, organization.name))]
    if invoice_id:
        told.append((_("Invoice"), _link(invoice_url(organization.pk, invoice_id), number)))
    return told


def _linked(rows: Iterable[Any], user: Any) -> str:
    """Each with its sum, its day and how it stands, a line each; a link for those who may see it."""
    lines = []
    for row in rows:
        data = row.stripe_data or {}
        name, day = row._meta.model_name, words.from_unix(data.get("created"))
        said = " · ".join(filter(None, [_sum(data), words.short_date(day) if day else ""])) or row.id
        may_see = user.has_perm(f"djstripe.view_{name}")
        shown = _link(reverse(f"admin:djstripe_{name}_change", args=[row.pk]), said) if may_see else said
        lines.append((shown, stripe_badge(data) or ""))
    return format_html_join("", '<span class="bo-line">{} {}</span>', lines)


def _sum(data: StripeObject) -> str:
    name = "total" if data.get("object") == "invoice" else "amount"
    return format_money(data[name], data["currency"]) if data.get("currency") else ""


def _link(url: str, text: str) -> str:
    return format_html('<a class="bo-link" href="{}">{}</a>', url, text)
