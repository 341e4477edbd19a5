"""What cancelling would credit, invoice and leave open, and whether it can be done. Asks Stripe, changes nothing."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import mirror
from billing.errors import OperationRefused
from billing.metrics import licensed_items, recurring_amount, seat_item
from billing.operations.subscription import (
    SubscriptionChoices,
    SubscriptionPreview,
    date_in_words,
    fingerprint,
    upcoming_invoice,
)
from billing.projection import from_unix
from billing.schedules import is_ours, planned_seats, schedule_of
from billing.stripe_api import StripeObject
from organizations.models import Organization


class When(models.TextChoices):
    """When a subscription ends."""

    PERIOD_END = "period_end", gettext_lazy("At the end of the period")
    NOW = "now", gettext_lazy("Now")


class Feedback(models.TextChoices):
    """Why a customer leaves, in Stripe's words."""

    TOO_EXPENSIVE = "too_expensive", gettext_lazy("Too expensive")
    MISSING_FEATURES = "missing_features", gettext_lazy("Features are missing")
    SWITCHED_SERVICE = "switched_service", gettext_lazy("Moves to another service")
    UNUSED = "unused", gettext_lazy("Not used enough")
    CUSTOMER_SERVICE = "customer_service", gettext_lazy("Customer service was not good enough")
    TOO_COMPLEX = "too_complex", gettext_lazy("Too complex")
    LOW_QUALITY = "low_quality", gettext_lazy("Quality was not good enough")
    OTHER = "other", gettext_lazy("Something else")


# Stripe's own limit is 5,000, and our mark goes there as well.
MAX_COMMENT = 1_000


@dataclass(frozen=True)
class CancelChoices(SubscriptionChoices):
    """When the subscription ends; when now, what of its money; and what the customer said."""

    when: str = When.PERIOD_END.value
    prorate: bool = False
    """Whether unused time is credited."""
    invoice_now: bool = False
    """Whether what was not invoiced yet is, on a final invoice."""
    feedback: str = ""
    """One of `Feedback`; empty where the customer gave no reason."""
    comment: str = ""
    """In the customer's own words."""


@dataclass(frozen=True)
class UnpaidInvoice:
    """An invoice that is open or still a draft; `amount` is what remains to be paid, in minor units."""

    id: str
    number: str
    amount: int
    currency: str
    is_draft: bool


@dataclass(frozen=True)
class CancelPreview(SubscriptionPreview):
    """What cancelling would do. Amounts in minor units of `currency`."""

    status: str
    when: str
    ends_at: datetime.datetime | None
    scheduled_end: datetime.datetime | None
    """When it is set to end already."""
    currency: str
    is_invoiced: bool
    """Whether a final invoice is made now."""
    credited: int
    """For unused time, negative."""
    waiting: int
    """What earlier changes left to be invoiced: charges less credits."""
    total: int
    """Of the final invoice; what is negative goes to the customer's balance."""
    due: int
    """What of it is to be paid, after the balance."""
    credit_shrinks_by: int
    """How much less the credit may become until it is made: Stripe counts it to the second of the cancellation."""
    collection: str
    unpaid: tuple[UnpaidInvoice, ...]
    recurring: int
    interval: str
    interval_count: int
    schedule_id: str
    """Of the schedule of ours that is released first."""
    planned_seats: int | None
    planned_at: datetime.datetime | None
    latest_invoice: str | None

    @property
    def is_now(self) -> bool:
        """Whether the subscription ends at once."""
        return self.when == When.NOW

    @property
    def is_mailed(self) -> bool:
        """Whether Stripe sends an invoice to be paid instead of charging a card."""
        return self.collection == "send_invoice"


def preview_cancellation(
    organization: Organization, subscription: StripeObject, choices: CancelChoices, at: int
) -> CancelPreview:
    """What cancelling `subscription`, as Stripe has it now, would do at `at` (unix seconds).

    Raises OperationRefused where it cannot be done, StripeError where Stripe does not tell.
    """
    when = When(choices.when)
    refuse_unless_cancellable(subscription, choices, at)
    schedule = schedule_of(subscription)
    planned = planned_seats(subscription)
    is_now = when == When.NOW
    prorate, invoice_now = is_now and choices.prorate, is_now and choices.invoice_now
    left = _final_invoice(subscription, {"proration_behavior": "none"})
    credited = left
    if prorate:
        credited = _final_invoice(
            subscription, {"proration_behavior": "create_prorations", "proration_date": at}
        )
    credit = credited["total"] - left["total"]
    end = period_end(subscription)
    lead = seat_item(subscription) or (licensed_items(subscription) or subscription["items"]["data"])[0]
    recurring = lead["price"].get("recurring") or {}
    return CancelPreview(
        subscription_id=subscription["id"],
        fingerprint=fingerprint(subscription),
        status=subscription["status"],
        when=when.value,
        ends_at=from_unix(at if is_now else end),
        scheduled_end=from_unix(subscription.get("cancel_at")),
        currency=subscription["currency"],
        is_invoiced=invoice_now,
        credited=credit,
        waiting=left["total"],
        total=credited["total"] if invoice_now else 0,
        due=credited["amount_due"] if invoice_now else 0,
        credit_shrinks_by=_shrinks_by(credit, end - at),
        collection=subscription.get("collection_method") or "charge_automatically",
        unpaid=_unpaid(organization, subscription),
        recurring=recurring_amount(subscription),
        interval=recurring.get("interval", ""),
        interval_count=recurring.get("interval_count", 1),
        schedule_id=schedule["id"] if schedule else "",
        planned_seats=planned.seats if planned else None,
        planned_at=from_unix(planned.at) if planned else None,
        latest_invoice=_id_of(subscription.get("latest_invoice")),
    )


def period_end(subscription: StripeObject) -> int:
    """When the running period ends, in unix seconds: of several items, the first to end."""
    ends: list[int] = [item["current_period_end"] for item in subscription["items"]["data"]]
    return min(ends)


def refuse_unless_cancellable(subscription: StripeObject, choices: CancelChoices, at: int) -> None:
    """Raises OperationRefused where a subscription in this state cannot be cancelled so, with why."""
    schedule = schedule_of(subscription)
    if schedule is not None and not is_ours(schedule):
        raise OperationRefused(
            _(
                "A schedule that was made at Stripe manages this subscription, and cancelling would undo its plans."
                " Nothing was changed; end or release the schedule at Stripe first."
            )
        )
    is_incomplete = subscription["status"] == "incomplete"
    if choices.when == When.NOW:
        if is_incomplete and (choices.prorate or choices.invoice_now):
            raise OperationRefused(
                _(
                    "The first payment of this subscription has not gone through, so there is nothing to credit and"
                    " nothing more to invoice. Cancel it without."
                )
            )
        return
    if is_incomplete:
        raise OperationRefused(
            _(
                "The first payment of this subscription has not gone through, so there is no period at whose end it"
                " could be cancelled. Cancel it now instead."
            )
        )
    end = period_end(subscription)
    if end <= at:
        raise OperationRefused(
            _("The last period of this subscription is over, and no other runs. Cancel it now instead.")
        )
    scheduled = from_unix(subscription.get("cancel_at"))
    if scheduled is not None and scheduled.timestamp() <= end:
        raise OperationRefused(
            _("This subscription is set to end on %(date)s already. Nothing was changed.")
            % {"date": date_in_words(scheduled)}
        )


def _final_invoice(subscription: StripeObject, details: dict[str, Any]) -> StripeObject:
    """The invoice that ending the subscription now would bring."""
    nothing = {"total": 0, "amount_due": 0}
    if subscription["status"] == "incomplete":
        return nothing
    invoice = upcoming_invoice(
        {"subscription": subscription["id"], "subscription_details": {"cancel_now": True, **details}}
    )
    return invoice or nothing


def _shrinks_by(credit: int, seconds_left: int) -> int:
    """How much of a credit is used up while a preview is valid, and as long again while a call may be repeated."""
    if credit >= 0 or seconds_left <= 0:
        return 0
    seconds = min(2 * settings.PREVIEW_MAX_AGE_SECONDS, seconds_left)
    return -(credit * seconds // seconds_left)


def _unpaid(organization: Organization, subscription: StripeObject) -> tuple[UnpaidInvoice, ...]:
    """The subscription's invoices that Stripe has not collected, as the mirror has them."""
    found = mirror.unpaid_invoices_of(organization.stripe_customer_id or "", subscription["id"])
    return tuple(
        UnpaidInvoice(
            id=each["id"],
            number=each.get("number") or "",
            amount=each.get("amount_remaining") or 0,
            currency=each["currency"],
            is_draft=each["status"] == "draft",
        )
        for each in found
    )


def _id_of(value: StripeObject | str | None) -> str | None:
    return value["id"] if isinstance(value, dict) else value
