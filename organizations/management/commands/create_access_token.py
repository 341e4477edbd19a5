"""`manage.py create_access_token NAME`: a token for a product that asks `/api/access/`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from organizations.access.tokens import AccessToken, create_token


class Command(BaseCommand):
    """The token goes to the standard output, alone, so that it can be piped to where secrets are kept."""

    help = "Make a token for a product that asks /api/access/. It is printed once and kept nowhere."

    def add_arguments(self, parser: CommandParser) -> None:
        """The name by which the admin lists it."""
        parser.add_argument("name", help="the product or server that will use it")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        """Make it, and print it."""
        name = name.strip()
        longest = AccessToken._meta.get_field("name").max_length or 0
        if not name or len(name) > longest or not name.isprintable():
            raise CommandError(f"A token needs a name, of {longest} characters at most.")
        row, token = create_token(name)
        self.stderr.write(f"The token “{row.name}”, shown this once; the admin lists it and can revoke it.")
        self.stdout.write(token)
