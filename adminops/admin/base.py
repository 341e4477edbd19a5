"""What our ModelAdmins share."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib.admin import ModelAdmin as DjangoModelAdmin
from django.contrib.admin import ShowFacets
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from unfold.views import ChangeList

from adminops.actions import ACTIONS
from adminops.admin.landing import LandingAdmin
from adminops.admin.listing import BackOfficeChangeList
from adminops.admin.paging import CappedPaginator
from adminops.pages.bulk.page import (
    begin,
    bulk_url_name,
    bulk_view,
    can_be_done_to_many,
    refuse_those_who_may_not,
)
from adminops.pages.lists.export import export_urls
from adminops.pages.lists.saved_views import view_urls
from adminops.pages.operations.action import StaffAction
from adminops.pages.operations.page import operation_view
from billing.bulk.jobs import ROWS_PER_JOB


class BackOfficeAdmin(LandingAdmin):
    """Unfold's, told to count nothing that nobody asked for."""

    show_full_result_count = False
    list_filter_submit = True
    list_fullwidth = True
    actions: Any = None
    show_facets = ShowFacets.NEVER
    list_per_page = 50
    empty_value_display = "–"
    paginator = CappedPaginator

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BackOfficeChangeList

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """What may be done to many, from the registry; what this person may not is not even named."""
        return {
            action.name: (partial(_on_many, action=action), action.name, action.label)
            for action in self._actions_on_many()
            if request.user.has_perm(action.permission)
        }

    def _actions_on_many(self) -> list[StaffAction]:
        return [action for action in ACTIONS if can_be_done_to_many(action, self.opts.label_lower)]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        if any("\0" in value for _name, values in request.GET.lists() for value in values):
            # No text in the database has one, and none may be asked for.
            query = request.GET.copy()
            for name, values in list(query.lists()):
                query.setlist(name, [value.replace("\0", "") for value in values])
            return redirect(f"{request.path}?{query.urlencode()}")
        for action in self._actions_on_many():
            if request.method == "POST" and action.name in request.POST.getlist("action"):
                refuse_those_who_may_not(request, action)
        return super().changelist_view(request, extra_context)

    def get_urls(self) -> list[URLPattern]:
        on_many = [
            path(
                f"bulk/{action.path}/",
                self.admin_site.admin_view(partial(bulk_view, action=action)),
                name=bulk_url_name(action),
            )
            for action in self._actions_on_many()
        ]
        urls: list[URLPattern] = [
            *on_many,
            *view_urls(self),
            *export_urls(self),
            *super().get_urls(),
        ]
        return urls


def _on_many(
    model_admin: BackOfficeAdmin, request: HttpRequest, queryset: QuerySet[Any], action: StaffAction
) -> HttpResponse:
    """From the list, with what was ticked, to the page that does an action to many."""
    # One more than may be, so that it is noticed; "all 100,000" need not be read for that.
    keys = queryset.values_list("pk", flat=True)[: ROWS_PER_JOB + 1]
    return begin(request, action, [str(key) for key in keys])


class ReadOnlyAdmin(BackOfficeAdmin):
    """For rows that only Stripe, or only our own ledger, may write."""

    # Nobody means all of these, and nothing counts how many that would be.
    list_disable_select_all = True

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ToldAdmin(ReadOnlyAdmin):
    """Rows whose page is a template of ours, in words of ours. A subclass says what the template is told."""

    def told_of(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What the template is told of a row."""
        raise NotImplementedError

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        # The columns would only repeat what the template says.
        return []

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, object_id, None)
        context = self.told_of(request, row) if row is not None else {}
        response: HttpResponse = super().change_view(
            request, object_id, form_url, {**context, **(extra_context or {})}
        )
        return response


def operation_urls(model_admin: DjangoModelAdmin[Any]) -> list[URLPattern]:
    """The pages of the registered actions on this model."""
    return [
        path(
            f"<int:object_id>/{action.path}/",
            model_admin.admin_site.admin_view(partial(operation_view, action=action)),
            name=action.url_name,
        )
        for action in ACTIONS
        if action.subject_class is model_admin.model
    ]
