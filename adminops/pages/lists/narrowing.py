"""What narrows a list, and how it is sorted, in words: above it, for those who take it away, and for the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.utils import label_for_field
from django.contrib.admin.views.main import ORDER_VAR
from django.core.exceptions import FieldDoesNotExist
from django.db.models import DateField, IntegerField
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from adminops.pages.lists.saved_views import PASSING


@dataclass(frozen=True)
class Chosen:
    """A filter with what was chosen of it, as it is told above the list."""

    said: str
    without: str
    """The query of the same list without it."""


def chosen_filters(changelist: Any) -> list[Chosen]:
    """Each filter that narrows a list."""
    return [Chosen(said, _without(changelist, [spec])) for spec, said in _said(changelist)]


def without_filters(changelist: Any) -> str:
    """The query of the same list without any filter."""
    return _without(changelist, changelist.filter_specs)


def _without(changelist: Any, specs: Iterable[Any]) -> str:
    """Of a wider list the first page, since nobody knows where in it one stands."""
    dropped = {*PASSING, *(name for spec in specs for name in spec.expected_parameters())}
    kept = {name: value for name, value in changelist.filter_params.items() if name not in dropped}
    return f"?{urlencode(kept, doseq=True)}"


def _said(changelist: Any) -> Iterator[tuple[Any, str]]:
    """Each filter with "Plan: Team"."""
    for spec in changelist.filter_specs:
        if spec.said:
            yield (
                spec,
                _("%(filter)s: %(chosen)s") % {"filter": capfirst(spec.title), "chosen": spec.said},
            )


def narrowed_by(changelist: Any) -> list[str]:
    """What was searched for, each filter with what was chosen of it, and by which columns the list is sorted."""
    searched = changelist.query.strip()
    said = [_("Search: %(text)s") % {"text": searched}] if searched else []
    said += [words for _spec, words in _said(changelist)]
    columns = list(_sorted_by(changelist)) if changelist.params.get(ORDER_VAR) else []
    if columns:
        said.append(_("Sorted by %(columns)s") % {"columns": _(", then by ").join(columns)})
    return said


def _sorted_by(changelist: Any) -> Iterator[str]:
    """Each column that was chosen to sort by, with its direction: "MRR, highest first"."""
    for index, direction in changelist.get_ordering_field_columns().items():
        if not 0 <= index < len(changelist.list_display):
            continue
        name = changelist.list_display[index]
        order = changelist.get_ordering_field(name)
        if order:
            title = str(label_for_field(name, changelist.model, changelist.model_admin))
            first = _first(changelist, str(order), is_downwards=direction == "desc")
            yield _("%(column)s, %(first)s") % {"column": capfirst(title), "first": first}


def _first(changelist: Any, order: str, *, is_downwards: bool) -> str:
    """What comes first of a column, by what it holds."""
    try:
        column = changelist.lookup_opts.get_field(order)
    except FieldDoesNotExist:
        column = None
    if isinstance(column, DateField):
        return _("latest first") if is_downwards else _("earliest first")
    if isinstance(column, IntegerField):
        return _("highest first") if is_downwards else _("lowest first")
    return _("from Z to A") if is_downwards else _("from A to Z")
