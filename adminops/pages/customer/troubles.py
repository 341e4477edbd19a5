"""What is wrong with a customer right now: each thing in one sentence, with the act that mends it."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from adminops.pages import words
from adminops.pages.badges import AMBER, RED
from adminops.pages.customer.invoice_page import page_url
from adminops.pages.ledger import event_words
from adminops.pages.ledger.timeline import MAY_SEE as MAY_SEE_EVENTS
from billing import mirror
from billing.actors import person_name
from billing.models import SubscriptionEvent
from billing.money import format_money
from billing.operations.collection import pause_in_words
from billing.operations.failed_refunds import failure_in_words
from billing.stripe_api import dashboard_url
from organizations.models import SubscriptionStatus

if TYPE_CHECKING:
    from adminops.pages.customer import CustomerPage

_DIFFERENCES_TOLD = 3
_ACTS_TOLD = 20
_TRIAL_ENDS_SOON = timedelta(days=7)


@dataclass(frozen=True)
class Trouble:
    """What is wrong right now, in one sentence, with the act that mends it."""

    sentence: str
    tone: str = AMBER
    act: str = ""
    url: str = ""
    elsewhere: bool = False


def troubles_of(page: CustomerPage) -> list[Trouble]:
    """Everything that wants an act or a look, the worst first."""
    found = [
        *_holds_in_words(page),
        *_debts(page),
        *_waiting_for_customer(page),
        *_disputes(page),
        *_failed_refunds(page),
        *_unsettled(page),
        *_differences(page),
        *_paused(page),
        *_ending(page),
        *_trial(page),
        *_card(page),
        *_seats(page),
    ]
    return sorted(found, key=lambda trouble: trouble.tone != RED)


def _holds_in_words(page: CustomerPage) -> list[Trouble]:
    found = []
    for hold in page.holds:
        who = person_name(hold.placed_by) if hold.placed_by else _("the back office")
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


def _debts(page: CustomerPage) -> list[Trouble]:
    organization = page.organization
    if organization.subscription_status not in (SubscriptionStatus.PAST_DUE, SubscriptionStatus.UNPAID):
        if organization.subscription_status == SubscriptionStatus.INCOMPLETE:
            return [
                Trouble(_("The first payment has not gone through, so the subscription has not started."))
            ]
        return []
    unpaid = next((row for row in page.stripe_invoices if row.get("status") == "open"), None)
    amount = format_money(unpaid.get("amount_remaining") or 0, unpaid.get("currency") or "") if unpaid else ""
    since = organization.billing_issue_since
    text = _("Payment overdue") + (
        _(" since %(date)s (%(days)s)") % {"date": words.short_date(since), "days": words.days_since(since)}
        if since
        else ""
    )
    text += f": {amount}." if amount else "."
    retry = words.from_unix(unpaid.get("next_payment_attempt")) if unpaid else None
    if retry and retry > timezone.now():
        text += " " + _("Stripe tries again on %(date)s.") % {"date": words.short_date(retry)}
    elif organization.subscription_status == SubscriptionStatus.UNPAID:
        text += " " + _("Stripe has stopped trying.")
    link = page_url(organization, unpaid["id"]) if unpaid else ""
    return [Trouble(text, RED, _("Open the invoice") if link else "", link)]


def _disputes(page: CustomerPage) -> list[Trouble]:
    customer_id = page.organization.stripe_customer_id
    if not customer_id:
        return [Trouble(_("Stripe knows no customer for this organization, so nothing is billed."))]
    found = []
    for dispute in page.mirrored.disputes:
        if dispute.get("status") not in ("needs_response", "warning_needs_response"):
            continue
        due = words.from_unix((dispute.get("evidence_details") or {}).get("due_by"))
        text = _("The customer disputes a payment of %(amount)s.") % {
            "amount": format_money(dispute.get("amount") or 0, dispute.get("currency") or "")
        }
        if due:
            text += " " + _("Answer by %(date)s, or it is lost.") % {"date": words.short_date(due)}
        at_stripe = dashboard_url(dispute["id"], dispute.get("livemode"))
        found.append(Trouble(text, RED, _("Answer at Stripe"), at_stripe, elsewhere=True))
    return found


def _failed_refunds(page: CustomerPage) -> list[Trouble]:
    """Refunds that the bank sent back, until as much has been given back again."""
    found = []
    for refund in page.dealings.failed_refunds:
        charge = stripe_id(refund.get("charge"))
        made = words.from_unix(refund.get("created"))
        invoice = next(
            (
                row.data["id"]
                for row in page.invoices
                if charge in {payment.charge for payment in row.account.payments}
            ),
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
                _("Refund or credit it again") if page.refund_url else "",
                f"{page.refund_url}?invoice={invoice}" if page.refund_url else "",
            )
        )
    return found


def _unsettled(page: CustomerPage) -> list[Trouble]:
    """Operations whose outcome we do not know yet, and Stripe's events that we could not use."""
    sees = page.user.has_perm(MAY_SEE_EVENTS)
    found = []
    for event in page.dealings.unsettled[:_ACTS_TOLD]:
        is_parked = event.state == SubscriptionEvent.State.PARKED
        words_of_it = {"what": event_words.type_in_words(event.type), "who": event_words.by_whom(event)}
        found.append(
            Trouble(
                (event.message if sees else "")
                or (
                    _(
                        "What became of “%(what)s” by %(who)s could not be found out; somebody must look at Stripe."
                    )
                    if is_parked
                    else _("%(what)s by %(who)s is under way; its outcome is not known yet.")
                )
                % words_of_it,
                RED if is_parked else AMBER,
                (_("See what is known") if is_parked else _("See how far it is")) if sees else "",
                reverse("admin:billing_subscriptionevent_change", args=[event.pk]) if sees else "",
            )
        )
    failed = len(page.dealings.unused)
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
                (_("See it") if failed == 1 else _("See them")) if sees else "",
                f"{page.events_url}&state=troubled" if sees else "",
            )
        )
    return found


def _differences(page: CustomerPage) -> list[Trouble]:
    """What we hold otherwise than Stripe, as it was found when the two were compared."""
    found = page.differences
    resync = next((o for o in page.actions if o.action.name == "resync_organization" and not o.refusal), None)
    troubles = []
    sees = page.user.has_perm("billing.view_discrepancy")
    for told in found[:_DIFFERENCES_TOLD]:
        act, url = (str(resync.action.label), resync.url) if resync and told.can_be_mended else ("", "")
        if sees:
            act, url = _("Settle it"), reverse("admin:billing_discrepancy_change", args=[told.row.pk])
        troubles.append(
            Trouble(
                _("Found when compared with Stripe on %(date)s: %(what)s")
                % {"date": words.short_date(told.row.first_seen_at), "what": told.sentence},
                AMBER,
                act,
                url,
            )
        )
    if more := len(found) - len(troubles):
        listing = f"{reverse('admin:billing_discrepancy_changelist')}?state=open&organization={page.organization.pk}"
        troubles.append(
            Trouble(
                ngettext(
                    "%(n)d further difference from Stripe was found.",
                    "%(n)d further differences from Stripe were found.",
                    more,
                )
                % {"n": more},
                AMBER,
                _("See all") if sees else "",
                listing if sees else "",
            )
        )
    return troubles


def _paused(page: CustomerPage) -> list[Trouble]:
    """Collection that is paused, which Stripe's own word for the subscription does not tell."""
    pause = page.pause
    if pause is None:
        return []
    offer = next((o for o in page.actions if o.action.name == "resume_collection" and not o.refusal), None)
    return [
        Trouble(
            _("Collection is paused. %(what)s.") % {"what": pause_in_words(pause)},
            AMBER,
            str(offer.action.label) if offer else "",
            offer.url if offer else "",
        )
    ]


def _waiting_for_customer(page: CustomerPage) -> list[Trouble]:
    """Payments that the customer's bank wants the customer to confirm; nobody else can."""
    unpaid = [row for row in page.stripe_invoices if row.get("status") == "open"]
    return [
        Trouble(
            _(
                "The payment of %(amount)s waits until the customer confirms it with their bank. They can on the"
                " invoice's own page; send them its link."
            )
            % {"amount": format_money(invoice.get("amount_remaining") or 0, invoice.get("currency") or "")},
            RED,
            _("Open the invoice"),
            page_url(page.organization, invoice["id"]),
        )
        for invoice in mirror.waiting_for_customer(unpaid)
    ]


def _trial(page: CustomerPage) -> list[Trouble]:
    """A trial about to end; Stripe tells it three days before."""
    organization = page.organization
    ends = organization.trial_end
    if organization.subscription_status != SubscriptionStatus.TRIALING or ends is None or page.ends_on:
        return []
    if not timezone.now() < ends < timezone.now() + _TRIAL_ENDS_SOON:
        return []
    text = _("The trial ends on %(date)s.") % {"date": words.short_date(ends)} + " "
    if organization.card_last4:
        text += _("Then the card •••• %(last4)s is charged.") % {"last4": organization.card_last4}
    else:
        text += _("There is no card, so the first payment will fail.")
    return [Trouble(text)]


def _ending(page: CustomerPage) -> list[Trouble]:
    if page.ends_on is None:
        return []
    return [
        Trouble(
            _("The subscription ends on %(date)s and will not renew.")
            % {"date": words.short_date(page.ends_on)}
        )
    ]


def _card(page: CustomerPage) -> list[Trouble]:
    organization = page.organization
    month, year = organization.card_exp_month, organization.card_exp_year
    if not (month and year and organization.has_live_subscription) or page.ends_on:
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


def _seats(page: CustomerPage) -> list[Trouble]:
    organization = page.organization
    seats, used = organization.seats, page.seats_used
    if seats is None or not organization.has_live_subscription or used <= seats:
        return []
    offer = next((o for o in page.actions if o.action.name == "change_seats" and not o.refusal), None)
    members = ngettext("%(n)d active member", "%(n)d active members", used) % {"n": used}
    paid = ngettext("%(n)d seat", "%(n)d seats", seats) % {"n": seats}
    return [
        Trouble(
            _("%(members)s on %(seats)s.") % {"members": members, "seats": paid},
            AMBER,
            str(offer.action.label) if offer else "",
            offer.url if offer else "",
        )
    ]


def stripe_id(value: Any) -> str:
    """The id in a reference, whether Stripe sent the id or the expanded object."""
    return str(value.get("id")) if isinstance(value, dict) else str(value or "")
