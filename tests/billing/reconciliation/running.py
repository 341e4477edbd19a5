"""Runs of the reconciliation as tests do them, and drifts as life brings them."""

from __future__ import annotations

from typing import Any

from billing.models import Discrepancy, ReconciliationRun
from billing.reconciliation import runs
from billing.reconciliation.driving import drive
from organizations.models import Organization


def reconcile(kind: str = "full", **options: Any) -> ReconciliationRun:
    """Start a run and carry it through here."""
    return drive(runs.start(kind, workers=0, **options), threads=2)


def found() -> set[tuple[str, str | None]]:
    """What is open: types, and whose."""
    rows = Discrepancy.objects.open().values_list("type", "organization__slug")
    return set(rows)


def differences_of(organization: Organization) -> set[str]:
    """The types of an organization's open differences."""
    return set(Discrepancy.objects.open().filter(organization=organization).values_list("type", flat=True))
