"""The last full runs as bars: what each mended, and what it left open. The table beneath says the same in figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, F
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adminops.pages import words
from adminops.pages.badges import AMBER, BLUE, GREEN, GREY, RED, Badge
from billing.models import Discrepancy, ReconciliationRun
from billing.reconciliation import telling
from billing.reconciliation.checks import CHECKS, Mending

State = ReconciliationRun.State

RUNS_SHOWN = 30
# In units of the drawing, which is as wide as its page.
WIDTH, HEIGHT, GAP = 24, 96, 8
# So low a bar is still seen.
LEAST = 3

_STATES = {
    State.RUNNING: (BLUE, "sync"),
    State.DONE: (GREEN, "check_circle"),
    State.STOPPED: (GREY, "stop_circle"),
    State.FAILED: (RED, "error"),
    State.TRIPPED: (RED, "front_hand"),
}
_DIFFERS = Badge(gettext_lazy("Done, with differences"), AMBER, "compare_arrows")
_CLEAN = Badge(gettext_lazy("Done, all agree"), GREEN, "check_circle")
# Of a run that did not look at everything, no more can be said.
_NOTHING_FOUND = Badge(gettext_lazy("Done, nothing found"), GREEN, "check_circle")
_MENDED = Badge(gettext_lazy("Done, all mended"), GREEN, "check_circle")


def run_badge(run: ReconciliationRun, left_open: int) -> Badge:
    """How a run ended, in a word. Only one that came to its end, and could compare all, is ever green."""
    if run.state == State.DONE:
        if left_open or run.errors:
            return _DIFFERS
        if run.is_by_hand:
            return _MENDED
        return _CLEAN if run.kind == ReconciliationRun.Kind.FULL else _NOTHING_FOUND
    tone, icon = _STATES[State(run.state)]
    return Badge(run.get_state_display(), tone, icon)


@dataclass(frozen=True)
class Bar:
    """A part of a column of the drawing."""

    tone: str
    y: int
    height: int


@dataclass(frozen=True)
class Column:
    """One run of the history."""

    run: ReconciliationRun
    badge: Badge
    left_open: int
    took: str
    x: int
    bars: tuple[Bar, ...]
    title: str

    @property
    def width(self) -> int:
        return WIDTH


@dataclass(frozen=True)
class History:
    """The last full runs, the newest last in the drawing and first in the table."""

    columns: tuple[Column, ...]
    most: int

    @property
    def height(self) -> int:
        return HEIGHT

    @property
    def newest_first(self) -> tuple[Column, ...]:
        return self.columns[::-1]

    @property
    def view_box(self) -> str:
        """The drawing's own coordinates; a short history is not stretched."""
        return f"0 0 {RUNS_SHOWN * (WIDTH + GAP) - GAP} {HEIGHT}"


def history() -> History:
    """The last full runs, in two queries."""
    newest = ReconciliationRun.objects.filter(kind=ReconciliationRun.Kind.FULL).defer("log")
    rows = list(newest.select_related("asked_by")[:RUNS_SHOWN])[::-1]
    open_after = left_open(rows)
    most = max((run.fixed + open_after[run.pk] for run in rows), default=0)
    return History(
        tuple(_column(run, open_after[run.pk], most, index) for index, run in enumerate(rows)), most
    )


def left_open(rows: Sequence[ReconciliationRun]) -> dict[int, int]:
    """How many differences each run saw and did not mend: what it counted, without what it closed of that.

    What it closed because it did not see it any more was not counted.
    """
    # What its reading alone has mended was never among what was counted.
    counted = [each.type for each in CHECKS.values() if each.mending is not Mending.DONE]
    mended = dict(
        Discrepancy.objects.filter(closed_in__in=rows, last_run=F("closed_in"), type__in=counted)
        .order_by()
        .values_list("closed_in")
        .annotate(n=Count("pk"))
    )
    return {run.pk: max(sum(run.counts.values()) - mended.get(run.pk, 0), 0) for run in rows}


def _column(run: ReconciliationRun, still_open: int, most: int, index: int) -> Column:
    badge = run_badge(run, still_open)
    bars, top = [], HEIGHT
    parts = ((run.fixed, BLUE), (still_open, AMBER)) if run.state == State.DONE else ()
    for count, tone in parts:
        if count:
            height = max(LEAST, count * (HEIGHT - LEAST * 2) // most)
            top -= height
            bars.append(Bar(tone, top, height))
    if not bars and run.state != State.RUNNING:
        bars.append(Bar(badge.tone, HEIGHT - LEAST, LEAST))
    title = _("%(when)s: %(state)s, %(open)d open, %(fixed)d mended") % {
        "when": words.short_moment(run.started_at),
        "state": str(badge.word).lower(),
        "open": still_open,
        "fixed": run.fixed,
    }
    seconds = telling.seconds_of(run)
    took = words.duration(seconds) if seconds is not None else ""
    return Column(run, badge, still_open, took, index * (WIDTH + GAP), tuple(bars), title)
