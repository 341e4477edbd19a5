"""Discrepancies: written once while they last, closed when they are gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import F, QuerySet
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
    unsettled: dict[int, dict[tuple[str, str], Discrepancy]] = {}
    for row in Discrepancy.objects.unsettled().filter(organization_id__in=compared):
        unsettled.setdefault(row.organization_id or 0, {})[row.type, row.stripe_object_id] = row
    recorded = Recorded()
    for key, (organization, findings) in compared.items():
        known = unsettled.get(key, {})
        if findings or known:
            recorded.add(_record(run, organization, organization.stripe_customer_id or "", findings, known))
    return recorded


def record_of_nobody(run: ReconciliationRun, found: Mapping[str, Sequence[Finding]]) -> Recorded:
    """The same for customers whom no organization owns, by their ids."""
    unsettled: dict[str, dict[tuple[str, str], Discrepancy]] = {}
    for row in _of_nobody().filter(stripe_customer_id__in=list(found)):
        unsettled.setdefault(row.stripe_customer_id, {})[row.type, row.stripe_object_id] = row
    recorded = Recorded()
    for customer_id, findings in found.items():
        recorded.add(_record(run, None, customer_id, findings, unsettled.get(customer_id, {})))
    return recorded


def close_rest_of_nobody(run: ReconciliationRun) -> int:
    """Close what a run over everything did not see again; returns how many."""
    return sum(close(row, How.GONE, run) for row in _of_nobody().exclude(last_run=run))


def _of_nobody() -> QuerySet[Discrepancy]:
    return Discrepancy.objects.unsettled().filter(organization__isnull=True)


def _record(
    run: ReconciliationRun,
    organization: Organization | None,
    customer_id: str,
    findings: Sequence[Finding],
    known: dict[tuple[str, str], Discrepancy],
) -> Recorded:
    recorded, now = Recorded(), timezone.now()
    seen = set()
    for finding in findings:
        key = (finding.type, finding.object_id)
        row = known.get(key)
        if row is None and _is_accepted(organization, finding):
            continue
        seen.add(key)
        recorded.counts[finding.type] += 1
        if organization is not None:
            recorded.differing.add(organization.pk)
        if row is None:
            recorded.found += 1
            Discrepancy.objects.create(
                first_run=run, last_run=run, **_columns(organization, customer_id, finding)
            )
        else:
            is_again = row.last_run_id != run.pk
            Discrepancy.objects.filter(pk=row.pk).update(
                **_columns(organization, customer_id, finding),
                last_seen_at=now,
                last_run=run,
                times_seen=F("times_seen") + int(is_again),
            )
    for key, row in known.items():
        if key not in seen:
            recorded.gone += close(row, How.GONE, run)
    return recorded


def _columns(organization: Organization | None, customer_id: str, finding: Finding) -> dict[str, object]:
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


def _is_accepted(organization: Organization | None, finding: Finding) -> bool:
    """Whether somebody accepted this very difference: as long as it stays as it is, it stays accepted."""
    newest = (
        Discrepancy.objects.filter(
            type=finding.type,
            organization=organization,
            stripe_object_id=finding.object_id,
            closed_at__isnull=False,
        )
        .order_by("-id")
        .first()
    )
    return (
        newest is not None
        and newest.closed_how == How.ACCEPTED
        and (newest.ours, newest.theirs) == (finding.ours, finding.theirs)
    )


def record_mended(
    run: ReconciliationRun,
    organization: Organization,
    finding: Finding,
    event: SubscriptionEvent | None = None,
) -> None:
    """Write down a difference that its very discovery has mended. Once for each thing it is about."""
    columns = _columns(organization, organization.stripe_customer_id or "", finding)
    if Discrepancy.objects.filter(first_run=run, **columns).exists():
        return
    Discrepancy.objects.create(
        first_run=run,
        last_run=run,
        closed_in=run,
        closed_at=timezone.now(),
        closed_how=How.FIXED,
        event=event,
        **columns,
    )


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
