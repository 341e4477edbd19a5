"""Discrepancies: written once while they last, closed when they are gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Case, QuerySet, Value, When
from django.utils import timezone

from billing.models import Discrepancy, ReconciliationRun, SubscriptionEvent
from billing.reconciliation.facts import Finding
from organizations.models import Organization

How = Discrepancy.Closed


@dataclass
class Recorded:
    """What came of comparing some organizations."""

    found: int = 0
    """New ones."""
    gone: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """Those that differ now, by type; accepted ones are not among them."""
    differing: set[int] = field(default_factory=set)
    """Keys of the organizations that differ."""

    def add(self, other: Recorded) -> None:
        """Add up."""
        self.found += other.found
        self.gone += other.gone
        self.counts += other.counts
        self.differing |= other.differing


def record(
    run: ReconciliationRun, compared: Mapping[int, tuple[Organization, Sequence[Finding]]]
) -> Recorded:
    """Write what was found of each organization, and close what was not found again.

    Runs inside the caller's transaction.
    """
    rows = Discrepancy.objects.filter(organization_id__in=compared)
    found = {
        key: (organization, organization.stripe_customer_id or "", findings)
        for key, (organization, findings) in compared.items()
    }
    return _record(run, found, rows, lambda row: row.organization_id or 0)


def record_of_nobody(run: ReconciliationRun, found: Mapping[str, Sequence[Finding]]) -> Recorded:
    """The same for customers whom no organization owns, by their ids."""
    rows = Discrepancy.objects.filter(organization__isnull=True, stripe_customer_id__in=list(found))
    told = {customer_id: (None, customer_id, findings) for customer_id, findings in found.items()}
    return _record(run, told, rows, lambda row: row.stripe_customer_id)


def close_rest_of_nobody(run: ReconciliationRun) -> int:
    """Close what a run over everything did not see again; returns how many."""
    return _close_gone(_of_nobody().exclude(last_run=run), run)


def _of_nobody() -> QuerySet[Discrepancy]:
    return Discrepancy.objects.unsettled().filter(organization__isnull=True)


def _record[Key](
    run: ReconciliationRun,
    found: Mapping[Key, tuple[Organization | None, str, Sequence[Finding]]],
    rows: QuerySet[Discrepancy],
    key_of: Callable[[Discrepancy], Key],
) -> Recorded:
    """Write what was found of each, all in a few queries; `rows` are those that these ever had."""
    known = {
        (key_of(row), row.type, row.stripe_object_id): row for row in rows.filter(closed_at__isnull=True)
    }
    # Whoever accepted a difference accepted it as it was: while it is so, it is not told again.
    accepted: dict[tuple[Key, str, str], list[tuple[object, object]]] = {}
    for row in rows.filter(closed_how=How.ACCEPTED):
        accepted.setdefault((key_of(row), row.type, row.stripe_object_id), []).append((row.ours, row.theirs))
    recorded, now = Recorded(), timezone.now()
    new: list[Discrepancy] = []
    again: list[Discrepancy] = []
    for key, (organization, customer_id, findings) in found.items():
        for finding in findings:
            names = (key, finding.type, finding.object_id)
            seen = known.pop(names, None)
            if seen is None and (finding.ours, finding.theirs) in accepted.get(names, ()):
                continue
            recorded.counts[finding.type] += 1
            if organization is not None:
                recorded.differing.add(organization.pk)
            columns = _columns(organization, customer_id, finding)
            if seen is None:
                new.append(Discrepancy(first_run=run, last_run=run, **columns))
                continue
            seen.times_seen += int(seen.last_run_id != run.pk)
            seen.last_run, seen.last_seen_at = run, now
            for name, value in columns.items():
                setattr(seen, name, value)
            again.append(seen)
    Discrepancy.objects.bulk_create(new)
    Discrepancy.objects.bulk_update(
        again, ["ours", "theirs", "amount", "currency", "last_run", "last_seen_at", "times_seen"]
    )
    recorded.found = len(new)
    recorded.gone = _close_gone(Discrepancy.objects.filter(pk__in=[row.pk for row in known.values()]), run)
    return recorded


def _columns(organization: Organization | None, customer_id: str, finding: Finding) -> dict[str, Any]:
    return {
        "type": finding.type,
        "organization": organization,
        "stripe_customer_id": customer_id,
        "stripe_object_id": finding.object_id,
        "ours": finding.ours,
        "theirs": finding.theirs,
        "amount": finding.amount,
        "currency": finding.currency,
    }


def record_mended(
    run: ReconciliationRun,
    organization: Organization,
    finding: Finding,
    event: SubscriptionEvent | None = None,
) -> None:
    """Write down a difference that its very discovery has mended. Once for each thing it is about.

    A dry run mends nothing: that its reading has made the mirror right only means that this is gone.
    """
    columns = _columns(organization, organization.stripe_customer_id or "", finding)
    if Discrepancy.objects.filter(first_run=run, **columns).exists():
        return
    Discrepancy.objects.create(
        first_run=run,
        last_run=run,
        closed_in=run,
        closed_at=timezone.now(),
        closed_how=How.GONE if run.dry_run else How.FIXED,
        event=event,
        **columns,
    )


def _close_gone(rows: QuerySet[Discrepancy], run: ReconciliationRun) -> int:
    """Close those of these that nobody closed yet and that were not seen again; returns how many."""
    # Whoever began to mend one died before saying so.
    how = Case(When(undo__isnull=False, then=Value(How.FIXED)), default=Value(How.GONE))
    still = rows.filter(closed_at__isnull=True)
    return still.update(closed_at=timezone.now(), closed_how=how, closed_in=run)


def close(
    row: Discrepancy,
    how: Discrepancy.Closed,
    run: ReconciliationRun | None = None,
    *,
    event: SubscriptionEvent | None = None,
) -> int:
    """Close a row that nobody closed yet; returns 1, or 0 where somebody had."""
    if how == How.GONE and row.undo is not None:
        # Whoever began to mend it died before saying so.
        how = How.FIXED
    return Discrepancy.objects.filter(pk=row.pk, closed_at__isnull=True).update(
        closed_at=timezone.now(), closed_how=how, closed_in=run, event=event
    )
