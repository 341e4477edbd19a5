"""One row of a bulk job: done once, whatever dies meanwhile.

The row's uuid is the operation's own, so a row that is done again finds what the first try did. What became of an
attempt is only ever read from the ledger; the row itself tells of what was never attempted.
"""

from __future__ import annotations

import datetime
import logging
from typing import Any

from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from procrastinate.contrib.django.models import ProcrastinateJob

from billing import budget, denials
from billing.bulk.jobs import TASK, queue
from billing.bulk.kinds import KINDS
from billing.errors import BillingError, NotPermitted, OperationRefused, StripeBusy, StripeUnreachable
from billing.models import BulkJob, BulkRow
from billing.operations.base import Subject
from billing.operations.intent import Terms, perform, performed

log = logging.getLogger(__name__)

State = BulkRow.State

# A row that Stripe does not answer, or that broke off inside, is tried again a little later, so often; one that Stripe
# had no time for, however often.
TRIES = 5
PAUSE = datetime.timedelta(seconds=15)
# What somebody wanted this morning they may not want any more: where workers were away so long, nothing is done.
MAX_AGE = datetime.timedelta(hours=4)


class _Stopped(Exception):
    """Somebody stopped the job a moment ago."""


def do_row(row_id: int) -> None:
    """Do one row, unless it was done, or its job was stopped. May run twice, and at the same time."""
    row = (
        BulkRow.objects.select_related("job__actor", "organization", "subject_event")
        .filter(pk=row_id, state=State.WAITING, job__stopped_at__isnull=True)
        .first()
    )
    if row is None:
        return
    try:
        with budget.spending("bulk"):
            _perform(row)
    except _Stopped:
        return
    except StripeBusy as error:
        _put_off(row, str(error.message), counts=False)
    except StripeUnreachable as error:
        _put_off(row, str(error.message))
    except BillingError as error:
        _close(
            row, State.REFUSED, str(error.message), denial=error if isinstance(error, NotPermitted) else None
        )
    except Exception:
        # Before the intent, so that nothing was asked of Stripe; after it, `_put_off` leaves the telling to the ledger.
        log.exception("Row %s of a bulk job broke off", row.pk)
        _put_off(row, _("Something went wrong on our side before it began. Nothing was changed."))
    else:
        _close(row, State.ATTEMPTED)


def _perform(row: BulkRow) -> None:
    kind, job, subject = KINDS[row.job.type], row.job, _subject(row)
    if timezone.now() - job.created_at >= MAX_AGE:
        raise OperationRefused(too_late())
    choices = kind.operation.choices_class.from_dict(row.choices)

    def hold(preview: Any) -> None:
        if BulkJob.objects.filter(pk=job.pk, stopped_at__isnull=False).exists():
            raise _Stopped
        kind.hold(row.basis, subject, choices, preview)

    perform(
        kind.operation,
        subject,
        choices=choices,
        agreed=Terms(row.operation, hold),
        actor=job.actor,
        reason=job.reason,
        ticket=job.ticket,
    )


def too_late() -> str:
    """That a row's turn came too late, and what to do."""
    hours = MAX_AGE // datetime.timedelta(hours=1)
    return ngettext(
        "Not done: this was asked for more than %(hours)d hour ago. Ask again.",
        "Not done: this was asked for more than %(hours)d hours ago. Ask again.",
        hours,
    ) % {"hours": hours}


def _subject(row: BulkRow) -> Subject:
    subject: Subject | None = row.organization or row.subject_event
    if subject is None:
        raise AssertionError("a row has a subject")
    return subject


def _close(
    row: BulkRow, state: BulkRow.State, message: str = "", *, denial: NotPermitted | None = None
) -> None:
    if performed(row.operation) is not None:
        # Refused, perhaps, because another try of this very row had done it already.
        state, message = State.ATTEMPTED, ""
    elif denial is not None:
        denials.record(
            row.job.actor,
            KINDS[row.job.type].operation,
            _subject(row),
            denial.attempt,
            reason=row.job.reason,
            ticket=row.job.ticket,
            bulk_job=row.job.pk,
        )
    BulkRow.objects.filter(pk=row.pk, state=State.WAITING).update(state=state, message=message)


def _put_off(row: BulkRow, why: str, *, counts: bool = True) -> None:
    """Leave the row waiting for `queue_lost`; give it up after so many tries that count."""
    # What broke off after the intent is told by the ledger, never as "nothing was changed".
    if performed(row.operation) is not None or (counts and row.tries + 1 >= TRIES):
        _close(row, State.REFUSED, why)
        return
    BulkRow.objects.filter(pk=row.pk, state=State.WAITING).update(
        tries=F("tries") + int(counts), message=why, due_at=Now() + PAUSE * (row.tries + 1)
    )


def queue_lost() -> int:
    """Queue a task for every row that is due and has none: lost, or put off. Returns for how many."""
    due = BulkRow.objects.filter(state=State.WAITING, due_at__lte=Now(), job__stopped_at__isnull=True)
    waiting = set(due.order_by().values_list("pk", flat=True))
    if not waiting:
        return 0
    # A dead worker's task is still in hand until `billing.tasks.take_back` gives it to a living one.
    queued = ProcrastinateJob.objects.filter(task_name=TASK, status__in=("todo", "doing"))
    lost = waiting - {args["row_id"] for args in queued.values_list("args", flat=True)}
    queue(sorted(lost))
    return len(lost)
