"""`manage.py reprocess`: process events of Stripe's again, whatever became of them the last time."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from billing import budget, stripe_api
from billing.errors import BillingError
from billing.management.moments import moment
from billing.management.statuses import FAILED, StatusCommand
from billing.models import SubscriptionEvent
from billing.operations.reprocess import ReprocessEvent, process_unasked
from billing.reading import ReadObject, ReadOnce

State = SubscriptionEvent.State


class Command(StatusCommand):
    """Each is read from Stripe again; what a worker reads then closes it. What was done stays done."""

    help = (
        "Process events of Stripe's again: those named, or all that the options narrow to. Exit status 0, or 2 when"
        " some could not be."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Which ones must be said."""
        parser.add_argument("events", nargs="*", metavar="EVENT", help="Stripe's id (evt_…), or our number")
        parser.add_argument("--failed", action="store_true", help="those that failed or were given up")
        parser.add_argument("--type", metavar="T", help="those of one type, such as invoice.paid")
        parser.add_argument(
            "--since", type=moment, metavar="D", help="recorded since: 7d, 12h, or an ISO date"
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would change, change nothing")
        parser.add_argument("--json", action="store_true", help="one JSON object at the end, nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        """Process each, and say what became of it."""
        if problem := stripe_api.configuration_problem():
            raise CommandError(problem)
        told = []
        outcomes: Counter[str] = Counter()
        read = ReadOnce()
        with budget.spending("bulk"):
            for event in self._events(options):
                line = _process(event, read, is_dry=options["dry_run"])
                outcomes[line["outcome"]] += 1
                if options["json"]:
                    told.append(line)
                else:
                    self.stdout.write(
                        f"{line['event']}  {line['type']}  {line['outcome']}: {line['message']}"
                    )
        if options["json"]:
            self.stdout.write(json.dumps({"outcomes": outcomes, "events": told}, indent=2))
        else:
            summary = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
            none = _("No event has failed.") if options["failed"] else _("There is no such event.")
            self.stdout.write(summary or none)
        if outcomes["left out"]:
            sys.exit(FAILED)

    def _events(self, options: dict[str, Any]) -> Iterator[SubscriptionEvent]:
        """One after the other, oldest first; those that come meanwhile are left out."""
        rows = _narrowed(options)
        keys = rows.order_by("pk").values_list("pk", flat=True)
        for key in list(keys):
            yield SubscriptionEvent.objects.select_related("organization").get(pk=key)


def _narrowed(options: dict[str, Any]) -> QuerySet[SubscriptionEvent]:
    named: list[str] = options["events"]
    rows = SubscriptionEvent.objects.filter(source=SubscriptionEvent.Source.STRIPE)
    if not named and not (options["failed"] or options["type"] or options["since"]):
        raise CommandError(_("Name events, or say --failed, --type or --since."))
    if named:
        numbers = [int(each) for each in named if each.isascii() and each.isdigit() and len(each) < 19]
        rows = rows.filter(Q(stripe_event_id__in=named) | Q(pk__in=numbers))
        known = {str(value) for pair in rows.values_list("stripe_event_id", "pk") for value in pair}
        if missing := [each for each in named if each not in known]:
            raise CommandError(_("No such events of Stripe's: %(ids)s.") % {"ids": ", ".join(missing)})
    if options["failed"]:
        rows = rows.filter(state__in=(State.FAILED, State.PARKED))
    if options["type"]:
        rows = rows.filter(type=options["type"])
    if options["since"]:
        rows = rows.filter(created_at__gte=options["since"])
    return rows


def _process(event: SubscriptionEvent, read: ReadObject, *, is_dry: bool) -> dict[str, Any]:
    line = {"event": event.stripe_event_id or str(event.pk), "type": event.type, "state": event.state}
    try:
        if is_dry:
            preview = ReprocessEvent().foreseen(event, int(timezone.now().timestamp()), read)
            return line | {
                "outcome": "would change" if preview.differences.number else "would stay",
                "message": preview.words,
            }
        act = process_unasked(event, _("Asked for on the command line."))
        return line | {"outcome": "processed again", "message": act.message or ""}
    except BillingError as refusal:
        return line | {"outcome": "left out", "message": str(refusal.message)}
