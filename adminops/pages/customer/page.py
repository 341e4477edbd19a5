"""What the customer page shows: everything from our own database, nothing that waits for Stripe."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from adminops.actions import Offer, offered
from adminops.pages import timeline
from adminops.pages.badges import Badge, access_badge, member_badge, subscription_badge
from adminops.pages.troubles import Trouble, stripe_id, troubles_of
from billing import mirror
from billing.models import SubscriptionEvent
from billing.money import format_money
from billing.stripe_api import configuration_problem
from organizations.models import Hold, Membership, Organization, SubscriptionStatus

INVOICES_SHOWN = 36
MEMBERS_SHOWN = 50
EVENTS_SHOWN = 20


@dataclass(frozen=True)
class InvoiceRow:
    """An invoice as Stripe sent it, with the attempts to pay it."""

    data: dict[str, Any]
    payments: list[dict[str, Any]]

    @property
    def refunded(self) -> int:
        """What went back of its payments, in minor units."""
        return sum(payment.get("amount_refunded") or 0 for payment in self.payments)

    @property
    def is_paid(self) -> bool:
        """Whether something was paid that could go back."""
        return self.data.get("status") == "paid" and (self.data.get("total") or 0) > 0


@dataclass(frozen=True)
class MemberRow:
    """A member with the badge of their own state."""

    membership: Membership
    badge: Badge


class CustomerPage:
    """One organization, as the page asks for it; each part is read once, when it is asked for."""

    def __init__(self, organization: Organization, user: Any) -> None:
        self.organization = organization
        self.user = user

    # -- header -----------------------------------------------------------------------------------------

    @cached_property
    def holds(self) -> list[Hold]:
        return list(self.organization.open_holds().select_related("placed_by"))

    @property
    def access(self) -> Badge:
        return access_badge(self.holds)

    @property
    def subscription(self) -> Badge:
        badge = subscription_badge(self.organization)
        if self.organization.subscription_status == SubscriptionStatus.ACTIVE:
            # "Active" stands for access beside it; two equal words would be read as one.
            return Badge(_("Subscription active"), badge.tone, badge.icon)
        return badge

    @cached_property
    def paid_in_all(self) -> str:
        """What the customer paid so far less what went back; empty where we hold only the newest invoices."""
        if len(self.stripe_invoices) >= INVOICES_SHOWN:
            return ""
        sums: dict[str, int] = {}
        for row in self.invoices:
            currency = row.data.get("currency") or ""
            sums[currency] = sums.get(currency, 0) + (row.data.get("amount_paid") or 0) - row.refunded
        return " · ".join(format_money(total, currency) for currency, total in sums.items() if total)

    @cached_property
    def actions(self) -> list[Offer]:
        return offered(self.user, self.organization)

    @property
    def foremost(self) -> list[Offer]:
        """The actions that stand in the open: those most asked for that can be taken now."""
        return [offer for offer in self.actions if offer.action.is_foremost and not offer.refusal]

    @property
    def further(self) -> list[Offer]:
        """The rest: what can be done first, then what cannot, with why."""
        rest = [offer for offer in self.actions if offer not in self.foremost]
        return sorted(rest, key=lambda offer: bool(offer.refusal))

    @property
    def disconnected(self) -> str | None:
        """Why nothing can be changed at Stripe at all, for those who could otherwise."""
        return configuration_problem() if self.actions else None

    # -- subscription -----------------------------------------------------------------------------------

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
    def ends_on(self) -> datetime | None:
        """When a live subscription is set to end."""
        organization = self.organization
        if not organization.has_live_subscription:
            return None
        if organization.cancel_at:
            return organization.cancel_at
        return organization.current_period_end if organization.cancel_at_period_end else None

    @cached_property
    def pause(self) -> dict[str, Any] | None:
        """Stripe's `pause_collection` of a live subscription; None where invoices are collected."""
        subscription_id = self.organization.stripe_subscription_id
        if not subscription_id or not self.organization.has_live_subscription:
            return None
        subscription = mirror.subscription(subscription_id)
        return (subscription or {}).get("pause_collection")

    @property
    def next_invoice(self) -> int | None:
        """About what the next invoice will be, before discounts and tax: seats times their price."""
        organization = self.organization
        billing = organization.subscription_status in (SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING)
        if (
            not billing
            or self.ends_on
            or self.pause
            or organization.unit_amount is None
            or organization.seats is None
        ):
            return None
        seats, planned = organization.seats, organization.scheduled_at
        if planned and organization.current_period_end and planned <= organization.current_period_end:
            seats = organization.scheduled_seats or seats
        return organization.unit_amount * seats

    # -- members ----------------------------------------------------------------------------------------

    @cached_property
    def _member_counts(self) -> dict[str, int]:
        rows = self.organization.memberships.order_by().values_list("status").annotate(count=Count("pk"))
        return dict(rows)

    @cached_property
    def seats_used(self) -> int:
        return self._member_counts.get(Membership.Status.ACTIVE, 0)

    @property
    def member_count(self) -> int:
        return sum(
            count for status, count in self._member_counts.items() if status != Membership.Status.REMOVED
        )

    @cached_property
    def members(self) -> list[MemberRow]:
        memberships = (
            self.organization.memberships.exclude(status=Membership.Status.REMOVED)
            .select_related("user")
            .order_by("status", "pk")[:MEMBERS_SHOWN]
        )
        return [MemberRow(membership, member_badge(membership)) for membership in memberships]

    @property
    def members_url(self) -> str:
        listing = reverse("admin:organizations_membership_changelist")
        return f"{listing}?organization__id__exact={self.organization.pk}"

    # -- invoices ---------------------------------------------------------------------------------------

    @cached_property
    def stripe_invoices(self) -> list[dict[str, Any]]:
        customer_id = self.organization.stripe_customer_id
        return mirror.invoices_of(customer_id, limit=INVOICES_SHOWN) if customer_id else []

    @cached_property
    def invoices(self) -> list[InvoiceRow]:
        customer_id = self.organization.stripe_customer_id
        if not customer_id or not self.stripe_invoices:
            return []
        by_intent: dict[str, list[dict[str, Any]]] = {}
        for charge in mirror.charges_of(customer_id, limit=4 * INVOICES_SHOWN):
            by_intent.setdefault(stripe_id(charge.get("payment_intent")), []).append(charge)
        return [
            InvoiceRow(
                invoice,
                [charge for intent in _payment_intents(invoice) for charge in by_intent.get(intent, [])],
            )
            for invoice in self.stripe_invoices
        ]

    @cached_property
    def refund_url(self) -> str:
        """Where an invoice is refunded, for those who may; `?invoice=` says which."""
        offer = next((o for o in self.actions if o.action.name == "refund_invoice" and not o.refusal), None)
        return offer.url if offer else ""

    # -- timeline ---------------------------------------------------------------------------------------

    @cached_property
    def timeline(self) -> list[timeline.Line]:
        events = (
            SubscriptionEvent.objects.filter(organization=self.organization)
            .defer("traceback", "error", "before", "after", "plan")
            .order_by("-id")[:EVENTS_SHOWN]
        )
        # Read by key, which is indexed; shown by when it happened, which a late delivery changes a little.
        return sorted(timeline.lines(events), key=lambda line: line.when, reverse=True)

    @property
    def is_settling(self) -> bool:
        """Whether somebody acted a moment ago, so that Stripe's answer to it is still to come."""
        recent = timezone.now() - timedelta(minutes=1)
        return any(
            line.event.source == SubscriptionEvent.Source.STAFF
            and (line.event.state == SubscriptionEvent.State.PENDING or line.event.created_at > recent)
            for line in self.timeline
        )

    @property
    def events_url(self) -> str:
        listing = reverse("admin:billing_subscriptionevent_changelist")
        return f"{listing}?organization__id__exact={self.organization.pk}"

    @cached_property
    def troubles(self) -> list[Trouble]:
        """What is wrong right now."""
        return troubles_of(self)


def _payment_intents(invoice: dict[str, Any]) -> list[str]:
    """The payment intents that tried to pay an invoice. https://docs.stripe.com/api/invoice-payment"""
    payments = (invoice.get("payments") or {}).get("data") or []
    return [
        intent
        for each in payments
        if (intent := stripe_id((each.get("payment") or {}).get("payment_intent")))
    ]
