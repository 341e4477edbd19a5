"""The checks: what is compared, who is right where it differs, and what is then done.

To add one, write a pure function from `Facts` to findings under `@check(…)` in the module it belongs to; a test that
walks `CHECKS` wants a drift that it finds. They are shown in the order of their modules.
"""

from billing.reconciliation.checks import columns, customers, money, reading
from billing.reconciliation.checks.columns import COLUMNS
from billing.reconciliation.checks.reading import invoice_changed
from billing.reconciliation.checks.registry import CHECKS, Check, Mending, Policy, Wins, findings_of

__all__ = [
    "CHECKS",
    "COLUMNS",
    "Check",
    "Mending",
    "Policy",
    "Wins",
    "columns",
    "customers",
    "findings_of",
    "invoice_changed",
    "money",
    "reading",
]
