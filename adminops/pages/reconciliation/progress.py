"""How far a run is that is going on, in words and as a bar."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.humanize.templatetags.humanize import intcomma
from django.utils import timezone
from django.utils.translation import gettext as _

from adminops.pages import words
from billing.models import ReconciliationRun
from billing.reconciliation import runs

Phase = ReconciliationRun.Phase

# Where the bar stands once everything is read: what comes after takes far less.
_READ_AT = 90
_AT = {Phase.COMPARING: _READ_AT, Phase.MENDING: 95}
# Before this share nobody can tell how long the rest takes.
_TELLING = 5


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    percent: int
    sentence: str
    left: str = ""
    """How long the rest takes, where that can be told."""


def progress_of(run: ReconciliationRun) -> Progress:
    """How far a run is that is going on, in a few short queries."""
    phase = Phase(run.phase)
    if run.kind != ReconciliationRun.Kind.FULL or phase != Phase.READING:
        percent = _AT.get(phase, 0)
        return Progress(percent, f"{phase.label} …")
    read, about = runs.progress(run)
    percent = _READ_AT * read // about if about else 0
    sentence = _("Reading from Stripe: %(read)s of about %(about)s objects, %(calls)s calls") % {
        "read": intcomma(read),
        "about": intcomma(about),
        "calls": intcomma(runs.calls_so_far(run)),
    }
    if percent < _TELLING:
        return Progress(percent, sentence)
    passed = (timezone.now() - run.started_at).total_seconds()
    return Progress(percent, sentence, words.roughly(round(passed * (100 - percent) / percent)))
