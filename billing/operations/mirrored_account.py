"""What can still go back of invoices, as far as our own database tells: for lists, where Stripe is asked nothing.

The account that counts is read from Stripe before anything goes back (`refund_account`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from billing import mirror
from billing.models import SubscriptionEvent
from billing.money import format_money
from billing.one_look import read_once
from billing.operations.failed_refunds import REFUNDS_READ, credits_of
from billing.operations.refund_account import GONE_WRONG, UNDER_WAY, Account, Payment, dispute_of
from billing.projection import from_unix
from billing.stripe_api import StripeObject
from organizations.models import Organization

# Of one customer, newest first.
DISPUTES_READ = 100


@dataclass(frozen=True)
class MirroredAccount(Account):
    """An account as far as our own database tells."""

    at_most: bool = False
    """Whether less than `remaining` may be left: there are refunds and credit notes that somebody made at Stripe, and
    the mirror does not know which of them are one and the same."""


def left_in_words(account: MirroredAccount, currency: str) -> str:
    """ "$60.00 left", or "at most $60.00 left" where only Stripe knows; empty where nothing is."""
    if not account.remaining:
        return ""
    words = _("at most %(sum)s left") if account.at_most else _("%(sum)s left")
    return words % {"sum": format_money(account.remaining, currency)}


def mirrored_accounts(
    organization: Organization,
    invoices: Sequence[StripeObject],
    charges: Sequence[StripeObject] | None = None,
) -> dict[str, MirroredAccount]:
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
    return accounts_of(
        invoices, paid_by, _by_charge(refunds), _by_charge(disputes), balance_credits_of(organization.pk)
    )


def accounts_of(
    invoices: Iterable[StripeObject],
    paid_by: Mapping[str, Sequence[StripeObject]],
    refunds: Mapping[str, Sequence[StripeObject]],
    disputes: Mapping[str, Sequence[StripeObject]],
    credits_: Iterable[SubscriptionEvent],
) -> dict[str, MirroredAccount]:
    """The account of each invoice, whosever it is, by its id, where all was read already: the charges that paid it, by
    its id; the refunds and disputes of those, by theirs; and what we credited instead of refunding it.
    """
    credited: dict[str | None, list[SubscriptionEvent]] = {}
    for event in credits_:
        credited.setdefault(event.stripe_invoice_id, []).append(event)
    return {
        invoice["id"]: _account(
            invoice,
            tuple(
                _payment(charge, refunds.get(charge["id"], ()), disputes.get(charge["id"], ()))
                for charge in paid_by[invoice["id"]]
            ),
            credited.get(invoice["id"], ()),
        )
        for invoice in invoices
    }


@read_once
def balance_credits_of(organization_id: int) -> list[SubscriptionEvent]:
    """What we credited to a customer's balance instead of refunding it, newest first."""
    found = credits_of(organization_id).defer("traceback", "before").order_by("-id")
    return list(found[:REFUNDS_READ])


def balance_credits_for(
    organizations: Iterable[Organization], invoice_ids: Iterable[str]
) -> list[SubscriptionEvent]:
    """The same for these invoices of many customers, in one query."""
    credits_ = credits_of(*{organization.pk for organization in organizations})
    return list(credits_.filter(stripe_invoice_id__in=list(invoice_ids)).defer("traceback", "before"))


def taken_back_of(credit: SubscriptionEvent) -> int:
    """What of such a credit was taken off the balance again, because it had gone back twice; in minor units."""
    return (credit.after or {}).get("taken_back") or 0


def _by_charge(objects: Iterable[StripeObject]) -> dict[str, list[StripeObject]]:
    found: dict[str, list[StripeObject]] = {}
    for each in objects:
        found.setdefault(each.get("charge") or "", []).append(each)
    return found


def _account(
    invoice: StripeObject, payments: tuple[Payment, ...], credits_: Sequence[SubscriptionEvent]
) -> MirroredAccount:
    before, after = invoice.get("starting_balance") or 0, invoice.get("ending_balance") or 0
    noted = invoice.get("post_payment_credit_notes_amount") or 0
    back = sum(payment.refunded + payment.pending for payment in payments)
    by_card = sum(payment.amount for payment in payments)
    ours = sum(credit.amount or 0 for credit in credits_)
    credited = ours - sum(map(taken_back_of, credits_))
    return MirroredAccount(
        payments=payments,
        from_balance=max(0, min(after, 0) - min(before, 0)),
        outside=max(0, (invoice.get("amount_paid") or 0) - by_card),
        # Credit notes may speak of refunds, and which ones do the mirror does not know: counted once, at least.
        credited=max(credited, noted - back, 0),
        creditable=max(0, invoice["total"] - noted - (invoice.get("pre_payment_credit_notes_amount") or 0)),
        at_most=back > 0 and noted > ours,
    )


def _payment(
    charge: StripeObject, refunds: Sequence[StripeObject], disputes: Sequence[StripeObject]
) -> Payment:
    details = charge.get("payment_method_details") or {}
    card = details.get("card") or {}
    pending = sum(each["amount"] for each in refunds if each.get("status") in UNDER_WAY)
    # A charge counts its refunds as soon as they are asked for, and takes back those that failed.
    known = sum(each["amount"] for each in refunds if each.get("status") not in GONE_WRONG)
    return Payment(
        id=charge.get("payment_intent") or charge["id"],
        charge=charge["id"],
        card=card.get("brand") or details.get("type") or "",
        last4=card.get("last4") or "",
        paid_at=from_unix(charge["created"]),
        amount=charge["amount"],
        refunded=max(charge.get("amount_refunded") or 0, known) - pending,
        pending=pending,
        disputes=tuple(map(dispute_of, disputes)),
    )
