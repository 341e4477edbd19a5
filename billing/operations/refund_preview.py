"""What can still go back of an invoice, and what a refund of it would do. Asks Stripe, changes nothing.

The account (`refund_account`) is read from Stripe each time, so that what was given back in its dashboard counts. What
we have asked for and do not know the outcome of is held by the lock: one refund of an invoice at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing import stripe_api
from billing.errors import OperationRefused
from billing.money import check_payable, format_money, payable
from billing.operations.base import Choices, Preview
from billing.operations.intent import in_progress
from billing.operations.refund_account import Account, Dispute, Payment, read_account
from billing.stripe_api import StripeObject
from organizations.models import Organization

REFUND_INVOICE = "refund_invoice"
"""The operation's name in the ledger."""

_INVOICE = re.compile(r"in_[A-Za-z0-9_]{1,200}")


class Destination(models.TextChoices):
    """Where the money goes."""

    CARD = "card", gettext_lazy("Back to the card")
    BALANCE = "balance", gettext_lazy("To the customer's balance, for the next invoices")


class StripeReason(models.TextChoices):
    """Stripe's own reasons of a refund; fraud also blocks the card."""

    DUPLICATE = "duplicate", gettext_lazy("Duplicate")
    FRAUDULENT = "fraudulent", gettext_lazy("Fraudulent")
    REQUESTED = "requested_by_customer", gettext_lazy("Requested by the customer")


@dataclass(frozen=True)
class RefundChoices(Choices):
    """Which invoice, how much of it, to where."""

    invoice: str = ""
    amount: int | None = None
    """Minor units of the invoice's currency; None for all that is left."""
    destination: str = Destination.CARD.value
    payment: str = ""
    """Which payment (`pi_…`, `ch_…`) goes back to its card, where the invoice has several."""
    stripe_reason: str = ""


@dataclass(frozen=True)
class RefundPreview(Preview):
    """What would go back, and of what. Amounts in minor units of `currency`."""

    invoice_id: str
    number: str
    currency: str
    destination: str
    stripe_reason: str
    amount: int
    account: Account
    payment: Payment | None
    """Which payment goes back to its card; None for a credit."""
    charge_id: str | None
    """The charge that the ledger names: of a credit, the newest of the invoice."""
    fingerprint: str
    """Of the account as it was shown."""


def preview_refund(organization: Organization, choices: RefundChoices) -> RefundPreview:
    """What a refund would do.

    Raises OperationRefused where it cannot be done, StripeError where Stripe does not tell.
    """
    # The lock is on the id as it is written here, so there must be one way only to write it.
    if not _INVOICE.fullmatch(choices.invoice):
        raise OperationRefused(_("Choose which invoice goes back."))
    held = in_progress(lock_key_of(choices.invoice))
    if held:
        raise OperationRefused(held)
    invoice = _read_invoice(organization, choices.invoice)
    account = read_account(invoice)
    number, currency = invoice.get("number") or invoice["id"], invoice["currency"]
    if account.excess >= 0:
        raise OperationRefused(
            _("All that was paid for invoice %(number)s (%(paid)s) has gone back already.")
            % {"number": number, "paid": format_money(account.paid, currency)}
        )
    payment = None
    if choices.destination == Destination.CARD:
        payment = _payment_chosen(account, choices)
        most = min(payment.left, account.remaining)
    else:
        most = min(account.creditable, account.remaining)
    most = payable(most, currency)
    amount = most if choices.amount is None else choices.amount
    if not 0 < amount <= most:
        raise OperationRefused(_too_much(account, choices.amount, most, currency))
    check_payable(amount, currency)
    paying = payment or next(iter(account.payments), None)
    return RefundPreview(
        invoice_id=invoice["id"],
        number=number,
        currency=currency,
        destination=choices.destination,
        stripe_reason=choices.stripe_reason,
        amount=amount,
        account=account,
        payment=payment,
        charge_id=paying.charge if paying else None,
        fingerprint=account.fingerprint,
    )


def lock_key_of(invoice_id: str) -> str:
    """What a refund of this invoice holds while it is pending."""
    return f"invoice:{invoice_id}"


def _read_invoice(organization: Organization, invoice_id: str) -> StripeObject:
    """The invoice as Stripe has it now. Raises OperationRefused where it is not this customer's, or not paid."""
    invoice = stripe_api.retrieve(invoice_id)
    if invoice["id"] != invoice_id:
        raise OperationRefused(_("Choose which invoice goes back."))
    if not organization.stripe_customer_id or invoice.get("customer") != organization.stripe_customer_id:
        raise OperationRefused(_("This invoice belongs to another customer. Nothing was changed."))
    if invoice["status"] != "paid":
        raise OperationRefused(
            _("Invoice %(number)s is not paid, so nothing of it can go back.")
            % {"number": invoice.get("number") or invoice["id"]}
        )
    return invoice


def _too_much(account: Account, asked: int | None, most: int, currency: str) -> str:
    """Why no more than `most` minor units can go back, in sentences; `asked` is None where all that is left was."""
    told = {
        "asked": format_money(asked or 0, currency),
        "most": format_money(most, currency),
        "disputed": format_money(account.disputed, currency),
    }
    if not account.disputed and asked:
        return (
            _("%(asked)s is more than is left. At most %(most)s can go back this way. Nothing was changed.")
            % told
        )
    if not account.disputed:
        return _("At most %(most)s can go back this way. Nothing was changed.") % told
    held = (
        _(
            "The customer's bank disputes %(disputed)s of this invoice and may keep it; until that is decided, it"
            " cannot go back another way."
        )
        % told
    )
    rest = (
        _("At most %(most)s can go back now. Nothing was changed.") % told
        if most
        else _("Nothing can go back now. Answer the dispute at Stripe.")
    )
    return f"{held} {rest}"


def _payment_chosen(account: Account, choices: RefundChoices) -> Payment:
    """The payment that goes back to its card. Raises OperationRefused where there is none, or none was chosen."""
    if not account.payments:
        raise OperationRefused(
            _(
                "This invoice was paid outside Stripe, so nothing can go back to a card."
                " Credit the customer's balance instead, or pay it back the way it came."
            )
            if account.outside
            else _(
                "This invoice was paid from the customer's balance, so nothing can go back to a card."
                " Credit the customer's balance instead."
            )
        )
    fitting = [payment for payment in account.payments if choices.payment in ("", payment.id)]
    if not fitting:
        raise OperationRefused(_("This payment is not one of this invoice's. Choose another."))
    if len(fitting) > 1:
        raise OperationRefused(
            ngettext(
                "This invoice was paid in %(n)d payment. Choose which one goes back.",
                "This invoice was paid in %(n)d payments. Choose which one goes back.",
                len(fitting),
            )
            % {"n": len(fitting)}
        )
    (payment,) = fitting
    refuse_for_disputes(payment.disputes)
    return payment


def refuse_for_disputes(disputes: Iterable[Dispute]) -> None:
    """Raises OperationRefused where Stripe refunds a payment with these disputes no more, or not now."""
    disputes = list(disputes)
    if any(dispute.is_lost for dispute in disputes):
        raise OperationRefused(
            _(
                "The customer's bank took this payment back (a dispute that was lost), so Stripe does not refund it."
                " Credit the customer's balance with what is left instead."
            )
        )
    if any(dispute.blocks for dispute in disputes):
        raise OperationRefused(
            _(
                "The customer's bank is taking this payment back (a dispute), so Stripe does not refund it."
                " Answer the dispute at Stripe."
            )
        )
