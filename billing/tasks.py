"""Jobs, run by `manage.py work`. Each may run twice, or die half way: what they call is made for that."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.utils import timezone
from procrastinate import JobContext, RetryStrategy, builtin_tasks
from procrastinate.contrib.django import app

from billing import alerts, budget, figures, inbox, refund_news, retention, sync
from billing.bulk import jobs, rows
from billing.errors import OperationRefused, OutcomeUnknown
from billing.models import ReconciliationRun
from billing.operations.ended_holds import lift_ended_holds as lift_ended
from billing.operations.refund_excess import tell_of_excess as tell
from billing.operations.settlement import GIVE_UP_AFTER
from billing.operations.sweeper import settle_pending
from billing.reconciliation import news, runs
from billing.telemetry import SYNC_SECONDS

log = logging.getLogger(__name__)

MAINTENANCE_QUEUE = "maintenance"
# Somebody waits for what is in it, so a worker of its own may serve it: `manage.py work --queues operations`.
OPERATIONS_QUEUE = "operations"

# A job that runs longer than this belongs to a worker that died.
STALLED_SECONDS = 120


@app.task(name=inbox.SYNC_TASK, queue=inbox.SYNC_QUEUE)
def sync_customer(customer_id: str) -> None:
    """Read from Stripe what is due of one customer."""
    began = time.monotonic()
    with budget.spending("webhooks"):
        if sync.sync_customer(customer_id):
            SYNC_SECONDS.observe(time.monotonic() - began)


# croniter reads seconds from a sixth field, at the end.
EVERY_TEN_SECONDS = "* * * * * */10"


@app.periodic(cron=EVERY_TEN_SECONDS)
@app.task(
    name="billing.tasks.settle_operations",
    queue=OPERATIONS_QUEUE,
    queueing_lock="settle_operations",
    priority=10,
    pass_context=False,
)
def settle_operations(timestamp: int) -> None:
    """Every ten seconds: bring operations of unknown outcome to their truth."""
    settle_pending()


@app.periodic(cron="* * * * *")
@app.task(
    name="billing.tasks.lift_ended_holds",
    queue=OPERATIONS_QUEUE,
    queueing_lock="lift_ended_holds",
    pass_context=False,
)
def lift_ended_holds(timestamp: int) -> None:
    """Every minute: lift holds whose end has come, and have Stripe bill again where they had stopped it."""
    lift_ended()


@app.task(
    name=alerts.MAIL_TASK,
    queue=alerts.MAIL_QUEUE,
    retry=RetryStrategy(max_attempts=8, exponential_wait=3),
)
def mail_alert(alert_id: int) -> None:
    """Send one alert by e-mail."""
    alerts.mail_alert(alert_id)


# How long to wait where a refund of an invoice is in progress.
EXCESS_AGAIN_IN = {"minutes": 10}


@app.task(
    name=refund_news.EXCESS_TASK,
    queue=refund_news.EXCESS_QUEUE,
    retry=RetryStrategy(max_attempts=8, exponential_wait=3),
)
def tell_of_excess(invoice_id: str, since: int | None = None) -> None:
    """Find out whether more went back of an invoice than was paid.

    While a refund of it is in progress, it looks again later, until even that must have come to its end; `since`
    (unix seconds) is when it looked first. Whatever else fails is tried again sooner, and less often.
    """
    now = int(time.time())
    since = now if since is None else since
    try:
        with budget.spending("webhooks"):
            tell(invoice_id)
    except OutcomeUnknown:
        if now - since > GIVE_UP_AFTER.total_seconds():
            raise
        later = app.configure_task(
            refund_news.EXCESS_TASK, queue=refund_news.EXCESS_QUEUE, schedule_in=EXCESS_AGAIN_IN
        )
        later.defer(invoice_id=invoice_id, since=since)


@app.task(name=jobs.TASK, queue=jobs.QUEUE, priority=jobs.PRIORITY)
def do_bulk_row(row_id: int) -> None:
    """Do one row of a bulk job."""
    rows.do_row(row_id)


@app.task(name=runs.TASK, queue=runs.QUEUE, priority=runs.PRIORITY)
def advance_reconciliation(run_id: int) -> None:
    """Do what there is to do of a reconciliation."""
    runs.advance(run_id)


@app.task(
    name=news.MAIL_TASK,
    queue=news.MAIL_QUEUE,
    retry=RetryStrategy(max_attempts=8, exponential_wait=3),
)
def mail_reconciliation(run_id: int) -> None:
    """Send the summary of a run by e-mail."""
    news.mail_summary(run_id)


def reconcile(kind: ReconciliationRun.Kind) -> Callable[[int], None]:
    """What the timetable does: start a run, unless one of its kind is going on."""

    def start(timestamp: int) -> None:
        try:
            runs.start(kind)
        except OperationRefused as refusal:
            log.info("No reconciliation (%s) was started: %s", kind, refusal)

    return start


for kind, cron in settings.RECONCILE_CRONS.items():
    if cron:
        app.periodic(cron=cron)(
            app.task(
                name=f"billing.tasks.reconcile_{kind}",
                queue=MAINTENANCE_QUEUE,
                queueing_lock=f"reconcile_{kind}",
                pass_context=False,
            )(reconcile(ReconciliationRun.Kind(kind)))
        )


@app.periodic(cron=EVERY_TEN_SECONDS)
@app.task(name="billing.tasks.sweep", queue=MAINTENANCE_QUEUE, queueing_lock="sweep", pass_context=False)
def sweep(timestamp: int) -> None:
    """Every ten seconds: queue customers, rows of bulk jobs and runs whose task was lost, or whose retry has come."""
    inbox.queue_overdue()
    rows.queue_lost()
    runs.queue_lost()


@app.periodic(cron="* * * * *")
@app.task(
    name="billing.tasks.take_back", queue=MAINTENANCE_QUEUE, queueing_lock="take_back", pass_context=True
)
async def take_back(context: JobContext, timestamp: int) -> None:
    """Every minute: give the jobs of dead workers to the living. Their work is fenced, so it may run twice."""
    manager = context.app.job_manager
    for job in await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS):
        await manager.retry_job(job)


@app.periodic(cron="* * * * *")
@app.task(name="billing.tasks.add_up", queue=MAINTENANCE_QUEUE, queueing_lock="add_up", pass_context=False)
def add_up(timestamp: int) -> None:
    """Every minute: add up what pages show and may not take the time to."""
    figures.store_figures()


@app.periodic(cron="47 3 * * *")
@app.task(
    name="billing.tasks.purge_payloads",
    queue=MAINTENANCE_QUEUE,
    queueing_lock="purge_payloads",
    pass_context=False,
)
def purge_payloads(timestamp: int) -> None:
    """Every night: delete the bodies of old events."""
    retention.purge_payloads(timezone.now() - datetime.timedelta(days=settings.PAYLOAD_RETENTION_DAYS))


@app.periodic(cron="17 3 * * *")
@app.task(
    name="billing.tasks.forget_jobs", queue=MAINTENANCE_QUEUE, queueing_lock="forget_jobs", pass_context=True
)
async def forget_jobs(context: JobContext, timestamp: int) -> None:
    """Every night: forget finished jobs older than three days."""
    await builtin_tasks.remove_old_jobs(context, max_hours=72, remove_failed=True)
