"""Refunds that the bank sent back: which still wait for somebody to give the money back another way, and why."""

from __future__ import annotations

from django.db.models import Min, Sum
from django.utils.translation import gettext_lazy

from billing import mirror
from billing.models import SubscriptionEvent
from billing.operations.refund_account import GONE_WRONG
from billing.operations.refund_preview import REFUND_INVOICE
from billing.stripe_api import StripeObject

REFUNDS_READ = 100

_REASONS = {
    "charge_for_pending_refund_disputed": gettext_lazy("the customer disputed the payment meanwhile"),
    "declined": gettext_lazy("the bank declined it"),
    "expired_or_canceled_card": gettext_lazy("the card has expired or was cancelled"),
    "insufficient_funds": gettext_lazy("our balance at Stripe holds too little"),
    "lost_or_stolen_card": gettext_lazy("the card was lost or stolen"),
    "merchant_request": gettext_lazy("it was cancelled at our request"),
}


def failure_in_words(reason: str | None) -> str:
    """Why a refund failed. https://docs.stripe.com/api/refunds/object#refund_object-failure_reason"""
    return str(_REASONS.get(reason or "", gettext_lazy("the bank did not say why")))


def failed_refunds_of(customer_id: str) -> list[StripeObject]:
    """A customer's failed refunds, newest first, until as much of the same payment has been given back since."""
    refunds = mirror.refunds_of(customer_id, limit=REFUNDS_READ)
    return [
        refund
        for position, refund in enumerate(refunds)
        if refund.get("status") == "failed" and _given_since(refund, refunds[:position]) < refund["amount"]
    ]


def _given_since(refund: StripeObject, newer: list[StripeObject]) -> int:
    """What went back of the same payment after this refund, to a card or to the balance; minor units."""
    to_card: int = sum(
        each["amount"]
        for each in newer
        if each.get("charge") == refund.get("charge") and each.get("status") not in GONE_WRONG
    )
    of_charge = SubscriptionEvent.objects.filter(stripe_charge_id=refund.get("charge"))
    # By the ledger's own order: Stripe's clock is not ours.
    first = of_charge.filter(stripe_refund_id=refund["id"]).aggregate(first=Min("pk"))["first"] or 0
    credits_ = of_charge.filter(
        type=REFUND_INVOICE,
        state=SubscriptionEvent.State.DONE,
        stripe_refund_id__isnull=True,
        pk__gt=first,
    )
    to_balance: int = credits_.aggregate(credited=Sum("amount"))["credited"] or 0
    return to_card + to_balance
