"""Coupons: put one on a subscription, or take a discount away, all others kept as they are."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import mirror, stripe_api
from billing.models import OperationStep, SubscriptionEvent
from billing.money import format_money
from billing.operations.base import Intent, Settlement, Step, Told, Trace
from billing.operations.coupons import Reduction
from billing.operations.discount_preview import (
    ApplyChoices,
    ApplyPreview,
    DiscountPreview,
    RemoveChoices,
    RemovePreview,
    preview_apply,
    preview_remove,
)
from billing.operations.subscription import (
    SubscriptionChoices,
    SubscriptionOperation,
    ended,
    live_subscriptions,
)
from billing.schedules import is_ours, schedule_of
from billing.stripe_api import StripeObject
from organizations.models import Organization


class DiscountOperation[ChoicesT: SubscriptionChoices, PreviewT: DiscountPreview](
    SubscriptionOperation[ChoicesT, PreviewT]
):
    """A change of a subscription's discounts, which Stripe replaces as a whole."""

    permission = "organizations.apply_discount"

    def unfit(self, subscription: StripeObject) -> str | None:
        """Ended, or managed by a schedule, whose next phase would bring its own discounts."""
        schedule = schedule_of(subscription)
        if schedule is not None and is_ours(schedule):
            return _(
                "Seats of this subscription are planned, and its coupons cannot be changed until that is done or"
                " withdrawn."
            )
        if subscription.get("schedule"):
            return _(
                "A schedule at Stripe manages this subscription, so its coupons cannot be changed directly."
            )
        return ended(subscription)

    def replacing(self, preview: DiscountPreview) -> Step:
        """The one update that gives the subscription exactly the discounts of the preview."""
        # An empty list would not be sent at all.
        params = {"discounts": [dict(each) for each in preview.discounts] or ""}
        return Step("discounts", "POST", f"/v1/subscriptions/{preview.subscription_id}", params)

    def settled(self, event: SubscriptionEvent, message: str) -> Settlement:
        """The message, with what each period costs from now on."""
        plan = event.plan or {}
        after = plan["recurring_after"]
        if after is not None:
            message += " " + _("Each period now costs %(sum)s.") % {
                "sum": format_money(after, plan["currency"])
            }
        return Settlement(message=message, after={"recurring": after})

    def with_recurring(self, event: SubscriptionEvent, done: str) -> Told:
        """What was done, with what each period costs since."""
        plan = event.plan or {}
        if plan["recurring_after"] is None:
            return Told(done)
        each = format_money(plan["recurring_after"], plan["currency"])
        return Told(done, (_("each period costs %(sum)s from then on") % {"sum": each},))


class ApplyDiscount(DiscountOperation[ApplyChoices, ApplyPreview]):
    """Put a coupon on a subscription."""

    type = "apply_discount"
    label = gettext_lazy("Coupon applied")
    attempt = gettext_lazy("apply a coupon")
    choices_class = ApplyChoices

    def preview(self, subject: Organization, choices: ApplyChoices, at: int) -> ApplyPreview:
        """To the cent, by Stripe's own preview of the invoice."""
        return preview_apply(self.read(subject, choices), choices)

    def prepare(
        self, subject: Organization, choices: ApplyChoices, preview: ApplyPreview, actor: User
    ) -> Intent:
        """One update: those that were there, and the new one."""
        return Intent(
            steps=(self.replacing(preview),),
            before={"discounts": [each.id for each in preview.kept], "recurring": preview.recurring_before},
            columns=_evidence(preview),
        )

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """Stripe's answer is the subscription with its discounts."""
        plan = event.plan or {}
        reduction = Reduction(**plan["reduction"])
        return self.settled(
            event,
            _("%(coupon)s applied: %(off)s.") % {"coupon": capfirst(_coupon(plan)), "off": reduction},
        )

    def retell(self, event: SubscriptionEvent) -> Told:
        """Which coupon, and what it takes off."""
        plan = event.plan or {}
        words = {"coupon": _coupon(plan), "off": Reduction(**plan["reduction"])}
        return self.with_recurring(event, _("applied the %(coupon)s (%(off)s)") % words)


class RemoveDiscount(DiscountOperation[RemoveChoices, RemovePreview]):
    """Take one discount away."""

    type = "remove_discount"
    label = gettext_lazy("Coupon removed")
    attempt = gettext_lazy("remove a coupon")
    choices_class = RemoveChoices

    def refuse_reason(self, subject: Organization) -> str | None:
        """As for any subscription, and where there is nothing to remove."""
        return super().refuse_reason(subject) or (
            None
            if has_discounts(subject)
            else _("Neither this organization's subscription nor its customer at Stripe has a coupon.")
        )

    def preview(self, subject: Organization, choices: RemoveChoices, at: int) -> RemovePreview:
        """To the cent, by Stripe's own preview of the invoice."""
        return preview_remove(self.read(subject, choices), choices)

    def prepare(
        self, subject: Organization, choices: RemoveChoices, preview: RemovePreview, actor: User
    ) -> Intent:
        """One update with those that stay; the customer's own has an address of its own."""
        step = self.replacing(preview)
        if preview.is_customers:
            step = Step(
                "discount", "DELETE", f"/v1/customers/{subject.stripe_customer_id}/discount", signed=False
            )
        return Intent(
            steps=(step,),
            before={
                "discounts": [*(each.id for each in preview.kept), preview.removed.id],
                "recurring": preview.recurring_before,
            },
            columns=_evidence(preview),
        )

    def find_outcome(self, event: SubscriptionEvent, step: OperationStep) -> Trace:
        """A customer's discount is gone, or still the one that was to go; of a subscription's, our mark tells."""
        if step.method != "DELETE":
            return super().find_outcome(event, step)
        customer = stripe_api.retrieve_customer(event.stripe_customer_id or "")
        is_there = (customer.get("discount") or {}).get("id") == (event.plan or {})["removed"]["id"]
        return Trace(answer=None if is_there else customer, still_agreed=is_there)

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """Stripe's answer is the subscription with what is left, or the customer's discount that is gone."""
        removed = (event.plan or {})["removed"]
        reduction = Reduction(**removed["reduction"])
        return self.settled(
            event,
            _("Coupon “%(name)s” (%(off)s) removed.") % {"name": reduction.name, "off": reduction},
        )

    def retell(self, event: SubscriptionEvent) -> Told:
        """Which coupon, and what it took off."""
        reduction = Reduction(**(event.plan or {})["removed"]["reduction"])
        return self.with_recurring(
            event,
            _("removed the coupon “%(name)s” (%(off)s)") % {"name": reduction.name, "off": reduction},
        )

    def sync_objects(self, event: SubscriptionEvent) -> list[str]:
        """The customer as well, where the discount was its own."""
        objects = super().sync_objects(event)
        return [*objects, event.stripe_customer_id or ""] if (event.plan or {})["is_customers"] else objects


def has_discounts(organization: Organization) -> bool:
    """Whether there is a discount to take away, as the mirror has it."""
    customer = mirror.customer(organization.stripe_customer_id or "") or {}
    return bool(customer.get("discount")) or any(
        each.get("discounts") for each in live_subscriptions(organization)
    )


def _coupon(plan: dict[str, Any]) -> str:
    """The coupon that was applied, and the code it was asked for by."""
    words = {"name": plan["reduction"]["name"], "code": plan.get("promotion_code")}
    if words["code"]:
        return _("coupon “%(name)s” by the promotion code %(code)s") % words
    return _("coupon “%(name)s”") % words


def _evidence(preview: DiscountPreview) -> dict[str, str]:
    return {
        "stripe_subscription_id": preview.subscription_id,
        "stripe_object_id": preview.subscription_id,
        "currency": preview.currency,
    }
