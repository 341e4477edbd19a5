"""`manage.py fill_demo`: the demo's database, from its sandbox Stripe and with people in it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from adminops.demo.filling import NotADemo, fill
from billing.errors import StripeError


class Command(BaseCommand):
    """Used by `make demo`. Refuses everything but a sandbox on this machine."""

    help = "Fill the demo's database: customers and events from the sandbox Stripe, staff, members, holds, trouble."

    def handle(self, *args: Any, **options: Any) -> None:
        """Fill, or say that it is done already."""
        try:
            filled = fill(self.stdout.write)
        except NotADemo as refusal:
            raise CommandError(str(refusal)) from refusal
        except StripeError as error:
            raise CommandError(f"{error} ({error.detail})") from error
        self.stdout.write(
            "The demo is filled." if filled else "The demo is filled already; nothing was changed."
        )
