"""What the list of differences can be narrowed by."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from adminops.admin import filters
from adminops.admin.filters import AmountSpanFilter, ChoiceFilter, CurrencyFilter, DateSpanFilter, key_of
from billing.models import Discrepancy, ReconciliationRun
from billing.reconciliation import telling
from billing.reconciliation.checks import CHECKS

# Stands in the address for customers at Stripe that no organization is.
NOBODY = "none"


class StateFilter(ChoiceFilter):
    """How it stands with a difference."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        closed = [(how.value, how.label) for how in Discrepancy.Closed]
        return [("open", _("Open")), ("ignored", _("Not shown for now")), *closed]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        if value in ("open", "ignored"):
            return getattr(queryset, value)()
        return queryset.filter(closed_how=value) if value in Discrepancy.Closed.values else queryset


class TypeFilter(ChoiceFilter):
    """What differs."""

    title = _("what differs")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(check.type, check.label) for check in CHECKS.values()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(type=self.value()) if self.value() in CHECKS else queryset


class OrganizationFilter(filters.OrganizationFilter):
    """Whose they are, or nobody's."""

    @property
    def said(self) -> str:
        return str(_("none here")) if self.typed == NOBODY else super().said

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.typed == NOBODY:
            return queryset.filter(organization__isnull=True)
        return super().queryset(request, queryset)


class RunFilter(ChoiceFilter):
    """What one run saw, found or closed. Links lead here; the panel shows it only then."""

    title = _("run")
    parameter_name = "run"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        value = request.GET.get(self.parameter_name, "")
        return [(value, _("Run %(id)s") % {"id": value})] if key_of(value) is not None else []

    @property
    def said(self) -> str:
        return self.value() or ""

    def has_output(self) -> bool:
        # Dropped from the list's filters without it, what it has to say would be too.
        return self.value() is not None or bool(self.slips)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        key = key_of(self.value())
        if key is None:
            return queryset
        run = ReconciliationRun.objects.filter(pk=key).first()
        return queryset.filter(telling.was_seen_in(run)) if run else queryset.none()


class SinceFilter(DateSpanFilter):
    """Since when it differs."""

    title = _("since")
    parameter_name = "first_seen_at"


class AtStakeFilter(AmountSpanFilter):
    """The money involved."""

    title = _("at stake")
    parameter_name = "amount"


DISCREPANCY_FILTERS = (
    StateFilter,
    TypeFilter,
    OrganizationFilter,
    SinceFilter,
    AtStakeFilter,
    CurrencyFilter,
    RunFilter,
)
