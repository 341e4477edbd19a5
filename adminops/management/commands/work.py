"""`manage.py work`: run background jobs until told to stop."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from typing import Any, cast

from django.core.management.base import BaseCommand
from django.utils.translation import gettext_lazy as _
from procrastinate.contrib.django import app
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.jobs import DeleteJobCondition

from billing.telemetry import flush_regularly


class Command(BaseCommand):
    """One worker process. Run as many as wanted, on as many machines."""

    help = str(_("Runs background jobs: reading from Stripe, settling operations, housekeeping."))

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--queues", nargs="*", help="Only these queues; all of them unless told.")
        parser.add_argument("--concurrency", type=int, default=4, help="Jobs at a time (default 4).")

    def handle(self, *args: Any, **options: Any) -> None:
        """Work until SIGTERM or Ctrl-C; what is in hand gets ten seconds to end."""
        flush_regularly()
        asyncio.run(_work(options["queues"], options["concurrency"]))


async def _work(queues: list[str] | None, concurrency: int) -> None:
    connector = cast(DjangoConnector, app.connector).get_worker_connector()
    with app.replace_connector(connector) as worker_app:
        async with worker_app.open_async():
            await worker_app.run_worker_async(
                queues=queues,  # type: ignore[arg-type]  # None is every queue; its types forget that
                concurrency=concurrency,
                delete_jobs=DeleteJobCondition.SUCCESSFUL,
                shutdown_graceful_timeout=10,
            )
