"""What the customer page shows: everything from our own database, nothing that waits for Stripe."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from adminops.actions import Offer, offered
from adminops.pages import timeline, words
from adminops.pages.badges import AMBER, RED, Badge, access_badge, member_badge, subscription_badge
from billing import mirror
from billing.models import SubscriptionEvent
from billing.money import format_money
from billing.operations.failed_refunds import failed_refunds_of, failure_in_words
from billing.stripe_api import configuration_problem, dashboard_url
from organizations.models import Hold, Membership, Organization, SubscriptionStatus

INVOICES_SHOWN = 36
MEMBERS_SHOWN = 50
EVENTS_SHOWN = 20


@dataclass(frozen=True)
class Trouble:
    """What is wrong right now, in one sentence, with the act that mends it."""

    sentence: str
    tone: str = AMBER
    act: str = ""
    url: str = ""
    elsewhere: bool = False


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
        if len(self._invoices) >= INVOICES_SHOWN:
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

    @property
    def next_invoice(self) -> int | None:
        """About what the next invoice will be, before discounts and tax: seats times their price."""
        organization = self.organization
        billing = organization.subscription_status in (SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING)
        if not billing or self.ends_on or organization.unit_amount is None or organization.seats is None:
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
    def _invoices(self) -> list[dict[str, Any]]:
        customer_id = self.organization.stripe_customer_id
        return mirror.invoices_of(customer_id, limit=INVOICES_SHOWN) if customer_id else []

    @cached_property
    def invoices(self) -> list[InvoiceRow]:
        customer_id = self.organization.stripe_customer_id
        if not customer_id or not self._invoices:
            return []
        by_intent: dict[str, list[dict[str, Any]]] = {}
        for charge in mirror.charges_of(customer_id, limit=4 * INVOICES_SHOWN):
            by_intent.setdefault(_id(charge.get("payment_intent")), []).append(charge)
        return [
            InvoiceRow(
                invoice,
                [charge for intent in _payment_intents(invoice) for charge in by_intent.get(intent, [])],
            )
            for invoice in self._invoices
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

    # -- what is wrong right now ------------------------------------------------------------------------

    @cached_property
    def troubles(self) -> list[Trouble]:
        """Everything that wants an act or a look, the worst first."""
        found = [
            *self._holds_in_words(),
            *self._debts(),
            *self._disputes(),
            *self._failed_refunds(),
            *self._unsettled(),
            *self._ending(),
            *self._card(),
            *self._seats(),
        ]
        return sorted(found, key=lambda trouble: trouble.tone != RED)

    def _holds_in_words(self) -> list[Trouble]:
        found = []
        for hold in self.holds:
            who = hold.placed_by.get_username() if hold.placed_by else _("the back office")
            text = _("Suspended since %(since)s by %(who)s (%(kind)s): “%(reason)s”") % {
                "since": words.short_date(hold.placed_at),
                "who": who,
                "kind": hold.get_kind_display().lower(),
                "reason": hold.reason,
            }
            if hold.ends_at:
                text += " " + _("It ends by itself on %(date)s.") % {"date": words.short_date(hold.ends_at)}
            found.append(Trouble(text, RED))
        return found

    def _debts(self) -> list[Trouble]:
        organization = self.organization
        if organization.subscription_status not in (SubscriptionStatus.PAST_DUE, SubscriptionStatus.UNPAID):
            if organization.subscription_status == SubscriptionStatus.INCOMPLETE:
                return [
                    Trouble(_("The first payment has not gone through, so the subscription has not started."))
                ]
            return []
        unpaid = next((row for row in self._invoices if row.get("status") == "open"), None)
        amount = (
            format_money(unpaid.get("amount_remaining") or 0, unpaid.get("currency") or "") if unpaid else ""
        )
        since = organization.billing_issue_since
        text = _("Payment overdue") + (
            _(" since %(date)s (%(days)s)")
            % {"date": words.short_date(since), "days": words.days_since(since)}
            if since
            else ""
        )
        text += f": {amount}." if amount else "."
        retry = words.from_unix(unpaid.get("next_payment_attempt")) if unpaid else None
        if retry and retry > timezone.now():
            text += " " + _("Stripe tries again on %(date)s.") % {"date": words.short_date(retry)}
        elif organization.subscription_status == SubscriptionStatus.UNPAID:
            text += " " + _("Stripe has stopped trying.")
        link = (unpaid or {}).get("hosted_invoice_url") or ""
        return [Trouble(text, RED, _("Open the invoice") if link else "", link, elsewhere=True)]

    def _disputes(self) -> list[Trouble]:
        customer_id = self.organization.stripe_customer_id
        if not customer_id:
            return [Trouble(_("Stripe knows no customer for this organization, so nothing is billed."))]
        found = []
        for dispute in mirror.disputes_of(customer_id, limit=20):
            if dispute.get("status") not in ("needs_response", "warning_needs_response"):
                continue
            due = words.from_unix((dispute.get("evidence_details") or {}).get("due_by"))
            text = _("The customer disputes a payment of %(amount)s.") % {
                "amount": format_money(dispute.get("amount") or 0, dispute.get("currency") or "")
            }
            if due:
                text += " " + _("Answer by %(date)s, or it is lost.") % {"date": words.short_date(due)}
            found.append(
                Trouble(text, RED, _("Answer at Stripe"), dashboard_url(dispute["id"]), elsewhere=True)
            )
        return found

    def _failed_refunds(self) -> list[Trouble]:
        """Refunds that the bank sent back, until as much has been given back again."""
        customer_id = self.organization.stripe_customer_id
        found = []
        for refund in failed_refunds_of(customer_id) if customer_id else []:
            charge = _id(refund.get("charge"))
            made = words.from_unix(refund.get("created"))
            invoice = next(
                (row.data["id"] for row in self.invoices if charge in {each["id"] for each in row.payments}),
                "",
            )
            found.append(
                Trouble(
                    _(
                        "The refund of %(amount)s of %(date)s failed: %(why)s. The money is back in your Stripe"
                        " balance, not with the customer."
                    )
                    % {
                        "amount": format_money(refund["amount"], refund.get("currency") or ""),
                        "date": words.short_date(made) if made else "",
                        "why": failure_in_words(refund.get("failure_reason")),
                    },
                    RED,
                    _("Refund or credit it again") if self.refund_url else "",
                    f"{self.refund_url}?invoice={invoice}" if self.refund_url else "",
                )
            )
        return found

    def _unsettled(self) -> list[Trouble]:
        """Operations whose outcome we do not know yet, and Stripe's events that we could not use."""
        events = SubscriptionEvent.objects.filter(organization=self.organization).order_by("-id")
        operations = events.filter(state__in=["pending", "parked"]).exclude(
            source=SubscriptionEvent.Source.STRIPE
        )
        found = []
        for event in operations.defer("traceback", "before", "after", "plan")[:EVENTS_SHOWN]:
            is_parked = event.state == SubscriptionEvent.State.PARKED
            words_of_it = {"what": timeline.type_in_words(event.type), "who": timeline.by_whom(event)}
            found.append(
                Trouble(
                    event.message
                    or (
                        _(
                            "What became of “%(what)s” by %(who)s could not be found out; somebody must look at Stripe."
                        )
                        if is_parked
                        else _("%(what)s by %(who)s is under way; its outcome is not known yet.")
                    )
                    % words_of_it,
                    RED if is_parked else AMBER,
                    _("See what is known") if is_parked else _("See how far it is"),
                    reverse("admin:billing_subscriptionevent_change", args=[event.pk]),
                )
            )
        failed = events.filter(source=SubscriptionEvent.Source.STRIPE, state__in=["failed", "parked"])[
            :EVENTS_SHOWN
        ].count()
        if failed:
            found.append(
                Trouble(
                    ngettext(
                        "%(count)d event from Stripe could not be used, so this page may be behind.",
                        "%(count)d events from Stripe could not be used, so this page may be behind.",
                        failed,
                    )
                    % {"count": failed},
                    AMBER,
                    _("See it") if failed == 1 else _("See them"),
                    f"{self.events_url}&state=troubled",
                )
            )
        return found

    def _ending(self) -> list[Trouble]:
        if self.ends_on is None:
            return []
        return [
            Trouble(
                _("The subscription ends on %(date)s and will not renew.")
                % {"date": words.short_date(self.ends_on)}
            )
        ]

    def _card(self) -> list[Trouble]:
        organization = self.organization
        month, year = organization.card_exp_month, organization.card_exp_year
        if not (month and year and organization.has_live_subscription) or self.ends_on:
            return []
        last_day = calendar.monthrange(year, month)[1]
        expires = datetime(year, month, last_day, 23, 59, 59, tzinfo=UTC)
        shown = f"{month:02}/{year % 100:02}"
        if expires < timezone.now():
            return [
                Trouble(
                    _("The card •••• %(last4)s expired in %(when)s; it must be replaced.")
                    % {"last4": organization.card_last4, "when": shown}
                )
            ]
        renewal = organization.current_period_end
        if renewal and expires < renewal:
            return [
                Trouble(
                    _(
                        "The card •••• %(last4)s ends %(when)s:"
                        " the renewal of %(date)s will fail unless it is replaced."
                    )
                    % {
                        "last4": organization.card_last4,
                        "when": shown,
                        "date": words.short_date(renewal),
                    }
                )
            ]
        return []

    def _seats(self) -> list[Trouble]:
        organization = self.organization
        seats, used = organization.seats, self.seats_used
        if seats is None or not organization.has_live_subscription or used <= seats:
            return []
        offer = next((o for o in self.actions if o.action.name == "change_seats" and not o.refusal), None)
        return [
            Trouble(
                _("%(used)d members are active on %(seats)d seats.") % {"used": used, "seats": seats},
                AMBER,
                str(offer.action.label) if offer else "",
                offer.url if offer else "",
            )
        ]


def _id(value: Any) -> str:
    """The id in a reference, whether Stripe sent the id or the expanded object."""
    return str(value.get("id")) if isinstance(value, dict) else str(value or "")


def _payment_intents(invoice: dict[str, Any]) -> list[str]:
    """The payment intents that tried to pay an invoice. https://docs.stripe.com/api/invoice-payment"""
    payments = (invoice.get("payments") or {}).get("data") or []
    return [intent for each in payments if (intent := _id((each.get("payment") or {}).get("payment_intent")))]
