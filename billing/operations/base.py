"""The three steps of every operation that changes Stripe: intent, call, settle (docs/decisions/intent-call-settle.md).

Intent: one transaction that checks everything and writes down what will be asked of Stripe. Call: no transaction
open, each step recorded before it is sent, under a key that is the same at every resend. Settle: one transaction,
only if still pending. Whatever dies in between leaves a pending row, which the sweeper (`settle_pending`) brings to
its truth. It looks first, resends only with the same key and only while the agreement still stands, and never sends
blindly.
"""

from __future__ import annotations

import datetime
import logging
import time
import traceback
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from billing import stripe_api
from billing.errors import (
    OperationRefused,
    OutcomeUnknown,
    StripeError,
    StripeMisconfigured,
    StripeRefused,
)
from billing.models import OperationStep, SubscriptionEvent
from billing.stripe_api import StripeObject
from billing.sync import is_behind, request_sync, sync_customer
from organizations.models import Organization

log = logging.getLogger(__name__)

State = SubscriptionEvent.State

# Stripe may forget a key after 24 hours, and then the same key acts again. An hour of margin, by the database's clock.
KEY_LIFETIME = datetime.timedelta(hours=23)
# No request to Stripe is under way longer than this: what left no trace by then did not happen.
IN_FLIGHT = datetime.timedelta(minutes=2)

# How often the sweeper asks again while the outcome is unknown, and when it hands the row to a person.
RETRY_SECONDS = (5, 10, 20, 60, 300, 900)
GIVE_UP_AFTER = datetime.timedelta(days=2)


@dataclass(frozen=True)
class Step:
    """One call to Stripe: a key belongs to one step, a step to one endpoint."""

    name: str
    method: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Intent:
    """What an operation decided to do, checked, before Stripe hears of it."""

    lock_key: str
    """What nobody else may change meanwhile."""
    steps: tuple[Step, ...]
    before: dict[str, Any]
    plan: dict[str, Any]
    columns: dict[str, Any] = field(default_factory=dict)
    """Further evidence for the ledger: ids, amounts, quantities."""


@dataclass(frozen=True)
class Settlement:
    """How an operation ended well, for the ledger and for the person."""

    message: str
    after: dict[str, Any]
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trace:
    """What was found at Stripe of a step whose answer we do not have."""

    answer: StripeObject | None
    """What the step led to; None where there is no trace of it."""
    still_agreed: bool
    """Whether everything is as it was when the person agreed, so that the step may still be done."""


class Operation:
    """A staff operation. A subclass says what it checks and asks of Stripe; the steps around that are common."""

    type: ClassVar[str]
    """The name in the ledger and in the registry."""
    resend_within: ClassVar[datetime.timedelta] = KEY_LIFETIME
    """How long after the intent a step may be sent again, `KEY_LIFETIME` at most."""

    uuid: UUID
    """The id of the ledger row: an operation that is performed again under the same id is the same operation."""

    def __init__(self, id_: UUID | None = None) -> None:
        self.uuid = id_ or uuid4()

    def prepare(self, organization: Organization) -> Intent:
        """Check everything against our rows, the organization's row locked. Raises OperationRefused."""
        raise NotImplementedError

    @staticmethod
    def settle(event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """What to record now that every step has its answer."""
        raise NotImplementedError

    @staticmethod
    def find_outcome(event: SubscriptionEvent, step: OperationStep) -> Trace:
        """Look at Stripe for what the step led to. Raises StripeError where that cannot be told now."""
        raise NotImplementedError

    @staticmethod
    def sync_objects(event: SubscriptionEvent) -> list[str]:
        """What is to be read from Stripe again once the operation settled."""
        return [event.stripe_subscription_id] if event.stripe_subscription_id else []


def perform(
    operation: Operation,
    organization: Organization,
    *,
    actor: User,
    reason: str,
    ticket: str = "",
) -> SubscriptionEvent:
    """Do a staff operation: intent, call, settle. Returns its ledger row: done, failed, or pending while unknown.

    Performed again under the same id (a second click), it returns the first one's row and does nothing.
    Raises OperationRefused or StripeMisconfigured when nothing was attempted, so that nothing is in the ledger.
    """
    problem = stripe_api.configuration_problem()
    if problem:
        raise StripeMisconfigured(problem)
    event, is_new = _write_intent(operation, organization, actor=actor, reason=reason, ticket=ticket)
    if is_new:
        carry_out(event, type(operation), resend=False)
        event.refresh_from_db()
        if event.state == State.DONE and event.stripe_customer_id:
            _show_at_once(event.stripe_customer_id)
    return event


def performed(id_: UUID) -> SubscriptionEvent | None:
    """The row of an operation that was performed under this id already."""
    return SubscriptionEvent.objects.filter(uuid=id_).first()


def _write_intent(
    operation: Operation, organization: Organization, *, actor: User, reason: str, ticket: str
) -> tuple[SubscriptionEvent, bool]:
    """Lock, check, write down; returns the row, and whether it is new. Unique indexes refuse a second one."""
    try:
        with transaction.atomic():
            locked = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
            intent = operation.prepare(locked)
            event = SubscriptionEvent.objects.create(
                uuid=operation.uuid,
                source=SubscriptionEvent.Source.STAFF,
                type=operation.type,
                organization=locked,
                organization_label=locked.name,
                actor=actor,
                actor_label=actor.get_username(),
                reason=reason,
                ticket=ticket or None,
                stripe_customer_id=locked.stripe_customer_id,
                livemode=settings.STRIPE_LIVE_MODE,
                occurred_at=timezone.now(),
                lock_key=intent.lock_key,
                before=intent.before,
                plan=intent.plan,
                next_attempt_at=Now() + longest_call(len(intent.steps)),
                **intent.columns,
            )
            OperationStep.objects.bulk_create(
                OperationStep(
                    event=event,
                    position=position,
                    name=step.name,
                    method=step.method,
                    path=step.path,
                    params=_signed(step.params, event) if step.method == "POST" else step.params,
                )
                for position, step in enumerate(intent.steps)
            )
    except IntegrityError as error:
        first = performed(operation.uuid)
        if first is not None:
            return first, False
        if "one_pending_change_at_a_time" not in str(error):
            raise
        raise OperationRefused(
            in_progress(intent.lock_key)
            or _(
                "Another change of this subscription has just been made. Look at the new state and try again."
            )
        ) from error
    return event, True


def in_progress(lock_key: str) -> str | None:
    """Whose change holds this lock, in a sentence for whoever wants to make another; None where nobody's does."""
    other = SubscriptionEvent.objects.filter(lock_key=lock_key, state=State.PENDING).first()
    if other is None:
        return None
    return _(
        "A change of this subscription by %(who)s is in progress (“%(reason)s”). Nothing was changed; wait for it."
    ) % {"who": other.actor_label, "reason": other.reason}


def _signed(params: dict[str, Any], event: SubscriptionEvent) -> dict[str, Any]:
    """The parameters with our mark in the metadata, by which the outcome can be looked up for ever."""
    return {**params, "metadata": {**params.get("metadata", {}), "operation": str(event.uuid)}}


def longest_call(steps: int) -> datetime.timedelta:
    """Longer than this the calling process cannot still be waiting for Stripe; then the sweeper may take over."""
    each = settings.STRIPE_CONNECT_TIMEOUT + settings.STRIPE_READ_TIMEOUT
    return datetime.timedelta(seconds=steps * each + 15)


def carry_out(event: SubscriptionEvent, operation: type[Operation], *, resend: bool) -> None:
    """Send the steps that have no answer yet, and settle. Leaves the row pending while the outcome is unknown."""
    try:
        answers = [
            _answered(event, step, operation, resend=resend) for step in event.steps.order_by("position")
        ]
        _succeed(event, operation, answers)
    except OutcomeUnknown as error:
        _stay_pending(event, error.detail or str(error))
    except StripeError as error:
        # On a resend, "could not be reached" and "busy" say nothing about the first try.
        if resend and not isinstance(error, StripeRefused):
            _stay_pending(event, error.detail or str(error))
        else:
            _fail(event, error)
    except Exception:
        # Whatever this is, Stripe may have done its part; the sweeper finds out, or hands it to a person.
        log.exception("Operation %s broke off; its outcome is looked up later", event.uuid)
        _stay_pending(event, traceback.format_exc().replace("\0", ""))


def _answered(
    event: SubscriptionEvent, step: OperationStep, operation: type[Operation], *, resend: bool
) -> StripeObject:
    """The answer of one step: the one recorded, the one found at Stripe, or that of sending it. Recorded before use."""
    if step.answer is not None:
        return cast(StripeObject, step.answer)
    answer = _look_first(event, step, operation) if resend else None
    if answer is None:
        answer = _send(step)
    OperationStep.objects.filter(pk=step.pk, answer__isnull=True).update(
        answer=answer, answered_at=timezone.now()
    )
    return answer


def _send(step: OperationStep) -> StripeObject:
    """One call: recorded as sent, sent, its failure recorded."""
    OperationStep.objects.filter(pk=step.pk).update(sent_at=timezone.now())
    try:
        return stripe_api.call(
            step.method,
            step.path,
            step.params,
            idempotency_key=step.idempotency_key if step.method == "POST" else None,
        )
    except StripeError as error:
        OperationStep.objects.filter(pk=step.pk).update(error={"detail": error.detail, **error.raw})
        raise


def _look_first(
    event: SubscriptionEvent, step: OperationStep, operation: type[Operation]
) -> StripeObject | None:
    """What the step did, seen at Stripe; None where it did nothing and may be sent again.

    Raises OutcomeUnknown while it may still be under way, StripeRefused when it did not happen and will not.
    """
    if step.sent_at is None and step.position > 0:
        return None  # the process died between two steps; this one was never sent
    trace = operation.find_outcome(event, step)
    if trace.answer is not None:
        return trace.answer
    status = (step.error or {}).get("status")
    # Stripe answers its first 500 to the same key for ever, so after one resend there is nothing to gain.
    is_cached_failure = (status or 0) >= 500 and event.attempts > 1
    may_resend = step.method == "POST" and trace.still_agreed and not is_cached_failure
    if may_resend and _is_younger(event, min(operation.resend_within, KEY_LIFETIME)):
        return None
    if status is None and _is_younger(event, IN_FLIGHT):
        raise OutcomeUnknown(_("It may still be under way at Stripe."))
    if not trace.still_agreed:
        raise StripeRefused(
            _(
                "It never reached Stripe, and things changed there meanwhile, so it was not done. Look and try again."
            ),
            "looked up: no trace of the operation, and the subscription changed since",
        )
    raise StripeRefused(
        _("Stripe did not do it, and nothing was changed there. Try again."),
        "looked up: no trace of the operation",
    )


def _is_younger(event: SubscriptionEvent, age: datetime.timedelta) -> bool:
    return SubscriptionEvent.objects.filter(pk=event.pk, created_at__gt=Now() - age).exists()


def _locked_if_pending(event: SubscriptionEvent, *, ours: bool) -> SubscriptionEvent | None:
    """The row, locked, while it is pending; with `ours`, only while nobody took it over from this process."""
    rows = SubscriptionEvent.objects.select_for_update().filter(pk=event.pk, state=State.PENDING)
    return (rows.filter(claim=event.claim) if ours else rows).first()


def _succeed(event: SubscriptionEvent, operation: type[Operation], answers: list[StripeObject]) -> None:
    """What Stripe confirmed is true whoever learned it, so it closes the row even after a takeover."""
    with transaction.atomic():
        pending = _locked_if_pending(event, ours=False)
        if pending is None:
            return  # the sweeper, or the process it stood in for, was faster
        settlement = operation.settle(pending, answers)
        SubscriptionEvent.objects.filter(pk=pending.pk).update(
            state=State.DONE,
            message=settlement.message,
            after=settlement.after,
            processed_at=timezone.now(),
            next_attempt_at=None,
            error="",
            **settlement.columns,
        )
        _ask_for_sync(pending, operation)


def _fail(event: SubscriptionEvent, error: StripeError) -> None:
    """Close the row as failed; where a part was done before, a person must see it."""
    with transaction.atomic():
        pending = _locked_if_pending(event, ours=True)
        if pending is None:
            return
        done = list(pending.steps.filter(answer__isnull=False).values_list("name", flat=True))
        message = str(error.message)
        if done:
            message = _("Only a part was done at Stripe (%(done)s); the rest was not: %(why)s") % {
                "done": ", ".join(done),
                "why": message,
            }
        SubscriptionEvent.objects.filter(pk=pending.pk).update(
            state=State.PARKED if done else State.FAILED,
            message=message,
            processed_at=timezone.now(),
            next_attempt_at=None,
            error=error.detail,
        )
        if done:
            request_sync(pending.stripe_customer_id or "")


def _ask_for_sync(event: SubscriptionEvent, operation: type[Operation]) -> None:
    if event.stripe_customer_id:
        request_sync(event.stripe_customer_id, operation.sync_objects(event))


def _stay_pending(event: SubscriptionEvent, why: str) -> None:
    """Keep the row for the sweeper, which asks soon at first and then less and less often, and a person at last."""
    with transaction.atomic():
        pending = _locked_if_pending(event, ours=True)
        if pending is None:
            return
        attempts = pending.attempts + 1
        delay = datetime.timedelta(seconds=RETRY_SECONDS[min(attempts, len(RETRY_SECONDS)) - 1])
        is_over = not _is_younger(pending, GIVE_UP_AFTER)
        SubscriptionEvent.objects.filter(pk=pending.pk).update(
            attempts=attempts,
            error=why,
            state=State.PARKED if is_over else State.PENDING,
            next_attempt_at=None if is_over else Now() + delay,
        )


def _show_at_once(customer_id: str) -> None:
    """Read the new state now, so that the next page shows it; a worker that is at it already is waited for.

    When that fails, or takes long, the worker does it soon.
    """
    patience = time.monotonic() + 2
    try:
        while not sync_customer(customer_id) and is_behind(customer_id) and time.monotonic() < patience:
            time.sleep(0.1)
    except Exception:
        log.exception("Reading %s right after an operation failed; the worker will do it", customer_id)
