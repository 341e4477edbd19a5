"""What a subscription is worth: pure functions over Stripe-shaped dicts.

Amounts are minor units. Sums stay exact (Fraction) until they are rounded, half to even, once per subscription
(docs/decisions/what-words-mean.md).
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.stripe_api import StripeObject

_MONTHS = {"day": Fraction(12, 365), "week": Fraction(12, 52), "month": Fraction(1), "year": Fraction(12)}

_LASTING = frozenset({"forever", "repeating"})


def licensed_items(subscription: StripeObject) -> list[StripeObject]:
    """The items that are paid by quantity; metered ones are not."""
    return [
        item
        for item in (subscription.get("items") or {}).get("data", [])
        if (item["price"].get("recurring") or {}).get("usage_type", "licensed") == "licensed"
    ]


def seat_item(subscription: StripeObject) -> StripeObject | None:
    """The item whose quantity is the seats: the only licensed one, or the one whose product says `seats`."""
    licensed = licensed_items(subscription)
    if len(licensed) == 1:
        return licensed[0]
    named = [item for item in licensed if "seats" in _product_metadata(item)]
    return named[0] if len(named) == 1 else None


def _product_metadata(item: StripeObject) -> dict[str, Any]:
    product = item["price"].get("product")
    of_product = product.get("metadata") or {} if isinstance(product, dict) else {}
    return {**(item["price"].get("metadata") or {}), **of_product}


def item_amount(item: StripeObject, quantity: int | None = None) -> Fraction:
    """What an item costs for one interval at `quantity` (its own unless told), before discounts and tax."""
    price = item["price"]
    units = item.get("quantity") or 0 if quantity is None else quantity
    transform = price.get("transform_quantity")
    if transform:
        whole, rest = divmod(units, transform["divide_by"])
        units = whole + (1 if rest and transform["round"] == "up" else 0)
    if price.get("billing_scheme") == "tiered":
        return _tiered_amount(price, units)
    return _decimal(price.get("unit_amount_decimal"), price.get("unit_amount")) * units


def _tiered_amount(price: StripeObject, units: int) -> Fraction:
    """Volume: every unit at the tier the total falls in. Graduated: each unit at the tier it falls in."""
    if not price.get("tiers"):
        # Stripe sends tiers only where they are asked for; a wrong amount would be worse than none.
        raise ValueError(f"The tiers of {price.get('id')} were not read.")
    total, below = Fraction(0), 0
    for tier in price["tiers"]:
        up_to = tier.get("up_to")
        inside = up_to is None or units <= up_to
        if price.get("tiers_mode") == "volume":
            if not inside:
                continue
            counted = units
        else:
            counted = (units if inside else up_to) - below
            below = up_to or units
        if counted > 0 or price.get("tiers_mode") == "volume":
            total += _decimal(tier.get("unit_amount_decimal"), tier.get("unit_amount")) * counted
            total += _decimal(tier.get("flat_amount_decimal"), tier.get("flat_amount"))
        if inside:
            break
    return total


def _decimal(text: str | None, whole: int | None) -> Fraction:
    return Fraction(Decimal(text)) if text is not None else Fraction(whole or 0)


def _coupons(subscription: StripeObject) -> list[dict[str, Any]]:
    """The coupons of discounts that last; those the mirror holds only the id of are not known and count nothing."""
    coupons = []
    for discount in subscription.get("discounts") or []:
        if isinstance(discount, dict):
            coupon = (discount.get("source") or {}).get("coupon") or discount.get("coupon")
            if isinstance(coupon, dict) and coupon.get("duration") in _LASTING:
                coupons.append(coupon)
    return coupons


def recurring_amount(subscription: StripeObject, seats: int | None = None) -> int:
    """What each interval costs, after discounts that last, before tax; `seats` replaces the seat item's quantity."""
    return round(discounted(full_amount(subscription, seats), _coupons(subscription)))


def full_amount(subscription: StripeObject, seats: int | None = None) -> Fraction:
    """What each interval costs before discounts and tax; `seats` replaces the seat item's quantity."""
    changed = seat_item(subscription) if seats is not None else None
    total = Fraction(0)
    for item in licensed_items(subscription):
        is_changed = changed is not None and item["id"] == changed["id"]
        total += item_amount(item, seats if is_changed else None)
    return total


def discounted(amount: Fraction, coupons: list[dict[str, Any]]) -> Fraction:
    """An amount in minor units less what these coupons take off, one after the other; never below nothing."""
    for coupon in coupons:
        if coupon.get("percent_off") is not None:
            amount *= 1 - Fraction(Decimal(str(coupon["percent_off"]))) / 100
        elif coupon.get("amount_off") is not None:
            amount = max(Fraction(0), amount - coupon["amount_off"])
    return amount


def monthly_recurring(subscription: StripeObject) -> int:
    """MRR in minor units of the subscription's currency.

    Active and past due subscriptions count; trials, unpaid ones and those whose collection is paused without billing
    count nothing. Items are brought to a month each (yearly ÷ 12), discounts apply, and the sum is rounded once.
    """
    if subscription["status"] not in {"active", "past_due"}:
        return 0
    pause = subscription.get("pause_collection") or {}
    if pause.get("behavior") in {"void", "mark_uncollectible"}:
        return 0
    total = Fraction(0)
    months = Fraction(1)
    for item in licensed_items(subscription):
        recurring = item["price"]["recurring"]
        months = _MONTHS[recurring["interval"]] * recurring.get("interval_count", 1)
        total += item_amount(item) / months
    # A fixed discount is taken once per invoice, so it is brought to a month like the items are.
    coupons = [
        {**coupon, "amount_off": Fraction(coupon["amount_off"]) / months}
        if coupon.get("amount_off")
        else coupon
        for coupon in _coupons(subscription)
    ]
    return round(discounted(total, coupons))
