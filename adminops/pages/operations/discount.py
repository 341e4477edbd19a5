"""Coupons: what is asked and what is shown. The doing is `billing.operations.discount`."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adminops.pages import words
from adminops.pages.operations.base import OperationPage, Row
from adminops.pages.operations.forms import ReasonForm, subscription_in_words
from billing import mirror
from billing.money import format_money
from billing.operations import OPERATIONS
from billing.operations.coupons import MAX_CODE, HeldDiscount, Reduction
from billing.operations.discount_preview import (
    ApplyChoices,
    ApplyPreview,
    DiscountPreview,
    RemoveChoices,
    RemovePreview,
)
from billing.operations.subscription import SubscriptionChoices, every, live_subscriptions
from billing.stripe_api import StripeObject
from organizations.models import Organization


class CouponForm(ReasonForm):
    """Which coupon, and why."""

    code = forms.CharField(
        label=gettext_lazy("Coupon or promotion code"),
        max_length=MAX_CODE,
        help_text=gettext_lazy("A promotion code as customers type it, or a coupon's id at Stripe."),
        error_messages={"required": gettext_lazy("Say which coupon: its id, or a promotion code.")},
        widget=forms.TextInput(attrs={"autofocus": True, "autocomplete": "off", "spellcheck": "false"}),
    )


class RemoveCouponForm(ReasonForm):
    """Which discount, and why."""

    discount = forms.ChoiceField(
        label=gettext_lazy("Which coupon"),
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose the coupon that is to go."),
            "invalid_choice": gettext_lazy("That coupon is not there any more. Choose again."),
        },
    )


class DiscountPage[ChoicesT: SubscriptionChoices, PreviewT: DiscountPreview](
    OperationPage[Organization, ChoicesT, PreviewT]
):
    """What a change of discounts shows, whichever it is."""

    def lasting(self, preview: PreviewT) -> str:
        """For how long the new recurring total holds; `%(every)s` is put in."""
        return _("From then on, %(every)s")

    def totals(self, preview: PreviewT) -> list[Row]:
        """The next invoice and each period, as they were and will be."""

        def money(amount: int) -> str:
            return format_money(amount, preview.currency)

        rows = []
        if preview.next_before is not None and preview.next_after is not None:
            date = words.short_date(preview.next_date) if preview.next_date else ""
            rows.append(
                Row(
                    _("Next invoice, %(day)s") % {"day": date},
                    money(preview.next_after),
                    below=_("now %(before)s") % {"before": money(preview.next_before)},
                )
            )
        if preview.recurring_before is not None and preview.recurring_after is not None:
            rows.append(
                Row(
                    self.lasting(preview) % {"every": every(preview.interval, preview.interval_count)},
                    money(preview.recurring_after),
                    below=_("now %(before)s") % {"before": money(preview.recurring_before)},
                    is_sum=True,
                )
            )
        return rows

    def kept(self, preview: DiscountPreview) -> list[Row]:
        """The discounts that stay."""
        return [
            Row(
                _("Stays: %(name)s") % {"name": each.reduction.name},
                _lasting(each),
                below=_id(each.coupon_id, each.reduction),
            )
            for each in preview.kept
        ]

    def sentences(self, preview: DiscountPreview) -> list[str]:
        said = [_("Nothing is charged or credited today; it counts from the next invoice on.")]
        if preview.next_before is None:
            said = [_("This subscription ends with its period, so no invoice comes that this would change.")]
        return said


class ApplyDiscountPage(DiscountPage[ApplyChoices, ApplyPreview]):
    """Put a coupon on the subscription."""

    operation = OPERATIONS["apply_discount"]
    form_class = CouponForm
    previewed_fields = ("code",)

    def choices(self, cleaned: dict[str, Any]) -> ApplyChoices:
        return ApplyChoices(subscription=cleaned.get("subscription", ""), code=cleaned["code"])

    def lasting(self, preview: ApplyPreview) -> str:
        months = preview.reduction.months
        if preview.reduction.duration != "repeating":
            return super().lasting(preview)
        return ngettext("For %(n)d month, %%(every)s", "For %(n)d months, %%(every)s", months) % {"n": months}

    def rows(self, preview: ApplyPreview) -> list[Row]:
        reduction = preview.reduction
        return [
            Row(reduction.name, str(reduction), below=_asked_for(preview)),
            *self.kept(preview),
            *self.totals(preview),
        ]

    def warnings(self, preview: ApplyPreview) -> list[str]:
        if preview.of_customer is None or preview.kept:
            return []
        return [
            _(
                "The customer has a coupon of its own (%(name)s, %(off)s). It belongs to the customer, not to the"
                " subscription, and no longer counts for a subscription that has one."
            )
            % {"name": preview.of_customer.reduction.name, "off": preview.of_customer.reduction}
        ]

    def confirm_label(self, preview: ApplyPreview) -> str:
        return _("Apply %(name)s") % {"name": preview.reduction.name}


class RemoveDiscountPage(DiscountPage[RemoveChoices, RemovePreview]):
    """Take a coupon away."""

    operation = OPERATIONS["remove_discount"]
    form_class = RemoveCouponForm
    previewed_fields = ("discount",)
    # Where there is one coupon it is chosen already.
    previews_at_once = True

    def form(self, data: Any = None) -> forms.Form:
        form = super().form(data)
        choices = self._choices()
        form.fields["discount"].choices = choices  # type: ignore[attr-defined]
        if len(choices) == 1:
            form.fields["discount"].initial = choices[0][0]
        return form

    def _choices(self) -> list[tuple[str, str]]:
        """Every discount there is, by Stripe's id, as the mirror has it."""
        live = live_subscriptions(self.subject)
        choices = [
            (discount["id"], self._in_words(discount, each if len(live) > 1 else None))
            for each in live
            for discount in each.get("discounts") or []
            if isinstance(discount, dict)
        ]
        customer = mirror.customer(self.subject.stripe_customer_id or "") or {}
        if discount := customer.get("discount"):
            words_ = _("%(name)s, which belongs to the customer, not to a subscription")
            choices.append((discount["id"], words_ % {"name": self._in_words(discount, None)}))
        return choices

    def _in_words(self, discount: StripeObject, subscription: StripeObject | None) -> str:
        coupon = discount["source"]["coupon"]
        name = coupon if isinstance(coupon, str) else coupon.get("name") or coupon["id"]
        if subscription is None:
            return str(name)
        return _("%(name)s on %(subscription)s") % {
            "name": name,
            "subscription": subscription_in_words(subscription),
        }

    def choices(self, cleaned: dict[str, Any]) -> RemoveChoices:
        return RemoveChoices(subscription=cleaned.get("subscription", ""), discount=cleaned["discount"])

    def rows(self, preview: RemovePreview) -> list[Row]:
        removed = preview.removed
        gone = Row(
            _("Goes: %(name)s") % {"name": removed.reduction.name},
            _lasting(removed),
            below=_id(removed.coupon_id, removed.reduction),
        )
        return [gone, *self.kept(preview), *self.totals(preview)]

    def warnings(self, preview: RemovePreview) -> list[str]:
        if preview.is_customers:
            return [
                _(
                    "This coupon belongs to the customer, not to the subscription: it goes for all subscriptions of"
                    " the customer."
                )
            ]
        if preview.of_customer is None or preview.kept:
            return []
        return [
            _("Then the customer's own coupon counts again: %(name)s, %(off)s.")
            % {"name": preview.of_customer.reduction.name, "off": preview.of_customer.reduction}
        ]

    def confirm_label(self, preview: RemovePreview) -> str:
        return _("Remove %(name)s") % {"name": preview.removed.reduction.name}


def _id(coupon_id: str, reduction: Reduction) -> str:
    """A coupon's id, where it is not called by it already."""
    return "" if reduction.name == coupon_id else coupon_id


def _asked_for(preview: ApplyPreview) -> str:
    """The coupon's id, and the promotion code that stands for it."""
    id_ = _id(preview.coupon_id, preview.reduction)
    if not preview.promotion_code:
        return id_
    by = _("by the promotion code %(code)s") % {"code": preview.promotion_code}
    return f"{id_}, {by}" if id_ else by


def _lasting(held: HeldDiscount) -> str:
    """What it takes off and until when."""
    if held.ends_at is None:
        return str(held.reduction)
    return _("%(off)s, until %(date)s") % {"off": held.reduction, "date": words.short_date(held.ends_at)}
