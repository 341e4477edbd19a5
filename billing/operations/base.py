"""The three steps of every operation that changes Stripe: intent, call, settle (docs/decisions/intent-call-settle.md).

Intent: one transaction that checks everything and writes down what will be asked of Stripe. Call: no transaction
open, each step recorded before it is sent, under a key that is the same at every resend. Settle: one transaction,
only if still pending. Whatever dies in between leaves a pending row, which the sweeper (`settle_pending`) brings to
its truth. It never sends blindly and never sends twice with another key.
"""

from __future__ import annotations

import datetime
import logging
from dataclasses import dataclass, field
from typing import Any, ClassVar

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
from billing.sync import request_sync, sync_customer
from organizations.models import Organization

log = logging.getLogger(__name__)

State = SubscriptionEvent.State

# Stripe may forget a key after 24 hours, and then the same key acts again. An hour of margin, by the database's clock.
KEY_LIFETIME = datetime.timedelta(hours=23)

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


class Operation:
    """A staff operation. A subclass says what it checks and asks of Stripe; the steps around that are common."""

    type: ClassVar[str]
    """The name in the ledger and in the registry."""
    changes_subscription: ClassVar[bool] = False

    def prepare(self, organization: Organization) -> Intent:
        """Check everything against our rows, the organization's row locked. Raises OperationRefused."""
        raise NotImplementedError

    @staticmethod
    def settle(event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """What to record now that every step has its answer."""
        raise NotImplementedError

    @staticmethod
    def find_outcome(event: SubscriptionEvent, step: OperationStep) -> StripeObject | None:
        """What the step led to at Stripe, looked up there; None when it certainly had no effect."""
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

    Raises OperationRefused or StripeMisconfigured when nothing was attempted, so that nothing is in the ledger.
    """
    problem = stripe_api.configuration_problem()
    if problem:
        raise StripeMisconfigured(problem)
    event = _write_intent(operation, organization, actor=actor, reason=reason, ticket=ticket)
    carry_out(event, type(operation), resend=False)
    event.refresh_from_db()
    if event.state == State.DONE and event.stripe_customer_id:
        _show_at_once(event.stripe_customer_id)
    return event


def _write_intent(
    operation: Operation, organization: Organization, *, actor: User, reason: str, ticket: str
) -> SubscriptionEvent:
    """Lock, check, write down. The unique index refuses a second pending change of the same subscription."""
    try:
        with transaction.atomic():
            locked = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
            intent = operation.prepare(locked)
            event = SubscriptionEvent.objects.create(
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
                changes_subscription=operation.changes_subscription,
                before=intent.before,
                plan=intent.plan,
                next_attempt_at=timezone.now() + _longest_call(len(intent.steps)),
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
        if "one_pending_change_per_subscription" not in str(error):
            raise
        raise OperationRefused(_somebody_else(operation, organization)) from error
    return event


def _somebody_else(operation: Operation, organization: Organization) -> str:
    other = SubscriptionEvent.objects.filter(
        organization=organization, state=State.PENDING, changes_subscription=True
    ).first()
    if other is None:
        return _(
            "Another change of this subscription has just been made. Look at the new state and try again."
        )
    return _(
        "A change of this subscription by %(who)s is in progress (“%(reason)s”). Nothing was changed; wait for it."
    ) % {"who": other.actor_label, "reason": other.reason}


def _signed(params: dict[str, Any], event: SubscriptionEvent) -> dict[str, Any]:
    """The parameters with our mark in the metadata, by which the outcome can be looked up for ever."""
    return {**params, "metadata": {**params.get("metadata", {}), "operation": str(event.uuid)}}


def _longest_call(steps: int) -> datetime.timedelta:
    """Longer than this the calling process cannot still be waiting for Stripe; then the sweeper may take over."""
    each = settings.STRIPE_CONNECT_TIMEOUT + settings.STRIPE_READ_TIMEOUT
    return datetime.timedelta(seconds=steps * each + 15)


def carry_out(event: SubscriptionEvent, operation: type[Operation], *, resend: bool) -> None:
    """Send the steps that have no answer yet, and settle. Leaves the row pending when the outcome is unknown."""
    answers: list[StripeObject] = []
    for step in event.steps.order_by("position"):
        if step.answer is not None:
            answers.append(step.answer)
            continue
        try:
            answer = _send(event, step, operation, resend=resend)
        except OutcomeUnknown as error:
            _stay_pending(event, error)
            return
        except StripeError as error:
            # On a resend, "could not be reached" and "busy" say nothing about the first try.
            if resend and not isinstance(error, StripeRefused):
                _stay_pending(event, error)
            else:
                _fail(event, error)
            return
        answers.append(answer)
    _succeed(event, operation, answers)


def _send(
    event: SubscriptionEvent, step: OperationStep, operation: type[Operation], *, resend: bool
) -> StripeObject:
    """One step: recorded as sent, sent, its answer recorded. Looked up instead where its key may be forgotten."""
    if resend and _key_may_be_forgotten(event):
        answer = _look_up(event, step, operation)
    else:
        OperationStep.objects.filter(pk=step.pk).update(sent_at=timezone.now())
        try:
            answer = stripe_api.call(
                step.method,
                step.path,
                step.params,
                idempotency_key=step.idempotency_key if step.method == "POST" else None,
            )
        except StripeError as error:
            OperationStep.objects.filter(pk=step.pk).update(error={"detail": error.detail, **error.raw})
            # Stripe keeps answering its first 500 to the same key; what it did is there to be seen.
            if event.attempts < 2 or (error.raw.get("status") or 0) < 500:
                raise
            answer = _look_up(event, step, operation)
    OperationStep.objects.filter(pk=step.pk).update(answer=answer, answered_at=timezone.now())
    return answer


def _look_up(event: SubscriptionEvent, step: OperationStep, operation: type[Operation]) -> StripeObject:
    """What the step did, seen at Stripe. Raises StripeRefused when it certainly did nothing."""
    answer = operation.find_outcome(event, step)
    if answer is None:
        raise StripeRefused(
            _("Stripe could not do it. Nothing was changed there; try again."),
            "looked up: no trace of the operation",
        )
    return answer


def _key_may_be_forgotten(event: SubscriptionEvent) -> bool:
    return SubscriptionEvent.objects.filter(pk=event.pk, created_at__lt=Now() - KEY_LIFETIME).exists()


def _locked_if_pending(event: SubscriptionEvent) -> SubscriptionEvent | None:
    return SubscriptionEvent.objects.select_for_update().filter(pk=event.pk, state=State.PENDING).first()


def _succeed(event: SubscriptionEvent, operation: type[Operation], answers: list[StripeObject]) -> None:
    with transaction.atomic():
        pending = _locked_if_pending(event)
        if pending is None:
            return  # the sweeper, or the process it stood in for, was faster
        settlement = operation.settle(pending, answers)
        now = timezone.now()
        SubscriptionEvent.objects.filter(pk=pending.pk).update(
            state=State.DONE,
            message=settlement.message,
            after=settlement.after,
            processed_at=now,
            next_attempt_at=None,
            error="",
            **settlement.columns,
        )
        if pending.stripe_customer_id:
            request_sync(pending.stripe_customer_id, operation.sync_objects(pending))


def _fail(event: SubscriptionEvent, error: StripeError) -> None:
    with transaction.atomic():
        pending = _locked_if_pending(event)
        if pending is None:
            return
        SubscriptionEvent.objects.filter(pk=pending.pk).update(
            state=State.FAILED,
            message=str(error.message),
            processed_at=timezone.now(),
            next_attempt_at=None,
            error=error.detail,
        )


def _stay_pending(event: SubscriptionEvent, error: StripeError) -> None:
    """Keep the row for the sweeper, which asks soon at first and then less and less often."""
    with transaction.atomic():
        pending = _locked_if_pending(event)
        if pending is None:
            return
        pending.attempts += 1
        delay = RETRY_SECONDS[min(pending.attempts, len(RETRY_SECONDS)) - 1]
        pending.error = error.detail or str(error.message)
        pending.next_attempt_at = timezone.now() + datetime.timedelta(seconds=delay)
        if timezone.now() - pending.created_at > GIVE_UP_AFTER:
            pending.state, pending.next_attempt_at = State.PARKED, None
        pending.save(update_fields=["state", "attempts", "error", "next_attempt_at"])


def _show_at_once(customer_id: str) -> None:
    """Read the new state now, so that the next page shows it; when that fails, the worker does it soon."""
    try:
        sync_customer(customer_id)
    except Exception:
        log.exception("Reading %s right after an operation failed; the worker will do it", customer_id)
