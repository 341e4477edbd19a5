"""Taking a list away as a file: which columns, in which form; the ledger says who took what."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.humanize.templatetags.humanize import intcomma
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adminops.pages.lists.narrowing import narrowed_by
from adminops.reports import REPORTS
from adminops.reports.base import Report
from adminops.reports.files import CSV, XLSX, file_response
from billing.ledger import record_staff_act

PERMISSION = "organizations.export_lists"
TYPE = "list.exported"

_LONGEST_TOLD = 500


class ExportForm(forms.Form):
    """Which columns, and what kind of file."""

    columns = forms.MultipleChoiceField(
        label=gettext_lazy("Columns"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one column.")},
    )
    kind = forms.ChoiceField(
        label=gettext_lazy("File"),
        choices=[
            (CSV, gettext_lazy("CSV: text, opens anywhere")),
            (XLSX, gettext_lazy("XLSX: a workbook for spreadsheets, with numbers and dates as such")),
        ],
        initial=CSV,
        widget=forms.RadioSelect,
    )

    def __init__(self, report: Report, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        columns = self.fields["columns"]
        columns.choices = [(column.name, column.title) for column in report.columns]  # type: ignore[attr-defined]
        columns.initial = [column.name for column in report.columns]


def report_of(model_admin: Any) -> Report | None:
    """The report of a list, where it has one."""
    return REPORTS.get(model_admin.opts.label_lower)


def export_urls(model_admin: Any) -> list[URLPattern]:
    """Where a list is taken away; the same query as the list's says what of it."""
    if report_of(model_admin) is None:
        return []

    def view(request: HttpRequest) -> HttpResponseBase:
        return _export(request, model_admin)

    return [path("export/", model_admin.admin_site.admin_view(view), name=_name(model_admin))]


def export_url(model_admin: Any, query: str) -> str:
    """Where what a list shows with this query is taken away."""
    return f"{reverse(f'admin:{_name(model_admin)}')}{query}"


def _name(model_admin: Any) -> str:
    return f"{model_admin.opts.app_label}_{model_admin.opts.model_name}_export"


def _export(request: HttpRequest, model_admin: Any) -> HttpResponseBase:
    report = REPORTS[model_admin.opts.label_lower]
    if not (model_admin.has_view_permission(request) and request.user.has_perm(PERMISSION)):
        raise PermissionDenied
    try:
        changelist = model_admin.get_changelist_instance(request)
    except (IncorrectLookupParameters, DisallowedModelAdminLookup):
        messages.error(request, _("Nothing was taken away: the address narrows the list by what it has not."))
        return redirect(_listing(model_admin))
    narrowed = narrowed_by(changelist)
    form = ExportForm(report, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        columns = report.chosen(form.cleaned_data["columns"])
        kind = form.cleaned_data["kind"]
        _write_down(request, report, [str(column.title) for column in columns], narrowed, kind)
        return file_response(
            kind,
            f"{report.name}-{timezone.localdate().isoformat()}",
            [str(column.title) for column in columns],
            report.rows(changelist.queryset, columns),
        )
    return TemplateResponse(
        request,
        "adminops/export.html",
        {
            **admin.site.each_context(request),
            "title": _("Take away: %(list)s") % {"list": report.title},
            "opts": model_admin.opts,
            "form": form,
            "how_many": _how_many(changelist),
            "narrowed": narrowed,
            "back_url": f"{_listing(model_admin)}?{request.GET.urlencode()}",
        },
    )


def _how_many(changelist: Any) -> str:
    paginator = changelist.paginator
    if getattr(paginator, "is_endless", False):
        return _("All rows that the list leads to, however many.")
    rows = paginator.count
    if getattr(paginator, "is_capped", False):
        return _("More than %(most)s rows, all of them.") % {"most": intcomma(rows)}
    return ngettext("%(count)s row.", "%(count)s rows.", rows) % {"count": intcomma(rows)}


def _write_down(
    request: HttpRequest, report: Report, columns: list[str], narrowed: list[str], kind: str
) -> None:
    what = "; ".join(narrowed)[:_LONGEST_TOLD] or _("everything")
    record_staff_act(
        TYPE,
        request.user,
        _("Took the list “%(list)s” away as %(kind)s: %(what)s.")
        % {"list": report.title, "kind": kind.upper(), "what": what},
        after={"report": report.name, "columns": columns, "filters": narrowed, "kind": kind},
    )


def _listing(model_admin: Any) -> str:
    return reverse(f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_changelist")
