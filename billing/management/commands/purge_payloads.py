"""`manage.py purge_payloads`: delete the bodies of old events of Stripe's."""

from __future__ import annotations

import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.retention import purge_payloads


class Command(BaseCommand):
    """A job does the same each night. Run it as often as you like; killed half way, the next run goes on."""

    help = (
        "Delete the bodies of events that are older than PAYLOAD_RETENTION_DAYS. What the ledger says of the events"
        " stays, and the ledger says what was deleted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """How old."""
        parser.add_argument("--older-than", type=int, metavar="DAYS", default=settings.PAYLOAD_RETENTION_DAYS)

    def handle(self, *args: Any, older_than: int, **options: Any) -> None:
        """Delete, and say how many."""
        if older_than < 30:
            raise CommandError(
                _("Bodies are kept for 30 days at least: until then events may have to be read again.")
            )
        number = purge_payloads(timezone.now() - datetime.timedelta(days=older_than))
        self.stdout.write(
            ngettext("%(n)d body was deleted.", "%(n)d bodies were deleted.", number) % {"n": number}
        )
