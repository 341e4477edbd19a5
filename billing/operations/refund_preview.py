"""What can still go back of an invoice, and what a refund of it would do. Asks Stripe, changes nothing.

    remaining = paid − refunds (pending ones too) − credits after payment

read from Stripe each time, so that what was given back in its dashboard counts. What we have asked for and do not know
the outcome of is held by the lock: one refund of an invoice at a time.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing import stripe_api
from billing.errors import OperationRefused
from billing.models import OperationStep
from billing.money import format_money
from billing.operations.base import Choices, Preview
from billing.operations.intent import in_progress
from billing.projection import from_unix
from billing.stripe_api import StripeObject
from organizations.models import Organization

REFUND_INVOICE = "refund_invoice"
"""The operation's name in the ledger."""
TAKE_BACK = "take_back"
"""The step that takes off the balance what had gone back twice."""
GONE_WRONG = frozenset({"failed", "canceled"})
"""Refunds that put the money back to us. https://docs.stripe.com/api/refunds/object#refund_object-status"""
UNDER_WAY = frozenset({"pending", "requires_action"})


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
class Dispute:
    """A bank asks a payment back."""

    amount: int
    status: str
    blocks: bool
    """Whether Stripe refuses to refund the payment because of it."""


@dataclass(frozen=True)
class Payment:
    """One payment of an invoice by card, as Stripe has it now. Amounts in minor units."""

    id: str
    """What is refunded: a payment intent, or a charge of before there were any."""
    charge: str
    card: str
    """ "visa", or what else it was paid with."""
    last4: str
    paid_at: datetime.datetime | None
    amount: int
    refunded: int
    pending: int
    disputes: tuple[Dispute, ...]

    @property
    def left(self) -> int:
        """What Stripe would still send back to this card."""
        return max(0, self.amount - self.refunded - self.pending)


@dataclass(frozen=True)
class Account:
    """What was paid for an invoice, and what went back of it, at Stripe now. Amounts in minor units."""

    payments: tuple[Payment, ...]
    from_balance: int
    outside: int
    """Paid outside Stripe, by bank transfer say."""
    credited: int
    """Given back after payment otherwise than by a refund: to the customer's balance, or outside Stripe."""
    creditable: int
    """What Stripe would still let a credit note be."""

    @property
    def paid(self) -> int:
        return sum(payment.amount for payment in self.payments) + self.from_balance + self.outside

    @property
    def refunded(self) -> int:
        return sum(payment.refunded for payment in self.payments)

    @property
    def pending(self) -> int:
        return sum(payment.pending for payment in self.payments)

    @property
    def remaining(self) -> int:
        """What can still go back, one way or another."""
        return max(0, -self.excess)

    @property
    def excess(self) -> int:
        """What went back beyond what was paid; negative while something is left."""
        return self.refunded + self.pending + self.credited - self.paid

    @property
    def fingerprint(self) -> str:
        """What must still be so for an agreement to hold: how much went back, and how."""
        given = [f"{payment.id}:{payment.refunded + payment.pending}" for payment in self.payments]
        return " ".join([*given, f"credited:{self.credited}"])


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
    held = in_progress(lock_key_of(choices.invoice))
    if held:
        raise OperationRefused(held)
    invoice = _read_invoice(organization, choices.invoice)
    account = read_account(invoice)
    number, currency = invoice.get("number") or invoice["id"], invoice["currency"]
    payment = None
    if choices.destination == Destination.CARD:
        payment = _payment_chosen(account, choices)
        most = min(payment.left, account.remaining)
    else:
        most = min(account.creditable, account.remaining)
    if account.remaining == 0:
        raise OperationRefused(
            _("All that was paid for invoice %(number)s (%(paid)s) has gone back already.")
            % {"number": number, "paid": format_money(account.paid, currency)}
        )
    amount = most if choices.amount is None else choices.amount
    if not 0 < amount <= most:
        raise OperationRefused(
            _("At most %(most)s can go back this way. Nothing was changed.")
            % {"most": format_money(most, currency)}
        )
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
    if not invoice_id.startswith("in_"):
        raise OperationRefused(_("Choose which invoice goes back."))
    invoice = stripe_api.retrieve(invoice_id)
    if not organization.stripe_customer_id or invoice.get("customer") != organization.stripe_customer_id:
        raise OperationRefused(_("This invoice belongs to another customer. Nothing was changed."))
    if invoice["status"] != "paid":
        raise OperationRefused(
            _("Invoice %(number)s is not paid, so nothing of it can go back.")
            % {"number": invoice.get("number") or invoice["id"]}
        )
    return invoice


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
    if any(dispute.blocks for dispute in payment.disputes):
        raise OperationRefused(
            _(
                "The customer's bank is taking this payment back (a dispute), so Stripe does not refund it."
                " Answer the dispute at Stripe."
            )
        )
    return payment


# -- reading ----------------------------------------------------------------------------------------------


def read_account(invoice: StripeObject) -> Account:
    """What was paid for an invoice and what went back of it. Raises StripeError."""
    payments: list[Payment] = []
    refunds: set[str] = set()
    for each in stripe_api.invoice_payments(invoice):
        if each["status"] == "paid" and each["payment"]["type"] in ("payment_intent", "charge"):
            payment, ids = _read_payment(each)
            payments.append(payment)
            refunds |= ids
    by_card = sum(payment.amount for payment in payments)
    before, after = invoice.get("starting_balance") or 0, invoice.get("ending_balance") or 0
    given = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    return Account(
        payments=tuple(payments),
        # A negative balance is the customer's credit; an invoice too small to be charged adds to what is owed.
        from_balance=max(0, min(after, 0) - min(before, 0)),
        outside=max(0, invoice["amount_paid"] - by_card),
        credited=_credited(invoice["id"], refunds) - _taken_back(invoice["id"]),
        creditable=max(0, invoice["total"] - given),
    )


def _read_payment(reference: StripeObject) -> tuple[Payment, set[str]]:
    """A payment of an invoice, and the ids of all refunds of it."""
    kind = reference["payment"]["type"]
    id_ = _id_of(reference["payment"][kind])
    if kind == "payment_intent":
        intent = stripe_api.call("GET", f"/v1/payment_intents/{id_}", expand=("latest_charge",))
        charge = intent["latest_charge"]
    else:
        charge = stripe_api.retrieve(id_)
    refunds = [each for page in stripe_api.list_pages("/v1/refunds", {kind: id_}) for each in page]
    details = charge.get("payment_method_details") or {}
    card = details.get("card") or {}
    payment = Payment(
        id=id_,
        charge=charge["id"],
        card=card.get("brand") or details.get("type") or "",
        last4=card.get("last4") or "",
        paid_at=from_unix(charge["created"]),
        amount=reference["amount_paid"],
        refunded=sum(each["amount"] for each in refunds if each["status"] not in GONE_WRONG | UNDER_WAY),
        pending=sum(each["amount"] for each in refunds if each["status"] in UNDER_WAY),
        disputes=_disputes(charge),
    )
    return payment, {each["id"] for each in refunds}


def _disputes(charge: StripeObject) -> tuple[Dispute, ...]:
    if not charge.get("disputed"):
        return ()
    return tuple(
        Dispute(each["amount"], each["status"], not each["is_charge_refundable"])
        for page in stripe_api.list_pages("/v1/disputes", {"charge": charge["id"]})
        for each in page
    )


def _credited(invoice_id: str, refunds: set[str]) -> int:
    """What credit notes gave back, but for the refunds that some of them speak of and that are counted as such."""
    credited = 0
    for page in stripe_api.list_pages("/v1/credit_notes", {"invoice": invoice_id}):
        for note in page:
            if note["status"] == "issued":
                credited += note["post_payment_amount"] - sum(
                    link["amount_refunded"] for link in note["refunds"] if _id_of(link["refund"]) in refunds
                )
    return credited


def _taken_back(invoice_id: str) -> int:
    """What we took off the customer's balance again, because it had gone back twice (see `RefundInvoice.following`)."""
    steps = OperationStep.objects.filter(
        event__stripe_invoice_id=invoice_id, name=TAKE_BACK, answer__isnull=False
    )
    return sum(step.params["amount"] for step in steps)


def _id_of(value: StripeObject | str | None) -> str:
    return str(value["id"]) if isinstance(value, dict) else value or ""
