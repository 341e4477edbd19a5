"""What Stripe's door does by itself: look for what never arrived, and whether the road is in order."""

from __future__ import annotations

import logging

from procrastinate.contrib.django import app

from billing import budget, road_watch
from billing.errors import StripeError
from billing.tasks import MAINTENANCE_QUEUE
from webhooks import backfill

log = logging.getLogger(__name__)


@app.periodic(cron="*/10 * * * *")
@app.task(name="webhooks.tasks.recover", queue=MAINTENANCE_QUEUE, queueing_lock="recover", pass_context=False)
def recover(timestamp: int) -> None:
    """Every ten minutes: take in from Stripe's list what was never delivered."""
    try:
        with budget.spending("reconciliation"):
            done = backfill.recover()
    except StripeError as error:
        log.warning("Stripe's list of events could not be read; it is read again in ten minutes: %s", error)
        return
    if done and done.new:
        log.warning("%s events that were never delivered were read from Stripe's list", done.new)


@app.periodic(cron="*/5 * * * *")
@app.task(
    name="webhooks.tasks.watch", queue=MAINTENANCE_QUEUE, queueing_lock="watch_road", pass_context=False
)
def watch(timestamp: int) -> None:
    """Every five minutes: look whether webhooks arrive, and are processed, and whether the clocks agree."""
    with budget.spending("reconciliation"):
        road_watch.look()
