"""Housekeeping of the back office's own tables."""

from __future__ import annotations

from typing import cast

from django.core.cache import caches
from procrastinate.contrib.django import app

from adminops.ratelimit_cache import PostgresCounterCache
from billing.tasks import MAINTENANCE_QUEUE


@app.periodic(cron="*/15 * * * *")
@app.task(
    name="adminops.tasks.forget_counters",
    queue=MAINTENANCE_QUEUE,
    queueing_lock="forget_counters",
    pass_context=False,
)
def forget_counters(timestamp: int) -> None:
    """Every quarter of an hour: forget the cells of rate limits that have expired."""
    cast(PostgresCounterCache, caches["ratelimit"]).forget_expired()
