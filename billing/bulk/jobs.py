"""Bulk jobs: planned from our own rows, started once, stopped, and what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import models, transaction
from django.db.models import Case, Count, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Now
from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from procrastinate.contrib.django import app

from billing import budget
from billing.bulk.base import BulkKind, Figure, PlannedRow, Selected
from billing.errors import BillingError, OperationRefused
from billing.models import BulkJob, BulkRow, SubscriptionEvent
from billing.operations.base import Subject
from organizations.models import Organization

# More than that nobody can look over, and a page cannot show.
ROWS_PER_JOB = 1_000

TASK = "billing.tasks.do_bulk_row"
QUEUE = "bulk"
# Behind everything else that a worker may have to do.
PRIORITY = -10


class Outcome(models.TextChoices):
    """What became of a row: of those that were attempted, the ledger's state."""

    WAITING = "waiting", gettext_lazy("Waiting")
    PENDING = "pending", gettext_lazy("In progress")
    DONE = "done", gettext_lazy("Done")
    FAILED = "failed", gettext_lazy("Failed")
    REFUSED = "refused", gettext_lazy("Not done")
    IMPOSSIBLE = "impossible", gettext_lazy("Cannot be done")
    PARKED = "parked", gettext_lazy("Needs a person")
    STOPPED = "stopped", gettext_lazy("Stopped")


# Those whose end is still to come, and those that surely changed nothing and may be tried anew.
RUNNING = (Outcome.WAITING, Outcome.PENDING)
RETRIABLE = (Outcome.FAILED, Outcome.REFUSED, Outcome.STOPPED)


@dataclass(frozen=True)
class Plan:
    """What would happen to many, and to which of them it cannot."""

    rows: list[PlannedRow] = field(default_factory=list)
    refused: list[tuple[Selected[Any], str]] = field(default_factory=list)

    @property
    def figures(self) -> Counter[Figure]:
        """The figures of all rows, added up."""
        added: Counter[Figure] = Counter()
        for row in self.rows:
            added.update(row.figures)
        return added


def plan(
    kind: BulkKind[Any, Any, Any], keys: Sequence[str], asked: dict[str, Any], actor: User | None = None
) -> Plan:
    """What would happen to each of what was ticked, told from our own rows alone; with an `actor`, what they may."""
    made = Plan()
    hold_to_limit = kind.limit(actor) if actor else None
    for selected in kind.selected(keys):
        try:
            row = kind.planned(selected, asked)
            if hold_to_limit:
                hold_to_limit(row)
            made.rows.append(row)
        except BillingError as refusal:
            made.refused.append((selected, str(refusal.message)))
    return made


def start(
    kind: BulkKind[Any, Any, Any],
    *,
    id_: UUID,
    shown: Mapping[str, str],
    left_out: Mapping[str, str] | None = None,
    asked: dict[str, Any],
    actor: User,
    reason: str = "",
    ticket: str = "",
) -> BulkJob:
    """Start what was agreed to: rows and their tasks, in one transaction. Under the same id, once.

    `shown` has the digest of what was shown by the key of what was ticked; `left_out` says why the rest of what was
    ticked cannot be done. That is a row as well, and so is what is no longer as it was shown: each says why it is not
    done. Raises OperationRefused where there are too many, or none.
    """
    if not shown:
        raise OperationRefused(_("There is nothing to be done to any of them. Nothing was changed."))
    left_out = left_out or {}
    if len(shown) + len(left_out) > ROWS_PER_JOB:
        raise OperationRefused(too_many())
    made = plan(kind, list(shown), asked)
    left = [(selected, left_out[selected.key]) for selected in kind.selected(list(left_out))]
    with transaction.atomic():
        job, is_new = BulkJob.objects.get_or_create(
            uuid=id_,
            defaults={"type": kind.type, "asked": asked, "actor": actor, "reason": reason, "ticket": ticket},
        )
        if is_new:
            rows = [_row(job, each, shown[each.selected.key]) for each in made.rows]
            rows += [_refused_row(job, selected, why) for selected, why in [*made.refused, *left]]
            position = {key: number for number, key in enumerate([*shown, *left_out])}
            for row in rows:
                row.position = position[row.selected]
            created = BulkRow.objects.bulk_create(rows)
            queue(row.pk for row in created if row.state == BulkRow.State.WAITING)
    return job


def seconds_needed(kind: BulkKind[Any, Any, Any], rows: int) -> int | None:
    """How long so many rows take at least, at the calls that Stripe allows; None where they are not limited."""
    granted = budget.granted()
    if not granted:
        return None
    of_one = budget.granted_of_one_endpoint()
    return round(rows * max(kind.calls / granted, kind.calls_of_one_endpoint / of_one))


def too_many() -> str:
    """That there are more than can be done at once, and what to do."""
    return _(
        "You chose more than %(most)s, which is as many as can be done at a time. Nothing was changed; choose"
        " fewer, for instance with the list's filters."
    ) % {"most": formats.number_format(ROWS_PER_JOB, force_grouping=True)}


def queue(row_ids: Iterable[int]) -> None:
    """Queue a task for each row. Commits with the caller's transaction."""
    tasks: list[dict[str, Any]] = [{"row_id": row_id} for row_id in row_ids]
    if tasks:
        app.configure_task(TASK, allow_unknown=True, queue=QUEUE, priority=PRIORITY).batch_defer(*tasks)


def _row(job: BulkJob, planned: PlannedRow, digest_shown: str) -> BulkRow:
    row = _bare_row(job, planned.selected)
    row.choices, row.basis, row.outlook = planned.choices.to_dict(), planned.basis, planned.outlook
    if planned.digest != digest_shown:
        row.state = BulkRow.State.REFUSED
        row.message = _("It changed between being shown and being confirmed. Nothing was changed.")
    return row


def _refused_row(job: BulkJob, selected: Selected[Any], why: str) -> BulkRow:
    row = _bare_row(job, selected)
    row.state, row.message = BulkRow.State.REFUSED, why
    return row


def _bare_row(job: BulkJob, selected: Selected[Any]) -> BulkRow:
    subject: Subject = selected.subject
    of_whom = {"organization": subject} if isinstance(subject, Organization) else {"subject_event": subject}
    return BulkRow(job=job, selected=selected.key, label=selected.label[:300], **of_whom)


def stop(job: BulkJob, actor: User) -> None:
    """Do no more of it. What is in hand comes to its end; rows that wait are not done."""
    BulkJob.objects.filter(pk=job.pk, stopped_at__isnull=True).update(stopped_at=Now(), stopped_by=actor)


# -- what became of it --------------------------------------------------------------------------------------


def with_outcomes(rows: QuerySet[BulkRow]) -> QuerySet[Any]:
    """Adds `outcome`, and `told`, what happened in words: the ledger's, whoever wrote it, and the row's own else."""
    event = SubscriptionEvent.objects.filter(uuid=OuterRef("operation")).order_by()
    return rows.annotate(
        ledger_id=Subquery(event.values("pk")[:1]),
        ledger_state=Subquery(event.values("state")[:1]),
        ledger_attempts=Subquery(event.values("attempts")[:1]),
        ended_at=Subquery(event.values("processed_at")[:1]),
        told=Case(
            When(ledger_id__isnull=False, then=Subquery(event.values("message")[:1])), default=F("message")
        ),
        outcome=Case(
            When(ledger_state__isnull=False, then=F("ledger_state")),
            When(
                Q(state=BulkRow.State.WAITING, job__stopped_at__isnull=False),
                then=Value(Outcome.STOPPED.value),
            ),
            # What could not be done from the first was never to happen.
            When(state=BulkRow.State.REFUSED, outlook="", then=Value(Outcome.IMPOSSIBLE.value)),
            default=F("state"),
            output_field=models.CharField(),
        ),
    )


def counts(job: BulkJob) -> dict[Outcome, int]:
    """How many rows of a job had which outcome."""
    return counts_of([job])[job.pk]


def counts_of(several: Sequence[BulkJob]) -> dict[int, dict[Outcome, int]]:
    """How many rows had which outcome, by the key of the job."""
    found: dict[int, dict[Outcome, int]] = {job.pk: {} for job in several}
    rows = with_outcomes(BulkRow.objects.filter(job__in=several).order_by())
    for job_id, outcome, count in (
        rows.values("job_id", "outcome").annotate(count=Count("pk")).values_list("job_id", "outcome", "count")
    ):
        found[job_id][Outcome(outcome)] = count
    return found


def is_running(job: BulkJob) -> bool:
    """Whether the end of any row is still to come."""
    return with_outcomes(BulkRow.objects.filter(job=job)).filter(outcome__in=RUNNING).exists()


def retriable(kind: BulkKind[Any, Any, Any], job: BulkJob, actor: User) -> list[str]:
    """The keys of what was surely not done and can be done now, so that it may be agreed to anew."""
    rows = with_outcomes(BulkRow.objects.filter(job=job)).filter(outcome__in=RETRIABLE)
    keys = list(rows.order_by("position").values_list("selected", flat=True))
    return [row.selected.key for row in plan(kind, keys, job.asked, actor).rows]
