"""Lists as files. One row of `REPORTS` for each; a list with one offers it (`adminops.pages.lists.export`)."""

from adminops.reports.base import Report
from adminops.reports.events import EVENTS
from adminops.reports.money import DISPUTES, INVOICES, PAYMENTS, REFUNDS
from adminops.reports.organizations import CUSTOMERS
from adminops.reports.reconciliation import DIFFERENCES, RUNS

REPORTS: dict[str, Report] = {
    report.model: report
    for report in (CUSTOMERS, EVENTS, INVOICES, PAYMENTS, REFUNDS, DISPUTES, DIFFERENCES, RUNS)
}
