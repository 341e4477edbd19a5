"""Runs and differences as lists, each with a page of its own (`adminops.pages.reconciliation`)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display
from unfold.views import ChangeList

from adminops.admin.base import ToldAdmin
from adminops.admin.cells import below, organization_link
from adminops.admin.discrepancy_filters import DISCREPANCY_FILTERS
from adminops.admin.filters import FieldChoiceFilter
from adminops.admin.listing import BackOfficeChangeList
from adminops.pages import words
from adminops.pages.lists.cards import Card, Cards
from adminops.pages.reconciliation.chart import left_open, run_badge
from adminops.pages.reconciliation.differences import in_money, shown, state_badge
from adminops.pages.reconciliation.rights import SETTLE
from adminops.pages.reconciliation.run_page import RunPage
from adminops.pages.reconciliation.settle import RESYNC, WAYS
from adminops.templatetags.backoffice import NOTHING, moment, money, time_tag
from billing.actors import person_name
from billing.models import Discrepancy, ReconciliationRun
from billing.reconciliation import telling
from billing.reconciliation.checks import CHECKS


@admin.register(ReconciliationRun)
class ReconciliationRunAdmin(ToldAdmin):
    """Every run, however it ended."""

    list_display = ("started", "what", "state_cell", "took", "calls", "organizations", "found", "fixed", "by")
    list_display_links = ("started",)
    list_filter = (("kind", FieldChoiceFilter), ("state", FieldChoiceFilter))
    list_select_related = ("asked_by",)
    ordering = ("-pk",)
    sortable_by = ()
    change_form_template = "adminops/reconciliation/run.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReconciliationRun]:
        rows: QuerySet[ReconciliationRun] = super().get_queryset(request)
        return rows.select_related("asked_by", "stopped_by", "agreed_by", "organization")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        changelist.result_list = list(changelist.result_list)
        still_open = left_open(changelist.result_list)
        for run in changelist.result_list:
            run.left_open = still_open[run.pk]
        return changelist

    def told_of(self, request: HttpRequest, row: ReconciliationRun) -> dict[str, Any]:
        page = RunPage(request, row)
        return {"page": page, "title": page.title, "subtitle": None}

    @display(description=gettext_lazy("Started"))
    def started(self, obj: ReconciliationRun) -> str:
        return moment(obj.started_at)

    @display(description=gettext_lazy("What"))
    def what(self, obj: ReconciliationRun) -> str:
        said = _("Mending by hand") if obj.is_by_hand else obj.get_kind_display()
        whose = obj.organization.name if obj.organization else ""
        return format_html("{}{}", said, below(whose or (_("only looked") if obj.dry_run else "")))

    @display(description=gettext_lazy("State"))
    def state_cell(self, obj: Any) -> str:
        return format_html("{}", run_badge(obj, obj.left_open))

    @display(description=gettext_lazy("Took"))
    def took(self, obj: ReconciliationRun) -> str:
        seconds = telling.seconds_of(obj)
        return words.duration(seconds) if seconds is not None else NOTHING

    @display(description=gettext_lazy("By"))
    def by(self, obj: ReconciliationRun) -> str:
        return person_name(obj.asked_by) if obj.asked_by else NOTHING


class DiscrepancyChangeList(BackOfficeChangeList):
    """The list of differences, with how many of them there are of each kind."""

    @cached_property
    def cards(self) -> Cards:
        """What is open comes to, by state and money."""
        seen = telling.overview()
        by_type = (
            Card(
                str(each.n),
                " · ".join(part for part in (each.label, in_money(each.at_stake)) if part),
                self.get_query_string({"type": each.type, "state": "open"}),
                tone="amber",
                is_chosen=self.params.get("type") == each.type,
            )
            for each in seen.types
        )
        return Cards(tuple(by_type))


@admin.register(Discrepancy)
class DiscrepancyAdmin(ToldAdmin):
    """Where Stripe and we differ, or differed: found by whom, settled how."""

    list_display = ("what", "organization_cell", "amount_cell", "since", "state_cell", "times_seen")
    list_display_links = ("what",)
    list_filter = DISCREPANCY_FILTERS
    list_select_related = ("organization",)
    search_fields = ("stripe_object_id__exact",)
    search_help_text = gettext_lazy("A Stripe id, in full")
    ordering = ("-pk",)
    sortable_by = ()
    change_form_template = "adminops/reconciliation/difference.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DiscrepancyChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Discrepancy]:
        rows: QuerySet[Discrepancy] = super().get_queryset(request)
        # Of a check that is no more there are no words; its rows are history.
        return rows.filter(type__in=list(CHECKS))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """What may be decided about those that are ticked; what this person may not is not even named."""
        return {way.name: (partial(_to_page, way=way), way.name, way.label) for way in _ways(request)}

    def told_of(self, request: HttpRequest, row: Discrepancy) -> dict[str, Any]:
        each = shown(row)
        return {
            "each": each,
            "ways": list(_ways(request, each)) if row.closed_at is None else [],
            "sees_runs": request.user.has_perm("billing.view_reconciliationrun"),
            "sees_events": request.user.has_perm("billing.view_subscriptionevent"),
            "title": each.told.label,
            "subtitle": None,
        }

    @display(description=gettext_lazy("What differs"))
    def what(self, obj: Discrepancy) -> str:
        each = shown(obj)
        return format_html(
            '<span class="bo-name">{}</span><span class="bo-remark-cell">{}</span>',
            each.told.label,
            each.said,
        )

    @display(description=gettext_lazy("Organization"))
    def organization_cell(self, obj: Discrepancy) -> str:
        if obj.organization is None:
            return obj.stripe_customer_id or NOTHING
        return organization_link(obj.organization_id, obj.organization.name)

    @display(description=gettext_lazy("At stake"))
    def amount_cell(self, obj: Discrepancy) -> str:
        return money(obj.amount or None, obj.currency)

    @display(description=gettext_lazy("Since"))
    def since(self, obj: Discrepancy) -> str:
        return time_tag(obj.first_seen_at, words.short_moment(obj.first_seen_at))

    @display(description=gettext_lazy("State"))
    def state_cell(self, obj: Discrepancy) -> str:
        return format_html("{}{}", state_badge(obj), below(obj.note))


def _ways(request: HttpRequest, each: Any = None) -> Iterator[Any]:
    """What this person may do about differences, or about one."""
    if request.user.has_perm(SETTLE.permission):
        can_be_mended = each is None or each.told.can_be_mended
        yield from (way for way in WAYS.values() if can_be_mended or not way.only_mendable)
    if request.user.has_perm(RESYNC.permission) and (each is None or each.row.organization_id is not None):
        yield RESYNC


def _to_page(
    model_admin: DiscrepancyAdmin, request: HttpRequest, queryset: QuerySet[Discrepancy], way: Any
) -> HttpResponse:
    """From the list, with what was ticked, to the page that asks."""
    keys = [("rows", str(key)) for key in queryset.values_list("pk", flat=True)]
    query = urlencode([*keys, ("back", request.get_full_path())])
    return HttpResponseRedirect(f"{way.url}?{query}")
