"""What the list of events can be narrowed by. Those with an index of their own say so: see `adminops.admin.keyset`."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from adminops.admin.event_search import EVENT_TYPE, organizations_meant
from adminops.admin.filters import (
    AmountSpanFilter,
    ChoiceFilter,
    CurrencyFilter,
    DateSpanFilter,
    KeyedFilter,
    TypedFilter,
    following,
    midnight,
)
from adminops.admin.keyset import Keys, Lane, any_of
from adminops.pages.ledger import event_words, families
from billing.actors import find_actors
from billing.days import keys_between
from billing.models import SubscriptionEvent
from billing.operations import COURSES
from organizations.models import Organization

State, Source = SubscriptionEvent.State, SubscriptionEvent.Source

_NO_KEY = 2**63 - 1
_HAPPENED = Coalesce("occurred_at", "created_at")


class LaneFilter:
    """A filter that is a lane wherever it narrows at all."""

    def lane(self) -> Lane | None:
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        lane = self.lane()
        return queryset if lane is None else queryset.filter(any_of(lane))


class SoughtFilter(LaneFilter, TypedFilter):
    """One that is typed. `other_name` is what links of old, and of other pages, call it: a key."""

    other_name: ClassVar[str] = ""

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        linked = params.pop(self.other_name, None)
        if linked is not None:
            params.setdefault(self.parameter_name, linked)
        super().__init__(request, params, model, model_admin)

    def expected_parameters(self) -> list[str | None]:
        return [self.parameter_name, *([self.other_name] if self.other_name else [])]

    @cached_property
    def _lane(self) -> Lane | None:
        lane = self.find(self.typed) if self.typed else None
        if lane == []:
            words = _("Nothing is found by “%(text)s” for “%(filter)s”, so nothing is listed.")
            self.slip(words % {"text": self.typed[:40], "filter": self.title})
        return lane

    def lane(self) -> Lane | None:
        return self._lane

    def find(self, typed: str) -> Lane:
        """The events meant by what was typed."""
        raise NotImplementedError


class OrganizationFilter(SoughtFilter, KeyedFilter):
    """Of which organization."""

    title = _("organization")
    hint = _("Name, slug or id")
    rows = Organization
    parameter_name = "organization"
    other_name = "organization__id__exact"

    def find(self, typed: str) -> Lane:
        return organizations_meant(typed, self.request.user.has_perm("organizations.view_membership"))


class ActorFilter(SoughtFilter, KeyedFilter):
    """By whom."""

    title = _("person")
    hint = _("Name, login or e-mail")
    rows = User
    parameter_name = "actor"
    other_name = "actor__id__exact"

    def find(self, typed: str) -> Lane:
        if typed.isascii() and typed.isdigit():
            return [Q(actor_id=int(typed))] if int(typed) < _NO_KEY else []
        return [Q(actor_id=key) for key in find_actors(typed)]


class TypeFilter(SoughtFilter):
    """One type, by its exact name."""

    title = _("type")
    hint = _("Such as invoice.paid")
    parameter_name = "type"

    def find(self, typed: str) -> Lane:
        # One that is new to us is written as Stripe writes its own.
        is_type = typed in event_words.TYPES or typed in COURSES or EVENT_TYPE.match(typed)
        return [Q(type=typed)] if is_type else []


class StateFilter(LaneFilter, ChoiceFilter):
    """How far we are."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("troubled", _("Failed or needs a person")),
            ("open", _("Failed or waiting")),
            *State.choices,
        ]

    def lane(self) -> Lane | None:
        several = {
            "troubled": (State.FAILED, State.PARKED),
            "open": (State.PENDING, State.FAILED, State.PARKED),
        }
        states = several.get(self.value() or "", (self.value(),))
        # What is done is nearly everything, so it is found anywhere.
        return (
            None
            if not set(states) <= set(State.values) - {State.DONE}
            else [Q(state=each) for each in states]
        )

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == State.DONE:
            return queryset.filter(state=State.DONE)
        return super().queryset(request, queryset)


class SourceFilter(LaneFilter, ChoiceFilter):
    """Stripe, staff, or the back office itself."""

    title = _("source")
    parameter_name = "source__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(Source.choices)

    def lane(self) -> Lane | None:
        # Stripe's are nearly everything.
        return [Q(source=self.value())] if self.value() in (Source.STAFF, Source.SYSTEM) else None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == Source.STRIPE:
            return queryset.filter(source=Source.STRIPE)
        return super().queryset(request, queryset)


class FamilyFilter(LaneFilter, ChoiceFilter):
    """What kind of thing happened."""

    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, family.label) for name, family in families.FAMILIES.items()]

    def lane(self) -> Lane | None:
        family = self.value()
        return [Q(type=each) for each in families.types_of_family(family)] if family else None


class HappenedFilter(DateSpanFilter):
    """When it happened; of our own acts, when they were begun."""

    title = _("date")
    parameter_name = "happened"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not any(self.used_parameters.values()):
            return queryset
        # A file of these days too is read from nowhere else.
        among = queryset.filter(self.keys().condition).alias(happened=_HAPPENED)
        return super().queryset(request, among)

    def keys(self) -> Keys:
        """The keys among which those of these days are."""
        return self._keys

    @cached_property
    def _keys(self) -> Keys:
        begin, end = (self.span.get(name) for name in self._ends())
        found = keys_between(
            None if begin is None else midnight(begin), None if end is None else midnight(following(end))
        )
        return Keys(0, 0) if found is None else Keys(found[0], found[1] + 1)


class AmountFilter(AmountSpanFilter):
    """How much money it was about."""

    title = _("amount")
    parameter_name = "amount"


# Where several have an index, the first of these is gone along, so the narrowest come first.
EVENT_FILTERS = (
    OrganizationFilter,
    ActorFilter,
    StateFilter,
    TypeFilter,
    SourceFilter,
    FamilyFilter,
    HappenedFilter,
    AmountFilter,
    CurrencyFilter,
)

PARAMETERS = frozenset(
    {
        "organization",
        "organization__id__exact",
        "actor",
        "actor__id__exact",
        "state",
        "type",
        "source__exact",
        "kind",
        "happened_from",
        "happened_to",
        "amount_from",
        "amount_to",
        "currency",
    }
)
"""All that an address may narrow the list by."""
