"""The page one opens in the morning: the last run, what agrees and what does not, and what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.humanize.templatetags.humanize import intcomma
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from adminops.pages import words
from adminops.pages.badges import AMBER, BLUE, GREEN, GREY, RED, Badge
from adminops.pages.reconciliation.chart import History, history
from adminops.pages.reconciliation.differences import Group, groups, in_money, open_url
from adminops.pages.reconciliation.explained import Explained, explained, policy_badge
from adminops.pages.reconciliation.progress import Progress, progress_of
from adminops.pages.reconciliation.rights import AGREE, SEES_DIFFERENCES, SEES_RUNS, SETTLE, START
from adminops.pages.reconciliation.settle import RESYNC, WAYS
from billing.models import ReconciliationRun
from billing.reconciliation import breaker, runs, telling
from billing.reconciliation.telling import Estimate, Overview
from billing.stripe_api import configuration_problem

State, Kind = ReconciliationRun.State, ReconciliationRun.Kind

# A page that shows a run looks for news this often before it needs to be opened again: for almost an hour.
LOOKS = 4_000


@dataclass(frozen=True)
class Figure:
    """A count with what it counts, its tone and where its things are listed."""

    value: str
    label: str
    tone: str
    icon: str
    url: str = ""


@dataclass(frozen=True)
class TypeRow:
    """The open differences of one type."""

    label: str
    explanation: str
    n: int
    since: Any
    policy: Badge
    at_stake: str
    url: str


class ReconciliationPage:
    """What the page shows to one person, in a number of queries that does not grow with what differs."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.user = request.user

    # -- where we stand ---------------------------------------------------------------------------------

    @cached_property
    def overview(self) -> Overview:
        return telling.overview()

    @cached_property
    def newest(self) -> ReconciliationRun | None:
        """The newest run over everything, however it ended."""
        return telling.last_run()

    @cached_property
    def running(self) -> list[tuple[ReconciliationRun, Progress]]:
        """The runs that are going on, and how far each is."""
        going = ReconciliationRun.objects.filter(state=State.RUNNING).defer("log").select_related("asked_by")
        return [(run, progress_of(run)) for run in going.select_related("organization")[:5]]

    @property
    def looks(self) -> int:
        """How often the page looks for news; not at all where there will be none."""
        return LOOKS if self.running else 0

    @property
    def badge(self) -> Badge:
        """Where we stand, in a word. Green only where a whole run compared everything and nothing differs."""
        if self.overview.run is None:
            return Badge(_("Never compared"), GREY, "help")
        if self.overview.is_clean:
            return Badge(_("All agree"), GREEN, "check_circle")
        if self.overview.types:
            return Badge(_("Differences to settle"), AMBER, "compare_arrows")
        return Badge(_("Some could not be compared"), RED, "error")

    @property
    def told_of_run(self) -> list[str]:
        """When everything was last compared, how long that took and what it cost."""
        run = self.overview.run
        if run is None:
            return []
        return [
            *([_("only looked")] if run.dry_run else []),
            _("took %(time)s") % {"time": words.duration(telling.seconds_of(run) or 0)},
            ngettext("%(n)s call", "%(n)s calls", run.calls) % {"n": intcomma(run.calls)},
        ]

    @property
    def age(self) -> str:
        """How long ago that was, where it is worth saying."""
        run = self.overview.run
        if run is None or timezone.now() - run.started_at < timedelta(minutes=1):
            return ""
        return _("%(age)s ago") % {"age": words.ago(run.started_at)}

    @property
    def warning(self) -> str:
        """Why what is shown is not the whole truth of today; nothing where it is."""
        newest, done = self.newest, self.overview.run
        told = {
            State.STOPPED: _(
                "The run of %(when)s was stopped before its end, so it says nothing of the whole."
            ),
            State.FAILED: _("The run of %(when)s failed, so it says nothing of the whole."),
        }
        if newest is not None and newest.state in told:
            said = told[State(newest.state)] % {"when": words.short_moment(newest.started_at)}
            if newest.state == State.FAILED:
                said = f"{said} {newest.message}"
            if done is not None:
                said += " " + _("What is counted here is of the run of %(when)s.") % {
                    "when": words.short_moment(done.started_at)
                }
            return said
        if done is not None and timezone.now() - done.started_at > telling.STALE:
            return _("Everything was last compared %(days)s ago.") % {
                "days": words.days_since(done.started_at)
            }
        return ""

    @cached_property
    def tripped(self) -> ReconciliationRun | None:
        """The run that stopped and asks whether it may go on."""
        return breaker.waiting()

    @property
    def resumable(self) -> ReconciliationRun | None:
        """The run that was stopped and may be taken up where it was left."""
        run = runs.resumable()
        return run if run is not None and run.state == State.STOPPED else None

    @property
    def figures(self) -> list[Figure]:
        """What was compared and how it came out."""
        seen = self.overview
        if seen.run is None:
            return []
        stake = in_money(seen.at_stake)
        differing = ngettext("organization differs", "organizations differ", seen.differing)
        return [
            Figure(
                intcomma(seen.total), ngettext("organization", "organizations", seen.total), GREY, "domain"
            ),
            Figure(
                intcomma(seen.in_sync),
                ngettext("agrees with Stripe", "agree with Stripe", seen.in_sync),
                GREEN,
                "check_circle",
            ),
            Figure(
                intcomma(seen.differing),
                differing,
                AMBER if seen.differing else GREY,
                "compare_arrows",
                open_url() if self.sees_differences else "",
            ),
            *(
                [
                    Figure(
                        intcomma(seen.hidden),
                        ngettext(
                            "has differences hidden for now", "have differences hidden for now", seen.hidden
                        ),
                        GREY,
                        "visibility_off",
                        open_url(state="ignored") if self.sees_differences else "",
                    )
                ]
                if seen.hidden
                else []
            ),
            *([Figure(stake, _("at stake"), AMBER, "payments")] if stake else []),
            Figure(intcomma(seen.errors), _("could not be compared"), RED if seen.errors else GREY, "error"),
            *(
                [Figure(intcomma(seen.left_alone), _("busy just then; the next run looks"), BLUE, "schedule")]
                if seen.left_alone
                else []
            ),
        ]

    @property
    def types(self) -> list[TypeRow]:
        """The open differences by type, the most frequent first."""
        return [
            TypeRow(
                each.label,
                each.explanation,
                each.n,
                each.since,
                policy_badge(each.policy),
                in_money(each.at_stake),
                open_url(type=each.type),
            )
            for each in self.overview.types
        ]

    # -- what differs -----------------------------------------------------------------------------------

    @cached_property
    def _groups(self) -> tuple[list[Group], Any]:
        return groups(self.request.GET.get("page"))

    @property
    def groups(self) -> list[Group]:
        return self._groups[0]

    @property
    def page(self) -> Any:
        return self._groups[1]

    @property
    def list_url(self) -> str:
        return open_url()

    @property
    def ways(self) -> list[Any]:
        """What this person may do about differences."""
        ways = list(WAYS.values()) if self.user.has_perm(SETTLE.permission) else []
        return [*ways, *([RESYNC] if self.user.has_perm(RESYNC.permission) else [])]

    # -- runs -------------------------------------------------------------------------------------------

    @cached_property
    def history(self) -> History:
        return history()

    @property
    def all_runs_url(self) -> str:
        return reverse("admin:billing_reconciliationrun_changelist")

    @cached_property
    def estimate(self) -> Estimate:
        return telling.estimate()

    @property
    def cost(self) -> str:
        """What a run over everything would cost."""
        calls = self.estimate.calls
        return ngettext("about %(n)s call, %(time)s", "about %(n)s calls, %(time)s", calls) % {
            "n": intcomma(calls),
            "time": words.roughly(self.estimate.seconds),
        }

    @property
    def problem(self) -> str:
        """Why nothing can be started just now."""
        return configuration_problem() or ""

    @property
    def explained(self) -> Explained:
        return explained()

    # -- what one may -----------------------------------------------------------------------------------

    @property
    def sees_differences(self) -> bool:
        return bool(self.user.has_perm(SEES_DIFFERENCES))

    @property
    def may_start(self) -> bool:
        return bool(self.user.has_perm(START.permission))

    @property
    def may_agree(self) -> bool:
        return bool(self.user.has_perm(AGREE.permission))

    @property
    def is_full_running(self) -> bool:
        return any(run.kind == Kind.FULL for run, _progress in self.running)


@require_safe
def overview_view(request: HttpRequest) -> HttpResponse:
    """The page, for those who may see runs."""
    if not request.user.has_perm(SEES_RUNS):
        raise PermissionDenied
    return TemplateResponse(
        request,
        "adminops/reconciliation/overview.html",
        {
            **admin.site.each_context(request),
            "title": _("Reconciliation"),
            "reconciliation": ReconciliationPage(request),
        },
    )
