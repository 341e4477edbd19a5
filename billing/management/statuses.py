"""How a command ends, for whoever asks by its exit status: a cron job, a monitor, another program."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from django.core.management.base import BaseCommand, CommandError

OTHERWISE = 1
"""It came to its end, and has something to tell."""
FAILED = 2


class StatusCommand(BaseCommand):
    """A command whose status is a promise: whatever keeps it from its end is 2, where Django would say 1."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the system's checks and the command; a CommandError of either carries status 2."""
        try:
            return super().execute(*args, **options)
        except CommandError as error:
            error.returncode = FAILED
            raise

    def run_from_argv(self, argv: list[str]) -> None:
        """Run for the command line. What nobody foresaw is printed with its traceback."""
        try:
            super().run_from_argv(argv)
        except Exception:  # whatever it is, 1 would tell of differences
            traceback.print_exc()
            sys.exit(FAILED)
