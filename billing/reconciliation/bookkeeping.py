"""The row of a run: what it has come to, how it ended, its log, and who carries it on just now."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

from django.db import connection, transaction
from django.db.models import Count
from django.db.models.functions import Now
from django.utils import timezone

from billing.errors import LeaseLost
from billing.models import Discrepancy, ReconciliationRun
from billing.reconciliation import listing, news

Run = ReconciliationRun

LEASE_SECONDS = 180
LOG_LINES = 500


class Stopped(Exception):
    """Somebody stopped the run."""


_TOLD = (
    "calls",
    "objects_read",
    "watermark",
    "organizations",
    "differing",
    "left_alone",
    "errors",
    "counts",
    "found",
    "fixed",
    "gone",
)


def save(run: Run) -> None:
    """Write down what the run has come to."""
    how = Discrepancy.Closed
    ended = dict(
        Discrepancy.objects.filter(closed_in=run).order_by().values_list("closed_how").annotate(n=Count("pk"))
    )
    run.found = Discrepancy.objects.filter(first_run=run).count()
    run.fixed, run.gone = ended.get(how.FIXED, 0), ended.get(how.GONE, 0)
    Run.objects.filter(pk=run.pk).update(**{name: getattr(run, name) for name in _TOLD})


def enter(run: Run, phase: Run.Phase) -> None:
    run.phase = phase
    Run.objects.filter(pk=run.pk).update(phase=phase)
    save(run)


def end(run: Run, state: Run.State, message: str, **columns: Any) -> bool:
    """End a run that is still running; whether it was."""
    with transaction.atomic():
        ended = Run.objects.filter(pk=run.pk, state=Run.State.RUNNING).update(
            state=state, message=message, finished_at=Now(), lease_token=None, lease_until=None, **columns
        )
        run.refresh_from_db()
        if ended:
            news.tell_of_end(run)
    return bool(ended)


def note(run: Run, line: str) -> None:
    """Add a line to the run's log."""
    with transaction.atomic():
        lines = Run.objects.select_for_update().values_list("log", flat=True).get(pk=run.pk)
        lines.append({"at": timezone.now().isoformat(timespec="seconds"), "line": line})
        Run.objects.filter(pk=run.pk).update(log=lines[-LOG_LINES:])


def take_lease(run: Run) -> bool:
    token = uuid.uuid4()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE billing_reconciliationrun SET lease_token = %s, lease_until = now() + make_interval(secs => %s)
            WHERE id = %s AND state = 'running' AND (lease_until IS NULL OR lease_until < now())
            """,
            [token, LEASE_SECONDS, run.pk],
        )
        run.lease_token = token
        return bool(cursor.rowcount)


def renew(run: Run) -> None:
    """Hold the run for another while. Raises Stopped, and LeaseLost where somebody else carries it on."""
    found = Run.objects.filter(pk=run.pk, lease_token=run.lease_token)
    if not found.update(lease_until=Now() + datetime.timedelta(seconds=LEASE_SECONDS)):
        if not listing.is_running(run):
            raise Stopped
        raise LeaseLost


def let_go(run: Run) -> None:
    Run.objects.filter(pk=run.pk, lease_token=run.lease_token).update(lease_token=None, lease_until=None)
