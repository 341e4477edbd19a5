"""Mending what may be mended without asking: the customer is read again under its lease, and is then looked at again.

Nothing is changed at Stripe, and nobody's access is taken. A run that would mend too many organizations stops and
asks (billing/reconciliation/breaker.py).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from billing import budget, mirror
from billing.errors import BillingError
from billing.ledger import record_system_event
from billing.mirror import listing as mirrored
from billing.models import CustomerSync, Discrepancy, ReconciliationRun, SubscriptionEvent
from billing.reconciliation import recording
from billing.reconciliation.breaker import to_mend
from billing.reconciliation.checks import CHECKS, COLUMNS, Mending
from billing.reconciliation.comparing import compare_chunk
from billing.reconciliation.facts import Finding
from billing.reconciliation.gathering import busy_among
from billing.stripe_api import path_of
from billing.sync import EVERYTHING, is_behind, request_sync, sync_customer
from billing.threads import in_threads
from organizations.models import Organization

log = logging.getLogger(__name__)

EVENT_TYPE = "reconciliation.corrected"
REFUND_EVENT_TYPE = "reconciliation.refund_found"
ENDED_EVENT_TYPE = "reconciliation.subscription_ended"

# How long to wait for somebody else who reads the same customer.
PATIENCE_SECONDS = 10
CHUNK = 200
# Customers read at the same time; what each waits for is Stripe.
MENDERS = 4


def mend_all(run: ReconciliationRun, go_on: Callable[[], None]) -> int:
    """Mend what may be; returns how many calls to Stripe that took. `go_on` is called after each, and may raise."""
    calls, after = 0, 0
    while keys := list(
        to_mend(run)
        .filter(organization_id__gt=after)
        .order_by("organization_id")
        .values_list("organization_id", flat=True)
        .distinct()[:CHUNK]
    ):
        for used in in_threads(keys, lambda key: _mend_one(run, key), threads=MENDERS):
            go_on()
            calls += used
        after = keys[-1]
    return calls


def _mend_one(run: ReconciliationRun, organization_id: int) -> int:
    try:
        # A thread of its own knows nothing of who asked for it.
        with budget.spending("reconciliation"):
            return mend(run, list(to_mend(run).filter(organization_id=organization_id)))
    except Exception:  # whatever it is, the others are not to wait for it; it stays open and is told again
        log.exception("Mending organization %s broke off", organization_id)
        return 0


def mend(run: ReconciliationRun, rows: Sequence[Discrepancy]) -> int:
    """Mend differences of one organization, and say of each how that went. Returns how many calls that took."""
    organization = Organization.objects.filter(pk=rows[0].organization_id or 0).first() if rows else None
    if organization is None:
        return 0
    for row in rows:
        if CHECKS[row.type].mending is Mending.RECORD:
            _record_refund(run, organization, row)
    to_read = [row for row in rows if CHECKS[row.type].mending in (Mending.READ, Mending.END)]
    if not to_read or organization.stripe_customer_id is None:
        return 0
    if busy_among([organization]):
        return 0
    for row in to_read:
        if CHECKS[row.type].mending is Mending.END:
            _end_subscription(run, organization, row)
    return _read_again(run, organization, to_read)


def _read_again(run: ReconciliationRun, organization: Organization, rows: Sequence[Discrepancy]) -> int:
    customer_id = organization.stripe_customer_id or ""
    before = columns_of(organization)
    # Before anything changes: should this process die, it is known that it was mended, and from what.
    Discrepancy.objects.filter(pk__in=[row.pk for row in rows]).update(undo={"columns": before})
    objects = {row.stripe_object_id for row in rows}
    # Where it is a subscription that our row names wrongly, only everything tells.
    named = {each for each in objects if each == customer_id or path_of(each)} or {EVERYTHING}
    request_sync(customer_id, named)
    problem = read_now(customer_id)
    compare_chunk(run, [organization.pk])
    _tell(run, organization, rows, before, problem)
    return len(named)


def read_missed(run: ReconciliationRun, organization: Organization) -> Counter[str]:
    """Read what events were about that had never been received, and tell what that corrected; how many of each type.

    Raises StripeError.
    """
    customer_id = organization.stripe_customer_id or ""
    before = columns_of(organization)
    known = set(
        Discrepancy.objects.unsettled().filter(organization=organization).values_list("type", flat=True)
    )
    sync_customer(customer_id)
    organization.refresh_from_db()
    after = columns_of(organization)
    if before == after:
        return Counter()
    corrected: Counter[str] = Counter()
    with transaction.atomic():
        changed = {name: value for name, value in before.items() if after[name] != value}
        event = record_system_event(
            EVENT_TYPE,
            organization,
            _("Corrected after events of Stripe's were taken in that had never been received."),
            before=changed,
            after={name: after[name] for name in changed},
            currency=organization.currency or None,
        )
        for type_, names in COLUMNS.items():
            ours = {name: before[name] for name in names if name in changed}
            if not ours or type_ in known:
                continue
            finding = Finding(
                type_,
                organization.stripe_subscription_id or customer_id,
                ours,
                {name: after[name] for name in ours},
                after["amount_overdue"] if type_ == "billing_issue" else after["mrr"],
                organization.currency,
            )
            recording.record_mended(run, organization, finding, event)
            corrected[type_] += 1
    return corrected


def read_now(customer_id: str) -> str:
    """Read what is wanted of a customer now, or wait for whoever does. Returns why that failed, or nothing."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    try:
        while not sync_customer(customer_id) and is_behind(customer_id) and time.monotonic() < give_up:
            time.sleep(0.1)
    except BillingError as error:
        return str(error.message)
    return ""


def columns_of(organization: Organization) -> dict[str, Any]:
    """The columns that follow Stripe, as JSON holds them."""
    fresh = Organization.objects.filter(pk=organization.pk).values(
        *(name for names in COLUMNS.values() for name in names)
    )
    return {
        name: value.isoformat() if hasattr(value, "isoformat") else value
        for name, value in (fresh.first() or {}).items()
    }


def _tell(
    run: ReconciliationRun,
    organization: Organization,
    rows: Iterable[Discrepancy],
    before: dict[str, Any],
    problem: str,
) -> None:
    """Write down what was mended, in one line of the ledger, and what was gone before anybody could mend it."""
    with transaction.atomic():
        after = columns_of(organization)
        changed = {name: value for name, value in before.items() if after.get(name) != value}
        fresh = {
            row.pk: row
            for row in Discrepancy.objects.select_for_update().filter(pk__in=[row.pk for row in rows])
        }
        mended = [row for row in fresh.values() if row.closed_at is not None and row.event_id is None]
        left = [row for row in fresh.values() if row.closed_at is None]
        for row in left:
            Discrepancy.objects.filter(pk=row.pk).update(undo=None, note=problem)
        if not mended:
            return
        held = any(row.type == "paid_but_suspended" for row in mended)
        event = None
        if changed or held:
            event = record_system_event(
                EVENT_TYPE,
                organization,
                _("Corrected after comparing with Stripe: %(what)s.")
                % {"what": ", ".join(str(CHECKS[row.type].label) for row in mended)},
                before=changed,
                after={name: after[name] for name in changed},
                currency=after.get("currency") or None,
                **_by_whom(run),
            )
        how = recording.How.FIXED if event else recording.How.GONE
        Discrepancy.objects.filter(pk__in=[row.pk for row in mended]).update(
            closed_how=how,
            closed_in=run,
            closed_by=run.asked_by if run.is_by_hand else None,
            event=event,
            undo={"columns": changed} if changed else None,
        )


def _by_whom(run: ReconciliationRun) -> dict[str, Any]:
    """The columns that name who chose what is mended; a run that was only started by somebody chose itself."""
    if not run.is_by_hand or run.asked_by is None:
        return {}
    return {"actor": run.asked_by, "actor_label": run.asked_by.get_username()}


def _end_subscription(run: ReconciliationRun, organization: Organization, row: Discrepancy) -> None:
    """Let a subscription count as canceled that Stripe no longer has; the reading that follows makes the columns so."""
    known = mirror.subscription(row.stripe_object_id)
    with transaction.atomic():
        CustomerSync.objects.select_for_update().filter(pk=organization.stripe_customer_id).first()
        if known is not None:
            ended = int(timezone.now().timestamp())
            present = {name: value for name, value in known.items() if name != "deleted"}
            mirrored.write_listed([{**present, "status": "canceled", "ended_at": ended}])
        record_system_event(
            ENDED_EVENT_TYPE,
            organization,
            _("Stripe has this subscription no more; it was decided that it counts as canceled."),
            stripe_subscription_id=row.stripe_object_id,
            previous_status=row.ours,
            status="canceled",
            **_by_whom(run),
        )


def _record_refund(run: ReconciliationRun, organization: Organization, row: Discrepancy) -> None:
    """Tell the ledger of a refund that was made in Stripe's dashboard. Once, whoever else is at it."""
    with transaction.atomic():
        fresh = Discrepancy.objects.select_for_update().filter(pk=row.pk, closed_at__isnull=True).first()
        if fresh is None:
            return
        if SubscriptionEvent.objects.filter(stripe_refund_id=fresh.stripe_object_id).exists():
            recording.close(fresh, recording.How.GONE, run)
            return
        event = record_system_event(
            REFUND_EVENT_TYPE,
            organization,
            _(
                "A refund that was made at Stripe, and that nobody had told us of, was found and written down."
            ),
            stripe_refund_id=fresh.stripe_object_id,
            amount=fresh.amount,
            currency=fresh.currency or None,
            status=fresh.theirs,
            **_by_whom(run),
        )
        recording.close(fresh, recording.How.FIXED, run, event=event)
