"""One run: how it ended, what it came to, what it saw, and its log. Made to be printed, too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.humanize.templatetags.humanize import intcomma
from django.http import HttpRequest
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from adminops.pages import words
from adminops.pages.badges import Badge
from adminops.pages.lists.export import PERMISSION as EXPORTS
from adminops.pages.reconciliation.chart import left_open, run_badge
from adminops.pages.reconciliation.differences import Shown, shown
from adminops.pages.reconciliation.overview import LOOKS
from adminops.pages.reconciliation.progress import Progress, progress_of
from adminops.pages.reconciliation.rights import AGREE, SEES_DIFFERENCES, START
from billing.actors import person_name
from billing.models import Discrepancy, ReconciliationRun
from billing.reconciliation import breaker, runs, telling
from billing.reconciliation.checks import CHECKS

State = ReconciliationRun.State

# What of a run is shown, and printed; a file has all of it.
ROWS_SHOWN = 100


@dataclass(frozen=True)
class Line:
    """A line of the log."""

    at: datetime | None
    text: str


class RunPage:
    """What the page of one run shows to one person."""

    def __init__(self, request: HttpRequest, run: ReconciliationRun) -> None:
        self.run = run
        self.user = request.user

    @property
    def title(self) -> str:
        """What kind of run it is."""
        if self.run.is_by_hand:
            return _("Mending by hand")
        return str(self.run.get_kind_display())

    @cached_property
    def badge(self) -> Badge:
        return run_badge(self.run, left_open([self.run])[self.run.pk])

    @property
    def is_running(self) -> bool:
        return self.run.state == State.RUNNING

    @property
    def looks(self) -> int:
        return LOOKS if self.is_running else 0

    @property
    def progress(self) -> Progress:
        return progress_of(self.run)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The figures of the run, those of what it does not do left out."""
        run, seconds = self.run, telling.seconds_of(self.run)
        told: list[tuple[Any, Any]] = [
            (_("Took"), words.duration(seconds) if seconds is not None else _("not ended")),
            (_("Calls to Stripe"), intcomma(run.calls)),
        ]
        if not run.is_by_hand:
            told += [
                (_("Objects read"), intcomma(run.objects_read)),
                (_("Organizations compared"), intcomma(run.organizations)),
                (_("Organizations that differed"), intcomma(run.differing)),
                (_("Could not be compared"), intcomma(run.errors)),
                (_("Busy just then, left for the next run"), intcomma(run.left_alone)),
                (_("New differences"), intcomma(run.found)),
            ]
        told += [(_("Mended"), intcomma(run.fixed)), (_("Gone by themselves"), intcomma(run.gone))]
        return told

    @property
    def asked(self) -> list[str]:
        """Who asked for it, and what was special about it."""
        run = self.run
        said = [
            _("by %(who)s") % {"who": person_name(run.asked_by)}
            if run.asked_by
            else _("by the timetable, or a command")
        ]
        if run.dry_run:
            said.append(_("only looked: nothing was to be mended"))
        if run.stopped_by:
            said.append(_("stopped by %(who)s") % {"who": person_name(run.stopped_by)})
        if run.agreed_by and not run.is_by_hand:
            said.append(_("let go on by %(who)s") % {"who": person_name(run.agreed_by)})
        return said

    @property
    def types(self) -> list[tuple[str, str, int]]:
        """What differed when it compared, by type: the label, what it means, how many."""
        known = [(CHECKS[name], n) for name, n in self.run.counts.items() if name in CHECKS]
        return [
            (str(check.label), str(check.explanation), n)
            for check, n in sorted(known, key=lambda each: (-each[1], each[0].type))
        ]

    @cached_property
    def differences(self) -> list[Shown]:
        """What it saw, found or closed, the newest first; none for those who may not see differences."""
        if not self.sees_differences:
            return []
        rows = Discrepancy.objects.filter(telling.was_seen_in(self.run)).select_related("organization")
        return [shown(row) for row in rows[: ROWS_SHOWN + 1]]

    @property
    def rows(self) -> list[Shown]:
        return self.differences[:ROWS_SHOWN]

    @property
    def has_more(self) -> bool:
        return len(self.differences) > ROWS_SHOWN

    @property
    def rows_shown(self) -> int:
        return ROWS_SHOWN

    @property
    def list_url(self) -> str:
        """The list of what it saw."""
        return f"{reverse('admin:billing_discrepancy_changelist')}?run={self.run.pk}"

    @property
    def file_url(self) -> str:
        """Where that is taken away as a file; nothing for those who may not."""
        if not (self.sees_differences and self.user.has_perm(EXPORTS)):
            return ""
        return f"{reverse('admin:billing_discrepancy_export')}?run={self.run.pk}"

    @property
    def lines(self) -> list[Line]:
        """The log."""
        return [Line(parse_datetime(each["at"]), each["line"]) for each in self.run.log]

    @property
    def sees_differences(self) -> bool:
        return bool(self.user.has_perm(SEES_DIFFERENCES))

    @property
    def may_stop(self) -> bool:
        return self.is_running and bool(self.user.has_perm(START.permission))

    @property
    def may_resume(self) -> bool:
        may = self.run.state == State.STOPPED and self.user.has_perm(START.permission)
        return bool(may) and runs.resumable(self.run.kind) == self.run

    @property
    def may_agree(self) -> bool:
        return bool(self.user.has_perm(AGREE.permission)) and breaker.waiting() == self.run
