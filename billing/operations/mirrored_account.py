"""What can still go back of invoices, as far as our own database tells: for lists, where Stripe is asked nothing.

The account that counts is read from Stripe before anything goes back (`refund_account`).
"""

from __future__ import annotations

from collections.abc import Sequence

from billing import mirror
from billing.models import SubscriptionEvent
from billing.one_look import read_once
from billing.operations.failed_refunds import REFUNDS_READ, credits_of
from billing.operations.refund_account import GONE_WRONG, UNDER_WAY, Account, Payment, dispute_of
from billing.projection import from_unix
from billing.stripe_api import StripeObject
from organizations.models import Organization

# Of one customer, newest first.
DISPUTES_READ = 100


def mirrored_accounts(
    organization: Organization,
    invoices: Sequence[StripeObject],
    charges: Sequence[StripeObject] | None = None,
) -> dict[str, Account]:
    """The account of each of an organization's invoices, by its id; the same number of queries for any number.

    `charges` are all that the customer ever had, where they were read already.
    """
    customer_id = organization.stripe_customer_id
    if not customer_id or not invoices:
        return {}
    paid_by = (
        mirror.charges_of_invoices(invoices)
        if charges is None
        else mirror.charges_by_invoice(invoices, charges)
    )
    refunds = mirror.refunds_of(customer_id, limit=REFUNDS_READ)
    disputes = mirror.disputes_of(customer_id, limit=DISPUTES_READ)
    credited: dict[str | None, int] = {}
    for event in balance_credits_of(organization.pk):
        taken_back = (event.after or {}).get("taken_back") or 0
        credited[event.stripe_invoice_id] = (
            credited.get(event.stripe_invoice_id, 0) + (event.amount or 0) - taken_back
        )
    return {
        invoice["id"]: _account(
            invoice,
            tuple(_payment(charge, refunds, disputes) for charge in paid_by[invoice["id"]]),
            credited.get(invoice["id"], 0),
        )
        for invoice in invoices
    }


@read_once
def balance_credits_of(organization_id: int) -> list[SubscriptionEvent]:
    """What we credited to a customer's balance instead of refunding it, newest first."""
    found = credits_of(organization_id).defer("traceback", "before").order_by("-id")
    return list(found[:REFUNDS_READ])


def _account(invoice: StripeObject, payments: tuple[Payment, ...], credited: int) -> Account:
    before, after = invoice.get("starting_balance") or 0, invoice.get("ending_balance") or 0
    noted = invoice.get("post_payment_credit_notes_amount") or 0
    back = sum(payment.refunded + payment.pending for payment in payments)
    by_card = sum(payment.amount for payment in payments)
    return Account(
        payments=payments,
        from_balance=max(0, min(after, 0) - min(before, 0)),
        outside=max(0, (invoice.get("amount_paid") or 0) - by_card),
        # Credit notes may speak of refunds, and which ones do the mirror does not know: counted once, at least.
        credited=max(credited, noted - back, 0),
        creditable=max(0, invoice["total"] - noted - (invoice.get("pre_payment_credit_notes_amount") or 0)),
    )


def _payment(charge: StripeObject, refunds: list[StripeObject], disputes: list[StripeObject]) -> Payment:
    details = charge.get("payment_method_details") or {}
    card = details.get("card") or {}
    of_it = [each for each in refunds if each.get("charge") == charge["id"]]
    pending = sum(each["amount"] for each in of_it if each.get("status") in UNDER_WAY)
    # A charge counts its refunds as soon as they are asked for, and takes back those that failed.
    known = sum(each["amount"] for each in of_it if each.get("status") not in GONE_WRONG)
    return Payment(
        id=charge.get("payment_intent") or charge["id"],
        charge=charge["id"],
        card=card.get("brand") or details.get("type") or "",
        last4=card.get("last4") or "",
        paid_at=from_unix(charge["created"]),
        amount=charge["amount"],
        refunded=max(charge.get("amount_refunded") or 0, known) - pending,
        pending=pending,
        disputes=tuple(dispute_of(each) for each in disputes if each.get("charge") == charge["id"]),
    )
