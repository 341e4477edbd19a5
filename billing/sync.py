"""The one writer: what Stripe says about a customer reaches our rows here, and nowhere else.

Lease first, fetch second, write only while the lease holds (docs/decisions/one-writer.md). So the order in which
webhooks arrive does not matter, an answer read earlier is never written later, and no transaction is open while we
wait for Stripe. It works alike from a worker and from a request that wants to show the new state at once.
"""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from django.db import OperationalError, transaction
from django.db.models import F, Max, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from billing import inbox, mirror
from billing.errors import LeaseLost, ObjectMissing, StripeBusy, StripeError
from billing.event_log import following
from billing.inbox import EVERYTHING, Lease, request_sync
from billing.ledger import record_system_event
from billing.models import CustomerSync, SubscriptionEvent
from billing.projection import is_paid_up, project
from billing.reading import is_charge, read_everything, read_object
from billing.refund_news import look_for_excess, tell_of_failed_refunds
from billing.stripe_api import StripeObject
from organizations.models import Hold, Organization

__all__ = ["EVERYTHING", "is_behind", "request_sync", "sync_customer"]

log = logging.getLogger(__name__)


@dataclass
class _Answers:
    """What a round of reading brought: per wanted object its Stripe objects, or the failure."""

    read: dict[str, list[StripeObject]] = field(default_factory=dict)
    failed: dict[str, tuple[Exception, str]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    """Those of `read` that Stripe does not know."""

    def fail(self, object_id: str, error: Exception) -> None:
        """Keep the failure of one object, with its traceback."""
        self.read.pop(object_id, None)
        self.failed[object_id] = (error, traceback.format_exc().replace("\0", ""))


# How often a settling is tried again that the database broke off, because two of them waited for each other.
DEADLOCK_TRIES = 3


def sync_customer(customer_id: str) -> bool:
    """Read from Stripe whatever of this customer is due, and write it. Returns False when somebody else is at it.

    The somebody else sees all that was requested before this call, so the caller need not wait or repeat.
    """
    lease = inbox.take_lease(customer_id)
    if lease is None:
        return False
    while lease is not None:
        waiting = _waiting_events(lease)
        try:
            with following(lease.customer_id, waiting, lease.objects):
                answers = _read(lease)
                _settle_around_deadlocks(lease, answers, waiting)
        except LeaseLost:
            log.warning("The lease on %s was lost; whoever has it now reads on", customer_id)
            return False
        lease = inbox.due_objects(customer_id, lease.token)
    return True


def is_behind(customer_id: str) -> bool:
    """Whether something of this customer is still to be read."""
    return CustomerSync.objects.filter(pk=customer_id, wanted__gt=F("done")).exists()


def _waiting_events(lease: Lease) -> list[int]:
    """The webhooks that stood in the ledger before the first call of this round, so that it can answer them."""
    # A failed one waits for its next try; only a parked one has given up.
    events = SubscriptionEvent.objects.filter(
        state__in=(SubscriptionEvent.State.PENDING, SubscriptionEvent.State.FAILED),
        source=SubscriptionEvent.Source.STRIPE,
    )
    if is_charge(lease.customer_id):
        events = events.filter(stripe_charge_id=lease.customer_id, stripe_customer_id__isnull=True)
    else:
        events = events.filter(stripe_customer_id=lease.customer_id)
    return list(events.order_by("id").values_list("id", flat=True))


def _read(lease: Lease) -> _Answers:
    """Fetch each due object, no transaction open. A failure concerns that object only. Raises LeaseLost."""
    answers = _Answers()
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
        except StripeError as error:
            answers.fail(object_id, error)
    return answers


def _keep(lease: Lease) -> None:
    """Hold the lease for one more call. Raises LeaseLost."""
    if not inbox.renew(lease.customer_id, lease.token):
        raise LeaseLost


def _fetch(lease: Lease, object_id: str) -> list[StripeObject]:
    keep = partial(_keep, lease)
    if object_id == EVERYTHING:
        return read_everything(lease.customer_id, keep)
    return read_object(lease.customer_id, object_id, keep)


def _settle_around_deadlocks(lease: Lease, answers: _Answers, waiting: list[int]) -> None:
    """Settle, again where the database broke it off. Raises LeaseLost, and the last OperationalError."""
    for attempt in range(1, DEADLOCK_TRIES + 1):
        try:
            _settle(lease, replace(answers, read=dict(answers.read), failed=dict(answers.failed)), waiting)
            return
        except OperationalError:
            if attempt == DEADLOCK_TRIES:
                raise
            log.warning("Settling %s was broken off by the database; trying again", lease.customer_id)


def _settle(lease: Lease, answers: _Answers, waiting: list[int]) -> None:
    """Write what was read, if the lease still holds. Raises LeaseLost where it does not."""
    with transaction.atomic():
        row = (
            CustomerSync.objects.select_for_update()
            .filter(pk=lease.customer_id, lease_token=lease.token, lease_until__gt=Now())
            .first()
        )
        if row is None:
            raise LeaseLost
        _write(lease, answers)
        tell_of_failed_refunds(lease.customer_id, answers.read)
        look_for_excess(answers.read)
        if EVERYTHING in answers.read:
            mirror.forget_detached(lease.customer_id, answers.read[EVERYTHING])
        if is_charge(lease.customer_id):
            _mark(row, lease, answers)
            _hand_over(answers, waiting)
        else:
            owner = _project_or_fail(lease, answers)
            _mark(row, lease, answers)
            _close_events(row, answers, waiting, owner)


def _write(lease: Lease, answers: _Answers) -> None:
    """Everything at once, in one order of locks; one by one only to find out which object is the poison."""
    try:
        with transaction.atomic():
            mirror.upsert([each for objects in answers.read.values() for each in objects])
        return
    except OperationalError:
        raise
    except Exception:
        log.exception("Writing %s failed; trying its objects one by one", lease.customer_id)
    for object_id, objects in list(answers.read.items()):
        try:
            with transaction.atomic():
                mirror.upsert(objects)
        except OperationalError:
            raise
        except Exception as error:  # a poison object must not delay its neighbours
            answers.fail(object_id, error)


def _project_or_fail(lease: Lease, answers: _Answers) -> Organization | None:
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


def _hand_over(answers: _Answers, waiting: list[int]) -> None:
    """A refund or dispute of a charge we had never seen: now its customer is known, who takes the events over."""
    events = SubscriptionEvent.objects.filter(id__in=waiting)
    charge = next((o for objects in answers.read.values() for o in objects if o["object"] == "charge"), None)
    if charge is None:
        if answers.failed:
            _fail_events(events, next(iter(answers.failed.values())))
        else:
            _ignore_events(events, _("Stripe knows no such charge."))
        return
    if not charge.get("customer"):
        _ignore_events(events, _("This charge belongs to no customer."))
        return
    organization = Organization.objects.filter(stripe_customer_id=charge["customer"]).first()
    objects = {
        charge["id"],
        *(id_ for ids in events.values_list("objects_to_read", flat=True) for id_ in ids or ()),
    }
    request_sync(charge["customer"], objects)
    events.update(
        stripe_customer_id=charge["customer"],
        organization=organization,
        organization_label=organization.name if organization else None,
    )


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


def _close_events(
    row: CustomerSync, answers: _Answers, waiting: list[int], owner: Organization | None
) -> None:
    """Close each webhook of which everything was read since it came, and put off those of which something failed."""
    events = SubscriptionEvent.objects.filter(id__in=waiting)
    left = list(row.objects_wanted)
    failed = events.filter(objects_to_read__overlap=list(answers.failed))
    for object_id, why in answers.failed.items():
        if isinstance(why[0], StripeBusy):
            continue  # being asked to slow down is nobody's fault
        _fail_events(failed.filter(objects_to_read__contains=[object_id]), why)
    closing = events.exclude(objects_to_read__overlap=left) if left else events
    if owner is None:
        _ignore_events(closing, _("No organization here has this Stripe customer."))
        return
    unknown = closing.filter(stripe_object_id__in=list(answers.missing))
    _ignore_events(unknown, _("Stripe knows no such object, or not any more."))
    closing.exclude(stripe_object_id__in=list(answers.missing)).update(
        state=SubscriptionEvent.State.DONE, **_closed()
    )


def _closed() -> dict[str, Any]:
    return {
        "processed_at": timezone.now(),
        "attempts": F("attempts") + 1,
        "error": "",
        "traceback": "",
        "next_attempt_at": None,
    }


def _ignore_events(events: QuerySet[SubscriptionEvent], why: str) -> None:
    events.update(state=SubscriptionEvent.State.IGNORED, **_closed() | {"error": why})


def _fail_events(events: QuerySet[SubscriptionEvent], why: tuple[Exception, str]) -> None:
    error, trace = why
    most = events.aggregate(most=Max("attempts"))["most"] or 0
    events.update(
        state=SubscriptionEvent.State.FAILED,
        attempts=F("attempts") + 1,
        error=str(error),
        traceback=trace,
        next_attempt_at=timezone.now() + inbox.backoff(most + 1),
    )


def _mark(row: CustomerSync, lease: Lease, answers: _Answers) -> None:
    """Take what was read off the row, unless it was asked for again meanwhile, and put off what failed."""
    now = timezone.now()
    wanted: dict[str, dict[str, Any]] = row.objects_wanted
    for object_id in answers.read:
        if wanted.get(object_id, {}).get("version") == lease.objects[object_id].get("version"):
            wanted.pop(object_id, None)
    for object_id, (error, _trace) in answers.failed.items():
        state = wanted.setdefault(object_id, {"version": row.wanted})
        if isinstance(error, StripeBusy):
            delay = inbox.backoff(1) / 10  # a request to slow down is no fault of the object's
        else:
            state["attempts"] = state.get("attempts", 0) + 1
            delay = inbox.backoff(state["attempts"])
        state["due"] = (now + delay).isoformat()
        row.last_error = f"{object_id}: {error}"
    if not wanted:
        row.done, row.last_error, row.next_attempt_at = row.wanted, "", None
    else:
        row.next_attempt_at = min(
            (state.get("due") or now.isoformat() for state in wanted.values()), default=None
        )
    if answers.read:
        # By the database's clock, which dates the pages of the reconciliation too.
        row.synced_at = Now()
    row.objects_wanted = wanted
    row.save(update_fields=["objects_wanted", "done", "last_error", "next_attempt_at", "synced_at"])
