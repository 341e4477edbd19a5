"""The lines of the ledger in words: what kind of thing happened, by whom, and what is otherwise since."""

from __future__ import annotations

from datetime import timedelta

from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.actors import person_name
from billing.customer_details import DETAILS_CHANGED
from billing.denials import TYPE as DENIED
from billing.models import SubscriptionEvent
from billing.money import format_money
from billing.operations import COURSES

# Stripe's names of what happened, and ours, in words. One that is not here is told by its name.
TYPES: dict[str, str | Promise] = {
    **{course.type: course.label for course in COURSES.values()},
    "list.exported": gettext_lazy("List taken away as a file"),
    "permission.denied": gettext_lazy("Tried without being allowed to"),
    DETAILS_CHANGED: gettext_lazy("Name or billing e-mail changed"),
    "organization.imported": gettext_lazy("Taken in from Stripe"),
    "reconciliation.corrected": gettext_lazy("Corrected after comparing with Stripe"),
    "reconciliation.refund_found": gettext_lazy("Refund made elsewhere found"),
    "reconciliation.subscription_ended": gettext_lazy("Lost subscription counted as canceled"),
    "reconciliation.accepted": gettext_lazy("Difference from Stripe accepted"),
    "reconciliation.ignored": gettext_lazy("Difference from Stripe hidden for a while"),
    "reconciliation.agreed": gettext_lazy("Reconciliation let go on"),
    "hold.placed": gettext_lazy("Suspended"),
    "hold.lifted": gettext_lazy("Hold lifted"),
    "payloads.purged": gettext_lazy("Bodies of old events deleted"),
    "personal_data.erased": gettext_lazy("Personal data erased"),
    "demo.filled": gettext_lazy("Demo data filled in"),
    "member.payment_page": gettext_lazy("An owner went to pay"),
    "customer.created": gettext_lazy("Customer created at Stripe"),
    "customer.updated": gettext_lazy("Customer's details changed"),
    "customer.deleted": gettext_lazy("Customer deleted at Stripe"),
    "customer.subscription.created": gettext_lazy("Subscription started"),
    "customer.subscription.updated": gettext_lazy("Subscription changed"),
    "customer.subscription.deleted": gettext_lazy("Subscription ended"),
    "customer.subscription.paused": gettext_lazy("Subscription paused"),
    "customer.subscription.resumed": gettext_lazy("Subscription resumed"),
    "customer.subscription.trial_will_end": gettext_lazy("Trial ends in three days"),
    "customer.subscription.pending_update_applied": gettext_lazy(
        "Pending change of the subscription applied"
    ),
    "customer.subscription.pending_update_expired": gettext_lazy(
        "Pending change of the subscription expired"
    ),
    "subscription_schedule.created": gettext_lazy("Plan for the subscription begun"),
    "subscription_schedule.updated": gettext_lazy("Plan for the subscription changed"),
    "subscription_schedule.released": gettext_lazy("Plan for the subscription done with"),
    "subscription_schedule.canceled": gettext_lazy("Plan for the subscription canceled"),
    "subscription_schedule.completed": gettext_lazy("Plan for the subscription completed"),
    "subscription_schedule.aborted": gettext_lazy("Plan for the subscription broken off"),
    "subscription_schedule.expiring": gettext_lazy("Plan for the subscription ends in a week"),
    "invoice.created": gettext_lazy("Invoice drafted"),
    "invoice.finalized": gettext_lazy("Invoice issued"),
    "invoice.finalization_failed": gettext_lazy("Invoice could not be issued"),
    "invoice.sent": gettext_lazy("Invoice sent"),
    "invoice.overdue": gettext_lazy("Invoice overdue"),
    "invoice.paid": gettext_lazy("Invoice paid"),
    "invoice.payment_succeeded": gettext_lazy("Invoice paid"),
    "invoice.payment_failed": gettext_lazy("Payment of an invoice failed"),
    "invoice.payment_action_required": gettext_lazy("Payment waits for the customer"),
    "invoice.upcoming": gettext_lazy("Next invoice announced"),
    "invoice.updated": gettext_lazy("Invoice changed"),
    "invoice.voided": gettext_lazy("Invoice voided"),
    "invoice.marked_uncollectible": gettext_lazy("Invoice written off"),
    "invoice_payment.paid": gettext_lazy("Payment of an invoice recorded"),
    "invoice.deleted": gettext_lazy("Draft of an invoice deleted"),
    "invoice.overpaid": gettext_lazy("More paid than an invoice asked for"),
    "invoice.payment_attempt_required": gettext_lazy("Invoice waits for a payment from outside"),
    "invoice.will_be_due": gettext_lazy("Invoice falls due soon"),
    "invoiceitem.created": gettext_lazy("Put on the next invoice"),
    "invoiceitem.updated": gettext_lazy("Changed on the next invoice"),
    "invoiceitem.deleted": gettext_lazy("Taken off the next invoice"),
    "charge.succeeded": gettext_lazy("Payment received"),
    "charge.pending": gettext_lazy("Payment under way"),
    "charge.captured": gettext_lazy("Payment captured"),
    "charge.updated": gettext_lazy("Payment's details changed"),
    "charge.expired": gettext_lazy("Payment expired"),
    "charge.failed": gettext_lazy("Payment failed"),
    "charge.refunded": gettext_lazy("Payment refunded"),
    "charge.dispute.created": gettext_lazy("Payment disputed"),
    "charge.dispute.updated": gettext_lazy("Dispute changed"),
    "charge.dispute.closed": gettext_lazy("Dispute closed"),
    "charge.dispute.funds_withdrawn": gettext_lazy("Disputed money withdrawn"),
    "charge.dispute.funds_reinstated": gettext_lazy("Disputed money given back"),
    "charge.refund.updated": gettext_lazy("Refund changed"),
    "refund.created": gettext_lazy("Refund started"),
    "refund.updated": gettext_lazy("Refund changed"),
    "refund.failed": gettext_lazy("Refund failed"),
    "payment_intent.created": gettext_lazy("Payment begun"),
    "payment_intent.requires_action": gettext_lazy("Payment waits for the customer"),
    "payment_intent.processing": gettext_lazy("Payment on its way"),
    "payment_intent.partially_funded": gettext_lazy("Payment made in part"),
    "payment_intent.amount_capturable_updated": gettext_lazy("Payment can be captured"),
    "payment_intent.canceled": gettext_lazy("Payment abandoned"),
    "payment_intent.succeeded": gettext_lazy("Payment received"),
    "payment_intent.payment_failed": gettext_lazy("Payment failed"),
    "credit_note.created": gettext_lazy("Credit note made"),
    "credit_note.updated": gettext_lazy("Credit note changed"),
    "credit_note.voided": gettext_lazy("Credit note voided"),
    "customer.discount.created": gettext_lazy("Coupon applied"),
    "customer.discount.updated": gettext_lazy("Coupon changed"),
    "customer.discount.deleted": gettext_lazy("Coupon removed"),
    "coupon.created": gettext_lazy("Coupon made"),
    "coupon.updated": gettext_lazy("Coupon itself changed"),
    "coupon.deleted": gettext_lazy("Coupon deleted"),
    "promotion_code.created": gettext_lazy("Promotion code made"),
    "promotion_code.updated": gettext_lazy("Promotion code changed"),
    "product.created": gettext_lazy("Product made"),
    "product.updated": gettext_lazy("Product changed"),
    "product.deleted": gettext_lazy("Product deleted"),
    "price.created": gettext_lazy("Price made"),
    "price.updated": gettext_lazy("Price changed"),
    "price.deleted": gettext_lazy("Price deleted"),
    "billing_portal.session.created": gettext_lazy("Link to the customer portal made"),
    "payment_method.attached": gettext_lazy("Card added"),
    "payment_method.detached": gettext_lazy("Card removed"),
    "payment_method.updated": gettext_lazy("Card changed"),
    "payment_method.automatically_updated": gettext_lazy("Card renewed by its bank"),
}

_LATE = timedelta(minutes=10)


def type_in_words(type_: str) -> str:
    """What kind of thing happened: "Invoice paid". A type that is new to us is made of its own words."""
    return str(TYPES.get(type_) or capfirst(type_.replace(".", " ").replace("_", " ")))


def status_in_words(status: str | None) -> str:
    """Stripe's `past_due` as "past due"."""
    return (status or "").replace("_", " ")


def change_of_quantity(event: SubscriptionEvent) -> str:
    """ "8 → 12", or the one that is known."""
    return _arrow(event.previous_quantity, event.quantity)


def change_of_status(event: SubscriptionEvent) -> str:
    """ "active → past due", or the one that is known."""
    return _arrow(status_in_words(event.previous_status), status_in_words(event.status))


def _arrow(before: object, after: object) -> str:
    if before not in (None, "") and after not in (None, "") and before != after:
        return f"{before} → {after}"
    return str(after) if after not in (None, "") else ""


def is_late(event: SubscriptionEvent) -> bool:
    """Whether we learned of it so long after it happened that both times are worth telling."""
    return event.occurred_at is not None and event.created_at - event.occurred_at > _LATE


def by_whom(event: SubscriptionEvent) -> str:
    """Who did it: a colleague by name (their login where they have none), Stripe, or the back office itself."""
    if event.source == SubscriptionEvent.Source.STAFF:
        return person_name(event.actor) if event.actor else event.actor_label or _("staff")
    # Neither staff nor the back office alone: a member who owns the organization.
    return event.actor_label or str(SubscriptionEvent.Source(event.source).label)


def source_in_words(event: SubscriptionEvent) -> str:
    """Where it comes from: Stripe, staff, the back office itself, or a member of the customer."""
    is_ours = event.source == SubscriptionEvent.Source.SYSTEM
    if is_ours and event.actor is not None and not event.actor.is_staff:
        return _("Customer's member")
    return str(event.get_source_display())


def occurred(event: SubscriptionEvent) -> str:
    """What Stripe or one of our jobs tells, in one line: "Subscription changed, 8 → 12 seats"."""
    if event.source != SubscriptionEvent.Source.STRIPE and event.message:
        login = event.actor_label or ""
        if event.type == DENIED and login and event.message.startswith(login):
            return by_whom(event) + event.message.removeprefix(login)
        return event.message
    return ", ".join([type_in_words(event.type), *changes(event), *_money(event)])


def changes(event: SubscriptionEvent) -> list[str]:
    """What is otherwise than before: "8 → 12 seats", "active → past due"."""
    said = []
    if event.previous_quantity is not None and event.previous_quantity != event.quantity:
        said.append(_("%(change)s seats") % {"change": change_of_quantity(event)})
    if event.previous_status and event.previous_status != event.status:
        said.append(change_of_status(event))
    return said


def attempted(event: SubscriptionEvent) -> str:
    """What a colleague asked for that is not done, or not yet: "asked for “Change of seats”, 8 → 12 seats"."""
    asked = _("asked for “%(what)s”") % {"what": type_in_words(event.type)}
    return ", ".join([asked, *changes(event), *_money(event)])


def _money(event: SubscriptionEvent) -> list[str]:
    return [] if event.amount is None or not event.currency else [format_money(event.amount, event.currency)]
