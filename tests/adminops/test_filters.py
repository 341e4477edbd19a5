"""What filters say of addresses that mean nothing: of every list that is registered, so that none keeps silent."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from adminops.admin.base import BackOfficeAdmin
from adminops.admin.filters import DateSpanFilter, SpanFilter, Telling, parameters_of
from tests.adminops.pages import Page

pytestmark = pytest.mark.django_db

NONSENSE = "no-such-value"
# What is looked for by a scrap of text is not found; it is not left out, or a slip would list everybody.
LOOKED_FOR = {"plan", "organization", "actor", "type"}


def filters_of_all_lists() -> list[Any]:
    """Of every list of ours: where it is, and each of its filters with the parameters of the address."""
    return [
        pytest.param(
            f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist",
            entry[1] if isinstance(entry, tuple) else entry,
            {f"{entry[0]}__exact"} if isinstance(entry, tuple) else parameters_of(entry),
            id=f"{model._meta.label}-{entry[0] if isinstance(entry, tuple) else entry.__name__}",
        )
        for model, model_admin in admin.site._registry.items()
        if isinstance(model_admin, BackOfficeAdmin)
        for entry in model_admin.list_filter
    ]


@pytest.mark.parametrize(("listing", "filter_class", "names"), filters_of_all_lists())
def test_no_filter_passes_over_what_it_does_not_know(
    administrator: Client, listing: str, filter_class: Any, names: set[str]
) -> None:
    assert issubclass(filter_class, Telling)
    for name in names:
        response = administrator.get(reverse(listing), {name: NONSENSE})
        text = Page(response).text
        said = f"“{NONSENSE}”, so nothing is listed" if name == "plan" else f"“{NONSENSE}”"
        assert said in text
        assert text.count(f"“{NONSENSE}”") == 1
        if name not in LOOKED_FOR or ("discrepancy" in listing and name == "type"):
            assert f"“{NONSENSE}” is no value for “" in text
            assert not response.context["cl"].has_active_filters


@pytest.mark.parametrize(("listing", "filter_class", "names"), filters_of_all_lists())
def test_from_after_to_is_said_once(
    administrator: Client, listing: str, filter_class: Any, names: set[str]
) -> None:
    if not issubclass(filter_class, SpanFilter):
        return
    of_days = issubclass(filter_class, DateSpanFilter)
    begin, end = ("2026-03-02", "2026-03-01") if of_days else ("10", "9")
    first, last = (f"{filter_class.parameter_name}_{which}" for which in ("from", "to"))
    said = f"“{filter_class.title}”: From is {'after' if of_days else 'more than'} To, so nothing can match."
    text = Page(administrator.get(reverse(listing), {first: begin, last: end})).text
    assert text.count("so nothing can match") == 1
    assert said in text
    assert (
        "nothing can match" not in Page(administrator.get(reverse(listing), {first: begin, last: begin})).text
    )
