"""A run from its start to its end, by as many processes as there are; each may die at any line.

`advance` does whatever of a run is to be done and nobody else does: a slice to read, then the comparison, then the
mending. It is what the task does, and the command. A run whose workers died is taken up by `queue_lost`.
"""

from __future__ import annotations

import datetime
import logging
import time
import traceback
from collections import Counter
from collections.abc import Sequence

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Q, Sum
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob

from billing import budget, stripe_api
from billing.errors import LeaseLost, OperationRefused, StripeError, StripeMisconfigured, StripeRefused
from billing.ledger import record_staff_act
from billing.mirror import listing as mirrored
from billing.models import Discrepancy, ReconciliationRun
from billing.reconciliation import bookkeeping, breaker, listing, mending
from billing.reconciliation.checks import CHECKS
from billing.reconciliation.comparing import Compared, look_again
from billing.reconciliation.listing import RunFailed
from billing.reconciliation.looking import LOOKS, catch_up
from organizations.models import Organization

log = logging.getLogger(__name__)

Run = ReconciliationRun
State, Kind, Phase = Run.State, Run.Kind, Run.Phase

TASK = "billing.tasks.advance_reconciliation"
QUEUE = "reconciliation"
# Behind everything else that a worker may have to do.
PRIORITY = -20

AGREED_EVENT_TYPE = "reconciliation.agreed"

# How often whoever waits for the catalogue looks whether it was read.
CATALOGUE_GLANCE_SECONDS = 0.2

# What was stopped, or killed, may be taken up again so long; later its pages are too old.
RESUMABLE = datetime.timedelta(hours=6)
# A run that has not ended by then never will.
GIVEN_UP = datetime.timedelta(days=1)


# -- starting, stopping ---------------------------------------------------------------------------------------


def start(
    kind: str,
    *,
    organization: Organization | None = None,
    actor: User | None = None,
    dry_run: bool = False,
    fixes: Sequence[str] | None = None,
    max_changes: int | None = None,
    workers: int | None = None,
) -> Run:
    """Start a run, and queue tasks for it: `workers` of them, as many as the settings say unless told, none for 0.

    Raises OperationRefused where such a run is going on already, or Stripe cannot be called at all.
    """
    problem = stripe_api.configuration_problem()
    if problem:
        raise OperationRefused(problem)
    unknown = set(fixes or ()) - CHECKS.keys()
    if unknown:
        raise OperationRefused(_("There is no check of this name: %(name)s.") % {"name": min(unknown)})
    try:
        with transaction.atomic():
            run = Run.objects.create(
                kind=kind,
                organization=organization,
                asked_by=actor,
                dry_run=dry_run,
                fixes=None if fixes is None else list(fixes),
                max_changes=max_changes,
            )
            run.refresh_from_db()
            if kind == Kind.FULL:
                listing.plan_slices(run)
            queue(run, _usual_workers(kind) if workers is None else workers)
    except IntegrityError as error:
        raise OperationRefused(_("Such a reconciliation is running already. Nothing was started.")) from error
    return run


def _usual_workers(kind: str) -> int:
    return int(settings.RECONCILE_WORKERS) if kind == Kind.FULL else 1


def queue(run: Run, workers: int = 1) -> None:
    """Queue tasks that carry a run on. Commits with the caller's transaction."""
    task = app.configure_task(TASK, allow_unknown=True, queue=QUEUE, priority=PRIORITY)
    for _number in range(workers):
        task.defer(run_id=run.pk)


def stop(run: Run, actor: User | None = None) -> bool:
    """Stop a run after the page, or the organization, that is in hand. It can be taken up again. Whether it ran."""
    return bookkeeping.end(
        run, State.STOPPED, _("Stopped before its end; what was found until then stays."), stopped_by=actor
    )


def resumable(kind: str = Kind.FULL) -> Run | None:
    """The run of a kind that was stopped, or whose process died, and that may be taken up again."""
    newest = Run.objects.filter(kind=kind).order_by("-id").first()
    if newest is None or newest.started_at < timezone.now() - RESUMABLE:
        return None
    return newest if newest.state in (State.RUNNING, State.STOPPED) else None


def resume(run: Run, workers: int = 1) -> None:
    """Take up a run that was stopped where it was left. Raises OperationRefused where another runs."""
    try:
        with transaction.atomic():
            Run.objects.filter(pk=run.pk, state=State.STOPPED).update(
                state=State.RUNNING, finished_at=None, message="", stopped_by=None
            )
            queue(run, workers)
    except IntegrityError as error:
        raise OperationRefused(_("Such a reconciliation is running already. Nothing was started.")) from error
    run.refresh_from_db()


def agree(run: Run, actor: User | None = None, workers: int = 1) -> None:
    """Let a run go on that stopped and asked: its differences are mended. Raises OperationRefused where it did not."""
    if breaker.waiting() != run:
        raise OperationRefused(_("This reconciliation waits for nobody any more. Nothing was changed."))
    try:
        with transaction.atomic():
            agreed = Run.objects.filter(pk=run.pk, state=State.TRIPPED).update(
                state=State.RUNNING, finished_at=None, message="", agreed_by=actor, agreed_at=Now()
            )
            if not agreed:
                raise OperationRefused(
                    _("This reconciliation waits for nobody any more. Nothing was changed.")
                )
            if actor is not None:
                message = _("Let a reconciliation go on that had stopped and asked. %(why)s")
                record_staff_act(
                    AGREED_EVENT_TYPE, actor, message % {"why": run.message}, after={"run": run.pk}
                )
            queue(run, workers)
    except IntegrityError as error:
        raise OperationRefused(_("Another reconciliation is running. Agree once it has ended.")) from error
    run.refresh_from_db()


def queue_lost() -> int:
    """Queue a task for each run that should go on and that nobody is at. Returns for how many."""
    lost = 0
    for run in Run.objects.filter(state=State.RUNNING):
        if timezone.now() - run.started_at > GIVEN_UP:
            bookkeeping.end(run, State.FAILED, _("It did not come to its end within a day. Start it again."))
            continue
        is_at_it = Q(lease_until__gt=Now())
        if Run.objects.filter(is_at_it, pk=run.pk).exists() or run.slices.filter(is_at_it).exists():
            continue
        queued = ProcrastinateJob.objects.filter(
            task_name=TASK, status__in=("todo", "doing"), args__run_id=run.pk
        )
        waits = run.slices.filter(done_at__isnull=True)
        if queued.exists() or (waits.exists() and not waits.filter(due_at__lte=Now()).exists()):
            continue
        queue(run, _usual_workers(run.kind))
        lost += 1
    return lost


# -- carrying on ----------------------------------------------------------------------------------------------


def advance(run_id: int) -> None:
    """Do what there is to do of a run, until it ends or others do the rest. May run many times, at the same time."""
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        return
    with budget.spending("reconciliation"):
        try:
            while listing.is_running(run):
                if piece := listing.claim_slice(run):
                    listing.read_slice(run, piece)
                elif listing.is_catalogue_in_hand(run):
                    # Nothing else may begin before it; whoever went now would leave all of it to one.
                    time.sleep(CATALOGUE_GLANCE_SECONDS)
                else:
                    break
            if run.slices.filter(done_at__isnull=True).exists() or not bookkeeping.take_lease(run):
                return
            _carry_through(run)
        except bookkeeping.Stopped:
            bookkeeping.save(run)
            bookkeeping.let_go(run)
        except LeaseLost:
            log.warning("Run %s was taken over; whoever has it now carries it on", run.pk)
        except RunFailed as failure:
            bookkeeping.save(run)
            bookkeeping.end(run, State.FAILED, str(failure))
        except StripeError as error:
            bookkeeping.save(run)
            _give_way(run, error)
        except Exception:
            log.exception("Run %s broke off", run.pk)
            bookkeeping.note(run, traceback.format_exc(limit=-3).replace("\0", ""))
            bookkeeping.end(
                run,
                State.FAILED,
                _("Something went wrong on our side; the log has more. Nothing was mended by half."),
            )


def _give_way(run: Run, error: StripeError) -> None:
    """Leave the run to `queue_lost`, unless Stripe refuses, or has not answered for hours."""
    is_over = timezone.now() - run.started_at > RESUMABLE
    if is_over or isinstance(error, StripeMisconfigured | StripeRefused):
        bookkeeping.end(
            run, State.FAILED, f"{error.message} ({error.detail})" if error.detail else str(error.message)
        )
        return
    bookkeeping.note(run, str(error.message))
    bookkeeping.let_go(run)


def _carry_through(run: Run) -> None:
    """Everything after the reading, by one process at a time. Raises Stopped, LeaseLost, StripeError, RunFailed."""
    run.refresh_from_db()

    def go_on() -> None:
        bookkeeping.renew(run)

    if run.agreed_at is None or run.phase != Phase.MENDING:
        pages = run.slices.aggregate(pages=Sum("pages"), read=Sum("objects_read"), changed=Sum("changed"))
        run.calls, run.objects_read = pages["pages"] or 0, pages["read"] or 0
        run.counts = {}
        compared, missed_by = LOOKS[Kind(run.kind)](run, go_on)
        look_again(run, compared, go_on)
        _take_over(run, compared)
        bookkeeping.enter(run, Phase.MENDING)
        if (why := breaker.too_many(run, missed_by)) is not None:
            bookkeeping.save(run)
            bookkeeping.end(run, State.TRIPPED, why)
            return
    elif breaker.holds_events_back(run):
        # It had left them alone until somebody agreed.
        catch_up(run, go_on)
    try:
        run.calls += mending.mend_all(run, go_on)
    finally:
        bookkeeping.save(run)
    bookkeeping.end(run, State.DONE, _summary(run))


def _take_over(run: Run, compared: Compared) -> None:
    run.organizations, run.left_alone = compared.organizations, len(compared.busy)
    run.errors, run.differing = len(compared.broken), len(compared.recorded.differing)
    # What was corrected on the way, because its events had been lost, is counted already.
    run.counts = dict(Counter(run.counts) + compared.recorded.counts)
    for key, why in list(compared.broken.items())[:20]:
        bookkeeping.note(
            run, _("Organization %(key)d could not be compared: %(why)s") % {"key": key, "why": why}
        )


def _summary(run: Run) -> str:
    open_ones = Discrepancy.objects.open().filter(last_run=run).count()
    if run.is_by_hand:
        mended, left = run.fixed + run.gone, open_ones
        said = ngettext("%(n)d difference was mended.", "%(n)d differences were mended.", mended)
        more = ngettext("%(n)d could not be mended.", "%(n)d could not be mended.", left)
        return " ".join([said % {"n": mended}, *([more % {"n": left}] if left else [])])
    other = breaker.waits_for(run)
    waits = _("Nothing was mended, because the reconciliation of %(when)s waits for somebody to agree.")
    return " ".join(
        (
            ngettext(
                "%(n)d organization was compared.", "%(n)d organizations were compared.", run.organizations
            )
            % {"n": run.organizations},
            ngettext("%(n)d difference is open", "%(n)d differences are open", open_ones) % {"n": open_ones}
            + ", "
            + ngettext("%(n)d was mended.", "%(n)d were mended.", run.fixed) % {"n": run.fixed},
            *([waits % {"when": timezone.localtime(other.started_at).strftime("%H:%M")}] if other else []),
        )
    )


# -- how far it is -------------------------------------------------------------------------------------------


def progress(run: Run) -> tuple[int, int]:
    """How many objects were read, and about how many there are: what the mirror has, at least what was read."""
    read = run.slices.aggregate(n=Sum("objects_read"))["n"] or 0
    return read, max(read, sum(mirrored.mirrored_counts().values()))


def calls_so_far(run: Run) -> int:
    """How many pages of Stripe's lists were asked for by now."""
    return run.slices.aggregate(n=Sum("pages"))["n"] or 0
