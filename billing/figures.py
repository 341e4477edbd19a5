"""Figures over many organizations: what a list adds up to. Money is never added across currencies.

Adding up costs what is added up, so lists do it for no more than they count; what is more than that is read from
figures that a job keeps fresh (`store_figures`), and shown with their age.
"""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import Count, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum
from django.utils import timezone

from billing.models import Discrepancy, StoredFigures, SubscriptionEvent
from organizations.models import Membership, Organization
from organizations.querysets import ADMITTING_STATUSES, CANCELS_SOON, PAYING_STATUSES, Among, held

ALL_ORGANIZATIONS = "organizations"

SOON = datetime.timedelta(days=14)

MOST_ADDED_UP = 10_000
"""So many organizations are added up while a page is made; of more, the stored figures are shown."""


@dataclass(frozen=True)
class InCurrency:
    """What the organizations of one currency come to; amounts in its minor units."""

    currency: str
    mrr: int
    overdue: int


@dataclass(frozen=True)
class Figures:
    """What some organizations come to."""

    organizations: int
    suspended: int
    members: int
    """Active ones: those who occupy a seat."""
    paying: int
    past_due: int
    ending: int
    """Live subscriptions that are set to end."""
    trials_ending: int
    """Trials that end within `SOON`."""
    differing: int
    failed_events: int
    """Events of theirs that failed or wait for a person."""
    money: tuple[InCurrency, ...]
    """The currencies with the most organizations first."""
    closed: int = 0
    """Those that no hold keeps out, but the state of their subscription."""

    @property
    def active(self) -> int:
        """Those whose members may come in."""
        return self.organizations - self.suspended - self.closed


class _CountOf(Subquery):
    """How many rows a query has, as a value within another query."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) AS counted)"
    output_field = IntegerField()


def failed_events() -> QuerySet[SubscriptionEvent]:
    """What happened and could not be processed so far, or at all."""
    return SubscriptionEvent.objects.filter(state__in=("failed", "parked"))


def figures_of(organizations: QuerySet[Organization], keys: list[int] | None = None) -> Figures:
    """What these organizations come to, in one query; sooner where the caller has their `keys` already."""
    if keys is not None:
        organizations = Organization.objects.filter(Among(keys))
        theirs = Q(Among(keys, "organization"))
    else:
        theirs = Q(organization__in=organizations.order_by().values("pk"))
    differences = Discrepancy.objects.open().filter(organization=OuterRef("pk"))
    by_currency: Any = (
        organizations.order_by()
        .values("currency")
        .annotate(
            count=Count("pk"),
            paying_count=Count("pk", filter=Q(subscription_status__in=PAYING_STATUSES)),
            past_due_count=Count("pk", filter=Q(billing_issue_since__isnull=False)),
            ending_count=Count("pk", filter=CANCELS_SOON),
            trials_ending_count=Count(
                "pk", filter=Q(subscription_status="trialing", trial_end__lt=timezone.now() + SOON)
            ),
            mrr_sum=Sum("mrr"),
            overdue_sum=Sum("amount_overdue"),
            suspended_count=Count("pk", filter=Q(held())),
            closed_count=Count("pk", filter=~Q(held()) & ~Q(subscription_status__in=ADMITTING_STATUSES)),
            member_count=_CountOf(
                Membership.objects.filter(theirs, status=Membership.Status.ACTIVE).order_by().values("pk")
            ),
            differing_count=Count("pk", filter=Q(Exists(differences))),
            failed_count=_CountOf(failed_events().filter(theirs).order_by().values("pk")),
        )
        .order_by("-count", "currency")
    )
    rows = list(by_currency)
    once = rows[0] if rows else {}
    return Figures(
        organizations=sum(row["count"] for row in rows),
        suspended=sum(row["suspended_count"] for row in rows),
        closed=sum(row["closed_count"] for row in rows),
        members=once.get("member_count", 0),
        paying=sum(row["paying_count"] for row in rows),
        past_due=sum(row["past_due_count"] for row in rows),
        ending=sum(row["ending_count"] for row in rows),
        trials_ending=sum(row["trials_ending_count"] for row in rows),
        differing=sum(row["differing_count"] for row in rows),
        failed_events=once.get("failed_count", 0),
        money=tuple(
            InCurrency(row["currency"], int(row["mrr_sum"]), int(row["overdue_sum"]))
            for row in rows
            if row["currency"]
        ),
    )


def store_figures() -> None:
    """Add up all organizations, for the pages that may not take the time."""
    figures = figures_of(Organization.objects.all())
    StoredFigures.objects.update_or_create(
        name=ALL_ORGANIZATIONS, defaults={"value": asdict(figures), "computed_at": timezone.now()}
    )


def stored_figures() -> tuple[Figures, datetime.datetime] | None:
    """What all organizations came to, and when that was added up; None where it never was."""
    stored = StoredFigures.objects.filter(name=ALL_ORGANIZATIONS).first()
    if stored is None:
        return None
    money = tuple(InCurrency(**each) for each in stored.value["money"])
    return Figures(**{**stored.value, "money": money}), stored.computed_at


def figures_of_all() -> tuple[Figures, datetime.datetime | None] | None:
    """What all organizations come to: added up now where they are few, else as stored, with when that was.

    None where they are many and nothing was stored yet.
    """
    everything = Organization.objects.all()
    if everything.order_by()[: MOST_ADDED_UP + 1].count() <= MOST_ADDED_UP:
        return figures_of(everything), None
    return stored_figures()
