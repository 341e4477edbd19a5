"""Badges: a word, a tone and an icon, so that none speaks by its colour alone.

Green is fine, amber wants a look, red wants an act today, grey is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adminops.pages import words
from billing.denials import TYPE as DENIED
from billing.models import SubscriptionEvent
from organizations.models import Hold, Membership, Organization, SubscriptionStatus
from organizations.querysets import ADMITTING_STATUSES

GREEN, AMBER, RED, GREY, BLUE = "green", "amber", "red", "grey", "blue"


@dataclass(frozen=True)
class Badge:
    """One badge. `title` is what hovering adds; nothing there is needed to understand it."""

    word: str | Promise
    tone: str = GREY
    icon: str = ""
    title: str = ""

    def __html__(self) -> SafeString:
        icon = (
            format_html(
                '<span class="material-symbols-outlined bo-icon" aria-hidden="true">{}</span>', self.icon
            )
            if self.icon
            else ""
        )
        return format_html(
            '<span class="bo-badge bo-{}"{}>{}<span>{}</span></span>',
            self.tone,
            format_html(' title="{}"', self.title) if self.title else "",
            icon,
            self.word,
        )

    def __str__(self) -> str:
        return self.__html__()


_SUBSCRIPTION = {
    SubscriptionStatus.ACTIVE: (GREEN, "check_circle"),
    SubscriptionStatus.TRIALING: (BLUE, "hourglass_top"),
    SubscriptionStatus.PAST_DUE: (RED, "error"),
    SubscriptionStatus.UNPAID: (RED, "money_off"),
    SubscriptionStatus.INCOMPLETE: (AMBER, "pending"),
    SubscriptionStatus.PAUSED: (AMBER, "pause_circle"),
    SubscriptionStatus.CANCELED: (GREY, "cancel"),
    SubscriptionStatus.INCOMPLETE_EXPIRED: (GREY, "cancel"),
}


def subscription_badge(organization: Organization) -> Badge:
    """Whether they pay: Stripe's state of the subscription, and for how long it has been wrong."""
    status = organization.subscription_status
    if not status:
        return Badge(_("No subscription"), GREY, "remove")
    tone, icon = _SUBSCRIPTION.get(SubscriptionStatus(status), (GREY, "help"))
    word = organization.get_subscription_status_display()
    if (
        status in (SubscriptionStatus.PAST_DUE, SubscriptionStatus.UNPAID)
        and organization.billing_issue_since
    ):
        word = f"{word} {words.days_since(organization.billing_issue_since)}"
    return Badge(word, tone, icon)


def access_badge(organization: Organization, holds: Sequence[Hold]) -> Badge:
    """Whether active members may come in, by their holds and then by their subscription."""
    if not holds and organization.subscription_status not in ADMITTING_STATUSES:
        return Badge(_("Closed"), GREY, "lock", title=_("There is no subscription that lets members in."))
    return holds_badge(holds)


def holds_badge(holds: Sequence[Hold]) -> Badge:
    """Whether a hold keeps members out: "Active", or "Suspended" with the kinds of the open holds."""
    if not holds:
        return Badge(_("Active"), GREEN, "lock_open")
    kinds = ", ".join(hold.get_kind_display() for hold in holds)
    return Badge(f"{_('Suspended')}: {kinds}", RED, "lock", title="; ".join(hold.reason for hold in holds))


def comparison_badge(differences: int, compared_at: datetime | None) -> Badge:
    """Whether an organization agrees with Stripe, and when that was last looked at: the age is heard and hovered."""
    when = (
        _("compared %(age)s") % {"age": words.long_ago(compared_at)} if compared_at else _("not compared yet")
    )
    if differences:
        seen = ngettext("%(n)d difference", "%(n)d differences", differences) % {"n": differences}
        return _heard(f"{seen}, {when}", AMBER, "compare_arrows", seen)
    if compared_at is None:
        return _heard(capfirst(when), GREY, "question_mark")
    return _heard(_("In sync, %(when)s") % {"when": when}, GREY, "check")


def _heard(said: str, tone: str, icon: str, seen: str = "") -> Badge:
    """A badge that says more than there is room to show."""
    word = format_html('<span class="sr-only">{}</span><span aria-hidden="true">{}</span>', said, seen)
    return Badge(word, tone, icon, title=said)


_EVENT_STATE = {
    SubscriptionEvent.State.PENDING: (BLUE, "sync"),
    SubscriptionEvent.State.DONE: (GREEN, "check_circle"),
    SubscriptionEvent.State.FAILED: (RED, "error"),
    SubscriptionEvent.State.PARKED: (AMBER, "front_hand"),
    SubscriptionEvent.State.IGNORED: (GREY, "block"),
}


_NOT_SETTLED = (SubscriptionEvent.State.PENDING, SubscriptionEvent.State.FAILED)


def event_badge(event: SubscriptionEvent) -> Badge:
    """How far we are with an event; of somebody who tried what they may not, that they were refused."""
    if event.type == DENIED:
        return Badge(_("Refused"), AMBER, "block")
    tone, icon = _EVENT_STATE.get(SubscriptionEvent.State(event.state), (GREY, "help"))
    return Badge(event.get_state_display(), tone, icon)


def retry_badge(event: SubscriptionEvent) -> Badge | None:
    """How often it was tried again; None where once was enough."""
    again = event.attempts - 1
    if again < 1:
        return None
    word = ngettext("%(count)d retry", "%(count)d retries", again) % {"count": again}
    waits = event.next_attempt_at if event.state in _NOT_SETTLED else None
    title = _("Next try %(when)s") % {"when": words.short_moment(waits)} if waits else ""
    return Badge(word, AMBER if event.state in _NOT_SETTLED else GREY, "replay", title)


_MEMBER = {
    Membership.Status.ACTIVE: (GREEN, "person"),
    Membership.Status.INVITED: (BLUE, "mail"),
    Membership.Status.SUSPENDED: (RED, "lock"),
    Membership.Status.REMOVED: (GREY, "person_off"),
}


def member_badge(membership: Membership) -> Badge:
    """A member's own state, whatever that of the organization."""
    tone, icon = _MEMBER.get(Membership.Status(membership.status), (GREY, "help"))
    return Badge(membership.get_status_display(), tone, icon)


# What Stripe says of invoices, charges, refunds and disputes, in our words.
# https://docs.stripe.com/api/invoices/object#invoice_object-status and the like.
_INVOICE: dict[str, tuple[Promise, str, str]] = {
    "draft": (gettext_lazy("Draft"), GREY, "edit_note"),
    "open": (gettext_lazy("Open"), AMBER, "schedule"),
    "paid": (gettext_lazy("Paid"), GREEN, "check_circle"),
    "uncollectible": (gettext_lazy("Written off"), GREY, "money_off"),
    "void": (gettext_lazy("Void"), GREY, "block"),
}


def overdue_badge(since: datetime, further: str = "") -> Badge:
    """An open invoice that should have been paid: for how many days already, and what comes next."""
    days = (timezone.localdate() - timezone.localtime(since).date()).days
    said = _("Overdue %(days)s") % {"days": words.days_since(since)} if days > 0 else _("Overdue since today")
    return Badge(f"{said} · {further}" if further else said, RED, "error")


_CHARGE: dict[str, tuple[Promise, str, str]] = {
    "succeeded": (gettext_lazy("Paid"), GREEN, "check_circle"),
    "pending": (gettext_lazy("On its way"), BLUE, "schedule"),
    "failed": (gettext_lazy("Failed"), RED, "error"),
}
_REFUND: dict[str, tuple[Promise, str, str]] = {
    "succeeded": (gettext_lazy("Refunded"), GREEN, "check_circle"),
    "pending": (gettext_lazy("On its way"), BLUE, "schedule"),
    "requires_action": (gettext_lazy("Waits for the customer"), AMBER, "front_hand"),
    "failed": (gettext_lazy("Refund failed"), RED, "error"),
    "canceled": (gettext_lazy("Refund canceled"), GREY, "cancel"),
}
_DISPUTE: dict[str, tuple[Promise, str, str]] = {
    "needs_response": (gettext_lazy("To be answered"), RED, "gavel"),
    "warning_needs_response": (gettext_lazy("Inquiry to be answered"), RED, "gavel"),
    "under_review": (gettext_lazy("Under review"), AMBER, "gavel"),
    "warning_under_review": (gettext_lazy("Inquiry under review"), AMBER, "gavel"),
    "won": (gettext_lazy("Won"), GREEN, "check_circle"),
    "lost": (gettext_lazy("Lost"), GREY, "cancel"),
    "warning_closed": (gettext_lazy("Inquiry closed"), GREY, "check_circle"),
    "prevented": (gettext_lazy("Prevented"), GREY, "check_circle"),
}
_SUBSCRIPTION_WORDS: dict[str, tuple[Promise | str, str, str]] = {
    status.value: (status.label, *tone) for status, tone in _SUBSCRIPTION.items()
}
_BY_KIND: dict[str, Any] = {
    "invoice": _INVOICE,
    "charge": _CHARGE,
    "refund": _REFUND,
    "dispute": _DISPUTE,
    "subscription": _SUBSCRIPTION_WORDS,
}


def states_of(kind: str) -> list[tuple[str, Promise | str]]:
    """The states that a kind of object may have, each with our word for it."""
    return [(status, word) for status, (word, _tone, _icon) in _BY_KIND[kind].items()]


def stripe_badge(item: dict[str, Any]) -> Badge | None:
    """The state of an object as Stripe sent it, None for kinds without one; a word that is new to us as it is."""
    status = item.get("status")
    if not status:
        return None
    word, tone, icon = _BY_KIND.get(item.get("object", ""), {}).get(status, (status, GREY, "help"))
    if item.get("object") == "charge" and status == "succeeded":
        if item.get("disputed"):
            return Badge(_("Disputed"), RED, "gavel")
        if item.get("refunded"):
            return Badge(_("Refunded"), GREY, "undo")
        if item.get("amount_refunded"):
            return Badge(_("Partly refunded"), AMBER, "undo")
    return Badge(word, tone, icon)
