"""Cohorts of organizations, named once for lists, reports and jobs alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import BooleanField, Exists, F, Func, OuterRef, Q, Value
from django.utils import timezone

if TYPE_CHECKING:
    from organizations.models import Hold, Organization  # noqa: F401  (named in quotes below)

# Stripe's words. `incomplete_expired` and `canceled` are terminal: such a subscription never lives again.
ENDED_STATUSES = ("canceled", "incomplete_expired")
PAYING_STATUSES = ("active", "past_due")
# What lets members in (organizations/access/decision.py, which says why).
ADMITTING_STATUSES = ("active", "past_due", "trialing")


# A live subscription that is set to end, at the end of its period or on a date.
CANCELS_SOON = (Q(cancel_at_period_end=True) | Q(cancel_at__isnull=False)) & ~Q(
    subscription_status__in=ENDED_STATUSES
)


class HoldQuerySet(models.QuerySet["Hold"]):
    """Holds on organizations."""

    def open(self) -> HoldQuerySet:
        """Holds that keep members out now: not lifted, and not past their end."""
        return self.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=timezone.now()), lifted_at__isnull=True)


class Among(Func):
    """That a row's key, or what else a column holds, is one of these: `filter(Among(keys))`.

    One parameter, and one estimate; `pk__in` sends one for each, and plans for all of them.
    """

    arg_joiner = " = ANY("
    template = "%(expressions)s)"
    output_field = BooleanField()

    def __init__(self, keys: list[int], column: str = "pk") -> None:
        super().__init__(F(column), Value(keys))


def held() -> Exists:
    """Whether any hold on an organization is open."""
    from organizations.models import Hold

    return Exists(Hold.objects.open().filter(organization=OuterRef("pk")))


class OrganizationQuerySet(models.QuerySet["Organization"]):
    """Organizations, with the cohorts that staff speak of."""

    def with_access(self) -> OrganizationQuerySet:
        """Adds `is_held`: whether any hold is open, in the same query."""
        return self.annotate(is_held=held())

    def suspended(self) -> OrganizationQuerySet:
        """Organizations with at least one open hold."""
        return self.filter(held())

    def not_suspended(self) -> OrganizationQuerySet:
        """Organizations without an open hold."""
        return self.exclude(held())

    def admitted(self) -> OrganizationQuerySet:
        """Organizations whose active members may come in."""
        return self.not_suspended().filter(subscription_status__in=ADMITTING_STATUSES)

    def without_admitting_subscription(self) -> OrganizationQuerySet:
        """Organizations that no hold keeps out, but the state of their subscription."""
        return self.not_suspended().exclude(subscription_status__in=ADMITTING_STATUSES)

    def paying(self) -> OrganizationQuerySet:
        """Organizations whose subscription bills, past due included."""
        return self.filter(subscription_status__in=PAYING_STATUSES)

    def past_due(self) -> OrganizationQuerySet:
        """Organizations whose last invoice Stripe is still trying to collect, or gave up on."""
        return self.filter(subscription_status__in=("past_due", "unpaid"))

    def cancels_soon(self) -> OrganizationQuerySet:
        """Organizations whose live subscription is set to end."""
        return self.filter(CANCELS_SOON)
