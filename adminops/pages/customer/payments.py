"""Payments: every attempt, what went back, what waits on the balance, and the cards that pay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from adminops.pages import words
from adminops.pages.badges import AMBER, BLUE, GREEN, GREY, RED, Badge, stripe_badge
from adminops.pages.customer.invoices import InvoiceRow
from billing.attempts import decline_in_words, has_expired, likely_duplicates
from billing.models import SubscriptionEvent
from billing.money import format_money
from billing.operations.failed_refunds import failure_in_words
from billing.operations.mirrored_account import taken_back_of
from billing.stripe_api import StripeObject


@dataclass(frozen=True)
class PaymentRow:
    """An attempt to pay, as Stripe's charge tells it."""

    data: StripeObject
    badge: Badge | None
    card: str
    invoice: InvoiceRow | None
    declined: str
    """Why, in words; empty where it went through."""
    duplicate: str
    """That it looks like the one before it, in words; empty where it does not."""


@dataclass(frozen=True)
class MethodRow:
    """A way to pay that the customer has left at Stripe."""

    name: str
    expiry: str
    is_default: bool
    trouble: Badge | None


@dataclass(frozen=True)
class GivenBackRow:
    """A refund, a credit to the balance, or a credit note; `amount` in minor units of `currency`."""

    at: datetime | None
    amount: int
    currency: str
    what: str
    badge: Badge | None
    invoice: InvoiceRow | None
    why: str = ""
    reference: str = ""
    """What the customer's bank finds it by."""
    event: SubscriptionEvent | None = None


def payment_rows(charges: Sequence[StripeObject], invoices: Iterable[InvoiceRow]) -> list[PaymentRow]:
    """A row for each charge, in the order given."""
    of_intent = {intent: row for row in invoices for intent in _intents(row.data)}
    twice = likely_duplicates(charges)
    return [
        PaymentRow(
            data=charge,
            badge=stripe_badge(charge),
            card=card_in_words((charge.get("payment_method_details") or {}).get("card") or {}),
            invoice=of_intent.get(charge.get("payment_intent") or ""),
            declined=decline_in_words(charge),
            duplicate=_twice(twice[charge["id"]]) if charge["id"] in twice else "",
        )
        for charge in charges
    ]


def _intents(invoice: StripeObject) -> list[str]:
    """The payment intents that tried to pay an invoice. https://docs.stripe.com/api/invoice-payment"""
    payments = (invoice.get("payments") or {}).get("data") or []
    intents = ((each.get("payment") or {}).get("payment_intent") for each in payments)
    return [each["id"] if isinstance(each, dict) else each for each in intents if each]


def _twice(seconds: int) -> str:
    minutes = max(1, seconds // 60)
    return ngettext(
        "Maybe paid twice: the same amount on the same card %(n)d minute earlier.",
        "Maybe paid twice: the same amount on the same card %(n)d minutes earlier.",
        minutes,
    ) % {"n": minutes}


def card_in_words(card: StripeObject) -> str:
    """ "Visa •••• 4242"; empty for no card."""
    return f"{capfirst(card.get('brand') or '')} •••• {card['last4']}".strip() if card.get("last4") else ""


# -- the cards --------------------------------------------------------------------------------------------


def method_rows(
    methods: Iterable[StripeObject],
    customer: StripeObject,
    subscription: StripeObject | None,
    charges: Sequence[StripeObject],
) -> list[MethodRow]:
    """A row for each way to pay, the one that is charged first."""
    own, usual = (subscription or {}).get("default_payment_method"), customer.get("invoice_settings") or {}
    default = _id(own) or _id(usual.get("default_payment_method"))
    rows = [_method(each, default, charges) for each in methods]
    return sorted(rows, key=lambda row: not row.is_default)


def _method(method: StripeObject, default: str, charges: Sequence[StripeObject]) -> MethodRow:
    card = method.get("card") or {}
    kind = str(method.get("type") or "").replace("_", " ")
    month, year = card.get("exp_month"), card.get("exp_year")
    # Charges come newest first, so the first is how the card does now.
    last = next((each for each in charges if each.get("payment_method") == method["id"]), None)
    trouble = None
    if has_expired(month, year):
        trouble = Badge(_("Expired"), RED, "error")
    elif last is not None and last.get("status") == "failed":
        trouble = Badge(_("Last payment failed"), RED, "error")
    return MethodRow(
        name=card_in_words(card) or str(capfirst(kind)),
        expiry=f"{month:02}/{year}" if month and year else "",
        is_default=method["id"] == default,
        trouble=trouble,
    )


def _id(value: StripeObject | str | None) -> str:
    return str(value["id"]) if isinstance(value, dict) else value or ""


# -- what went back ---------------------------------------------------------------------------------------


def given_back_rows(
    refunds: Iterable[StripeObject],
    credited: Sequence[SubscriptionEvent],
    invoices: Sequence[InvoiceRow],
) -> list[GivenBackRow]:
    """Refunds, credits of ours to the balance, and credit notes made at Stripe, newest first."""
    by_charge = {payment.charge: row for row in invoices for payment in row.account.payments}
    by_id = {row.data["id"]: row for row in invoices}
    rows = [_refund(each, by_charge.get(_id(each.get("charge")))) for each in refunds]
    rows += [_credit(event, by_id.get(event.stripe_invoice_id or "")) for event in credited]
    rows += [note for row in invoices for note in _credit_notes(row, credited)]
    return sorted(rows, key=lambda row: row.at or datetime.min.replace(tzinfo=UTC), reverse=True)


def _refund(refund: StripeObject, invoice: InvoiceRow | None) -> GivenBackRow:
    details = refund.get("destination_details") or {}
    reference = (details.get(details.get("type") or "") or {}).get("reference") or ""
    has_failed = refund.get("status") == "failed"
    return GivenBackRow(
        at=words.from_unix(refund.get("created")),
        amount=refund["amount"],
        currency=refund["currency"],
        what=_("Refund"),
        badge=stripe_badge(refund),
        invoice=invoice,
        why=failure_in_words(refund.get("failure_reason")) if has_failed else "",
        reference=reference,
    )


def _credit(event: SubscriptionEvent, invoice: InvoiceRow | None) -> GivenBackRow:
    given, taken_back, currency = event.amount or 0, taken_back_of(event), event.currency or ""
    said = [event.reason or ""]
    badge = Badge(_("Credited"), GREEN, "check_circle")
    if taken_back:
        sums = {"given": format_money(given, currency), "taken": format_money(taken_back, currency)}
        said.append(_("%(taken)s of %(given)s was taken off the balance again, given back twice") % sums)
        badge = Badge(_("Taken back"), GREY, "undo") if taken_back >= given else badge
    return GivenBackRow(
        at=event.created_at,
        amount=given - taken_back,
        currency=currency,
        what=_("Credit to the balance"),
        badge=badge,
        invoice=invoice,
        why=" · ".join(filter(None, said)),
        event=event,
    )


def _credit_notes(row: InvoiceRow, credited: Sequence[SubscriptionEvent]) -> list[GivenBackRow]:
    """Credit notes that somebody made at Stripe: the mirror knows their sums, as the invoice tells them."""
    ours = sum(each.amount or 0 for each in credited if each.stripe_invoice_id == row.data["id"])
    before = row.data.get("pre_payment_credit_notes_amount") or 0
    after = max(0, row.account.credited - ours)
    sums = [(before, _("Credit note, before it was paid")), (after, _("Credit note, made at Stripe"))]
    return [
        GivenBackRow(
            at=words.from_unix(row.data["created"]),
            amount=amount,
            currency=row.data["currency"],
            what=what,
            badge=Badge(_("Credited"), GREY, "description"),
            invoice=row,
        )
        for amount, what in sums
        if amount
    ]


# -- the balance ------------------------------------------------------------------------------------------


def balance_in_words(customer: StripeObject) -> tuple[str, str, Badge | None]:
    """The balance: its sum, what it means, and a badge; empty texts where it is nothing."""
    balance, currency = customer.get("balance") or 0, customer.get("currency")
    if not balance or not currency:
        return "", "", None
    if balance < 0:
        return (
            format_money(-balance, currency),
            _("credit, which pays the next invoices before any card is charged"),
            Badge(_("Credit waiting"), BLUE, "savings"),
        )
    return (
        format_money(balance, currency),
        _("owed, which is added to the next invoice"),
        Badge(_("Owed"), AMBER, "schedule"),
    )
