"""What our ModelAdmins share."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib.admin import ModelAdmin as DjangoModelAdmin
from django.contrib.admin import ShowFacets
from django.db.models import Model
from django.http import HttpRequest
from django.urls import URLPattern, path
from unfold.admin import ModelAdmin

from adminops.actions import ACTIONS
from adminops.pages.operation import operation_view


class BackOfficeAdmin(ModelAdmin):
    """Unfold's, told to count nothing that nobody asked for."""

    show_full_result_count = False
    list_filter_submit = True
    list_fullwidth = True
    actions = None
    show_facets = ShowFacets.NEVER
    list_per_page = 50
    empty_value_display = "–"

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """An unfiltered list shows all there is; without this the theme offers to "show all" of it."""
        changelist = super().get_changelist_instance(request)
        if not changelist.has_active_filters and not changelist.query:
            changelist.full_result_count = changelist.result_count
        return changelist


class ReadOnlyAdmin(BackOfficeAdmin):
    """For rows that only Stripe, or only our own ledger, may write."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


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
