"""Who may do what about reconciliation, and what is written down of those who may not."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from billing import denials
from billing.denials import Right

SEES_RUNS = "billing.view_reconciliationrun"
SEES_DIFFERENCES = "billing.view_discrepancy"

START = Right("billing.start_reconciliation", _("start or stop a reconciliation"))
AGREE = Right("billing.agree_to_reconciliation", _("let a reconciliation go on that had stopped and asked"))
SETTLE = Right("billing.settle_discrepancy", _("settle differences to Stripe"))


def refuse_those_who_may_not(request: HttpRequest, right: Right) -> None:
    """Write down who tried, and raise PermissionDenied, unless they may."""
    if not request.user.has_perm(right.permission):
        denials.record(request.user, right, None)
        raise PermissionDenied
