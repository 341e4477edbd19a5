"""`manage.py resync`: read organizations from Stripe again, everything of each."""

from __future__ import annotations

import datetime
import sys
import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing import stripe_api
from billing.management.moments import age
from billing.management.statuses import FAILED, OTHERWISE, StatusCommand
from billing.management.watching import Bar
from billing.reconciliation.rereading import Reread, reread
from organizations.models import Organization


class Command(StatusCommand):
    """Some ten calls for each organization; `manage.py reconcile` compares all of them for far fewer."""

    help = (
        "Read everything of organizations from Stripe again, those longest unread first. Exit status 0 when nothing of"
        " theirs was otherwise, 1 when something was corrected, 2 when some could not be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Which ones must be said: there is no default that costs a hundred thousand calls."""
        parser.add_argument("organizations", nargs="*", metavar="ORGANIZATION", help="slugs")
        parser.add_argument("--all", action="store_true", help="every organization with a Stripe customer")
        parser.add_argument("--stale", type=age, metavar="AGE", help="those not read for 7d, 12h, 45m")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read, and say how far it is."""
        slugs, stale = options["organizations"], options["stale"]
        if bool(slugs) + bool(options["all"]) + (stale is not None) != 1:
            raise CommandError(_("Name organizations, or say --all or --stale AGE."))
        if problem := stripe_api.configuration_problem():
            raise CommandError(problem)
        keys = self._keys(slugs, stale)
        began = time.monotonic()
        read: list[Reread] = []
        try:
            with Bar(self.stdout) as bar:
                for each in reread(keys):
                    read.append(each)
                    bar.at(_("Reading from Stripe"), len(read), len(keys))
        except KeyboardInterrupt:
            minutes = int((time.monotonic() - began) // 60) + 1
            self.stderr.write(
                _("Stopped after %(n)d. To go on with the others: manage.py resync --stale %(minutes)dm")
                % {"n": len(read), "minutes": minutes}
            )
            sys.exit(FAILED)
        self._say(read)

    def _keys(self, slugs: list[str], stale: datetime.timedelta | None) -> list[int]:
        rows = Organization.objects.exclude(stripe_customer_id=None)
        if slugs:
            rows = rows.filter(slug__in=slugs)
            missing = set(slugs) - set(rows.values_list("slug", flat=True))
            if missing:
                raise CommandError(
                    _("No organization with a Stripe customer: %(slugs)s.")
                    % {"slugs": ", ".join(sorted(missing))}
                )
        if stale is not None:
            rows = rows.filter(Q(synced_at=None) | Q(synced_at__lt=timezone.now() - stale))
        return list(rows.order_by(F("synced_at").asc(nulls_first=True), "pk").values_list("pk", flat=True))

    def _say(self, read: list[Reread]) -> None:
        corrected = [each for each in read if each.corrected]
        failed = [each for each in read if each.problem]
        for each in corrected:
            self.stdout.write(
                f"{each.slug}: " + _("corrected: %(what)s") % {"what": ", ".join(each.corrected)}
            )
        for each in failed:
            self.stderr.write(f"{each.slug}: {each.problem}")
        self.stdout.write(
            ngettext("%(n)d organization was read", "%(n)d organizations were read", len(read) - len(failed))
            % {"n": len(read) - len(failed)}
            + ", "
            + ngettext("%(n)d of them was corrected.", "%(n)d of them were corrected.", len(corrected))
            % {"n": len(corrected)}
        )
        if failed:
            sys.exit(FAILED)
        if corrected:
            sys.exit(OTHERWISE)
