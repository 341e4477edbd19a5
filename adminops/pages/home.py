"""Home: how many of what wants somebody, each leading to the list of them, and what colleagues did last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Count, F, Min, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from adminops.pages import words
from adminops.pages.badges import AMBER, RED, Badge, event_badge
from adminops.pages.ledger.event_words import by_whom, type_in_words
from adminops.pages.reconciliation.rights import SEES_RUNS
from billing import mirror
from billing.denials import TYPE as DENIED
from billing.figures import Figures, failed_events, figures_of_all
from billing.models import Alert, CustomerSync, SubscriptionEvent
from billing.money import format_money
from billing.reconciliation import telling

ACTS_SHOWN = 8
MOST_COUNTED = 10_000


@dataclass(frozen=True)
class Row:
    """One figure of a column: how many, of what, and where they are listed."""

    label: str
    value: str
    url: str
    tone: str = ""
    below: str = ""


@dataclass(frozen=True)
class Column:
    """One of the three columns."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Act:
    """What a colleague did."""

    what: str
    whose: str
    badge: Badge | None
    url: str


class Home:
    """The first page, for one person: only what they may see is on it, and only that is counted."""

    def __init__(self, user: Any) -> None:
        self.user = user

    @property
    def columns(self) -> list[Column]:
        """The columns that hold anything for this person."""
        columns = (
            Column(_("Customers"), tuple(self._customers())),
            Column(_("Billing sync"), tuple(self._sync())),
            Column(_("Events"), tuple(self._events())),
        )
        return [column for column in columns if column.rows]

    @property
    def remark(self) -> str:
        """How old the figures are, where they were not added up just now."""
        if not self._sees("organizations.view_organization") or self._figures is None:
            return ""
        computed_at = self._figures[1]
        return (
            _("Customers added up at %(time)s.") % {"time": words.short_moment(computed_at)}
            if computed_at
            else ""
        )

    @cached_property
    def acts(self) -> list[Act]:
        """What colleagues did last, newest first."""
        if not self._sees("billing.view_subscriptionevent"):
            return []
        staff = SubscriptionEvent.objects.filter(source=SubscriptionEvent.Source.STAFF)
        newest = (
            staff.select_related("organization", "actor")
            .defer("before", "after", "plan", "error", "traceback")
            .order_by("-id")[:ACTS_SHOWN]
        )
        return [_act(event) for event in newest]

    def _sees(self, permission: str) -> bool:
        return bool(self.user.has_perm(permission))

    @cached_property
    def _figures(self) -> tuple[Figures, Any] | None:
        return figures_of_all()

    def _customers(self) -> Iterator[Row]:
        if not self._sees("organizations.view_organization"):
            return
        listing = reverse("admin:organizations_organization_changelist")
        if self._figures is None:
            yield Row(_("Organizations"), _("being counted"), listing, below=_("Here within minutes."))
            return
        figures = self._figures[0]
        overdue = " · ".join(
            format_money(each.overdue, each.currency) for each in figures.money if each.overdue
        )
        yield Row(_("Organizations"), _number(figures.organizations), listing)
        yield Row(_("Paying"), _number(figures.paying), f"{listing}?paying=yes", below=_mrr(figures))
        yield _alarming(_("Past due"), figures.past_due, f"{listing}?overdue=0", RED, overdue)
        yield _alarming(_("Suspended"), figures.suspended, f"{listing}?access=suspended", AMBER)
        yield _alarming(_("Set to end"), figures.ending, f"{listing}?cancels=soon", AMBER)
        yield Row(
            _("Trials ending within 14 days"), _number(figures.trials_ending), f"{listing}?cancels=trial"
        )

    def _sync(self) -> Iterator[Row]:
        if self._sees(SEES_RUNS):
            yield last_run_row()
        organizations = reverse("admin:organizations_organization_changelist")
        if self._sees("organizations.view_organization") and self._figures is not None:
            differing = self._figures[0].differing
            yield _alarming(_("With differences to settle"), differing, f"{organizations}?drift=yes", AMBER)
        if self._sees("billing.view_customersync"):
            waiting = CustomerSync.objects.filter(wanted__gt=F("done")).aggregate(
                count=Count("pk"), oldest=Min("queued_at")
            )
            below = _("oldest: %(age)s") % {"age": words.ago(waiting["oldest"])} if waiting["oldest"] else ""
            yield Row(
                _("Customers to be read from Stripe"),
                _number(waiting["count"]),
                reverse("admin:billing_customersync_changelist"),
                below=below,
            )

    def _events(self) -> Iterator[Row]:
        if self._sees("billing.view_subscriptionevent"):
            events = reverse("admin:billing_subscriptionevent_changelist")
            unsettled = SubscriptionEvent.objects.filter(source="staff", state="pending")
            yield _alarming(
                _("Operations in progress or unknown"),
                unsettled.order_by()[: MOST_COUNTED + 1].count(),
                f"{events}?state=pending&source__exact=staff",
                AMBER,
            )
            troubled = failed_events()
            yield _alarming(
                _("Failed, or waiting for a person"),
                troubled.order_by()[: MOST_COUNTED + 1].count(),
                f"{events}?state=troubled",
                RED,
            )
        if self._sees("billing.view_alert"):
            alerts = reverse("admin:billing_alert_changelist")
            opened = Alert.objects.filter(acknowledged_at__isnull=True).aggregate(
                count=Count("pk"), refunds=Count("pk", filter=Q(kind="refund_failed"))
            )
            yield _alarming(
                _("Refunds that failed"),
                opened["refunds"],
                f"{alerts}?acknowledged=no&kind=refund_failed",
                RED,
            )
            yield _alarming(
                _("Alerts nobody looks after"), opened["count"], f"{alerts}?acknowledged=no", AMBER
            )
        if self._sees("djstripe.view_dispute"):
            yield self._disputes()

    def _disputes(self) -> Row:
        count, first = mirror.disputes_to_answer()
        below = _("first by %(date)s") % {"date": words.short_date(first)} if first else ""
        listing = f"{reverse('admin:djstripe_dispute_changelist')}?state=to_answer"
        return _alarming(_("Disputes to answer"), count, listing, RED, below)


def last_run_row() -> Row:
    """When everything was last compared with Stripe, and how that ended: green is never said of what was not whole."""
    url, newest, done = reverse("admin:reconciliation"), telling.last_run(), telling.last_run(done=True)
    label = _("Last compared with Stripe")
    if newest is not None and newest.state not in (newest.State.DONE, newest.State.RUNNING):
        return Row(label, str(newest.get_state_display()), url, RED, words.short_moment(newest.started_at))
    if done is None:
        return Row(label, _("never"), url, AMBER)
    is_late = timezone.now() - done.started_at > telling.STALE
    below = _("now running") if newest is not None and newest.pk != done.pk else done.message
    return Row(label, words.ago(done.started_at), url, AMBER if is_late else "", below)


def _number(count: int) -> str:
    return f"{intcomma(MOST_COUNTED)}+" if count > MOST_COUNTED else str(intcomma(count))


def _alarming(label: str, count: int, url: str, tone: str, below: str = "") -> Row:
    """A figure that is fine at nothing."""
    return Row(label, _number(count), url, tone if count else "", below)


def _mrr(figures: Figures) -> str:
    sums = " · ".join(format_money(each.mrr, each.currency) for each in figures.money if each.mrr)
    return _("MRR %(sums)s") % {"sums": sums} if sums else ""


def _act(event: SubscriptionEvent) -> Act:
    subject = event.organization.name if event.organization else event.organization_label
    said = [subject, by_whom(event), words.short_moment(event.created_at)]
    return Act(
        event.message or type_in_words(event.type),
        " · ".join(part for part in said if part),
        # Most are done, and need no word for it.
        None if event.state == SubscriptionEvent.State.DONE and event.type != DENIED else event_badge(event),
        reverse("admin:billing_subscriptionevent_change", args=[event.pk]),
    )
