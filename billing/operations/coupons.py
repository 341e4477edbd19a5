"""Coupons and promotion codes at Stripe: which one is meant, whether it can be used, what it takes off."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from urllib.parse import quote

from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing import stripe_api
from billing.errors import ObjectMissing, OperationRefused
from billing.money import format_money
from billing.operations.subscription import date_in_words
from billing.projection import from_unix
from billing.stripe_api import StripeObject

# Stripe's own limit of a promotion code.
MAX_CODE = 500


@dataclass(frozen=True)
class Reduction:
    """What a coupon takes off: a percentage, or an amount in minor units of `currency`; for how long."""

    name: str
    percent_off: str
    amount_off: int
    currency: str
    duration: str
    """Stripe's word: `once`, `repeating` or `forever`."""
    months: int
    """Of a repeating one."""

    def __str__(self) -> str:
        """ "20% off for 3 months"."""
        off = (
            _("%(percent)s%% off") % {"percent": self.percent_off}
            if self.percent_off
            else _("%(sum)s off") % {"sum": format_money(self.amount_off, self.currency)}
        )
        return f"{off} {self.how_long}"

    @property
    def how_long(self) -> str:
        """ "once", "for 3 months", "forever"."""
        if self.duration == "repeating":
            return ngettext("for %(n)d month", "for %(n)d months", self.months) % {"n": self.months}
        return _("once") if self.duration == "once" else _("forever")


@dataclass(frozen=True)
class HeldDiscount:
    """A discount that is there already."""

    id: str
    coupon_id: str
    reduction: Reduction
    ends_at: datetime.datetime | None


def look_up(code: str, customer_id: str) -> tuple[StripeObject | None, StripeObject]:
    """The active promotion code of that name and its coupon; else the coupon of that id, and no promotion code.

    Raises OperationRefused where there is none that this customer may use, StripeError where Stripe does not tell.
    """
    if not 1 <= len(code) <= MAX_CODE:
        raise OperationRefused(_("Say which coupon: its id, or a promotion code."))
    pages = stripe_api.list_pages("/v1/promotion_codes", {"code": code, "active": True})
    found = [each for page in pages for each in page]
    # Two customers may have a code of their own that reads the same.
    mine = next((each for each in found if each.get("customer") in (customer_id, None)), None)
    if mine is not None:
        _check_promotion(code, mine)
        return mine, _coupon(mine["promotion"]["coupon"])
    if found:
        raise OperationRefused(
            _("The promotion code %(code)s is for another customer. Nothing was changed.") % {"code": code}
        )
    if "/" in code or code in {".", ".."}:
        raise OperationRefused(_unknown(code))  # no coupon's id, and another address of Stripe's
    try:
        return None, _coupon(code)
    except ObjectMissing as error:
        if next(stripe_api.list_pages("/v1/promotion_codes", {"code": code}, limit=1), []):
            raise OperationRefused(
                _(
                    "The promotion code %(code)s has expired, is used up or was switched off. Nothing was changed."
                )
                % {"code": code}
            ) from error
        raise OperationRefused(_unknown(code), error.detail) from error


def _unknown(code: str) -> str:
    return _("Stripe knows no coupon and no promotion code “%(code)s”. Check how it is written.") % {
        "code": code
    }


def _coupon(coupon_id: str) -> StripeObject:
    return stripe_api.call("GET", f"/v1/coupons/{quote(coupon_id, safe='')}", expand=["currency_options"])


def _check_promotion(code: str, promotion: StripeObject) -> None:
    expires = from_unix(promotion.get("expires_at"))
    if expires is not None and expires <= timezone.now():
        raise OperationRefused(
            _("The promotion code %(code)s expired on %(date)s. Nothing was changed.")
            % {"code": code, "date": date_in_words(expires)}
        )


def refused(code: str, promotion: StripeObject | None) -> str | None:
    """Why Stripe does not take a promotion code, as far as its restrictions tell."""
    limits = (promotion or {}).get("restrictions") or {}
    only = []
    if limits.get("first_time_transaction"):
        only.append(_("for a customer's first purchase"))
    if limits.get("minimum_amount"):
        least = format_money(limits["minimum_amount"], limits["minimum_amount_currency"])
        only.append(_("from %(least)s on") % {"least": least})
    if not only:
        return None
    return _(
        "Stripe does not take the promotion code %(code)s here: it is only %(only)s. Nothing was changed."
    ) % {
        "code": code,
        "only": _(" and ").join(only),
    }


def check_coupon(code: str, coupon: StripeObject, currency: str) -> None:
    """Raises OperationRefused for a coupon that cannot be used any more, or takes off another currency."""
    redeem_by, most = from_unix(coupon.get("redeem_by")), coupon.get("max_redemptions")
    if not coupon["valid"]:
        if most and coupon["times_redeemed"] >= most:
            raise OperationRefused(
                _("The coupon %(code)s is used up: it could be used %(most)s times. Nothing was changed.")
                % {"code": code, "most": formats.number_format(most)}
            )
        if redeem_by is not None:
            raise OperationRefused(
                _("The coupon %(code)s expired on %(date)s. Nothing was changed.")
                % {"code": code, "date": date_in_words(redeem_by)}
            )
        raise OperationRefused(
            _("The coupon %(code)s cannot be used any more. Nothing was changed.") % {"code": code}
        )
    if coupon.get("percent_off") is None and _amount_off(coupon, currency) is None:
        raise OperationRefused(
            _(
                "The coupon %(code)s takes off %(theirs)s; this subscription is in %(ours)s. Nothing was changed."
            )
            % {
                "code": code,
                "theirs": format_money(coupon["amount_off"], coupon["currency"]),
                "ours": currency.upper(),
            }
        )


def _amount_off(coupon: StripeObject, currency: str) -> int | None:
    """What a coupon takes off in a currency, in minor units; None for a percentage, or where it has no amount in it."""
    if coupon.get("currency") == currency:
        return coupon["amount_off"]  # type: ignore[no-any-return]
    option = (coupon.get("currency_options") or {}).get(currency)
    return option["amount_off"] if option else None


def name_of(coupon: StripeObject) -> str:
    """What people call a coupon: its name, else its id."""
    return str(coupon.get("name") or coupon["id"])


def reduction_of(coupon: StripeObject, currency: str) -> Reduction:
    """What a coupon takes off invoices in `currency`."""
    percent, off = coupon.get("percent_off"), _amount_off(coupon, currency)
    if off is None and percent is None:
        # A coupon inside a discount does not tell what it takes off in other currencies.
        off, currency = coupon["amount_off"], coupon["currency"]
    return Reduction(
        name=name_of(coupon),
        percent_off="" if percent is None else str(percent).removesuffix(".0"),
        amount_off=off or 0,
        currency=currency,
        duration=coupon["duration"],
        months=coupon.get("duration_in_months") or 0,
    )


def held(discount: StripeObject, currency: str) -> HeldDiscount:
    """A discount of Stripe's whose coupon is expanded, reducing invoices in `currency`."""
    coupon = discount["source"]["coupon"]
    return HeldDiscount(
        id=discount["id"],
        coupon_id=coupon["id"],
        reduction=reduction_of(coupon, currency),
        ends_at=from_unix(discount.get("end")),
    )
