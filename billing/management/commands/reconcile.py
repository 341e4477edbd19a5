"""`manage.py reconcile`: compare what Stripe says with what we hold, and mend what is safe."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.translation import gettext as _

from billing.errors import OperationRefused
from billing.management.statuses import FAILED, OTHERWISE, StatusCommand
from billing.management.watching import Watcher
from billing.models import Discrepancy, ReconciliationRun
from billing.reconciliation import runs, telling
from billing.reconciliation.checks import CHECKS
from billing.reconciliation.driving import drive
from organizations.models import Organization

Kind, State = ReconciliationRun.Kind, ReconciliationRun.State


class Command(StatusCommand):
    """Run it as often as you like: what a killed or stopped run has read, the next one does not read again."""

    help = (
        "Compare Stripe with the back office. Exit status 0 when everything was compared and nothing differs, 1 when"
        " something does or somebody must agree, 2 when it did not come to its end."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Everything is compared unless told."""
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--full", action="store_true", help="all organizations (the default)")
        what.add_argument("--incremental", action="store_true", help="what Stripe's events tell of")
        what.add_argument("--organization", metavar="SLUG", help="one organization")
        parser.add_argument("--dry-run", action="store_true", help="record differences, mend nothing")
        parser.add_argument(
            "--fix", nargs="+", metavar="TYPE", choices=sorted(CHECKS), help="mend these only"
        )
        parser.add_argument("--max-changes", type=int, metavar="N", help="stop and ask above so many changes")
        parser.add_argument("--json", action="store_true", help="one JSON object at the end, nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compare, and say how far it is."""
        try:
            run = self._run(options)
            with Watcher(self.stdout, quiet=options["json"]) as watcher:
                run = drive(run, watch=watcher.look)
        except OperationRefused as refusal:
            self.stderr.write(str(refusal))
            sys.exit(FAILED)
        except KeyboardInterrupt:
            self.stderr.write(_("Stopped. Run it again to go on."))
            sys.exit(FAILED)
        rows = list(self._rows(run))
        if options["json"]:
            self.stdout.write(json.dumps(_report(run, rows), indent=2))
        else:
            for row in rows:
                who = row.organization.slug if row.organization else row.stripe_customer_id
                self.stdout.write(f"{who}: {CHECKS[row.type].label}: {telling.sentence(row)}")
            (self.stdout if run.state == State.DONE else self.stderr).write(run.message)
        if run.state not in (State.DONE, State.TRIPPED) or run.errors:
            sys.exit(FAILED)
        if rows:
            sys.exit(OTHERWISE)

    def _run(self, options: dict[str, Any]) -> ReconciliationRun:
        asked = {name: options[name] for name in ("dry_run", "max_changes")} | {"fixes": options["fix"]}
        if slug := options["organization"]:
            organization = Organization.objects.filter(slug=slug).first()
            if organization is None:
                raise CommandError(_("There is no organization “%(slug)s”.") % {"slug": slug})
            return runs.start(Kind.ONE, organization=organization, workers=0, **asked)
        kind = Kind.INCREMENTAL if options["incremental"] else Kind.FULL
        left = runs.resumable(kind)
        if left is not None and all(getattr(left, name) == value for name, value in asked.items()):
            if not options["json"]:
                self.stdout.write(_("Going on with the run of %(at)s.") % {"at": f"{left.started_at:%H:%M}"})
            runs.resume(left, workers=0)
            return left
        return runs.start(kind, workers=0, **asked)

    def _rows(self, run: ReconciliationRun) -> Any:
        rows = Discrepancy.objects.open().select_related("organization").order_by("id")
        if run.kind == Kind.ONE:
            return rows.filter(organization=run.organization)
        return rows.filter(last_run=run) if run.kind == Kind.INCREMENTAL else rows


def _report(run: ReconciliationRun, rows: list[Discrepancy]) -> dict[str, Any]:
    names = ("kind", "state", "dry_run", "message", "calls", "objects_read", "organizations", "differing")
    more = ("left_alone", "errors", "found", "fixed", "gone", "counts")
    return {
        "run": run.pk,
        **{name: getattr(run, name) for name in names + more},
        "differences": [
            {
                "type": row.type,
                "organization": row.organization.slug if row.organization else None,
                "customer": row.stripe_customer_id,
                "object": row.stripe_object_id,
                "ours": row.ours,
                "theirs": row.theirs,
                "amount": row.amount,
                "currency": row.currency,
                "since": row.first_seen_at.isoformat(),
                "sentence": telling.sentence(row),
            }
            for row in rows
        ],
    }
