"""What the lists of money can be narrowed by, each by a column with an index (`billing.mirror.stored`)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from adminops.admin import filters
from adminops.admin.filters import ChoiceFilter, DateSpanFilter, NumberSpanFilter

_AGES = ("7", "30", "90")


class StateFilter(ChoiceFilter):
    """How it stands: what the list itself singles out, then Stripe's states."""

    title = _("state")
    parameter_name = "state"

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self.cohorts = model_admin.cohorts
        self.states = dict(model_admin.states)
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [*((name, label) for name, (label, _those) in self.cohorts.items()), *self.states.items()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        if value in self.cohorts:
            return queryset.filter(self.cohorts[value][1])
        return queryset.filter(bo_status=value) if value in self.states else queryset


class AgeFilter(ChoiceFilter):
    """For how long it has been waiting for its end."""

    title = _("waiting for")
    parameter_name = "age"

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self.unsettled = model_admin.unsettled
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(days, _("%(days)s days and more") % {"days": days}) for days in _AGES]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() not in _AGES:
            return queryset
        born = timezone.now() - timedelta(days=int(self.value()))
        return queryset.filter(bo_status__in=self.unsettled, created__lte=born)


class CurrencyFilter(filters.CurrencyFilter):
    """A currency, as PostgreSQL keeps it beside the document."""

    column = "bo_currency"


class AmountFilter(NumberSpanFilter):
    """What it comes to, in whole units of its own currency: 100 means $100, €100 and ¥100."""

    title = _("amount")
    parameter_name = "amount"
    unit = _("whole units of its own currency")

    def begin(self, queryset: QuerySet[Any], value: int) -> QuerySet[Any]:
        return queryset.filter(bo_whole_units__gte=value)

    def end(self, queryset: QuerySet[Any], value: int) -> QuerySet[Any]:
        return queryset.filter(bo_whole_units__lte=value)


class CreatedFilter(DateSpanFilter):
    """When it was made."""

    title = _("date")
    parameter_name = "created"


class AnswerByFilter(DateSpanFilter):
    """By when a dispute must be answered."""

    title = _("answer by")
    parameter_name = "answer_by"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return super().queryset(request, queryset.alias(answer_by=F("bo_due_by")))


MONEY_FILTERS = (StateFilter, CurrencyFilter, AmountFilter, CreatedFilter, AgeFilter)
