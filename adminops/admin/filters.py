"""Filters of our lists that the theme has not: spans of dates and numbers, with labels and words for a slip."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import cached_property
from typing import Any, ClassVar

from django.contrib.admin import ListFilter
from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Case, Model, QuerySet, Value, When
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesRadioFilter, RadioFilter, TextFilter

from adminops.pages import words
from billing.money import CURRENCIES, THREE_DECIMAL, ZERO_DECIMAL
from organizations.models import Organization
from organizations.search import find_organizations

_LONGEST_KEY = 18


def parameters_of(filter_class: Any) -> set[str | None]:
    """The parameters of the address that a filter reads."""
    name = filter_class.parameter_name
    if issubclass(filter_class, SpanFilter):
        return {f"{name}_from", f"{name}_to"}
    return {name}


class Telling(ListFilter):
    """A filter that says what of the address it cannot use; the list shows `slips` once (`BackOfficeAdmin`)."""

    slips: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """What it narrows by, as a person reads it; empty where it does not narrow."""
        raise NotImplementedError

    def slip(self, sentence: str) -> None:
        """Have a sentence said above the list."""
        self.slips = (*self.slips, sentence)

    def no_value(self, text: str) -> None:
        """Say that this is nothing to narrow by."""
        self.slip(words.no_value(text, self.title))


class ChoiceFilter(Telling, RadioFilter):
    """One of a few answers. Anything else in the address is none, and narrows nothing."""

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        if self.value() not in {str(value) for value, _label in self.lookup_choices}:
            text = str(self.used_parameters.pop(self.parameter_name, ""))
            if text.strip():
                self.no_value(text)

    @property
    def said(self) -> str:
        return next((str(label) for value, label in self.lookup_choices if str(value) == self.value()), "")


class FieldChoiceFilter(Telling, ChoicesRadioFilter):
    """One of the choices of a column, as its address has it: `status__exact=active`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = {str(value) for value, _label in self.field.flatchoices}
        values: Any = self.used_parameters.pop(self.lookup_kwarg, [])
        given = [text for text in values if text.strip()]
        for text in given:
            if text not in known:
                self.no_value(text)
        self.lookup_val = [text for text in given if text in known]
        if self.lookup_val:
            self.used_parameters[self.lookup_kwarg] = self.lookup_val

    def value(self) -> str | None:
        # The theme's own says an empty list where nothing is chosen, which is not "All" either.
        return self.lookup_val[0] if self.lookup_val else None

    @property
    def said(self) -> str:
        return ", ".join(
            str(label) for value, label in self.field.flatchoices if str(value) in self.lookup_val
        )


class TypedFilter(Telling, TextFilter):
    """Something that is typed."""

    hint: ClassVar[str | Promise] = ""
    """What may be typed, shown until something is."""

    @cached_property
    def typed(self) -> str:
        """What was typed, without what no column holds."""
        return str(self.value() or "").replace("\0", "").strip()

    @property
    def said(self) -> str:
        return self.typed

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:
        for choice in super().choices(changelist):
            form: Any = choice["form"]
            form.fields[self.parameter_name].widget.attrs["placeholder"] = self.hint
            yield {"form": form}


class CurrencyFilter(TypedFilter):
    """A currency by its ISO code."""

    title = gettext_lazy("currency")
    hint = gettext_lazy("USD, EUR, …")
    parameter_name = "currency"
    column: ClassVar[str] = "currency"

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        text = str(self.used_parameters.pop(self.parameter_name, "")).strip()
        if text.lower() in CURRENCIES:
            self.used_parameters[self.parameter_name] = text
        elif text:
            self.no_value(text)

    @property
    def said(self) -> str:
        return self.typed.upper()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.column: self.typed.lower()}) if self.typed else queryset


def key_of(text: str | None) -> int | None:
    """A key that was typed or linked; None for what is none."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_KEY else None


class KeyedFilter(TypedFilter):
    """Something that is typed; links have the key of a row instead, which is said by its name."""

    rows: ClassVar[type[Model]]

    @cached_property
    def row(self) -> Any:
        """The row that a link is about; None where something else was typed, or nothing."""
        key = key_of(self.typed)
        return None if key is None else self.rows._default_manager.filter(pk=key).first()

    @property
    def said(self) -> str:
        return str(self.row or self.typed)


class OrganizationFilter(KeyedFilter):
    """Whose they are, as the column `organization` has it: a name, a slug, a Stripe id, or a key."""

    title = gettext_lazy("organization")
    hint = gettext_lazy("Name, slug or id")
    parameter_name = "organization"
    rows = Organization

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.typed:
            return queryset
        found = [self.row.pk] if self.row else []
        if key_of(self.typed) is None:
            sees_members = request.user.has_perm("organizations.view_membership")
            found = find_organizations(self.typed, alike=False, by_members=sees_members)
        if not found:
            said = _("No organization is found by “%(text)s”, so nothing is listed.")
            self.slip(said % {"text": self.typed[:40]})
        return queryset.filter(organization_id__in=found)


class SpanFilter(Telling):
    """From … to …, both included, either left open. A subclass says which column, and what may be typed."""

    template = "adminops/filter_span.html"
    parameter_name: ClassVar[str]
    input_type: ClassVar[str]
    unit: ClassVar[str | Promise] = ""
    """What the numbers count, said beside them where it is not plain."""
    backwards: ClassVar[str | Promise]
    """What is said where From comes after To."""

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.span: dict[str, Any] = {}
        for name in self._ends():
            if name in params:
                value = params.pop(name)
                text = str(value[-1] if isinstance(value, list) else value).strip()
                if text:
                    self._take(name, text)
        begin, end = (self.span.get(name) for name in self._ends())
        if begin is not None and end is not None and begin > end:
            self.slip(str(self.backwards) % {"filter": self.title})

    def _take(self, name: str, text: str) -> None:
        try:
            self.span[name] = self.parse(text)
            self.used_parameters[name] = text
        except ValueError:
            self.no_value(text)

    @property
    def said(self) -> str:
        ends = [self.span.get(name) for name in self._ends()]
        begin, end = ("" if value is None else self.word(value) for value in ends)
        if begin and end:
            return _("from %(begin)s to %(end)s") % {"begin": begin, "end": end}
        if begin:
            return _("from %(begin)s") % {"begin": begin}
        return _("to %(end)s") % {"end": end} if end else ""

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return list(self._ends())

    def _ends(self) -> tuple[str, str]:
        return f"{self.parameter_name}_from", f"{self.parameter_name}_to"

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:
        for name, label in zip(self._ends(), (_("From"), _("To")), strict=True):
            yield {"name": name, "label": label, "value": self.used_parameters.get(name, "")}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        for name, narrow in zip(self._ends(), (self.begin, self.end), strict=True):
            if name in self.span:
                queryset = narrow(queryset, self.span[name])
        return queryset

    def parse(self, text: str) -> Any:
        """The value that was typed. ValueError where it is none."""
        raise NotImplementedError

    def word(self, value: Any) -> str:
        """A value that was typed, as a person reads it."""
        raise NotImplementedError

    def begin(self, queryset: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """Those at `value` and above."""
        return queryset.filter(**{f"{self.parameter_name}__gte": value})

    def end(self, queryset: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """Those at `value` and below."""
        return queryset.filter(**{f"{self.parameter_name}__lte": value})


class DateSpanFilter(SpanFilter):
    """Days in our own time zone; the last one is included to its end."""

    input_type = "date"
    backwards = gettext_lazy("“%(filter)s”: From is after To, so nothing can match.")

    def parse(self, text: str) -> date:
        day = parse_date(text)
        if day is None or day.year < 1970:
            raise ValueError(text)
        following(day)
        return day

    def word(self, value: date) -> str:
        return date_format(value, "j M Y")

    def begin(self, queryset: QuerySet[Any], value: date) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.parameter_name}__gte": midnight(value)})

    def end(self, queryset: QuerySet[Any], value: date) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.parameter_name}__lt": midnight(following(value))})


class NumberSpanFilter(SpanFilter):
    """Whole numbers."""

    input_type = "number"
    backwards = gettext_lazy("“%(filter)s”: From is more than To, so nothing can match.")

    def parse(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise ValueError(text)
        return int(text)

    def word(self, value: int) -> str:
        return intcomma(value)


class AmountSpanFilter(NumberSpanFilter):
    """Whole units of each row's own currency: 100 means $100, €100 and ¥100. The column holds minor units."""

    unit = gettext_lazy("whole units of its own currency")

    def begin(self, queryset: QuerySet[Any], value: int) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.parameter_name}__gte": _minor_units(value)})

    def end(self, queryset: QuerySet[Any], value: int) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.parameter_name}__lte": _minor_units(value)})


def _minor_units(value: int) -> Case:
    return Case(
        When(currency__in=sorted(ZERO_DECIMAL), then=Value(value)),
        When(currency__in=sorted(THREE_DECIMAL), then=Value(1000 * value)),
        default=Value(100 * value),
    )


def midnight(day: date) -> datetime:
    """When a day begins, in our own time zone."""
    return timezone.make_aware(datetime.combine(day, time.min))


def following(day: date) -> date:
    """The day after. ValueError after the last there is."""
    try:
        return day + timedelta(days=1)
    except OverflowError:
        raise ValueError(day) from None
