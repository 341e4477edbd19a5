"""The subscription card: what is sold, what the next invoice comes to, what is planned, and what was before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from adminops.pages import words
from adminops.pages.badges import Badge, stripe_badge
from billing.estimates import Estimate, estimate_next_invoice
from billing.metrics import seat_item
from billing.money import format_money
from billing.operations.collection import Behavior
from billing.operations.coupons import held
from billing.projection import plan_name
from billing.stripe_api import StripeObject
from organizations.models import Organization
from organizations.querysets import ENDED_STATUSES


@dataclass(frozen=True)
class Former:
    """A subscription that the customer has or had besides the one that counts."""

    data: StripeObject
    badge: Badge | None
    plan: str
    seats: int | None
    began: datetime | None
    ended: datetime | None


class SubscriptionCard:
    """The subscription of one organization, from our columns and the mirror."""

    def __init__(
        self,
        organization: Organization,
        subscriptions: list[StripeObject],
        customer: StripeObject,
        *,
        prorated: int = 0,
    ) -> None:
        """`prorated`: what waits for the next invoice, in minor units of its currency."""
        self.organization = organization
        self.customer = customer
        self.prorated = prorated
        self.everything = subscriptions
        own = organization.stripe_subscription_id
        self.data: StripeObject | None = next((each for each in subscriptions if each["id"] == own), None)

    @property
    def interval(self) -> str:
        """ "monthly", "every 3 months"."""
        count, interval = self.organization.interval_count, self.organization.interval
        if not interval:
            return ""
        if count == 1:
            return str(self.organization.get_interval_display())
        return {
            "day": ngettext("every %(n)d day", "every %(n)d days", count),
            "week": ngettext("every %(n)d week", "every %(n)d weeks", count),
            "month": ngettext("every %(n)d month", "every %(n)d months", count),
            "year": ngettext("every %(n)d year", "every %(n)d years", count),
        }[interval] % {"n": count}

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.organization.has_live_subscription

    @property
    def ends_on(self) -> datetime | None:
        """When a live one is set to end."""
        organization = self.organization
        if not self.is_live:
            return None
        if organization.cancel_at:
            return organization.cancel_at
        return organization.current_period_end if organization.cancel_at_period_end else None

    @property
    def ended_on(self) -> datetime | None:
        """When one that is over ended."""
        if self.is_live or self.data is None:
            return None
        return words.from_unix(self.data.get("ended_at"))

    @property
    def left_because(self) -> str:
        """What the customer said at the end, or why Stripe ended it."""
        details = (self.data or {}).get("cancellation_details") or {}
        if details.get("reason") == "payment_failed":
            return _("because its payments failed")
        if details.get("reason") == "payment_disputed":
            return _("because a payment was disputed")
        return ""

    @property
    def pause(self) -> dict[str, Any] | None:
        """Stripe's `pause_collection` of a live one; None where invoices are collected."""
        return (self.data or {}).get("pause_collection") if self.is_live else None

    @property
    def discounts(self) -> list[str]:
        """ "Launch: 20% off for 3 months, until 12 Feb"; the customer's own where the subscription has none."""
        if self.data is None or not self.is_live:
            return []
        own = [each for each in self.data.get("discounts") or [] if _is_told(each)]
        theirs = self.customer.get("discount")
        return [
            _discount_in_words(each, self.data["currency"])
            for each in own or ([theirs] if _is_told(theirs) else [])
        ]

    # -- the next invoice -------------------------------------------------------------------------------

    @cached_property
    def estimate(self) -> Estimate | None:
        """About what the next invoice is."""
        if self.data is None:
            return None
        return estimate_next_invoice(self.data, self.customer, self.prorated)

    @property
    def estimate_in_words(self) -> str:
        """How it comes about, and what is not in it."""
        estimate = self.estimate
        if estimate is None:
            return ""

        def money(amount: int) -> str:
            return format_money(amount, estimate.currency)

        said = []
        if estimate.seats is not None and estimate.seats != self.organization.seats:
            said.append(
                ngettext("%(n)d seat by then", "%(n)d seats by then", estimate.seats) % {"n": estimate.seats}
            )
        if estimate.discount:
            said.append(_("%(sum)s off by coupon") % {"sum": money(estimate.discount)})
        if estimate.prorated > 0:
            said.append(_("with %(sum)s prorated for changes of seats") % {"sum": money(estimate.prorated)})
        elif estimate.prorated < 0:
            said.append(_("less %(sum)s prorated for changes of seats") % {"sum": money(-estimate.prorated)})
        if estimate.to_credit:
            said.append(_("%(sum)s of that stays credit") % {"sum": money(estimate.to_credit)})
        if estimate.from_balance > 0:
            said.append(_("%(sum)s of it from the customer's credit") % {"sum": money(estimate.from_balance)})
        elif estimate.from_balance < 0:
            said.append(
                _("with %(sum)s that the customer owes from before") % {"sum": money(-estimate.from_balance)}
            )
        return ", ".join([*said, _uncounted(estimate)])

    @property
    def paused_invoice(self) -> str:
        """What becomes of the next invoice while collection is paused."""
        estimate = self.estimate
        if estimate is None or not estimate.behavior:
            return ""
        told = {
            "sum": format_money(estimate.total, estimate.currency),
            "date": words.short_date(estimate.at),
            "uncounted": _uncounted(estimate),
        }
        return {
            Behavior.KEEP_AS_DRAFT: _("About %(sum)s of %(date)s stays a draft, %(uncounted)s."),
            Behavior.VOID: _("About %(sum)s of %(date)s will be voided, %(uncounted)s."),
            Behavior.UNCOLLECTIBLE: _("About %(sum)s of %(date)s will be written off, %(uncounted)s."),
        }[Behavior(estimate.behavior)] % told

    # -- what was before, and what else there is --------------------------------------------------------

    @property
    def others(self) -> list[Former]:
        """Further subscriptions that live, which there should not be."""
        return [_former(each) for each in self._rest if each["status"] not in ENDED_STATUSES]

    @property
    def previous(self) -> list[Former]:
        """Those that have ended, newest first."""
        return [_former(each) for each in self._rest if each["status"] in ENDED_STATUSES]

    @property
    def _rest(self) -> list[StripeObject]:
        return [each for each in self.everything if each["id"] != self.organization.stripe_subscription_id]


def _uncounted(estimate: Estimate) -> str:
    """What an estimate leaves out, because only Stripe knows it."""
    if estimate.has_usage:
        return _("not counting usage, tax or changes made at Stripe")
    return _("not counting tax or changes made at Stripe")


def _is_told(discount: Any) -> bool:
    """Whether a discount came along with its coupon, and not by its id alone."""
    return isinstance(discount, dict) and isinstance((discount.get("source") or {}).get("coupon"), dict)


def _discount_in_words(discount: StripeObject, currency: str) -> str:
    found = held(discount, currency)
    told = {"name": found.reduction.name, "off": str(found.reduction)}
    if found.ends_at:
        return _("%(name)s: %(off)s, until %(date)s") % {**told, "date": words.short_date(found.ends_at)}
    return _("%(name)s: %(off)s") % told


def _former(subscription: StripeObject) -> Former:
    items = (subscription.get("items") or {}).get("data") or []
    item = seat_item(subscription) or next(iter(items), None)
    return Former(
        data=subscription,
        badge=stripe_badge(subscription),
        plan=plan_name(item["price"]) if item else "",
        seats=item.get("quantity") if item else None,
        began=words.from_unix(subscription.get("start_date") or subscription.get("created")),
        ended=words.from_unix(subscription.get("ended_at")),
    )
