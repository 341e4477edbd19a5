"""What the list of differences can be narrowed by."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import TextFilter

from adminops.admin.filters import AmountSpanFilter, ChoiceFilter, CurrencyFilter, DateSpanFilter, Telling
from billing.models import Discrepancy, ReconciliationRun
from billing.reconciliation import telling
from billing.reconciliation.checks import CHECKS
from organizations.search import find_organizations

# Stands in the address for customers at Stripe that no organization is.
NOBODY = "none"
_LONGEST_KEY = 18


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


def _key(text: str | None) -> int | None:
    """A key that was typed or linked; None for what is none."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_KEY else None


class OrganizationFilter(Telling, TextFilter):
    """Whose they are: a name, a slug, a Stripe id, or the key that our own links have."""

    title = _("organization")
    parameter_name = "organization"

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = (self.value() or "").replace("\0", "").strip()
        if value == NOBODY:
            return queryset.filter(organization__isnull=True)
        if (key := _key(value)) is not None:
            return queryset.filter(organization_id=key)
        if not value:
            return queryset
        found = find_organizations(value, alike=False)
        if not found:
            self.slip(
                _("No organization is found by “%(text)s”, so nothing is listed.") % {"text": value[:40]}
            )
        return queryset.filter(organization_id__in=found)


class RunFilter(ChoiceFilter):
    """What one run saw, found or closed. Links lead here; the panel shows it only then."""

    title = _("run")
    parameter_name = "run"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        value = request.GET.get(self.parameter_name, "")
        return [(value, _("Run %(id)s") % {"id": value})] if _key(value) is not None else []

    def has_output(self) -> bool:
        # Dropped from the list's filters without it, what it has to say would be too.
        return self.value() is not None or bool(self.slips)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        key = _key(self.value())
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
