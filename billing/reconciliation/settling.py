"""What a person decides about differences: mend, accept, ignore for a while. One or many, by whoever may."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing import mirror
from billing.errors import NotPermitted, OperationRefused
from billing.ledger import record_system_event
from billing.mirror import listing as mirrored
from billing.models import CustomerSync, Discrepancy, ReconciliationRun
from billing.models.reconciliation import DiscrepancyQuerySet
from billing.reconciliation import mending, recording, runs
from billing.reconciliation.checks import CHECKS, Mending
from billing.reconciliation.gathering import busy_among
from organizations.models import Organization

PERMISSION = "billing.settle_discrepancy"


@dataclass(frozen=True)
class Settled:
    """What became of the differences that somebody settled."""

    done: int
    left: int
    """Those that were settled by others meanwhile, or cannot be mended here or now."""

    def __str__(self) -> str:
        said = ngettext("%(n)d difference was settled.", "%(n)d differences were settled.", self.done) % {
            "n": self.done
        }
        if self.left:
            said += " " + ngettext(
                "%(n)d was left as it is: it was settled already, or cannot be mended now.",
                "%(n)d were left as they are: they were settled already, or cannot be mended now.",
                self.left,
            ) % {"n": self.left}
        return said


def accept(rows: Sequence[Discrepancy], *, actor: User, note: str) -> Settled:
    """Take differences for right as they are: they are not told again while they stay so. Raises OperationRefused."""
    _check(actor)
    if not note.strip():
        raise OperationRefused(_("Say why it is right as it is; whoever looks later wants to know."))
    done = _unsettled(rows).update(
        closed_at=timezone.now(),
        closed_how=recording.How.ACCEPTED,
        closed_by=actor,
        note=note.strip(),
    )
    return Settled(done, len(rows) - done)


def ignore(rows: Sequence[Discrepancy], *, actor: User, until: datetime.datetime) -> Settled:
    """Do not show differences until a moment (aware), nor mend them by itself. Raises OperationRefused."""
    _check(actor)
    if until <= timezone.now():
        raise OperationRefused(_("Choose a moment that is still to come."))
    done = _unsettled(rows).update(ignored_until=until, ignored_by=actor)
    return Settled(done, len(rows) - done)


def mend(rows: Sequence[Discrepancy], *, actor: User) -> Settled:
    """Mend what can be mended here, each organization on its own. Calls Stripe. Raises OperationRefused."""
    _check(actor)
    run = ReconciliationRun.objects.create(
        kind=ReconciliationRun.Kind.ONE,
        state=ReconciliationRun.State.DONE,
        asked_by=actor,
        message=_("Differences were mended by hand."),
        finished_at=timezone.now(),
    )
    by_organization: dict[int, list[Discrepancy]] = {}
    for row in _unsettled(rows).filter(organization__isnull=False):
        if CHECKS[row.type].mending in (Mending.READ, Mending.RECORD, Mending.END):
            by_organization.setdefault(row.organization_id or 0, []).append(row)
    organizations = Organization.objects.in_bulk(by_organization)
    for key in organizations.keys() - busy_among(organizations.values()):
        theirs = by_organization[key]
        for row in theirs:
            if CHECKS[row.type].mending is Mending.END:
                _end_subscription(organizations[key], row, actor)
        run.calls += mending.mend(run, theirs)
    Discrepancy.objects.filter(closed_in=run).update(closed_by=actor)
    runs.save(run)
    done = Discrepancy.objects.filter(closed_in=run, pk__in=[row.pk for row in rows]).count()
    return Settled(done, len(rows) - done)


def _check(actor: User) -> None:
    if not actor.has_perm(PERMISSION):
        raise NotPermitted(_("You may look at differences, and not settle them. Ask an administrator."))


def _unsettled(rows: Iterable[Discrepancy]) -> DiscrepancyQuerySet:
    return Discrepancy.objects.unsettled().filter(pk__in=[row.pk for row in rows])


def _end_subscription(organization: Organization, row: Discrepancy, actor: User) -> None:
    """Let a subscription count as canceled that Stripe no longer has; the reading that follows makes the columns so."""
    known = mirror.subscription(row.stripe_object_id)
    with transaction.atomic():
        CustomerSync.objects.select_for_update().filter(pk=organization.stripe_customer_id).first()
        if known is not None:
            ended = int(timezone.now().timestamp())
            present = {name: value for name, value in known.items() if name != "deleted"}
            mirrored.write_listed([{**present, "status": "canceled", "ended_at": ended}])
        record_system_event(
            "reconciliation.subscription_ended",
            organization,
            _("Stripe has this subscription no more; it was decided that it counts as canceled."),
            stripe_subscription_id=row.stripe_object_id,
            previous_status=row.ours,
            status="canceled",
            actor=actor,
            actor_label=actor.get_username(),
        )
