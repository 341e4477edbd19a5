"""About what the next invoice of a subscription comes to: pure, over what the mirror holds.

It knows what operations know: planned seats, what our own changes of seats prorated, discounts, a pause, an end, a
trial, credit that waits. It cannot know tax, usage, and what changes made at Stripe prorated, which Stripe keeps to
itself until it makes the invoice. Amounts are minor units of the subscription's currency.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from billing.metrics import discounted, full_amount, licensed_items, seat_item
from billing.projection import from_unix
from billing.schedules import planned_seats
from billing.stripe_api import StripeObject

# Those that Stripe goes on invoicing. An unpaid one's invoices stay drafts, and one that never started has none.
_INVOICED = frozenset({"active", "past_due", "trialing"})


@dataclass(frozen=True)
class Estimate:
    """About what falls due when the running period ends."""

    at: datetime.datetime
    currency: str
    seats: int | None
    """Then: planned ones, where they are planned until then."""
    full: int
    """Before discounts."""
    discount: int
    """What discounts take off."""
    prorated: int
    """For changes since the last invoice, net of discounts; negative for seats that were given back."""
    from_balance: int
    """Of the customer's credit; negative for what they owe from before, which is added."""
    has_usage: bool
    """Whether something is billed by its use, which is not in it."""
    behavior: str
    """What Stripe does with it while collection is paused, in Stripe's word; empty where it is collected."""

    @property
    def total(self) -> int:
        """After discounts. Less than nothing is not invoiced: it becomes credit."""
        return max(self._sum, 0)

    @property
    def to_credit(self) -> int:
        """What is left for later invoices, where more was prorated back than is charged."""
        return max(-self._sum, 0)

    @property
    def _sum(self) -> int:
        return self.full - self.discount + self.prorated

    @property
    def due(self) -> int:
        """What the customer pays, after the balance."""
        return self.total - self.from_balance


def estimate_next_invoice(
    subscription: StripeObject, customer: StripeObject, prorated: int = 0
) -> Estimate | None:
    """About what the next invoice is; None where none is expected, or too little is known of it.

    `prorated` is what waits for that invoice. No discount reduces it: it was net of them when it came about.
    https://docs.stripe.com/billing/subscriptions/prorations
    """
    ends: list[int] = [
        item["current_period_end"]
        for item in subscription["items"]["data"]
        if item.get("current_period_end") is not None
    ]
    if subscription["status"] not in _INVOICED or not ends:
        return None
    end = min(ends)
    last = subscription.get("cancel_at")
    if subscription.get("cancel_at_period_end") or (last is not None and last <= end):
        return None
    renewing = _renewing_at(end, subscription)
    planned = planned_seats(subscription)
    seats = planned.seats if planned and planned.at <= end else None
    item = seat_item(subscription)
    try:
        full = full_amount(renewing, seats)
    except ValueError:
        return None  # tiers that were not read
    total = round(discounted(full, _coupons_at(end, subscription)))
    return Estimate(
        at=datetime.datetime.fromtimestamp(end, datetime.UTC),
        currency=subscription["currency"],
        seats=seats if seats is not None else (item or {}).get("quantity"),
        full=round(full),
        discount=round(full) - total,
        prorated=prorated,
        from_balance=_from_balance(max(total + prorated, 0), subscription, customer),
        has_usage=len(licensed_items(renewing)) < len(renewing["items"]["data"]),
        behavior=_pause_at(end, subscription),
    )


def _renewing_at(end: int, subscription: StripeObject) -> StripeObject:
    """The subscription with only the items whose period ends then."""
    items = [item for item in subscription["items"]["data"] if item.get("current_period_end") == end]
    return {**subscription, "items": {"data": items}}


def _coupons_at(end: int, subscription: StripeObject) -> list[dict[str, Any]]:
    """The coupons that still hold then; one for once is gone from the subscription as soon as it was used."""
    coupons = []
    for discount in subscription.get("discounts") or []:
        if not isinstance(discount, dict) or (discount.get("end") or end + 1) <= end:
            continue
        coupon = (discount.get("source") or {}).get("coupon")
        if isinstance(coupon, dict) and coupon.get("currency") in (None, subscription["currency"]):
            coupons.append(coupon)
    return coupons


def _from_balance(total: int, subscription: StripeObject, customer: StripeObject) -> int:
    """What the balance pays of `total`, or adds to it; one in another currency does neither."""
    balance = customer.get("balance") or 0
    if (customer.get("currency") or subscription["currency"]) != subscription["currency"]:
        return 0
    return min(-balance, total) if balance < 0 else -balance


def _pause_at(end: int, subscription: StripeObject) -> str:
    pause = subscription.get("pause_collection") or {}
    resumes = from_unix(pause.get("resumes_at"))
    if resumes is not None and resumes.timestamp() <= end:
        return ""
    return pause.get("behavior") or ""
