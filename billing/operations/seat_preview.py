"""What changing seats would cost, to the cent, and whether it can be done at all. Asks Stripe, changes nothing."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

from django.db import models
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import mirror, stripe_api
from billing.errors import OperationRefused, StripeRefused
from billing.metrics import recurring_amount, seat_item
from billing.operations.base import in_progress
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
class SeatPreview:
    """What changing the seats would do. Amounts in minor units of `currency`; `proration_date` in unix seconds."""

    organization_id: int
    subscription_id: str
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
    previewed_at: datetime.datetime
    fingerprint: str
    collection: str
    """How Stripe collects: `charge_automatically`, or `send_invoice`, where nothing is charged but a mail is sent."""
    uuid: str
    """The id under which it will be applied, once: pressing the button again is the same change."""

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

    @property
    def figures(self) -> tuple[int, ...]:
        """Every amount the person agreed to."""
        return (
            self.credited,
            self.charged,
            self.due_now,
            self.invoice_total,
            self.recurring_before,
            self.recurring_after,
        )

    def to_dict(self) -> dict[str, Any]:
        """The preview as JSON can carry it, to the page and back."""
        data = dataclasses.asdict(self)
        data["previewed_at"] = self.previewed_at.isoformat()
        data["invoice_date"] = self.invoice_date.isoformat() if self.invoice_date else None
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises KeyError, TypeError or ValueError for anything else."""
        invoice_date = data["invoice_date"]
        return cls(
            **{
                **data,
                "lines": tuple(PreviewLine(**line) for line in data["lines"]),
                "previewed_at": datetime.datetime.fromisoformat(data["previewed_at"]),
                "invoice_date": datetime.datetime.fromisoformat(invoice_date) if invoice_date else None,
            }
        )


def lock_key_of(subscription_id: str) -> str:
    """What a change of this subscription holds while it is pending."""
    return f"subscription:{subscription_id}"


def refuse_reason(organization: Organization) -> str | None:
    """Why the seats of this organization cannot be changed, as far as our own rows tell; None when they can."""
    if not organization.stripe_customer_id:
        return _("This organization is not connected to a Stripe customer.")
    if not organization.stripe_subscription_id:
        return _("This organization has no subscription, so there are no seats to change.")
    subscription = mirror.subscription(organization.stripe_subscription_id)
    if subscription is None:
        return _("This organization's subscription has not been read from Stripe yet.")
    return _unchangeable(subscription) or in_progress(lock_key_of(subscription["id"]))


def _unchangeable(subscription: StripeObject) -> str | None:
    if subscription["status"] in ENDED_STATUSES:
        ended = from_unix(subscription.get("ended_at"))
        if ended is None:
            return _("This organization's subscription has ended, so its seats cannot be changed.")
        return _("This organization's subscription ended on %(date)s, so its seats cannot be changed.") % {
            "date": formats.date_format(timezone.localtime(ended), "j M Y")
        }
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


def preview_seats(organization: Organization, *, seats: int, proration: Proration) -> SeatPreview:
    """What changing to `seats` would cost now. Asks Stripe, changes nothing.

    Raises OperationRefused where it cannot be done, StripeError where Stripe does not tell.
    """
    return preview_at(organization, seats, proration, int(timezone.now().timestamp()))


def preview_at(
    organization: Organization, seats: int, proration: Proration, proration_date: int
) -> SeatPreview:
    """The same, prorated from `proration_date` (unix seconds): what an earlier preview is held against."""
    if not 1 <= seats <= MAX_SEATS:
        raise OperationRefused(
            _("Seats must be a whole number from 1 to %(most)s.") % {"most": formats.number_format(MAX_SEATS)}
        )
    reason = refuse_reason(organization)
    if reason:
        raise OperationRefused(reason)
    # The mirror may be seconds behind; what the person agrees to is measured on Stripe's present state.
    subscription = stripe_api.retrieve(organization.stripe_subscription_id or "")
    reason = _unchangeable(subscription)
    item = seat_item(subscription)
    if reason or item is None:
        raise OperationRefused(reason or "")
    if item["quantity"] == seats:
        raise OperationRefused(_("This subscription has %(seats)s seats already.") % {"seats": seats})
    details: dict[str, Any] = {
        "items": [{"id": item["id"], "quantity": seats}],
        "proration_behavior": proration.value,
    }
    if proration != Proration.NONE:
        details["proration_date"] = proration_date
    invoice = stripe_api.preview_invoice(
        {"subscription": subscription["id"], "subscription_details": details}
    )
    lines = tuple(_line(line, proration_date) for line in _lines(invoice, proration))
    ours = [line.amount for line in lines if line.is_proration]
    recurring = item["price"].get("recurring") or {}
    is_now = proration == Proration.INVOICE_NOW
    collection = subscription.get("collection_method") or "charge_automatically"
    charges = collection == "charge_automatically"
    return SeatPreview(
        organization_id=organization.pk,
        subscription_id=subscription["id"],
        item_id=item["id"],
        seats_before=item["quantity"],
        seats_after=seats,
        seats_used=organization.seats_used(),
        proration=proration.value,
        proration_date=proration_date,
        currency=subscription["currency"],
        lines=lines,
        credited=sum(amount for amount in ours if amount < 0),
        charged=sum(amount for amount in ours if amount > 0),
        # Where nothing is prorated (a trial, say) no invoice is made today; what Stripe shows is the next one.
        due_now=invoice["amount_due"] if is_now and charges and ours else 0,
        invoice_total=invoice["total"],
        invoice_date=timezone.now() if is_now and ours else from_unix(item.get("current_period_end")),
        recurring_before=recurring_amount(subscription),
        recurring_after=recurring_amount(subscription, seats),
        interval=recurring.get("interval", ""),
        interval_count=recurring.get("interval_count", 1),
        previewed_at=timezone.now(),
        fingerprint=fingerprint(subscription),
        collection=collection,
        uuid=str(uuid4()),
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


def fingerprint(subscription: StripeObject) -> str:
    """What of a subscription must still be so for a preview of it to hold."""
    told = [
        subscription["status"],
        subscription.get("cancel_at"),
        subscription.get("cancel_at_period_end"),
        subscription.get("trial_end"),
        subscription.get("pause_collection"),
        [
            [item["id"], item["price"]["id"], item.get("quantity"), item.get("current_period_end")]
            for item in subscription["items"]["data"]
        ],
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
