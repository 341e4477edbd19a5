"""Which lines of the ledger tell of one and the same thing, so that a person reads it once.

What Stripe sends because of an act of ours carries the act's own key, or its request. What Stripe does by itself is
known by its invoice, its payment or its subscription, and by its time. Nothing is asked of the database here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from adminops.pages.ledger.event_words import changes
from billing.denials import TYPE as DENIED
from billing.models import OperationStep, SubscriptionEvent
from billing.stripe_api import StripeObject

# Stripe leaves an hour between drafting an invoice of a renewal and collecting it.
_ONE_INVOICE = timedelta(hours=2)
_SAME_TIME = timedelta(minutes=1)
_DENIED_AGAIN_WITHIN = timedelta(hours=1)

# What tells most about a group, first. Any other type stands behind these.
_TELLING = (
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "charge.failed",
    "payment_intent.payment_failed",
    "charge.dispute.created",
    "charge.dispute.closed",
    "refund.failed",
    "charge.refunded",
    "refund.created",
    "customer.subscription.deleted",
    "customer.subscription.created",
    "invoice.paid",
    "invoice.payment_succeeded",
    "charge.succeeded",
    "payment_intent.succeeded",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "credit_note.created",
    "customer.subscription.updated",
    "subscription_schedule.released",
    "subscription_schedule.updated",
    "customer.created",
    "invoice.finalized",
    "invoice.created",
)
# What went well and what did not are never told as one thing, though they be of one invoice.
_OUTCOMES = {
    "invoice.paid": "paid",
    "invoice.payment_succeeded": "paid",
    "charge.succeeded": "paid",
    "payment_intent.succeeded": "paid",
    "invoice.payment_failed": "failed",
    "invoice.payment_action_required": "failed",
    "invoice.finalization_failed": "failed",
    "charge.failed": "failed",
    "payment_intent.payment_failed": "failed",
    "refund.failed": "refund failed",
    "charge.refunded": "refunded",
    "charge.refund.updated": "refunded",
    "refund.created": "refunded",
    "refund.updated": "refunded",
}


@dataclass
class Fold:
    """Rows of the ledger that tell of one thing; `events` in the order in which they happened."""

    events: list[SubscriptionEvent] = field(default_factory=list)

    @property
    def head(self) -> SubscriptionEvent:
        """The row that says what it was: our own act, or the most telling of Stripe's."""
        return min(self.events, key=_rank)

    @property
    def others(self) -> list[SubscriptionEvent]:
        """The rows beneath it."""
        head = self.head
        return [event for event in self.events if event is not head]

    @property
    def last(self) -> datetime:
        """When the newest of them happened."""
        return max(happened(event) for event in self.events)

    @property
    def is_denied(self) -> bool:
        """Whether it tells of somebody who tried what they may not do."""
        return self.events[0].type == DENIED

    def agrees_with(self, event: SubscriptionEvent) -> bool:
        """Whether an event tells of no other outcome than these do."""
        outcome = _outcome(event)
        return outcome is None or {_outcome(each) for each in self.events} <= {None, outcome}


def happened(event: SubscriptionEvent) -> datetime:
    """When it happened, or, where nobody said, when we wrote it down."""
    return event.occurred_at or event.created_at


def fold(
    events: Iterable[SubscriptionEvent],
    steps: Mapping[int, list[OperationStep]],
    invoice_of: Mapping[str, str],
) -> list[Fold]:
    """The rows of one organization, folded.

    `steps` are the calls of its operations, by the key of their row; `invoice_of` is the invoice that a charge or a
    payment intent paid, by its id, where that is known.
    """
    ordered = sorted(events, key=lambda event: (happened(event), event.pk))
    # A charge names no invoice, but the payment intent it was made for does.
    through = {
        event.stripe_charge_id: invoice_of[event.stripe_object_id]
        for event in ordered
        if event.stripe_charge_id and event.stripe_object_id and event.stripe_object_id in invoice_of
    }
    found = _Folds(steps, {**invoice_of, **through})
    # Stripe's clock has whole seconds, so that an effect may seem to precede its cause.
    for event in ordered:
        if event.source != SubscriptionEvent.Source.STRIPE:
            found.add_ours(event)
    for event in ordered:
        if event.source == SubscriptionEvent.Source.STRIPE:
            found.add_stripes(event)
    return found.folds


class _Folds:
    """The folds so far, and by which names each is found."""

    def __init__(self, steps: Mapping[int, list[OperationStep]], invoice_of: Mapping[str, str]) -> None:
        self.folds: list[Fold] = []
        self._steps = steps
        self._invoice_of = invoice_of
        self._by_cause: dict[str, Fold] = {}
        self._by_thread: dict[str, list[Fold]] = {}

    def add_ours(self, event: SubscriptionEvent) -> None:
        """An act of ours is a line of its own; a denial joins the same one of the same person."""
        if event.type != DENIED:
            own = self._begin(event, [str(event.uuid)])
            # A DELETE has no key that Stripe would send back, but what it deleted is deleted once.
            for step in self._steps.get(event.pk, ()):
                if step.method == "DELETE" and step.answered_at:
                    self._by_cause[f"deleted {step.path}"] = own
            return
        cause = f"denied {event.actor_id} {event.message}"
        before = self._by_cause.get(cause)
        if before and happened(event) - before.last <= _DENIED_AGAIN_WITHIN:
            before.events.append(event)
        else:
            self._begin(event, [cause])

    def add_stripes(self, event: SubscriptionEvent) -> None:
        """What Stripe sent joins its cause; what Stripe did by itself, what is of the same thing and time."""
        causes = _causes(event)
        fold = next((self._by_cause[cause] for cause in causes if cause in self._by_cause), None)
        threads = self._threads(event)
        if fold is None and not event.stripe_request_id:
            fold = next(
                (
                    each
                    for thread, span in threads.items()
                    for each in reversed(self._by_thread.get(thread, []))
                    if abs(happened(event) - each.last) <= span and each.agrees_with(event)
                ),
                None,
            )
        if fold is None:
            fold = self._begin(event, causes)
        else:
            fold.events.append(event)
            self._by_cause.update(dict.fromkeys(causes, fold))
        for thread in threads:
            known = self._by_thread.setdefault(thread, [])
            if fold not in known:
                known.append(fold)

    def _begin(self, event: SubscriptionEvent, causes: list[str]) -> Fold:
        fold = Fold([event])
        self.folds.append(fold)
        self._by_cause.update(dict.fromkeys(causes, fold))
        return fold

    def _threads(self, event: SubscriptionEvent) -> dict[str, timedelta]:
        """What an event is about, and how far apart in time it still tells of the same."""
        about = (event.stripe_charge_id or "", event.stripe_object_id or "")
        invoice = event.stripe_invoice_id or next(filter(None, map(self._invoice_of.get, about)), None)
        threads = {f"invoice {invoice}": _ONE_INVOICE} if invoice else {}
        if event.stripe_charge_id:
            threads[f"charge {event.stripe_charge_id}"] = _ONE_INVOICE
        # A renewal changes the subscription at the moment its invoice is drafted.
        is_renewal = event.type == "customer.subscription.updated" or invoice
        if event.stripe_subscription_id and is_renewal:
            threads[f"subscription {event.stripe_subscription_id}"] = _SAME_TIME
        return threads


def _causes(event: SubscriptionEvent) -> list[str]:
    """Names of the request that caused an event: our operation's, Stripe's, or what a DELETE of ours did away with."""
    causes = []
    if event.idempotency_key:
        causes.append(event.idempotency_key.partition(":")[0])
    if event.stripe_request_id:
        causes.append(f"request {event.stripe_request_id}")
    if event.type == "customer.subscription.deleted":
        causes.append(f"deleted /v1/subscriptions/{event.stripe_subscription_id}")
    return causes


def _outcome(event: SubscriptionEvent) -> str | None:
    if event.type.startswith("charge.dispute."):
        return "disputed"
    return _OUTCOMES.get(event.type)


def _rank(event: SubscriptionEvent) -> tuple[int, datetime, int]:
    """Less for what tells more."""
    rank = _TELLING.index(event.type) if event.type in _TELLING else len(_TELLING)
    if event.source != SubscriptionEvent.Source.STRIPE:
        rank = -1
    elif event.type == "customer.subscription.updated" and changes(event) and event.previous_quantity:
        rank = _TELLING.index("customer.subscription.created")
    return rank, happened(event), event.pk


def paying(invoices: Iterable[StripeObject]) -> dict[str, str]:
    """Which invoice each payment intent was to pay. https://docs.stripe.com/api/invoice-payment"""
    found: dict[str, str] = {}
    for invoice in invoices:
        for each in (invoice.get("payments") or {}).get("data") or []:
            intent = (each.get("payment") or {}).get("payment_intent")
            if intent:
                found[intent["id"] if isinstance(intent, dict) else intent] = invoice["id"]
    return found
