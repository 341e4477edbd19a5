"""What was paid for an invoice, and what went back of it, read from Stripe. Changes nothing.

remaining = paid − refunds (pending ones too) − credits after payment − disputes, those lost and those that are open
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from billing import stripe_api
from billing.models import OperationStep
from billing.projection import from_unix
from billing.stripe_api import StripeObject

TAKE_BACK = "take_back"
"""The step that takes off the balance what had gone back twice."""
GONE_WRONG = frozenset({"failed", "canceled"})
"""Refunds that put the money back to us. https://docs.stripe.com/api/refunds/object#refund_object-status"""
UNDER_WAY = frozenset({"pending", "requires_action"})
# What a bank has decided. https://docs.stripe.com/api/disputes/object#dispute_object-status
LOST = "lost"
DECIDED = frozenset({LOST, "won", "warning_closed", "prevented"})


@dataclass(frozen=True)
class Dispute:
    """A bank asks a payment back."""

    amount: int
    status: str
    blocks: bool
    """Whether Stripe refuses to refund the payment because of it."""

    @property
    def is_lost(self) -> bool:
        """Whether the bank keeps the money. One that was won in part is lost for Stripe too, and counts whole."""
        return self.status == LOST

    @property
    def is_open(self) -> bool:
        """Whether the bank has yet to decide."""
        return self.status not in DECIDED

    @property
    def holds(self) -> bool:
        """Whether the bank has the money until it decides; a mere inquiry withdraws nothing."""
        return self.is_open and self.blocks


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
    def disputes(self) -> tuple[Dispute, ...]:
        return tuple(dispute for payment in self.payments for dispute in payment.disputes)

    @property
    def lost(self) -> int:
        """What the bank took back for good."""
        return sum(dispute.amount for dispute in self.disputes if dispute.is_lost)

    @property
    def disputed(self) -> int:
        """What the bank has taken and may keep; until that is decided it cannot go back another way."""
        return sum(dispute.amount for dispute in self.disputes if dispute.holds)

    @property
    def remaining(self) -> int:
        """What can still go back now, one way or another."""
        return max(0, -self.excess - self.disputed)

    @property
    def excess(self) -> int:
        """What went back for good beyond what was paid; negative while something is left."""
        return self.refunded + self.pending + self.credited + self.lost - self.paid

    @property
    def fingerprint(self) -> str:
        """What must still be so for an agreement to hold: how much went back, and how."""
        given = [f"{payment.id}:{payment.refunded + payment.pending}" for payment in self.payments]
        return " ".join(
            [*given, f"credited:{self.credited}", f"lost:{self.lost}", f"disputed:{self.disputed}"]
        )


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
        dispute_of(each)
        for page in stripe_api.list_pages("/v1/disputes", {"charge": charge["id"]})
        for each in page
    )


def dispute_of(found: StripeObject) -> Dispute:
    """A dispute as Stripe or the mirror has it."""
    return Dispute(found["amount"], found["status"], not found["is_charge_refundable"])


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
