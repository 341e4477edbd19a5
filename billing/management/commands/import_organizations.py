"""`manage.py import_organizations`: an existing Stripe account's customers become organizations."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandParser

from billing.errors import StripeError, StripeUnreachable
from billing.importing import Imported, Outcome, import_organizations
from billing.management.statuses import FAILED, StatusCommand


class Command(StatusCommand):
    """Takes in what Stripe knows. Run it as often as you like: it never makes anything twice."""

    help = (
        "Take the customers of the Stripe account in as organizations: each is matched by its id, by its metadata"
        " `organization` (the slug), then by its exact name or e-mail; for the others organizations are made. Then"
        " everything of each is read. Exit status 0, or 2 when something could not be read or decided."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Nothing is required."""
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
        parser.add_argument(
            "--json", action="store_true", help="one JSON object at the end, and nothing else"
        )

    def handle(self, *args: Any, dry_run: bool, json: bool, **options: Any) -> None:
        """Import, saying each customer as it is done."""
        taken: list[Imported] = []
        failure = ""
        try:
            for each in import_organizations(dry_run=dry_run):
                taken.append(each)
                if not json:
                    self.stdout.write(f"{len(taken):>6}  {_line(each, dry_run=dry_run)}")
        except StripeError as error:
            failure = str(error) if isinstance(error, StripeUnreachable) else f"{error} ({error.detail})"
        except KeyboardInterrupt:
            failure = "Stopped. Run it again to go on."
        outcomes = Counter(each.outcome for each in taken)
        troubled = [each for each in taken if each.problem or each.outcome is Outcome.UNDECIDED]
        if json:
            self._write_json(taken, outcomes, failure, dry_run=dry_run)
        else:
            self.stdout.write(_summary(outcomes, len(troubled), dry_run=dry_run))
            if failure:
                self.stderr.write(failure)
        if failure or troubled:
            sys.exit(FAILED)

    def _write_json(
        self, taken: list[Imported], outcomes: Counter[Outcome], failure: str, *, dry_run: bool
    ) -> None:
        report = {
            "dry_run": dry_run,
            **{outcome.value: outcomes[outcome] for outcome in Outcome},
            "failure": failure,
            "customers": [asdict(each) for each in taken],
        }
        self.stdout.write(json.dumps(report, indent=2))


def _line(each: Imported, *, dry_run: bool) -> str:
    would = "would be " if dry_run and each.outcome in {Outcome.MATCHED, Outcome.CREATED} else ""
    words = f"{each.customer_id}  {each.name}: {would}{each.outcome}"
    if each.slug:
        words += f" as {each.slug}"
    if each.because:
        words += f" ({each.because})"
    return words + (f" – not read: {each.problem}" if each.problem else "")


def _summary(outcomes: Counter[Outcome], troubled: int, *, dry_run: bool) -> str:
    counts = ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in Outcome)
    return f"{'Would be: ' if dry_run else ''}{counts}; {troubled} in trouble."
