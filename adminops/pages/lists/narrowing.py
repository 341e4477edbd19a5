"""What narrows a list, and how it is sorted, in words: above it, for those who take it away, and for the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.utils import label_for_field
from django.contrib.admin.views.main import ORDER_VAR
from django.core.exceptions import FieldDoesNotExist
from django.db.models import DateField, IntegerField
from django.utils.text import capfirst
from django.utils.translation import gettext as _


@dataclass(frozen=True)
class Chosen:
    """A filter with what was chosen of it, as it is told above the list."""

    said: str
    without: str
    """The query of the same list without it."""


def chosen_filters(changelist: Any) -> list[Chosen]:
    """Each filter that narrows a list."""
    return [
        Chosen(said, f"?{urlencode(_without(changelist.filter_params, spec), doseq=True)}")
        for spec, said in _said(changelist)
    ]


def _without(parameters: dict[str, Any], spec: Any) -> dict[str, Any]:
    its = set(spec.expected_parameters())
    return {name: value for name, value in parameters.items() if name not in its}


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
