"""How far something is, for whoever watches: a moving bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from typing import IO, Any, Self, cast

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from billing.models import ReconciliationRun
from billing.reconciliation import runs

# Where nobody looks at a bar, a line so often.
LINE_SECONDS = 10


class Bar:
    """A bar on a terminal; elsewhere a line every ten seconds, or nothing where `quiet`. A context manager."""

    def __init__(self, stdout: OutputWrapper, *, quiet: bool = False) -> None:
        self.stdout, self.quiet = stdout, quiet
        self.told = time.monotonic()
        self.progress: Progress | None = None
        if not quiet and stdout.isatty():
            self.progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(file=cast(IO[str], stdout._out)),  # the terminal itself, which rich draws on
                transient=True,
            )
            self.task = self.progress.add_task("", total=None)
        self.words = ""

    def __enter__(self) -> Self:
        if self.progress:
            self.progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self.progress:
            self.progress.stop()

    def at(self, words: str, done: int, total: int | None) -> None:
        """It is at `done` of `total`."""
        if self.progress and words != self.words:
            # A part whose end is not known has a bar of its own: none can be told to forget its total.
            self.progress.remove_task(self.task)
            self.task, self.words = self.progress.add_task(words, total=total), words
        if self.progress:
            self.progress.update(self.task, completed=done, total=total)
        elif not self.quiet and time.monotonic() - self.told >= LINE_SECONDS:
            self.told = time.monotonic()
            self.stdout.write(f"{words}: {done}" + (f" / {total}" if total else ""))


class Watcher(Bar):
    """How far a reconciliation is."""

    def look(self, run: ReconciliationRun) -> None:
        """Show where the run is now."""
        if run.phase == ReconciliationRun.Phase.READING and run.kind == ReconciliationRun.Kind.FULL:
            done, total = self._reading(run)
            self.at(str(run.get_phase_display()), done, total)
        else:
            self.at(str(run.get_phase_display()), run.organizations, None)

    def _reading(self, run: ReconciliationRun) -> Any:
        return (0, None) if self.quiet else runs.progress(run)
