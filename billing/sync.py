"""The one writer: what Stripe says about a customer reaches our rows here, and nowhere else.

Lease first, fetch second, write only while the lease holds (docs/decisions/one-writer.md). So the order in which
webhooks arrive does not matter, an answer read earlier is never written later, and no transaction is open while we
wait for Stripe. It works alike from a worker and from a request that wants to show the new state at once.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from billing import inbox, mirror, waiting
from billing.errors import LeaseLost, ObjectMissing, StripeBusy
from billing.event_log import following
from billing.inbox import EVERYTHING, PROJECTION, Lease, request_sync
from billing.ledger import record_system_event
from billing.models import CustomerSync
from billing.projection import is_paid_up, project
from billing.reading import catalogue_key, is_ownerless, kind_of_catalogue, read_everything, read_object
from billing.refund_news import tell_of_money_back
from billing.stripe_api import StripeObject
from billing.waiting import Answers
from organizations.models import Hold, Organization

__all__ = ["EVERYTHING", "is_behind", "request_sync", "sync_customer"]

log = logging.getLogger(__name__)


# How often a settling is tried again that the database broke off, because two of them waited for each other.
DEADLOCK_TRIES = 3
# So many who buy something are told of it by one statement.
BUYERS_AT_ONCE = 1_000


def sync_customer(customer_id: str) -> bool:
    """Read from Stripe whatever of this customer is due, and write it. Returns False when somebody else is at it.

    The somebody else sees all that was requested before this call, so the caller need not wait or repeat.
    """
    lease = inbox.take_lease(customer_id)
    if lease is None:
        return False
    while lease is not None:
        events = waiting.for_lease(lease)
        try:
            with following(lease.customer_id, events, lease.objects):
                answers = _read(lease)
                _settle_or_fail(lease, answers, events)
        except LeaseLost:
            log.warning("The lease on %s was lost; whoever has it now reads on", customer_id)
            return False
        lease = inbox.due_objects(customer_id, lease.token)
    return True


def is_behind(customer_id: str) -> bool:
    """Whether something of this customer is still to be read."""
    return CustomerSync.objects.filter(pk=customer_id, wanted__gt=F("done")).exists()


def _read(lease: Lease) -> Answers:
    """Fetch each due object, no transaction open. A failure concerns that object only. Raises LeaseLost."""
    answers = Answers()
    for object_id in lease.objects:
        try:
            answers.read[object_id] = _fetch(lease, object_id)
        except ObjectMissing:
            # Deleted at Stripe, or never there; what the mirror knows of it stays.
            answers.read[object_id] = []
            answers.missing.add(object_id)
        except StripeBusy as error:
            for left in lease.objects.keys() - answers.read.keys() - answers.failed.keys():
                answers.fail(left, error)
            break
        except (LeaseLost, OperationalError):
            raise
        except Exception as error:  # also what has not the shape of Stripe's answers
            answers.fail(object_id, error)
    return answers


def _keep(lease: Lease) -> None:
    """Hold the lease for one more call. Raises LeaseLost."""
    if not inbox.renew(lease.customer_id, lease.token):
        raise LeaseLost


def _fetch(lease: Lease, object_id: str) -> list[StripeObject]:
    keep = partial(_keep, lease)
    if object_id == PROJECTION:
        return []
    if object_id == EVERYTHING:
        return read_everything(lease.customer_id, keep)
    return read_object(lease.customer_id, object_id, keep)


def _settle_or_fail(lease: Lease, answers: Answers, events: list[int]) -> None:
    """Settle; what breaks that off for another reason than the database's own is put off like any other failure."""
    try:
        _settle_around_deadlocks(lease, answers, events)
    except (LeaseLost, OperationalError):
        raise
    except Exception as error:
        log.exception("Settling %s failed", lease.customer_id)
        for object_id in list(answers.read):
            answers.fail(object_id, error)
        _settle_around_deadlocks(lease, answers, events)


def _settle_around_deadlocks(lease: Lease, answers: Answers, events: list[int]) -> None:
    """Settle, again where the database broke it off. Raises LeaseLost, and the last OperationalError."""
    settle = _settle_catalogue if kind_of_catalogue(lease.customer_id) else _settle
    for attempt in range(1, DEADLOCK_TRIES + 1):
        try:
            anew = replace(answers, read=dict(answers.read), failed=dict(answers.failed), given_up=set())
            settle(lease, anew, events)
            return
        except OperationalError:
            if attempt == DEADLOCK_TRIES:
                raise
            log.warning("Settling %s was broken off by the database; trying again", lease.customer_id)


def _held(lease: Lease) -> CustomerSync:
    """The row of the inbox, ours until the transaction ends. Raises LeaseLost."""
    held = CustomerSync.objects.select_for_update().filter(
        pk=lease.customer_id, lease_token=lease.token, lease_until__gt=Now()
    )
    row: CustomerSync | None = held.first()
    if row is None:
        raise LeaseLost
    return row


def _settle(lease: Lease, answers: Answers, events: list[int]) -> None:
    """Write what was read, if the lease still holds. Raises LeaseLost where it does not."""
    with transaction.atomic():
        row = _held(lease)
        if is_ownerless(lease.customer_id):
            # Only asked whose it is: the lease that guards it in the mirror is its customer's, who reads it anew.
            _mark(row, lease, answers)
            if not waiting.hand_over(lease.customer_id, answers, events):
                tell_of_money_back(lease.customer_id, answers.read)
            return
        otherwise = _write(lease, answers)
        mirror.forget(answers.missing)
        if PROJECTION in answers.read:
            mirror.renew_catalogue(lease.customer_id)
        tell_of_money_back(lease.customer_id, answers.read)
        if EVERYTHING in answers.read:
            mirror.forget_detached(lease.customer_id, answers.read[EVERYTHING])
        owner = _project_or_fail(lease, answers)
        _mark(row, lease, answers)
        waiting.close(row, answers, events, owner)
        for kind, stripe_id in sorted(otherwise):
            request_sync(catalogue_key(kind, stripe_id), [stripe_id])


def _settle_catalogue(lease: Lease, answers: Answers, events: list[int]) -> None:
    """The same for a product or a price. Whoever buys it is told of it anew. Raises LeaseLost.

    Between two transactions, so that nobody waits for a row of the inbox while holding another; whatever dies there
    leaves the lease to run out, and all of it is done again.
    """
    kind = kind_of_catalogue(lease.customer_id) or ""
    with transaction.atomic():
        _held(lease)
        _write(lease, answers, rules_catalogue=True)
        mirror.forget(answers.missing)
    for object_id in answers.read:
        buyers = mirror.buyers_of(kind, object_id)
        for begin in range(0, len(buyers), BUYERS_AT_ONCE):
            inbox.request_projections(buyers[begin : begin + BUYERS_AT_ONCE])
            _keep(lease)
    with transaction.atomic():
        row = _held(lease)
        _mark(row, lease, answers)
        waiting.close_of_catalogue(row, answers, events)


def _write(lease: Lease, answers: Answers, *, rules_catalogue: bool = False) -> set[tuple[str, str]]:
    """Everything at once, in one order of locks; one by one only to find out which object is the poison.

    Returns what of the catalogue is otherwise here.
    """
    upsert = partial(mirror.upsert, rules_catalogue=rules_catalogue)
    try:
        with transaction.atomic():
            return upsert([each for objects in answers.read.values() for each in objects])
    except OperationalError:
        raise
    except Exception:
        log.exception("Writing %s failed; trying its objects one by one", lease.customer_id)
    otherwise = set()
    for object_id, objects in list(answers.read.items()):
        try:
            with transaction.atomic():
                otherwise |= upsert(objects)
        except OperationalError:
            raise
        except Exception as error:  # a poison object must not delay its neighbours
            answers.fail(object_id, error)
    return otherwise


def _project_or_fail(lease: Lease, answers: Answers) -> Organization | None:
    try:
        with transaction.atomic():
            return _project(lease.customer_id)
    except OperationalError:
        raise
    except Exception as error:
        log.exception("Projecting %s failed", lease.customer_id)
        for object_id in list(answers.read):
            answers.fail(object_id, error)
        return None


def _project(customer_id: str) -> Organization | None:
    """Bring the organization's columns up to what the mirror now says. Returns whose they are, if anybody's."""
    # NO KEY, so that a webhook's row that refers to the organization need not wait for us.
    organization: Organization | None = (
        Organization.objects.select_for_update(no_key=True).filter(stripe_customer_id=customer_id).first()
    )
    customer = mirror.customer(customer_id)
    if organization is None or customer is None:
        return organization
    now = timezone.now()
    columns = project(
        customer,
        mirror.subscriptions_of(customer_id),
        mirror.payment_methods_of(customer_id),
        mirror.open_invoices_of(customer_id),
        now,
        organization.billing_issue_since,
    )
    Organization.objects.filter(pk=organization.pk).update(**columns, synced_at=now)
    if is_paid_up(columns):
        _lift_non_payment(organization)
    return organization


def _lift_non_payment(organization: Organization) -> None:
    """The one hold that lifts by itself: it said that something is owed, and nothing is."""
    now = timezone.now()
    holds = organization.open_holds().filter(kind=Hold.Kind.NON_PAYMENT)
    # One that stopped billing ends, and is lifted once billing is taken up again (operations/ended_holds.py).
    ended = holds.filter(stops_billing=True).update(ends_at=now)
    lifted = holds.filter(stops_billing=False).update(lifted_at=now)
    if ended or lifted:
        record_system_event(
            "hold.lifted",
            organization,
            _("No invoice is overdue any more, so the hold for non-payment was lifted."),
        )


def _mark(row: CustomerSync, lease: Lease, answers: Answers) -> None:
    """Take what was read off the row, unless it was asked for again meanwhile; put off, or give up, what failed."""
    now = timezone.now()
    wanted: dict[str, dict[str, Any]] = row.objects_wanted

    def was_asked_again(object_id: str) -> bool:
        return bool(wanted.get(object_id, {}).get("version") != lease.objects[object_id].get("version"))

    for object_id in answers.read:
        if not was_asked_again(object_id):
            wanted.pop(object_id, None)
    for object_id, (error, _trace) in answers.failed.items():
        row.last_error = f"{object_id}: {error}"
        if was_asked_again(object_id):
            continue  # it is due at once
        state = wanted[object_id]
        if isinstance(error, StripeBusy):
            state["due"] = (
                now + inbox.backoff(1) / 10
            ).isoformat()  # being asked to slow down is nobody's fault
            continue
        state["attempts"] = state.get("attempts", 0) + 1
        if state["attempts"] >= inbox.TRIES:
            del wanted[object_id]
            answers.given_up.add(object_id)
        else:
            state["due"] = (now + inbox.backoff(state["attempts"])).isoformat()
    if not wanted:
        row.done, row.next_attempt_at = row.wanted, None
        if not answers.failed:
            row.last_error = ""
    else:
        row.next_attempt_at = min(
            datetime.fromisoformat(state["due"]) if state.get("due") else now for state in wanted.values()
        )
    if answers.read:
        # By the database's clock, which dates the pages of the reconciliation too.
        row.synced_at = Now()
    row.objects_wanted = wanted
    row.save(update_fields=["objects_wanted", "done", "last_error", "next_attempt_at", "synced_at"])
