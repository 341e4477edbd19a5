"""The ledger and its steps, the inbox of what is to be read from Stripe, bulk jobs, alerts, and reconciliation.

Amounts are minor units of the row's ISO currency. Times are aware UTC.
"""

from billing.models.alerts import Alert
from billing.models.bulk import BulkJob, BulkRow
from billing.models.figures import StoredFigures
from billing.models.inbox import CallBudget, CustomerSync, Watermark
from billing.models.ledger import EventPayload, OperationStep, SubscriptionEvent
from billing.models.reconciliation import (
    Discrepancy,
    OrganizationCheck,
    ReconciliationRun,
    ReconciliationSlice,
)
from billing.models.telemetry import MetricSample

__all__ = [
    "Alert",
    "BulkJob",
    "BulkRow",
    "CallBudget",
    "CustomerSync",
    "Discrepancy",
    "EventPayload",
    "MetricSample",
    "OperationStep",
    "OrganizationCheck",
    "ReconciliationRun",
    "ReconciliationSlice",
    "StoredFigures",
    "SubscriptionEvent",
    "Watermark",
]
