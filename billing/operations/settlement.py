"""The second and third step: call Stripe, then settle (docs/decisions/intent-call-settle.md).

Call: no transaction open, each step recorded before it is sent, under a key that is the same at every resend.
Settle: one transaction, only if still pending. Whatever dies in between leaves a pending row, which the sweeper
(`settle_pending`) brings to its truth. It looks first, resends only with the same key and only while the agreement
still stands, and never sends blindly.
"""

from __future__ import annotations

import datetime
import logging
import traceback
from collections.abc import Iterator
from typing import Any, cast

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from billing import budget, stripe_api
from billing.alerts import raise_alert
from billing.errors import (
    OutcomeUnknown,
    StripeBusy,
    StripeError,
    StripeMisconfigured,
    StripeRefused,
    StripeUnreachable,
)
from billing.models import OperationStep, SubscriptionEvent
from billing.operations.base import KEY_LIFETIME, Course, Operation, Step
from billing.stripe_api import StripeObject
from billing.sync import request_sync

log = logging.getLogger(__name__)

State = SubscriptionEvent.State
type AnyOperation = Operation[Any, Any, Any]

# No request to Stripe is under way longer than this: what left no trace by then did not happen.
IN_FLIGHT = datetime.timedelta(minutes=2)

# How often the sweeper asks again while the outcome is unknown, and when it hands the row to a person.
RETRY_SECONDS = (5, 10, 20, 60, 300, 900)
GIVE_UP_AFTER = datetime.timedelta(days=2)


def longest_call(steps: int) -> datetime.timedelta:
    """Longer than this the calling process cannot still be waiting for Stripe; then the sweeper may take over."""
    each = budget.longest_wait() + settings.STRIPE_CONNECT_TIMEOUT + settings.STRIPE_READ_TIMEOUT
    return datetime.timedelta(seconds=max(steps, 1) * each + 15)


def record_step(event: SubscriptionEvent, step: Step, position: int) -> OperationStep:
    """Write a step down before it is sent; whoever recorded it first is right."""
    recorded, _is_new = OperationStep.objects.get_or_create(
        event=event,
        position=position,
        defaults={
            "name": step.name,
            "method": step.method,
            "path": step.path,
            "params": _signed(step, event) if step.signed and step.method == "POST" else step.params,
            "required": step.required,
        },
    )
    # The database puts parameters into an order of its own, and what is sent again under the same key must not differ.
    recorded.refresh_from_db()
    return recorded


def _signed(step: Step, event: SubscriptionEvent) -> dict[str, Any]:
    """The parameters with our mark in the metadata, by which the outcome can be looked up for ever."""
    return {**step.params, "metadata": {**step.params.get("metadata", {}), step.mark: str(event.uuid)}}


# -- call -----------------------------------------------------------------------------------------------


class _TakenOver(Exception):
    """Somebody else carries this operation out now, or has ended it."""


def carry_out(event: SubscriptionEvent, operation: Course, *, resend: bool) -> list[StripeObject]:
    """Send the steps that have no answer yet, and settle. Leaves the row pending while the outcome is unknown."""
    answers: list[StripeObject] = []
    try:
        for step in _steps(event, operation, answers):
            answers.append(_answered(event, step, operation, resend=resend))  # noqa: PERF401  (it is read meanwhile)
        _succeed(event, operation, answers)
    except _TakenOver:
        log.warning("Operation %s was taken over from this process, which leaves it alone", event.uuid)
    except OutcomeUnknown as error:
        _stay_pending(event, operation, error.detail or str(error))
    except StripeError as error:
        if _may_come_later(event, operation, error, resend=resend):
            _stay_pending(event, operation, error.detail or str(error))
        else:
            _fail(event, operation, error)
    except Exception:
        # Whatever this is, Stripe may have done its part; the sweeper finds out, or hands it to a person.
        log.exception("Operation %s broke off; its outcome is looked up later", event.uuid)
        _stay_pending(event, operation, traceback.format_exc().replace("\0", ""))
    return answers


def _may_come_later(event: SubscriptionEvent, operation: Course, error: StripeError, *, resend: bool) -> bool:
    """Whether a failure that is not a refusal leaves something to do: what was begun is brought to its end."""
    if not isinstance(error, StripeUnreachable | StripeBusy | StripeMisconfigured):
        return False
    # On a resend, "could not be reached" and "busy" say nothing about the first try.
    return resend or operation.insists or event.steps.filter(answer__isnull=False).exists()


def _steps(
    event: SubscriptionEvent, operation: Course, answers: list[StripeObject]
) -> Iterator[OperationStep]:
    """The steps, one after the other; one that depends on `answers` is recorded when they are there."""
    recorded = list(event.steps.order_by("position"))
    yield from recorded
    position = len(recorded)
    while (step := operation.following(event, answers)) is not None:
        # A later step may take as long as the first one did.
        ours = SubscriptionEvent.objects.filter(pk=event.pk, claim=event.claim, state=State.PENDING)
        if not ours.update(next_attempt_at=Now() + longest_call(1)):
            raise _TakenOver
        yield record_step(event, step, position)
        position += 1


def _answered(
    event: SubscriptionEvent, step: OperationStep, operation: Course, *, resend: bool
) -> StripeObject:
    """The answer of one step: the one recorded, the one found at Stripe, or that of sending it. Recorded before use."""
    if step.answer is not None:
        return cast(StripeObject, step.answer)
    try:
        answer = _look_first(event, step, operation) if resend else None
        if answer is None:
            answer = _send(step, event)
    except StripeRefused as error:
        found = operation.find_outcome(event, step).answer if resend else None
        if found is not None:
            answer = found  # refused because the first try, still under way then, had done it
        elif step.required or not (error.raw.get("error") or {}).get("type"):
            raise  # what we concluded ourselves is no answer of Stripe's
        else:
            answer = {"refused": str(error.message), **error.raw}
    OperationStep.objects.filter(pk=step.pk, answer__isnull=True).update(
        answer=operation.remember(answer), answered_at=timezone.now()
    )
    return answer


def _send(step: OperationStep, event: SubscriptionEvent) -> StripeObject:
    """One call: recorded as sent, sent, its failure recorded. Raises _TakenOver where it is not ours to send."""

    def record_as_sent() -> None:
        # A process that was thought dead while it waited for its turn must not act on a row that was closed meanwhile.
        ours = OperationStep.objects.filter(pk=step.pk, event__claim=event.claim, event__state=State.PENDING)
        if not ours.update(sent_at=Now()):
            raise _TakenOver

    try:
        return stripe_api.call(
            step.method,
            step.path,
            step.params,
            idempotency_key=step.idempotency_key if step.method == "POST" else None,
            before_sending=record_as_sent,
        )
    except StripeError as error:
        OperationStep.objects.filter(pk=step.pk).update(error={"detail": error.detail, **error.raw})
        raise


def _look_first(event: SubscriptionEvent, step: OperationStep, operation: Course) -> StripeObject | None:
    """What the step did, seen at Stripe; None where it did nothing and may be sent again.

    Raises OutcomeUnknown while it may still be under way, StripeRefused when it did not happen and will not.
    """
    if step.method == "GET":
        return None  # it changes nothing, so it may be sent as often as it takes
    is_fresh = _is_younger(event, min(operation.resend_within, KEY_LIFETIME))
    if step.sent_at is None and step.position > 0 and is_fresh:
        return None  # the process died between two steps; this one was never sent
    trace = operation.find_outcome(event, step)
    if trace.answer is not None:
        return trace.answer
    is_over = _is_stripes_own_failure(step)
    is_cached = is_over and step.method == "POST"  # a DELETE has no key under which its 500 could be kept
    if trace.still_agreed and is_fresh and not is_cached:
        return None
    if not is_over and _may_be_under_way(step):
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


def _is_stripes_own_failure(step: OperationStep) -> bool:
    """Whether Stripe itself answered 500: it is done with it, and says the same to that key for ever.

    A gateway's 502 or 504 tells nothing: behind it Stripe may still be at work.
    """
    error = step.error or {}
    return (error.get("status") or 0) >= 500 and (error.get("error") or {}).get("type") == "api_error"


def _may_be_under_way(step: OperationStep) -> bool:
    return OperationStep.objects.filter(pk=step.pk, sent_at__gt=Now() - IN_FLIGHT).exists()


def _is_younger(event: SubscriptionEvent, age: datetime.timedelta) -> bool:
    return SubscriptionEvent.objects.filter(pk=event.pk, created_at__gt=Now() - age).exists()


# -- settle ---------------------------------------------------------------------------------------------


def _locked_if_pending(event: SubscriptionEvent, *, ours: bool) -> SubscriptionEvent | None:
    """The row, locked, while it is pending; with `ours`, only while nobody took it over from this process."""
    rows = SubscriptionEvent.objects.select_for_update().filter(pk=event.pk, state=State.PENDING)
    return (rows.filter(claim=event.claim) if ours else rows).first()


def _succeed(event: SubscriptionEvent, operation: Course, answers: list[StripeObject]) -> None:
    """What Stripe confirmed is true whoever learned it, so it closes the row even after a takeover."""
    with transaction.atomic():
        pending = _locked_if_pending(event, ours=False)
        if pending is None:
            _check_the_closed(event, operation)
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


def _check_the_closed(event: SubscriptionEvent, operation: Course) -> None:
    """What Stripe has just confirmed must not stand in the ledger as not done without anybody knowing."""
    closed = SubscriptionEvent.objects.select_related("organization").get(pk=event.pk)
    if closed.state == State.FAILED:
        raise_alert(
            "confirmed_late",
            str(event.pk),
            _("Stripe has done “%(what)s” by %(who)s after all, though it was recorded as not done.")
            % {"what": operation.label, "who": closed.actor_label or _("the back office")},
            organization=closed.organization,
            event=closed,
        )


def _fail(event: SubscriptionEvent, operation: Course, error: StripeError) -> None:
    """Close the row as failed; where a part was done before, a person must see it."""
    with transaction.atomic():
        pending = _locked_if_pending(event, ours=True)
        if pending is None:
            return
        done = list(pending.steps.filter(answer__isnull=False).order_by("position"))
        failure = operation.fail(pending, done, error)
        SubscriptionEvent.objects.filter(pk=pending.pk).update(
            state=State.PARKED if failure.needs_a_person else State.FAILED,
            message=failure.message,
            processed_at=timezone.now(),
            next_attempt_at=None,
            error=error.detail,
        )
        if failure.needs_a_person:
            _call_a_person(pending, failure.message)
        if done:
            _ask_for_sync(pending, operation)


def _ask_for_sync(event: SubscriptionEvent, operation: Course) -> None:
    # An operation that told Stripe nothing leaves nothing to read.
    if event.stripe_customer_id and (objects := operation.sync_objects(event)):
        request_sync(event.stripe_customer_id, objects)


def _stay_pending(event: SubscriptionEvent, operation: Course, why: str) -> None:
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
        if is_over:
            _call_a_person(
                pending,
                _("What became of “%(what)s” by %(who)s could not be found out.")
                % {"what": operation.label, "who": pending.actor_label or _("the back office")},
            )


def _call_a_person(event: SubscriptionEvent, message: str) -> None:
    raise_alert("operation_parked", str(event.pk), message, organization=event.organization, event=event)
