"""What a change of a subscription's discounts comes to, to the cent. Asks Stripe, changes nothing."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from django.utils.translation import gettext as _

from billing import stripe_api
from billing.errors import OperationRefused, StripeRefused
from billing.metrics import seat_item
from billing.operations.coupons import (
    HeldDiscount,
    Reduction,
    check_coupon,
    held,
    look_up,
    name_of,
    reduction_of,
    refused,
)
from billing.operations.subscription import (
    SubscriptionChoices,
    SubscriptionPreview,
    fingerprint,
    upcoming_invoice,
)
from billing.projection import from_unix
from billing.stripe_api import StripeObject


@dataclass(frozen=True)
class ApplyChoices(SubscriptionChoices):
    """Which coupon: its id, or a promotion code that names it."""

    code: str = ""


@dataclass(frozen=True)
class RemoveChoices(SubscriptionChoices):
    """Which discount, by Stripe's id."""

    discount: str = ""


@dataclass(frozen=True)
class DiscountPreview(SubscriptionPreview):
    """What a change of the discounts would do. Amounts in minor units of `currency`."""

    currency: str
    discounts: tuple[dict[str, str], ...]
    """All of them as they shall be: Stripe replaces its list as a whole."""
    kept: tuple[HeldDiscount, ...]
    of_customer: HeldDiscount | None
    """What the customer has; it counts while the subscription has none of its own."""
    recurring_before: int | None
    """What each period costs; None where none will come."""
    recurring_after: int | None
    next_before: int | None
    """What the next invoice comes to; None where none will come."""
    next_after: int | None
    next_date: datetime.datetime | None
    interval: str
    interval_count: int


@dataclass(frozen=True)
class ApplyPreview(DiscountPreview):
    """What a coupon would do."""

    code: str
    """As typed."""
    coupon_id: str
    promotion_code_id: str
    promotion_code: str
    """As Stripe writes it, in whatever case it was typed; empty where the coupon itself was named."""
    reduction: Reduction


@dataclass(frozen=True)
class RemovePreview(DiscountPreview):
    """What taking a discount away would do."""

    removed: HeldDiscount
    is_customers: bool
    """Whether it belongs to the customer, and so to all subscriptions that have none of their own."""


def preview_apply(subscription: StripeObject, choices: ApplyChoices) -> ApplyPreview:
    """What a coupon would take off `subscription`, as Stripe has it now.

    Raises OperationRefused where it cannot be used, StripeError where Stripe does not tell.
    """
    code = choices.code.strip()
    promotion, coupon = look_up(code, subscription["customer"])
    check_coupon(code, coupon, subscription["currency"])
    kept = held_discounts(subscription)
    if any(each.coupon_id == coupon["id"] for each in kept):
        raise OperationRefused(
            _("This subscription has “%(coupon)s” already. Nothing was changed.")
            % {"coupon": name_of(coupon)}
        )
    of_customer = _customers_own(subscription)
    own = tuple(map(_entry, kept))
    new = {"promotion_code": promotion["id"]} if promotion else {"coupon": coupon["id"]}
    try:
        totals = _totals(
            subscription,
            before=_Reductions(own, of_customer),
            after=_Reductions((*own, _Entry(new, coupon["duration"])), of_customer),
        )
    except StripeRefused as error:
        # The one who knows what a customer bought before, and what it comes to, is Stripe.
        raise OperationRefused(refused(code, promotion) or error.message, error.detail) from error
    return ApplyPreview(
        **totals,
        kept=kept,
        code=code,
        coupon_id=coupon["id"],
        promotion_code_id=promotion["id"] if promotion else "",
        promotion_code=promotion["code"] if promotion else "",
        reduction=reduction_of(coupon, subscription["currency"]),
    )


def preview_remove(subscription: StripeObject, choices: RemoveChoices) -> RemovePreview:
    """What taking one discount away would do: of `subscription`, where the others stay, or of its customer.

    Raises OperationRefused where it is not there, StripeError where Stripe does not tell.
    """
    own, of_customer = held_discounts(subscription), _customers_own(subscription)
    removed = next((each for each in (*own, of_customer) if each and each.id == choices.discount), None)
    if removed is None:
        raise OperationRefused(_("That discount is not there any more. Nothing was changed."))
    is_customers = removed is of_customer
    kept = tuple(each for each in own if each is not removed)
    totals = _totals(
        subscription,
        before=_Reductions(tuple(map(_entry, own)), of_customer),
        after=_Reductions(tuple(map(_entry, kept)), None if is_customers else of_customer),
    )
    return RemovePreview(**totals, kept=kept, removed=removed, is_customers=is_customers)


def _customers_own(subscription: StripeObject) -> HeldDiscount | None:
    """The discount that the subscription's customer has."""
    customer = stripe_api.call(
        "GET", f"/v1/customers/{subscription['customer']}", expand=["discount.source.coupon"]
    )
    discount = customer.get("discount")
    return held(discount, subscription["currency"]) if discount else None


def held_discounts(subscription: StripeObject) -> tuple[HeldDiscount, ...]:
    """The discounts of a subscription that was read with its discounts expanded."""
    return tuple(
        held(each, subscription["currency"])
        for each in subscription.get("discounts") or []
        if isinstance(each, dict)
    )


# -- what it comes to -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """A discount as a list of Stripe's takes it, and how long it counts."""

    params: dict[str, str]
    duration: str


def _entry(discount: HeldDiscount) -> _Entry:
    return _Entry({"discount": discount.id}, discount.reduction.duration)


@dataclass(frozen=True)
class _Reductions:
    """What reduces a subscription's invoices: its own discounts, or its customer's where it has none."""

    own: tuple[_Entry, ...]
    of_customer: HeldDiscount | None

    def params(self, *, lasting: bool = False) -> dict[str, Any]:
        """For Stripe's preview; `lasting` leaves out what counts but once."""

        def counted(entries: Iterable[_Entry]) -> list[dict[str, str]]:
            return [each.params for each in entries if not (lasting and each.duration == "once")]

        customers = (_entry(self.of_customer),) if self.of_customer else ()
        return {"discounts": counted(self.own) or counted(customers) or ""}


def _totals(subscription: StripeObject, before: _Reductions, after: _Reductions) -> dict[str, Any]:
    """What each period and the next invoice cost before and after, to the cent, by Stripe's own preview."""
    item = seat_item(subscription) or subscription["items"]["data"][0]
    recurring = item["price"].get("recurring") or {}
    next_before = _total(subscription, {})
    every_before = _every(subscription, before)
    return {
        "subscription_id": subscription["id"],
        "fingerprint": fingerprint(subscription),
        "currency": subscription["currency"],
        "discounts": tuple(each.params for each in after.own),
        "of_customer": before.of_customer,
        "recurring_before": every_before,
        "recurring_after": None if every_before is None else _every(subscription, after),
        "next_before": next_before,
        "next_after": None if next_before is None else _total(subscription, after.params()),
        "next_date": from_unix(item.get("current_period_end")),
        "interval": recurring.get("interval", ""),
        "interval_count": recurring.get("interval_count", 1),
    }


def _every(subscription: StripeObject, reductions: _Reductions) -> int | None:
    """What each period costs, in minor units, without what comes but once; None where none will come."""
    return _total(subscription, {**reductions.params(lasting=True), "preview_mode": "recurring"})


def _total(subscription: StripeObject, params: dict[str, Any]) -> int | None:
    """The total of an invoice that Stripe previews, in minor units; None where none will come."""
    invoice = upcoming_invoice({"subscription": subscription["id"], **params})
    return cast(int, invoice["total"]) if invoice else None
