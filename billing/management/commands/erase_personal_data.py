"""`manage.py erase_personal_data ORGANIZATION`: erase what is personal of one customer."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _

from billing.errors import OperationRefused
from billing.retention import erase_personal_data
from organizations.models import Organization


class Command(BaseCommand):
    """What happened, when and for how much stays; who it was goes."""

    help = (
        "Erase what is personal of one customer: the bodies of its events, names and addresses in the mirror, its name,"
        " e-mail address and notes, also on the lines of the ledger. Cannot be undone. The customer must have been"
        " deleted at Stripe before. Its members are the product's own, and are left alone, as are reasons that staff"
        " wrote."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose, and that it is meant."""
        parser.add_argument("organization", metavar="ORGANIZATION", help="its slug")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, organization: str, yes: bool, **options: Any) -> None:
        """Ask, erase, and say what."""
        found = Organization.objects.filter(slug=organization).first()
        if found is None:
            raise CommandError(_("There is no organization “%(slug)s”.") % {"slug": organization})
        if (
            not yes
            and input(
                _("Erase what is personal of %(name)s for ever? Type its slug: ") % {"name": found.name}
            )
            != found.slug
        ):
            raise CommandError(_("Nothing was erased."))
        try:
            erased = erase_personal_data(found.pk)
        except OperationRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(
            _(
                "Erased: %(payloads)d bodies of events, personal fields of %(objects)d objects of Stripe's, %(labels)d"
                " labels in the ledger, %(notes)d notes. The organization is now “%(name)s”."
            )
            % {**vars(erased), "name": Organization.objects.get(pk=found.pk).name}
        )
