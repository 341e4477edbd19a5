"""What changing seats would cost, to the cent, and whether it can be done at all. Asks Stripe, changes nothing."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import stripe_api
from billing.errors import OperationRefused, StripeRefused
from billing.metrics import recurring_amount, seat_item
from billing.operations.subscription import SubscriptionChoices, SubscriptionPreview, ended, fingerprint
from billing.projection import from_unix
from billing.schedules import is_ours, schedule_of
from billing.stripe_api import StripeObject
from organizations.models import Organization
from organizations.querysets import ENDED_STATUSES

MAX_SEATS = 1_000_000


class Proration(models.TextChoices):
    """What happens to the price of the running period, in Stripe's words."""

    NEXT_INVOICE = "create_prorations", gettext_lazy("On the next invoice")
    INVOICE_NOW = "always_invoice", gettext_lazy("Invoice at once")
    NONE = "none", gettext_lazy("Nothing for this period")


class When(models.TextChoices):
    """When the seats change: at once, or by a schedule at Stripe, which can be withdrawn."""

    NOW = "now", gettext_lazy("Now")
    RENEWAL = "renewal", gettext_lazy("When the subscription renews")
    DATE = "date", gettext_lazy("On a date")
    WITHDRAW = "withdraw", gettext_lazy("Never: withdraw what is planned")


@dataclass(frozen=True)
class PreviewLine:
    """A line of the invoice that the change leads to; `amount` in minor units."""

    description: str
    amount: int
    is_proration: bool
    """Whether this change causes it; the other lines would be there anyway."""


@dataclass(frozen=True)
class SeatChoices(SubscriptionChoices):
    """How many seats, when, and how the rest of the period that they change in is charged."""

    seats: int = 1
    proration: str = Proration.NEXT_INVOICE.value
    when: str = When.NOW.value
    on: str = ""
    """The day, as ISO text, where `when` is a date; it begins at midnight of the site's time zone."""


@dataclass(frozen=True)
class SeatPreview(SubscriptionPreview):
    """What changing the seats would do. Amounts in minor units of `currency`; `proration_date` in unix seconds."""

    item_id: str
    price_id: str
    seats_before: int
    seats_after: int
    seats_used: int
    proration: str
    proration_date: int
    currency: str
    lines: tuple[PreviewLine, ...]
    credited: int
    charged: int
    due_now: int
    invoice_total: int
    invoice_date: datetime.datetime | None
    recurring_before: int
    recurring_after: int
    interval: str
    interval_count: int
    collection: str
    """How Stripe collects: `charge_automatically`, or `send_invoice`, where nothing is charged but a mail is sent."""
    paused: str
    """While collection is paused, what becomes of invoices: `keep_as_draft`, `void`, `mark_uncollectible`."""
    ends_at: datetime.datetime | None
    """When the subscription is set to end, if it is."""

    @property
    def prorated(self) -> int:
        """What the change adds to, or takes from, an invoice of this period."""
        return self.credited + self.charged

    @property
    def is_invoiced_now(self) -> bool:
        """Whether an invoice is made at once; where nothing is prorated, there is nothing to invoice."""
        return self.proration == Proration.INVOICE_NOW and any(line.is_proration for line in self.lines)

    @property
    def waiting(self) -> int:
        """What earlier changes have put on the invoice that this one goes on, when it is made at once."""
        if not self.is_invoiced_now:
            return 0
        return sum(line.amount for line in self.lines if not line.is_proration)

    @property
    def is_mailed(self) -> bool:
        """Whether Stripe sends an invoice to be paid instead of charging a card."""
        return self.collection == "send_invoice"


def unfit(subscription: StripeObject) -> str | None:
    """Why the seats of a subscription in this state cannot be changed; None when they can."""
    if subscription["status"] in ENDED_STATUSES:
        return ended(subscription)
    if subscription["status"] == "incomplete":
        return _(
            "The first payment of this subscription has not gone through yet, so its seats cannot be changed."
        )
    schedule = schedule_of(subscription)
    if schedule and not is_ours(schedule):
        return _(
            "A schedule that was not made here manages this subscription, so its seats cannot be changed from here."
            " Change or release the schedule at Stripe."
        )
    if seat_item(subscription) is None:
        return _(
            "This subscription has no single item that is its seats: it has several licensed items and none is marked"
            " “seats”, or only metered ones. Mark the seats' product at Stripe with the metadata “seats”."
        )
    return None


def preview_seats(
    organization: Organization, subscription: StripeObject, choices: SeatChoices, at: int
) -> SeatPreview:
    """What changing the seats of `subscription`, as Stripe has it now, would cost when prorated from `at`.

    Raises OperationRefused where it cannot be done, StripeError where Stripe does not tell.
    """
    seats, proration = choices.seats, Proration(choices.proration)
    item = item_to_change(subscription, seats)
    invoice, lines = previewed_invoice(subscription, item, seats, proration, at)
    ours = [line.amount for line in lines if line.is_proration]
    recurring = item["price"].get("recurring") or {}
    is_now = proration == Proration.INVOICE_NOW
    collection = subscription.get("collection_method") or "charge_automatically"
    charges = collection == "charge_automatically"
    paused = (subscription.get("pause_collection") or {}).get("behavior") or ""
    return SeatPreview(
        subscription_id=subscription["id"],
        item_id=item["id"],
        price_id=item["price"]["id"],
        seats_before=item["quantity"],
        seats_after=seats,
        seats_used=organization.seats_used(),
        proration=proration.value,
        proration_date=at,
        currency=subscription["currency"],
        lines=lines,
        credited=sum(amount for amount in ours if amount < 0),
        charged=sum(amount for amount in ours if amount > 0),
        # Where nothing is prorated (a trial, say) no invoice is made today; what Stripe shows is the next one.
        due_now=invoice["amount_due"] if is_now and charges and ours and not paused else 0,
        invoice_total=invoice["total"],
        invoice_date=from_unix(at) if is_now and ours else from_unix(item.get("current_period_end")),
        recurring_before=recurring_amount(subscription),
        recurring_after=recurring_amount(subscription, seats),
        interval=recurring.get("interval", ""),
        interval_count=recurring.get("interval_count", 1),
        fingerprint=fingerprint(subscription),
        collection=collection,
        paused=paused,
        ends_at=from_unix(ends_at(subscription)),
    )


def ends_at(subscription: StripeObject) -> int | None:
    """When a subscription is set to end, in unix seconds; None where it renews."""
    at: int | None = subscription.get("cancel_at")
    if at is None and subscription.get("cancel_at_period_end"):
        at = max(item["current_period_end"] for item in subscription["items"]["data"])
    return at


def item_to_change(subscription: StripeObject, seats: int) -> StripeObject:
    """The item that is the seats. Raises OperationRefused where it cannot become `seats`."""
    if not 1 <= seats <= MAX_SEATS:
        raise OperationRefused(
            _("Seats must be a whole number from 1 to %(most)s.") % {"most": formats.number_format(MAX_SEATS)}
        )
    item = seat_item(subscription)
    if item is None:
        raise OperationRefused(unfit(subscription) or "")
    if item["quantity"] == seats:
        raise OperationRefused(_("This subscription has %(seats)s seats already.") % {"seats": seats})
    return item


def previewed_invoice(
    subscription: StripeObject, item: StripeObject, seats: int, proration: Proration, at: int
) -> tuple[StripeObject, tuple[PreviewLine, ...]]:
    """The invoice that a change to `seats` leads to when prorated from `at`, by Stripe's own preview, and its lines.

    `at` lies in the present period. Raises OperationRefused where not all of the lines are told, and StripeError.
    """
    details: dict[str, Any] = {
        "items": [{"id": item["id"], "quantity": seats}],
        "proration_behavior": proration.value,
    }
    if proration != Proration.NONE:
        details["proration_date"] = at
    invoice = stripe_api.preview_invoice(
        {"subscription": subscription["id"], "subscription_details": details}
    )
    return invoice, tuple(_line(line, at) for line in _lines(invoice, proration))


def _lines(invoice: StripeObject, proration: Proration) -> list[StripeObject]:
    """The lines of a previewed invoice: all of them, or a refusal. A sum over some of them would be a lie."""
    if proration == Proration.NONE:
        return list(invoice["lines"]["data"])
    try:
        return stripe_api.invoice_lines(invoice)
    except StripeRefused as error:
        raise OperationRefused(
            _(
                "So many changes wait for the next invoice that Stripe does not tell what one more would cost."
                " Choose “Nothing for this period”, or wait for that invoice."
            ),
            error.detail,
        ) from error


def _line(line: StripeObject, proration_date: int) -> PreviewLine:
    """A line, and whether this change causes it: earlier changes of this period have prorations waiting as well."""
    parent = line.get("parent") or {}
    details = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    return PreviewLine(
        description=line.get("description") or "",
        amount=line["amount"],
        is_proration=bool(details.get("proration")) and line["period"]["start"] == proration_date,
    )
