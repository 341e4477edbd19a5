"""What a run may mend, and when it stops and asks.

A run that would change too many organizations waits for a person, because then it is rather us, or the account, that is
wrong. While one waits, the frequent runs over what changed only look: else they would do bit by bit what nobody agreed
to.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils.translation import gettext as _

from billing.models import Discrepancy, ReconciliationRun
from billing.reconciliation.checks import CHECKS, Mending, Policy
from organizations.models import Organization

State, Kind = ReconciliationRun.State, ReconciliationRun.Kind

# Fewer changes than these are never too many, however few organizations there are.
ALWAYS_ALLOWED = 10


def waiting() -> ReconciliationRun | None:
    """The newest run that waits for a person; None once everything was compared anew, or nothing is left to mend."""
    runs = ReconciliationRun.objects.order_by("-id")
    run = runs.filter(state=State.TRIPPED).first()
    if run is None or runs.filter(kind=Kind.FULL, state=State.DONE, dry_run=False, pk__gt=run.pk).exists():
        return None
    return run if holds_events_back(run) or to_mend(run).exists() else None


def holds_events_back(run: ReconciliationRun) -> bool:
    """Whether it left events alone that had never been received."""
    return run.kind != Kind.ONE and run.watermark is None


def waits_for(run: ReconciliationRun) -> ReconciliationRun | None:
    """The run whose answer this one waits for before anything is mended again; None where it need not."""
    if run.kind != Kind.INCREMENTAL or run.state == State.TRIPPED or run.agreed_at is not None:
        return None
    return waiting()


def only_looks(run: ReconciliationRun) -> bool:
    """Whether a run mends nothing, whatever it finds."""
    return run.dry_run or waits_for(run) is not None


def mended_types(run: ReconciliationRun) -> list[str]:
    """The types that this run mends: those it was asked for, else those whose policy says so."""
    if only_looks(run):
        return []
    ways = {Mending.READ, Mending.RECORD, *([Mending.END] if run.is_by_hand else [])}
    able = [each for each in CHECKS.values() if each.mending in ways]
    if run.fixes is not None:
        return [each.type for each in able if each.type in run.fixes]
    return [each.type for each in able if each.policy is Policy.FIX]


def to_mend(run: ReconciliationRun) -> Any:
    """What this run has seen and may mend. Of one that waited, later ones have seen it too."""
    seen = Q(last_run=run)
    if run.state == State.TRIPPED or run.agreed_at is not None:
        seen = Q(first_run_id__lte=run.pk, last_run_id__gte=run.pk)
    rows = Discrepancy.objects.open().filter(seen, type__in=mended_types(run), organization__isnull=False)
    return rows.order_by("organization_id", "id")


def allowance(run: ReconciliationRun) -> int | None:
    """How many organizations a run may change without asking; None where somebody agreed to all."""
    if run.agreed_at is not None:
        return None
    if run.max_changes is not None:
        return int(run.max_changes)
    billed = Organization.objects.exclude(stripe_customer_id=None).count()
    share = math.ceil(billed * int(settings.RECONCILE_MAX_CHANGE_PERCENT) / 100)
    return max(share, ALWAYS_ALLOWED)


def too_many(run: ReconciliationRun, missed_by: Collection[str]) -> str | None:
    """Why a person must agree before anything is mended, in a sentence; None where nobody need.

    `missed_by` are the customers of whom events had never been received: to take those in changes their organizations.
    """
    allowed = allowance(run)
    if allowed is None or only_looks(run):
        return None
    changed = set(to_mend(run).order_by().values_list("organization_id", flat=True).distinct())
    missed = Organization.objects.filter(stripe_customer_id__in=missed_by)
    number = len(changed.union(missed.values_list("pk", flat=True)))
    if number <= allowed:
        return None
    return _(
        "%(n)d organizations would be changed, and no more than %(allowed)d may be without asking. Nothing was"
        " changed. Look at the differences; if they are right, let it go on."
    ) % {"n": number, "allowed": allowed}
