"""Bulk jobs: how far each is, what became of every row, and stop, try again, download."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.decorators import display

from adminops.actions import action_named
from adminops.admin.base import ToldAdmin
from adminops.pages import badges, words
from adminops.pages.badges import Badge
from adminops.pages.bulk.page import begin, in_digits, refuse_those_who_may_not
from adminops.pages.lists.spreadsheet import csv_response
from adminops.templatetags.backoffice import moment
from billing.actors import person_name
from billing.bulk import jobs
from billing.bulk.jobs import RETRIABLE, RUNNING, Outcome
from billing.bulk.kinds import KINDS
from billing.models import BulkJob, BulkRow
from billing.operations import OPERATIONS

ROWS_PER_PAGE = 100
# Pages of a job look for news this often before they need to be opened again: for almost an hour.
LOOKS = 4_000

_OUTCOMES = {
    Outcome.WAITING: (badges.GREY, "schedule"),
    Outcome.PENDING: (badges.BLUE, "sync"),
    Outcome.DONE: (badges.GREEN, "check_circle"),
    Outcome.FAILED: (badges.RED, "error"),
    Outcome.REFUSED: (badges.AMBER, "block"),
    Outcome.IMPOSSIBLE: (badges.GREY, "do_not_disturb_on"),
    Outcome.PARKED: (badges.AMBER, "front_hand"),
    Outcome.STOPPED: (badges.GREY, "stop_circle"),
}

# Of a row that says so already, that nothing was changed goes without saying.
_UNCHANGED = (Outcome.REFUSED, Outcome.IMPOSSIBLE)
# How the bar of a job is filled, from its left; what waits is left empty.
_BAR = (
    Outcome.DONE,
    Outcome.PENDING,
    Outcome.FAILED,
    Outcome.PARKED,
    Outcome.REFUSED,
    Outcome.IMPOSSIBLE,
    Outcome.STOPPED,
)


@dataclass(frozen=True)
class Part:
    """One part of the bar: so many rows, after so many others."""

    tone: str
    start: int
    rows: int


def bar_of(counts: dict[Outcome, int]) -> list[Part]:
    """The parts of the bar that shows how far a job is: green is only what is done."""
    parts, start = [], 0
    for outcome in _BAR:
        if rows := counts.get(outcome, 0):
            parts.append(Part(_OUTCOMES[outcome][0], start, rows))
            start += rows
    return parts


def outcome_badge(row: Any) -> Badge:
    """What became of a row, in a word."""
    outcome = Outcome(row.outcome)
    if outcome == Outcome.PENDING and row.ledger_attempts:
        return Badge(_("Finding out"), badges.AMBER, "troubleshoot")
    tone, icon = _OUTCOMES[outcome]
    return Badge(outcome.label, tone, icon)


def happened(row: Any) -> str:
    """What happened to a row, in words; of one that was put off, why, and when it is tried again."""
    told = str(row.told or "")
    if row.outcome in _UNCHANGED:
        return words.without_reassurance(told)
    if row.outcome != Outcome.WAITING or not told:
        return told
    when = (
        _("It is tried again by itself at %(time)s.")
        % {"time": formats.time_format(timezone.localtime(row.due_at), "H:i:s")}
        if row.due_at > timezone.now()
        else _("It is tried again by itself in a moment.")
    )
    return f"{told} {when}"


def job_badge(job: BulkJob, counts: dict[Outcome, int]) -> Badge:
    """How far a job is, in a word."""
    if any(counts.get(outcome) for outcome in RUNNING):
        return Badge(_("Running"), badges.BLUE, "sync")
    if job.stopped_at:
        return Badge(_("Stopped"), badges.GREY, "stop_circle")
    troubled = sum(counts.get(outcome, 0) for outcome in (Outcome.FAILED, Outcome.REFUSED, Outcome.PARKED))
    return Badge(_("Finished"), badges.AMBER if troubled else badges.GREEN, "check_circle")


def progress_in_words(counts: dict[Outcome, int]) -> str:
    """ "812 of 1,000 done, 3 failed"."""
    total = sum(counts.values())
    parts = [
        ngettext("%(done)s of %(total)s done", "%(done)s of %(total)s done", total)
        % {"done": in_digits(counts.get(Outcome.DONE, 0)), "total": in_digits(total)}
    ]
    parts += [
        f"{in_digits(count)} {outcome.label.lower()}"
        for outcome in Outcome
        if outcome != Outcome.DONE and (count := counts.get(outcome))
    ]
    return ", ".join(parts)


@admin.register(BulkJob)
class BulkJobAdmin(ToldAdmin):
    """What was done to many at once. Whoever may see the ledger may see these, and everybody their own."""

    list_display = ("what", "by", "started", "state", "progress")
    list_display_links = ("what",)
    list_select_related = ("actor",)
    list_per_page = 20
    sortable_by = ()
    ordering = ("-pk",)
    change_form_template = "adminops/bulk_job.html"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_own = obj is not None and obj.actor_id == request.user.pk
        return is_own or request.user.has_perm("billing.view_subscriptionevent")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("billing.view_subscriptionevent")

    # -- the list ---------------------------------------------------------------------------------------

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        named = {"title": _("Bulk jobs"), **(extra_context or {})}
        response: HttpResponse = super().changelist_view(request, named)
        return response

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        changelist.result_list = list(changelist.result_list)
        counts = jobs.counts_of(changelist.result_list)
        for job in changelist.result_list:
            job.outcomes = counts[job.pk]
        return changelist

    @display(description=gettext_lazy("What"))
    def what(self, obj: BulkJob) -> str:
        return format_html(
            '<span class="bo-name">{}</span><span class="bo-below">{}</span>',
            OPERATIONS[obj.type].label,
            obj.reason,
        )

    @display(description=gettext_lazy("By"))
    def by(self, obj: BulkJob) -> str:
        return person_name(obj.actor)

    @display(description=gettext_lazy("Started"))
    def started(self, obj: BulkJob) -> str:
        return moment(obj.created_at)

    @display(description=gettext_lazy("State"))
    def state(self, obj: Any) -> str:
        return format_html("{}", job_badge(obj, obj.outcomes))

    @display(description=gettext_lazy("Progress"))
    def progress(self, obj: Any) -> str:
        return progress_in_words(obj.outcomes)

    # -- the page ---------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        views = {"stop": self.stop_view, "retry": self.retry_view, "rows.csv": self.csv_view}
        return [
            path(
                f"<int:object_id>/{address}",
                self.admin_site.admin_view(view),
                name=f"billing_bulkjob_{address.removesuffix('.csv')}",
            )
            for address, view in views.items()
        ] + super().get_urls()

    def told_of(self, request: HttpRequest, row: BulkJob) -> dict[str, Any]:
        return job_context(request, row)

    def _job(self, request: HttpRequest, object_id: int) -> BulkJob:
        """The job, for those who may see it. Raises PermissionDenied and Http404."""
        job = BulkJob.objects.select_related("actor").filter(pk=object_id).first()
        if not self.has_view_permission(request, job):
            raise PermissionDenied
        if job is None:
            raise Http404
        return job

    def stop_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Do no more of it."""
        job = self._job(request, object_id)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        refuse_those_who_may_not(request, action_named(job.type))
        jobs.stop(job, cast(Any, request.user))
        messages.warning(
            request, _("Stopped. What is in hand comes to its end; what still waited is not done.")
        )
        return HttpResponseRedirect(reverse("admin:billing_bulkjob_change", args=[job.pk]))

    def retry_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """The page on which what was surely not done is agreed to anew, from what it is like now."""
        job = self._job(request, object_id)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        action = action_named(job.type)
        refuse_those_who_may_not(request, action)
        if jobs.is_running(job):
            messages.warning(
                request, _("It is still running. Once it has ended, what was not done can be tried again.")
            )
            return HttpResponseRedirect(reverse("admin:billing_bulkjob_change", args=[job.pk]))
        keys = jobs.retriable(KINDS[job.type], job, cast(Any, request.user))
        if not keys:
            messages.warning(request, _("None of those that were not done can be done now."))
            return HttpResponseRedirect(reverse("admin:billing_bulkjob_change", args=[job.pk]))
        return begin(request, action, keys, {**job.asked, "reason": job.reason, "ticket": job.ticket})

    def csv_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Every row and what became of it, as a file."""
        job = self._job(request, object_id)
        rows = jobs.with_outcomes(BulkRow.objects.filter(job=job)).order_by("position")
        of_job = [job.reason, job.ticket, person_name(job.actor), in_utc(job.created_at)]
        return csv_response(
            f"bulk-job-{job.pk}",
            [
                _("No."),
                _("Whom"),
                _("Organization's id"),
                _("Customer's id at Stripe"),
                _("What was to happen"),
                _("Outcome"),
                _("What happened"),
                _("Ended (UTC)"),
                _("Our id"),
                _("Reason"),
                _("Ticket"),
                _("By"),
                _("Asked for (UTC)"),
            ],
            (
                [
                    row.position + 1,
                    row.label,
                    *ids_of(row),
                    row.outlook,
                    str(outcome_badge(row).word),
                    happened(row),
                    in_utc(row.ended_at),
                    str(row.operation) if row.ledger_id else "",
                    *of_job,
                ]
                for row in rows.select_related("organization", "subject_event")
            ),
        )


def ids_of(row: BulkRow) -> tuple[object, str | None]:
    """The organization's key and its customer at Stripe, of the organization or of the event that a row is about."""
    if row.organization is not None:
        return row.organization.pk, row.organization.stripe_customer_id
    event = row.subject_event
    return (event.organization_id, event.stripe_customer_id) if event else (None, None)


def in_utc(moment: datetime.datetime | None) -> str:
    """ "2026-12-24T14:05:07+00:00": for machines, wherever they stand."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds") if moment else ""


def job_context(request: HttpRequest, job: BulkJob) -> dict[str, Any]:
    """What the page of one job shows."""
    counts = jobs.counts(job)
    total = sum(counts.values())
    rows = jobs.with_outcomes(BulkRow.objects.filter(job=job)).order_by("position")
    wanted = request.GET.get("show", "")
    if wanted in Outcome.values:
        rows = rows.filter(outcome=wanted)
    page = Paginator(rows, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    for row in page.object_list:
        row.badge, row.happened = outcome_badge(row), happened(row)
    is_running = any(counts.get(outcome) for outcome in RUNNING)
    may = request.user.has_perm(OPERATIONS[job.type].permission)
    return {
        "job": job,
        "job_title": OPERATIONS[job.type].label,
        "counted": KINDS[job.type].counted(total),
        "badge": job_badge(job, counts),
        "progress": progress_in_words(counts),
        "percent": 100 * counts.get(Outcome.DONE, 0) // total if total else 0,
        "bar": bar_of(counts),
        "total": total,
        "counts": [(outcome, counts[outcome]) for outcome in Outcome if counts.get(outcome)],
        "wanted": wanted if wanted in Outcome.values else "",
        "page": page,
        "looks": LOOKS if is_running else 0,
        "is_running": is_running,
        "may_stop": may and job.stopped_at is None and bool(counts.get(Outcome.WAITING)),
        "may_retry": may and not is_running and any(counts.get(outcome) for outcome in RETRIABLE),
        "title": OPERATIONS[job.type].label,
        "subtitle": None,
    }
