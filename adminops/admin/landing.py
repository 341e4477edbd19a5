"""Where an address leads that leads nowhere: to a page number that there is none of, to what no filter has, or to a row
that is gone.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ERROR_FLAG, PAGE_VAR
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

from adminops.admin.filters import parameters_of
from adminops.pages.frame import to_the_list
from adminops.pages.lists.narrowing import Chosen, chosen_filters, without_filters

_LONGEST_QUOTED = 20


class LandingChangeList(ChangeList):
    """A list that says so when it is asked for a page it has not, and shows the nearest."""

    page_num: int
    wrong_page: str = ""
    """That there is no such page, and which is shown; empty where the page asked for is there."""

    @cached_property
    def chosen_filters(self) -> list[Chosen]:
        """What narrows the list, each with the way back."""
        return chosen_filters(self)

    @property
    def without_filters(self) -> str:
        """The way back from all that narrows the list, but for what is searched for."""
        return without_filters(self)

    def get_results(self, request: HttpRequest) -> None:
        asked = request.GET.get(PAGE_VAR)
        try:
            super().get_results(request)
        except IncorrectLookupParameters:
            paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
            # Nobody knows the last page of what is not counted.
            is_counted = not isinstance(paginator, InfinitePaginator)
            self.page_num = paginator.num_pages if is_counted and self.page_num > 1 else 1
            super().get_results(request)
        if not self.multi_page:
            self.page_num = 1
        elif self.page_num > 1 and not len(self.result_list):
            self.page_num = 1
            super().get_results(request)
        if asked and asked != str(self.page_num):
            self.wrong_page = " ".join([no_page(asked), self._shown()])

    def _shown(self) -> str:
        if isinstance(self.paginator, InfinitePaginator):
            return _("The first page is shown.")
        last = self.paginator.num_pages
        if last == 1:
            return _("All there is stands on one page, which is shown.")
        if self.page_num < last:
            return _("Page %(page)d of %(last)d is shown.") % {"page": self.page_num, "last": last}
        said = _("Page %(page)d, the last one, is shown.") % {"page": last}
        if getattr(self.paginator, "is_capped", False):
            said += " " + _("To see further, search or filter.")
        return said


def no_page(asked: str) -> str:
    """That there is no page of this number, or of whatever was asked for instead of one."""
    return _("There is no page %(asked)s.") % {"asked": asked[:_LONGEST_QUOTED]}


class LandingAdmin(ModelAdmin):
    """Unfold's, where nobody is led astray in silence."""

    list_before_template = "adminops/list_top.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return LandingChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Django allows any column, typed into the address: it would scan, and answer what one may not see."""
        filters: set[str | None] = set()
        for entry in self.list_filter:
            if isinstance(entry, tuple):
                filters.add(f"{entry[0]}__exact")
            else:
                filters |= parameters_of(entry)
        return lookup in filters

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """An unfiltered list shows all there is; without this the theme offers to "show all" of it."""
        changelist = super().get_changelist_instance(request)
        if request.method == "GET":
            for spec in changelist.filter_specs:
                for words in spec.slips:
                    messages.warning(request, words)
        # Django takes any parameter of a filter for one that narrows, whatever it says.
        changelist.has_active_filters = any(
            any(spec.used_parameters.values()) for spec in changelist.filter_specs
        )
        if not changelist.has_active_filters and not changelist.query:
            changelist.full_result_count = changelist.result_count
        return changelist

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        if request.method == "GET" and ERROR_FLAG in request.GET:
            # Where Django leads whose address it could not use.
            messages.warning(request, _all_is_shown())
        try:
            response = super().changelist_view(request, extra_context)
        except DisallowedModelAdminLookup:
            messages.warning(request, _all_is_shown())
            return redirect(request.path)
        changelist = (getattr(response, "context_data", None) or {}).get("cl")
        wrong = getattr(changelist, "wrong_page", "")
        if changelist is None or not wrong:
            return response
        messages.warning(request, wrong)
        shown = {PAGE_VAR: changelist.page_num} if changelist.page_num > 1 else {}
        return redirect(f"{request.path}{changelist.get_query_string(shown)}")

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponse:
        return to_the_list(request, opts, unquote(object_id))


def _all_is_shown() -> str:
    return _("The address asks for something this list is not narrowed by. All of it is shown.")
