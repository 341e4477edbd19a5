"""Carrying a run through in this process, for whoever waits for it at a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from django.contrib.auth.models import User
from django.db import connections

from billing.models import ReconciliationRun
from billing.reconciliation import runs

# How often whoever watches is told.
GLANCE_SECONDS = 0.2


def drive(
    run: ReconciliationRun,
    *,
    threads: int = 4,
    watch: Callable[[ReconciliationRun], None] = lambda run: None,
    actor: User | None = None,
) -> ReconciliationRun:
    """Carry a run to its end, together with whatever workers are at it. Returns it as it ended.

    `watch` is told now and then how far it is. Ctrl-C stops the run after the page in hand, and is passed on.
    """
    readers = [threading.Thread(target=_carry_on, args=(run.pk,), daemon=True) for _number in range(threads)]
    for reader in readers:
        reader.start()
    try:
        while any(reader.is_alive() for reader in readers):
            for reader in readers:
                reader.join(GLANCE_SECONDS / threads)
            run.refresh_from_db()
            watch(run)
    except KeyboardInterrupt:
        runs.stop(run, actor)
        for reader in readers:
            reader.join()
        raise
    run.refresh_from_db()
    return run


def _carry_on(run_id: int) -> None:
    """A thread's work: carry the run on until it ends, over a database connection of its own."""
    try:
        while ReconciliationRun.objects.filter(pk=run_id, state=ReconciliationRun.State.RUNNING).exists():
            runs.advance(run_id)
            # Others read the rest, or Stripe asked to wait.
            time.sleep(GLANCE_SECONDS)
    finally:
        connections.close_all()
