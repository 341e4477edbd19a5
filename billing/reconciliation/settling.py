"""What a person decides about differences: mend, accept, ignore for a while. One or many, by whoever may."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.errors import NotPermitted, OperationRefused
from billing.ledger import record_staff_act
from billing.models import Discrepancy, ReconciliationRun
from billing.models.reconciliation import DiscrepancyQuerySet
from billing.reconciliation import recording, runs, telling
from billing.reconciliation.checks import CHECKS
from organizations.models import Organization

PERMISSION = "billing.settle_discrepancy"

ACCEPTED_EVENT_TYPE = "reconciliation.accepted"
IGNORED_EVENT_TYPE = "reconciliation.ignored"


@dataclass(frozen=True)
class Settled:
    """What became of the differences that somebody settled."""

    done: int
    left: int
    """Those that were settled by others meanwhile, or cannot be mended here or now."""
    problems: tuple[str, ...] = ()
    """Why some could not be mended, in sentences, where that is known."""

    def __str__(self) -> str:
        said = ngettext("%(n)d difference was settled.", "%(n)d differences were settled.", self.done) % {
            "n": self.done
        }
        return " ".join(part for part in (said, self.told_of_left) if part)

    @property
    def told_of_left(self) -> str:
        """What is to be said of those that were left; nothing where there are none."""
        if not self.left:
            return ""
        said = ngettext(
            "%(n)d was left as it is: it was settled already, or cannot be mended now.",
            "%(n)d were left as they are: they were settled already, or cannot be mended now.",
            self.left,
        ) % {"n": self.left}
        return " ".join((said, *self.problems))


def accept(rows: Sequence[Discrepancy], *, actor: User, note: str) -> Settled:
    """Take differences for right as they are: they are not told again while they stay so. Raises OperationRefused."""
    _check(actor)
    note = note.strip()
    if not note:
        raise OperationRefused(_("Say why it is right as it is; whoever looks later wants to know."))
    with transaction.atomic():
        taken = _take(rows)
        _of(taken).update(
            closed_at=timezone.now(), closed_how=recording.How.ACCEPTED, closed_by=actor, note=note
        )
        _write_down(
            ACCEPTED_EVENT_TYPE, taken, actor, _("A difference from Stripe was accepted: %(what)s"), note
        )
    return Settled(len(taken), len(rows) - len(taken))


def ignore(rows: Sequence[Discrepancy], *, actor: User, until: datetime.datetime) -> Settled:
    """Do not show differences until a moment (aware), nor mend them by itself. Raises OperationRefused."""
    _check(actor)
    if until <= timezone.now():
        raise OperationRefused(_("Choose a moment that is still to come."))
    with transaction.atomic():
        taken = _take(rows)
        _of(taken).update(ignored_until=until, ignored_by=actor)
        said = _("A difference from Stripe is not shown until %(until)s: %%(what)s") % {
            "until": timezone.localtime(until).date().isoformat()
        }
        _write_down(IGNORED_EVENT_TYPE, taken, actor, said)
    return Settled(len(taken), len(rows) - len(taken))


def mend(rows: Sequence[Discrepancy], *, actor: User) -> Settled:
    """Mend what can be mended here, now, each organization on its own. Calls Stripe. Raises OperationRefused."""
    run = _begin_mending(rows, actor)
    runs.advance(run.pk)
    done = Discrepancy.objects.filter(closed_in=run, pk__in=[row.pk for row in rows]).count()
    left = _of(rows).filter(last_run=run, closed_at__isnull=True).exclude(note="")
    problems = left.order_by().values_list("note", flat=True).distinct()[:3]
    return Settled(done, len(rows) - done, tuple(problems))


def mend_later(rows: Sequence[Discrepancy], *, actor: User) -> ReconciliationRun:
    """The same by the workers; the run that is returned says how far it is. Raises OperationRefused."""
    with transaction.atomic():
        run = _begin_mending(rows, actor)
        runs.queue(run)
    return run


def _begin_mending(rows: Sequence[Discrepancy], actor: User) -> ReconciliationRun:
    """A run that has seen just these, and need not ask whether it may mend so many: a person chose them."""
    _check(actor)
    mendable = [name for name, check in CHECKS.items() if check.mending in telling.MENDED_HERE]
    chosen = _unsettled(rows).filter(organization__isnull=False, type__in=mendable)
    with transaction.atomic():
        run = ReconciliationRun.objects.create(
            kind=ReconciliationRun.Kind.ONE, asked_by=actor, fixes=mendable, agreed_by=actor, agreed_at=Now()
        )
        # Whoever mends what was hidden wants it mended now.
        chosen.update(last_run=run, ignored_until=None)
    return run


def _check(actor: User) -> None:
    if not actor.has_perm(PERMISSION):
        raise NotPermitted(_("You may look at differences, and not settle them. Ask an administrator."))


def _of(rows: Iterable[Discrepancy]) -> DiscrepancyQuerySet:
    return Discrepancy.objects.filter(pk__in=[row.pk for row in rows])


def _unsettled(rows: Iterable[Discrepancy]) -> DiscrepancyQuerySet:
    return _of(rows).unsettled()


def _take(rows: Iterable[Discrepancy]) -> list[Discrepancy]:
    """Those that nobody settled yet, and that nobody else settles until the transaction ends."""
    return list(
        _unsettled(rows).select_related("organization").select_for_update(of=("self",)).order_by("pk")
    )


def _write_down(type_: str, rows: Sequence[Discrepancy], actor: User, said: str, reason: str = "") -> None:
    """A line of the ledger for each organization: what was decided about which differences, by whom and why."""
    whose: dict[Organization | None, list[Discrepancy]] = {}
    for row in rows:
        whose.setdefault(row.organization, []).append(row)
    for organization, theirs in whose.items():
        what = " ".join(f"{CHECKS[row.type].label}: {telling.sentence(row)}" for row in theirs)
        record_staff_act(
            type_,
            actor,
            said % {"what": what},
            organization=organization,
            reason=reason or None,
            after={"discrepancies": [row.pk for row in theirs]},
        )
