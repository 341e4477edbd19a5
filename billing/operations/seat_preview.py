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
from billing.stripe_api import StripeObject
from organizations.models import Organization
from organizations.querysets import ENDED_STATUSES

MAX_SEATS = 1_000_000


class Proration(models.TextChoices):
    """What happens to the price of the running period, in Stripe's words."""

    NEXT_INVOICE = "create_prorations", gettext_lazy("On the next invoice")
    INVOICE_NOW = "always_invoice", gettext_lazy("Invoice now")
    NONE = "none", gettext_lazy("Nothing for this period")


@dataclass(frozen=True)
class PreviewLine:
    """A line of the invoice that the change leads to; `amount` in minor units."""

    description: str
    amount: int
    is_proration: bool
    """Whether this change causes it; the other lines would be there anyway."""


@dataclass(frozen=True)
class SeatChoices(SubscriptionChoices):
    """How many seats, and how the rest of this period is charged."""

    seats: int = 1
    proration: str = Proration.NEXT_INVOICE.value


@dataclass(frozen=True)
class SeatPreview(SubscriptionPreview):
    """What changing the seats would do. Amounts in minor units of `currency`; `proration_date` in unix seconds."""

    item_id: str
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
    if subscription.get("schedule"):
        return _("A schedule at Stripe manages this subscription, so its seats cannot be changed directly.")
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
    if not 1 <= seats <= MAX_SEATS:
        raise OperationRefused(
            _("Seats must be a whole number from 1 to %(most)s.") % {"most": formats.number_format(MAX_SEATS)}
        )
    item = seat_item(subscription)
    if item is None:
        raise OperationRefused(unfit(subscription) or "")
    if item["quantity"] == seats:
        raise OperationRefused(_("This subscription has %(seats)s seats already.") % {"seats": seats})
    details: dict[str, Any] = {
        "items": [{"id": item["id"], "quantity": seats}],
        "proration_behavior": proration.value,
    }
    if proration != Proration.NONE:
        details["proration_date"] = at
    invoice = stripe_api.preview_invoice(
        {"subscription": subscription["id"], "subscription_details": details}
    )
    lines = tuple(_line(line, at) for line in _lines(invoice, proration))
    ours = [line.amount for line in lines if line.is_proration]
    recurring = item["price"].get("recurring") or {}
    is_now = proration == Proration.INVOICE_NOW
    collection = subscription.get("collection_method") or "charge_automatically"
    charges = collection == "charge_automatically"
    return SeatPreview(
        subscription_id=subscription["id"],
        item_id=item["id"],
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
        due_now=invoice["amount_due"] if is_now and charges and ours else 0,
        invoice_total=invoice["total"],
        invoice_date=from_unix(at) if is_now and ours else from_unix(item.get("current_period_end")),
        recurring_before=recurring_amount(subscription),
        recurring_after=recurring_amount(subscription, seats),
        interval=recurring.get("interval", ""),
        interval_count=recurring.get("interval_count", 1),
        fingerprint=fingerprint(subscription),
        collection=collection,
    )


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
