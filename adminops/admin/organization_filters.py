"""What the list of customers can be narrowed by. Each has an index of its own, or narrows what another one found."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from adminops.admin.filters import (
    AmountSpanFilter,
    ChoiceFilter,
    CurrencyFilter,
    DateSpanFilter,
    FieldChoiceFilter,
    NumberSpanFilter,
    TypedFilter,
    key_of,
)
from billing.figures import SOON, failed_events
from billing.models import Discrepancy
from organizations.models import Hold, Membership, Organization, SubscriptionStatus

_MOST_DAYS = 3650


class AccessFilter(ChoiceFilter):
    """May members come in, and if not, for which kind of hold."""

    title = _("access")
    parameter_name = "access"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        held_for = [
            (kind.value, _("Suspended: %(kind)s") % {"kind": kind.label.lower()}) for kind in Hold.Kind
        ]
        closed = ("closed", _("Closed: no subscription that lets them in"))
        return [("active", _("Open")), ("suspended", _("Suspended")), *held_for, closed]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        if value == "active":
            return queryset.admitted()
        if value == "closed":
            return queryset.without_admitting_subscription()
        if value == "suspended":
            return queryset.suspended()
        if value in Hold.Kind.values:
            return queryset.filter(
                pk__in=Hold.objects.open().filter(kind=value).order_by().values("organization_id")
            )
        return queryset


class PayingFilter(ChoiceFilter):
    """Live subscriptions that bill, or nothing that does."""

    title = _("paying")
    parameter_name = "paying"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Paying")), ("no", _("Not paying"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "yes":
            return queryset.paying()
        return queryset.exclude(pk__in=queryset.paying().values("pk")) if self.value() == "no" else queryset


class SoonFilter(ChoiceFilter):
    """What ends by itself: a trial within two weeks, a subscription that is set to."""

    title = _("ends soon")
    parameter_name = "cancels"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("soon", _("Set to end")), ("trial", _("Trial ends within 14 days"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "soon":
            return queryset.cancels_soon()
        if self.value() == "trial":
            return queryset.filter(
                subscription_status=SubscriptionStatus.TRIALING, trial_end__lt=timezone.now() + SOON
            )
        return queryset


class OverdueFilter(ChoiceFilter):
    """For how long something is owed. An address may ask for any number of days, which is then a choice as well."""

    title = _("past due")
    parameter_name = "overdue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        offered = {str(days): _for_days(days) for days in (0, 7, 14, 30)}
        asked = key_of(self.value())
        if asked is not None and asked <= _MOST_DAYS:
            offered.setdefault(str(self.value()), _for_days(asked))
        return sorted(offered.items(), key=lambda choice: int(choice[0]))

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        days = key_of(self.value())
        if days is None:
            return queryset
        return queryset.filter(billing_issue_since__lte=timezone.now() - timedelta(days=days))


def _for_days(days: int) -> str:
    if not days:
        return gettext("At all")
    return ngettext("For %(days)d day and more", "For %(days)d days and more", days) % {"days": days}


class DriftFilter(ChoiceFilter):
    """Whether what we hold differs from what Stripe says."""

    title = _("differences")
    parameter_name = "drift"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("With differences to settle"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() != "yes":
            return queryset
        return queryset.filter(pk__in=Discrepancy.objects.open().order_by().values("organization_id"))


class FailedEventsFilter(ChoiceFilter):
    """Whether something that happened could not be processed."""

    title = _("failed events")
    parameter_name = "failed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("With failed events"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() != "yes":
            return queryset
        return queryset.filter(pk__in=failed_events().order_by().values("organization_id"))


class RoleFilter(ChoiceFilter):
    """Organizations that have, or lack, an active member of a role."""

    title = _("members")
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        having = [
            (role.value, _("With a member who is: %(role)s") % {"role": role.label.lower()})
            for role in Membership.Role
        ]
        return [("any", _("With members")), *having, ("ownerless", _("Without an owner"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        if value == "ownerless":
            return queryset.exclude(_has_member(role=Membership.Role.OWNER))
        if value == "any":
            return queryset.filter(_has_member())
        return queryset.filter(_has_member(role=value)) if value in Membership.Role.values else queryset


def _has_member(**like: str) -> Exists:
    active = Membership.objects.filter(status=Membership.Status.ACTIVE, **like)
    return Exists(active.filter(organization=OuterRef("pk")))


class PlanFilter(TypedFilter):
    """A part of the plan's name. Typed rather than listed: listing would read the whole table."""

    title = _("plan")
    parameter_name = "plan"

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not self.typed:
            return queryset
        if not Organization.objects.filter(plan__icontains=self.typed).exists():
            self.slip(_("No plan is called “%(text)s”, so nothing is listed.") % {"text": self.typed[:40]})
        return queryset.filter(plan__icontains=self.typed)


class MrrFilter(AmountSpanFilter):
    """What a customer pays each month."""

    title = _("MRR")
    parameter_name = "mrr"


class SeatsFilter(NumberSpanFilter):
    """Seats that are paid for."""

    title = _("seats")
    parameter_name = "seats"


class CreatedFilter(DateSpanFilter):
    """Since when they are customers."""

    title = _("customer since")
    parameter_name = "created_at"


class PeriodEndFilter(DateSpanFilter):
    """When the paid period ends."""

    title = _("period end")
    parameter_name = "current_period_end"


class ActivityFilter(DateSpanFilter):
    """When a member was last seen."""

    title = _("last activity")
    parameter_name = "last_activity_at"


ORGANIZATION_FILTERS = (
    AccessFilter,
    ("subscription_status", FieldChoiceFilter),
    PayingFilter,
    OverdueFilter,
    SoonFilter,
    DriftFilter,
    FailedEventsFilter,
    PlanFilter,
    CurrencyFilter,
    MrrFilter,
    SeatsFilter,
    CreatedFilter,
    PeriodEndFilter,
    ActivityFilter,
    RoleFilter,
)
