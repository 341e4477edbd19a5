"""What a run looks at, by its kind: everything, what Stripe's events tell of, or one organization."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db.models import Q
from django.utils.translation import ngettext

from billing.models import Discrepancy, ReconciliationRun, SubscriptionEvent
from billing.reconciliation import bookkeeping, breaker, listing, mending
from billing.reconciliation.comparing import Compared, compare_all, compare_some, left_alone
from billing.reconciliation.recording import Recorded
from billing.reconciliation.replay import replay
from billing.sync import is_behind, sync_customer
from organizations.models import Organization

Run = ReconciliationRun
Kind, Phase = Run.Kind, Run.Phase


def _full(run: Run, go_on: Any) -> tuple[Compared, set[str]]:
    run.calls += listing.look_for_unseen(run, go_on)
    go_on()
    _customers, missed_by = catch_up(run, go_on)
    bookkeeping.enter(run, Phase.COMPARING)
    return compare_all(run, go_on), missed_by


def _incremental(run: Run, go_on: Any) -> tuple[Compared, set[str]]:
    customers, missed_by = catch_up(run, go_on)
    bookkeeping.enter(run, Phase.COMPARING)
    keys = (
        set(Organization.objects.filter(stripe_customer_id__in=customers).values_list("pk", flat=True))
        | set(
            Discrepancy.objects.unsettled()
            .filter(organization__isnull=False)
            .values_list("organization_id", flat=True)
        )
        | left_alone()
    )
    return compare_some(run, [key for key in keys if key]), missed_by


def _one(run: Run, go_on: Any) -> tuple[Compared, set[str]]:
    organization = run.organization
    if organization is None:
        return _chosen(run), set()
    if organization.stripe_customer_id:
        run.calls += listing.read_customer(run, organization.stripe_customer_id)
    go_on()
    bookkeeping.enter(run, Phase.COMPARING)
    return compare_some(run, [organization.pk]), set()


def _chosen(run: Run) -> Compared:
    """What a person chose to have mended, as if it had just been compared."""
    rows = Discrepancy.objects.open().filter(last_run=run, organization__isnull=False)
    chosen = list(rows.values_list("type", "organization_id"))
    counts = Counter(type_ for type_, _organization in chosen)
    return Compared(Recorded(counts=counts, differing={key for _type, key in chosen if key}))


LOOKS = {Kind.FULL: _full, Kind.INCREMENTAL: _incremental, Kind.ONE: _one}


def catch_up(run: Run, go_on: Any) -> tuple[set[str], set[str]]:
    """Take in the events that never came, and read what they are about; not where that would change too many.

    Returns the customers whom all events were about, and those of whom one had never come.
    """
    replayed = replay(run, go_on, breaker.allowance(run))
    run.calls += replayed.calls
    run.objects_read += replayed.events
    run.watermark = replayed.watermark
    if replayed.held_back:
        left = ngettext(
            "%(n)d event was never received, and is not taken in yet.",
            "%(n)d events were never received, and are not taken in yet.",
            replayed.held_back,
        )
        bookkeeping.note(run, left % {"n": replayed.held_back})
        # The lists told it already; what only the events tell of is read into the mirror, and nothing of ours follows.
        for key in sorted(replayed.missed_by) if run.kind == Kind.INCREMENTAL else ():
            go_on()
            run.calls += listing.read_customer(run, key)
        return replayed.customers, replayed.missed_by
    if replayed.missing:
        told = ngettext(
            "%(n)d event had never been received; it was taken in.",
            "%(n)d events had never been received; they were taken in.",
            replayed.missing,
        )
        bookkeeping.note(run, told % {"n": replayed.missing})
    # A payment that nobody here had read tells whose it is once it is read; the ledger is told then.
    _read_what_is_behind(replayed.unowned, go_on)
    named = Q(stripe_charge_id__in=replayed.unowned) | Q(stripe_invoice_id__in=replayed.unowned)
    owners = SubscriptionEvent.objects.filter(named, stripe_customer_id__isnull=False).order_by()
    customers = replayed.customers | {str(id_) for id_ in owners.values_list("stripe_customer_id", flat=True)}
    corrected = _read_what_was_missed(run, replayed.missed_by, go_on)
    run.counts = dict(Counter(run.counts) + corrected)
    _read_what_is_behind(customers, go_on)
    return customers, replayed.missed_by


def _read_what_was_missed(run: Run, customers: set[str], go_on: Any) -> Counter[str]:
    """Read them, and tell of each organization what was corrected. Returns how often what was."""
    corrected: Counter[str] = Counter()
    for organization in (
        Organization.objects.filter(stripe_customer_id__in=customers).order_by("pk").iterator()
    ):
        if is_behind(organization.stripe_customer_id or ""):
            go_on()
            corrected += mending.read_missed(run, organization)
    return corrected


def _read_what_is_behind(keys: set[str], go_on: Any) -> None:
    for key in sorted(keys):
        if is_behind(key):
            go_on()
            sync_customer(key)
