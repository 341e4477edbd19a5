"""`manage.py backfill_events --since 3d`: take in the events that Stripe never managed to deliver."""

from __future__ import annotations

import datetime
import json
import sys
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from billing.errors import StripeError, StripeUnreachable
from billing.management.moments import moment
from billing.management.statuses import FAILED, StatusCommand
from webhooks.backfill import LISTED, Backfill, backfill_events


class Command(StatusCommand):
    """Reads Stripe's list of events. Run it as often as you like, with overlap: a known event changes nothing."""

    help = "Take in the events since a moment that Stripe never managed to deliver. Exit status 0, or 2 on failure."

    def add_arguments(self, parser: CommandParser) -> None:
        """The moment is required: it decides how much is read."""
        parser.add_argument(
            "--since", type=moment, required=True, help="30d, 12h, 45m, or an ISO date; at most 30 days ago"
        )
        parser.add_argument("--json", action="store_true", help="one JSON object, and nothing else")

    def handle(self, *args: Any, since: datetime.datetime, json: bool, **options: Any) -> None:
        """Read, and say how far it is after each day."""
        progress = Backfill(since, timezone.now(), since)
        failure = ""
        if not json and timezone.now() - since > LISTED + datetime.timedelta(minutes=1):
            self.stdout.write("Stripe lists events of the last 30 days only; earlier ones are out of reach.")
        try:
            for progress in backfill_events(since):
                if not json and self.stdout.isatty():
                    self.stdout.write(f"{progress.read:>7} events read", ending="\r")
        except StripeError as error:
            failure = str(error) if isinstance(error, StripeUnreachable) else f"{error} ({error.detail})"
        if json:
            self._write_json(progress, failure)
        else:
            self.stdout.write(
                f"{progress.read} events since {progress.since:%Y-%m-%d %H:%M}: {progress.new} new"
                f" ({progress.settled} of them settled already), {progress.known} known."
            )
            if progress.unreadable:
                self.stderr.write(f"Left out, because unreadable: {', '.join(progress.unreadable)}")
            if failure:
                self.stderr.write(failure)
        if failure or progress.unreadable:
            sys.exit(FAILED)

    def _write_json(self, progress: Backfill, failure: str) -> None:
        report = {
            "since": progress.since.isoformat(),
            "read": progress.read,
            "new": progress.new,
            "settled": progress.settled,
            "known": progress.known,
            "unreadable": progress.unreadable,
            "failure": failure,
        }
        self.stdout.write(json.dumps(report, indent=2))
