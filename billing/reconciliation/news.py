"""What people are told of a run when it ends: an alert where it wants somebody, a summary where something differs."""

from __future__ import annotations

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from procrastinate.contrib.django import app

from billing import alerts
from billing.models import Discrepancy, ReconciliationRun
from billing.models.reconciliation import DiscrepancyQuerySet
from billing.money import format_money
from billing.reconciliation import breaker, telling

MAIL_TASK = "billing.tasks.mail_reconciliation"
MAIL_QUEUE = "maintenance"

TRIPPED, FAILED = "reconciliation_tripped", "reconciliation_failed"

# A mail names so many differences, and counts the others.
NAMED = 20

State, Kind = ReconciliationRun.State, ReconciliationRun.Kind


def tell_of_end(run: ReconciliationRun) -> None:
    """Raise, or take back, alerts about a run that has just ended, and have a summary sent. In its transaction."""
    if run.kind == Kind.ONE:
        return
    # What comes again with every run is one alert, until a run comes to its end.
    if run.state in (State.TRIPPED, State.FAILED):
        alerts.watch(TRIPPED if run.state == State.TRIPPED else FAILED, run.message)
    elif run.state == State.DONE:
        still = breaker.waiting()
        alerts.watch(TRIPPED, still.message if still else None)
        alerts.watch(FAILED, None)
    if settings.RECONCILE_EMAILS and run.state in (State.DONE, State.TRIPPED) and _to_tell(run).exists():
        app.configure_task(MAIL_TASK, queue=MAIL_QUEUE).defer(run_id=run.pk)


def _to_tell(run: ReconciliationRun) -> DiscrepancyQuerySet:
    """What a summary tells of: all that is open; of a run over what changed only what is new, for it comes often."""
    rows = Discrepancy.objects.open()
    return rows if run.kind == Kind.FULL else rows.filter(first_run=run)


def mail_summary(run_id: int) -> None:
    """Send the summary of a run, once. Raises what the mail server raises; the job tries again."""
    run = ReconciliationRun.objects.filter(pk=run_id).first()
    if run is None or any(line.get("mailed") for line in run.log):
        return
    rows = _to_tell(run).select_related("organization")
    count = rows.count()
    if not count or not settings.RECONCILE_EMAILS:
        return
    subject = ngettext(
        "Reconciliation: %(n)d difference to settle", "Reconciliation: %(n)d differences to settle", count
    ) % {"n": count}
    send_mail(subject, _body(run, rows, count), settings.DEFAULT_FROM_EMAIL, settings.RECONCILE_EMAILS)
    with transaction.atomic():
        lines = ReconciliationRun.objects.select_for_update().values_list("log", flat=True).get(pk=run.pk)
        sent = len(settings.RECONCILE_EMAILS)
        said = ngettext(
            "A summary was sent to %(n)d address.", "A summary was sent to %(n)d addresses.", sent
        )
        at = timezone.now().isoformat(timespec="seconds")
        lines.append({"at": at, "line": said % {"n": sent}, "mailed": True})
        ReconciliationRun.objects.filter(pk=run.pk).update(log=lines)


def _body(run: ReconciliationRun, rows: DiscrepancyQuerySet, count: int) -> str:
    seen = telling.overview()
    stake = ", ".join(format_money(amount, currency) for currency, amount in seen.at_stake)
    lines = [
        f"{run.get_kind_display()}, {timezone.localtime(run.started_at):%Y-%m-%d %H:%M %Z}: {run.message}",
        "",
        *([_("At stake: %(sums)s.") % {"sums": stake}, ""] if stake else []),
        *(f"{each.n} × {each.label}: {each.explanation}" for each in seen.types),
        "",
    ]
    for row in rows[:NAMED]:
        told = telling.told(row)
        whose = row.organization.name if row.organization else row.stripe_customer_id
        lines.append(" ".join(f"- {whose}: {told.label}. {told.sentence} {told.at_stake}".split()))
    if count > NAMED:
        lines.append(ngettext("and %(n)d more", "and %(n)d more", count - NAMED) % {"n": count - NAMED})
    return "\n".join([*lines, "", _("Open Reconciliation in the back office to settle them.")])
