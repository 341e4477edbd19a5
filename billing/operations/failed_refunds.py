"""Refunds that the bank sent back: which still wait for somebody to give the money back another way, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy

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


def failed(refunds: Iterable[StripeObject]) -> list[StripeObject]:
    """Those of a customer's refunds that failed, in the order given."""
    return [refund for refund in refunds if refund.get("status") == "failed"]


def rows_about(failures: Sequence[StripeObject]) -> QuerySet[SubscriptionEvent]:
    """The rows of the ledger that say when these refunds were first heard of, and what was credited instead."""
    of_refunds = Q(stripe_refund_id__in=[refund["id"] for refund in failures])
    charges = [refund.get("charge") for refund in failures if refund.get("charge")]
    return SubscriptionEvent.objects.filter(of_refunds | _CREDIT, stripe_charge_id__in=charges)


def still_owed(refunds: Sequence[StripeObject], rows: Iterable[SubscriptionEvent]) -> list[StripeObject]:
    """The failed ones of a customer's refunds, newest first, until as much of the same payment was given back since.

    `rows` hold at least those of `rows_about`.
    """
    rows = list(rows)
    return [
        refund
        for position, refund in enumerate(refunds)
        if refund.get("status") == "failed"
        and _given_since(refund, refunds[:position], rows) < refund["amount"]
    ]


def _given_since(
    refund: StripeObject, newer: Sequence[StripeObject], rows: Sequence[SubscriptionEvent]
) -> int:
    """What went back of the same payment after this refund, to a card or to the balance; minor units."""
    to_card: int = sum(
        each["amount"]
        for each in newer
        if each.get("charge") == refund.get("charge") and each.get("status") not in GONE_WRONG
    )
    of_charge = [row for row in rows if row.stripe_charge_id == refund.get("charge")]
    # By the ledger's own order: Stripe's clock is not ours.
    first = min((row.pk for row in of_charge if row.stripe_refund_id == refund["id"]), default=0)
    to_balance = sum(row.amount or 0 for row in of_charge if is_credit(row) and row.pk > first)
    return to_card + to_balance


# -- what went to the balance instead of back to a card ---------------------------------------------------

_CREDIT = Q(type=REFUND_INVOICE, state=SubscriptionEvent.State.DONE, stripe_refund_id__isnull=True)


def credits_of(*organization_ids: int) -> QuerySet[SubscriptionEvent]:
    """What we credited to these customers' balances instead of refunding it."""
    return SubscriptionEvent.objects.filter(_CREDIT, organization_id__in=organization_ids)


def is_credit(row: SubscriptionEvent) -> bool:
    """Whether a row is one of those."""
    return (row.type, row.state, row.stripe_refund_id) == (REFUND_INVOICE, SubscriptionEvent.State.DONE, None)
