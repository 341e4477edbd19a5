"""The first of the three steps: the intent (docs/decisions/intent-call-settle.md).

What the person agreed to is held against the present, everything is checked once more with the organization locked,
and what will be asked of Stripe is written down, in one transaction. `billing.operations.settlement` does the rest.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Max
from django.db.models.functions import Now
from django.utils import formats, timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from billing import stripe_api
from billing.errors import DoneMeanwhile, NotPermitted, OperationRefused, PreviewOutdated, StripeMisconfigured
from billing.models import SubscriptionEvent
from billing.one_look import read_once, remember
from billing.operations.base import Agreement, Choices, Course, Intent, Subject
from billing.operations.settlement import AnyOperation, carry_out, longest_call, record_step
from billing.stripe_api import StripeObject
from billing.sync import is_behind, sync_customer
from organizations.models import Organization

log = logging.getLogger(__name__)

State = SubscriptionEvent.State


@dataclass(frozen=True)
class Performed:
    """An operation that was attempted."""

    event: SubscriptionEvent
    """Its ledger row: done, failed, or pending while the outcome is unknown."""
    answers: list[StripeObject] = field(default_factory=list)
    """Stripe's answers with what the ledger does not keep; empty unless this very call got them."""


@dataclass(frozen=True)
class Terms:
    """That a person agreed to something for many at once, without seeing the preview of each."""

    uuid: UUID
    hold: Callable[[Any], None]
    """Given the preview of now, raises OperationRefused where that is not what was agreed to."""


def agree(
    operation: AnyOperation, subject: Subject, choices: Choices, at: int | None = None
) -> tuple[Any, Agreement]:
    """A preview of now (or of `at`, unix seconds), and the agreement to it that `perform` wants."""
    at = int(timezone.now().timestamp()) if at is None else at
    preview = operation.preview(subject, choices, at)
    return preview, Agreement(at=at, digest=preview.digest)


def perform(
    operation: AnyOperation,
    subject: Subject,
    *,
    choices: Choices,
    agreed: Agreement | Terms,
    actor: User,
    reason: str = "",
    ticket: str = "",
) -> Performed:
    """Do exactly what was agreed to: intent, call, settle.

    Performed again under the same id (a second click), it returns the first one's row and does nothing.
    Raises PreviewOutdated when the agreement is older than `PREVIEW_MAX_AGE_SECONDS` or something else would happen
    now; NotPermitted, OperationRefused and StripeError when nothing was attempted, so that nothing is in the ledger.
    """
    first = performed(agreed.uuid)
    if first is not None:
        return Performed(first)
    if not operation.permits(actor, subject):
        raise NotPermitted(_("You may not do this. Nothing was changed."), operation.permission)
    problem = stripe_api.configuration_problem() if operation.calls_stripe else None
    if problem:
        raise StripeMisconfigured(problem)
    try:
        event, is_new = _intend(
            operation, subject, choices, agreed, actor=actor, reason=reason, ticket=ticket
        )
    except (PreviewOutdated, DoneMeanwhile):
        # Outdated by its own first click, perhaps, which was a moment faster.
        first = performed(agreed.uuid)
        if first is None:
            raise
        return Performed(first)
    if not is_new:
        return Performed(event)
    answers = carry_out(event, operation, resend=False)
    event.refresh_from_db()
    # Where many are done, nobody looks at one just now: a worker reads it soon.
    is_watched = operation.shows_at_once and isinstance(agreed, Agreement)
    if is_watched and event.state == State.DONE and event.stripe_customer_id:
        _show_at_once(event.stripe_customer_id)
    return Performed(event, answers)


def performed(id_: UUID) -> SubscriptionEvent | None:
    """The row of an operation that was performed under this id already."""
    return SubscriptionEvent.objects.filter(uuid=id_).first()


# -- intent ---------------------------------------------------------------------------------------------


def _intend(
    operation: AnyOperation,
    subject: Subject,
    choices: Choices,
    agreed: Agreement | Terms,
    *,
    actor: User,
    reason: str,
    ticket: str,
) -> tuple[SubscriptionEvent, bool]:
    """Hold the agreement against the present, then lock, check, write down; returns the row, and whether it is new."""
    lock_key = operation.lock_key(subject, choices)
    newest_seen = newest_under(lock_key)
    # Counted among the newest already, but not done: what we are about to see would not be what is there in the end.
    held = in_progress(lock_key)
    if held:
        raise PreviewOutdated(held)
    preview = _as_agreed(operation, subject, choices, agreed, lock_key, actor)
    try:
        with transaction.atomic():
            subject, organization = _locked(subject)
            if newest_under(lock_key) > newest_seen:
                if held := in_progress(lock_key):
                    raise PreviewOutdated(held)
                refuse_after(SubscriptionEvent.objects.filter(lock_key=lock_key).latest("pk"), actor, choices)
            intent = operation.prepare(subject, choices, preview, actor)
            event = record_intent(
                operation,
                organization,
                intent,
                lock_key=lock_key,
                uuid=agreed.uuid,
                actor=actor,
                reason=reason or None,
                ticket=ticket or None,
                plan={**preview.to_dict(), "choices": choices.to_dict(), **intent.plan},
            )
            operation.take_effect(event)
    except IntegrityError as error:
        first = performed(agreed.uuid)
        if first is not None:
            return first, False
        if "one_pending_change_at_a_time" not in str(error):
            raise
        raise OperationRefused(
            in_progress(lock_key)
            or _("Another change has just been made. Look at the new state and try again.")
        ) from error
    return event, True


def _as_agreed(
    operation: AnyOperation,
    subject: Subject,
    choices: Choices,
    agreed: Agreement | Terms,
    lock_key: str,
    actor: User,
) -> Any:
    """The present preview, which is what was agreed to.

    Raises PreviewOutdated; DoneMeanwhile where it is outdated by what somebody did here; what `Terms.hold` raises.
    """
    if isinstance(agreed, Terms):
        preview = operation.preview(subject, choices, int(timezone.now().timestamp()))
        agreed.hold(preview)
        return preview
    if timezone.now().timestamp() - agreed.at > settings.PREVIEW_MAX_AGE_SECONDS:
        raise PreviewOutdated(
            _("These figures are more than ten minutes old. Nothing was changed; here are new ones.")
        )
    try:
        preview = operation.preview(subject, choices, agreed.at)
    except OperationRefused as refusal:
        refuse_after(_act_since(lock_key, agreed.at), actor, choices)
        raise PreviewOutdated(refusal.message) from refusal
    if preview.digest != agreed.digest:
        refuse_after(_act_since(lock_key, agreed.at), actor, choices)
        raise PreviewOutdated(
            _("Something changed since this was shown. Nothing was changed by you; here it is anew.")
        )
    return preview


def _act_since(lock_key: str, since: int) -> SubscriptionEvent | None:
    """The newest of our own acts under a lock that tells what it did, since a preview was made."""
    shown_at = datetime.datetime.fromtimestamp(since, datetime.UTC)
    acts = SubscriptionEvent.objects.filter(lock_key=lock_key, created_at__gte=shown_at)
    return acts.exclude(message=None).exclude(message="").order_by("-id").first()


def refuse_after(act: SubscriptionEvent | None, actor: User, choices: Choices) -> None:
    """Say what was done since a preview was made, if anything. Raises DoneMeanwhile."""
    if act is None:
        return
    if act.actor_id != actor.pk:
        raise DoneMeanwhile(_whose_change(act))
    # In another tab, perhaps.
    said = (
        _("You did this already at %(time)s: %(what)s Nothing was changed now.")
        if (act.plan or {}).get("choices") == choices.to_dict()
        else _("You changed this at %(time)s, after it was shown here: %(what)s Nothing was changed now.")
    )
    raise DoneMeanwhile(said % {"time": _time_of(act), "what": act.message})


def _whose_change(act: SubscriptionEvent) -> str:
    """What a colleague did since a preview was made."""
    said = _("Here %(who)s was faster: %(what)s") % {
        "who": act.actor_label or _("the back office itself"),
        "what": act.message or capfirst(_attempted(act)) + ".",
    }
    if act.reason:
        said += " " + _("The reason given: “%(reason)s”.") % {"reason": act.reason}
    return said + " " + _("Nothing was changed by you. Look at what is there now, then decide again.")


def _locked(subject: Subject) -> tuple[Subject, Organization | None]:
    """The subject as it is now, and its organization, whose row is locked until the intent is written."""
    if isinstance(subject, Organization):
        organization = Organization.objects.select_for_update(no_key=True).get(pk=subject.pk)
        return organization, organization
    event = SubscriptionEvent.objects.select_for_update(of=("self",)).get(pk=subject.pk)
    return event, event.organization


def record_intent(
    course: Course,
    organization: Organization | None,
    intent: Intent,
    *,
    lock_key: str,
    actor: User | None,
    **columns: Any,
) -> SubscriptionEvent:
    """Write down what will be asked of Stripe, by a person or, without an `actor`, by our own jobs.

    Runs inside the caller's transaction. Raises IntegrityError where somebody else holds `lock_key`.
    """
    evidence = {
        "source": SubscriptionEvent.Source.STAFF if actor else SubscriptionEvent.Source.SYSTEM,
        "type": course.type,
        "organization": organization,
        "organization_label": organization.name if organization else None,
        "actor": actor,
        "actor_label": actor.get_username() if actor else None,
        "stripe_customer_id": organization.stripe_customer_id if organization else None,
        "livemode": settings.STRIPE_LIVE_MODE,
        "occurred_at": timezone.now(),
        "before": intent.before,
        "plan": intent.plan,
        "lock_key": lock_key,
        "next_attempt_at": Now() + longest_call(len(intent.steps)),
    }
    event = SubscriptionEvent.objects.create(**{**evidence, **columns, **intent.columns})
    for position, step in enumerate(intent.steps):
        record_step(event, step, position)
    return event


def newest_under(lock_key: str) -> int:
    """The newest of our own acts under a lock, in the ledger's order; 0 where there is none."""
    newest = SubscriptionEvent.objects.filter(lock_key=lock_key).aggregate(newest=Max("pk"))["newest"]
    return newest or 0


@read_once
def in_progress(lock_key: str) -> str | None:
    """Whose act holds this lock, in a sentence for whoever wants another; None where nobody's does."""
    known = _pending()
    other = (
        SubscriptionEvent.objects.filter(lock_key=lock_key, state=State.PENDING).first()
        if known is None
        else known.get(lock_key)
    )
    if other is None:
        return None
    if other.actor_label is None:
        return _(
            "The back office itself is changing something here just now. Nothing was changed by you; wait for it."
        )
    told = {
        "who": other.actor_label,
        "what": _attempted(other),
        "time": _time_of(other),
        "reason": other.reason,
    }
    if not other.reason:
        return (
            _(
                "Here %(who)s began to %(what)s at %(time)s, which is still in progress."
                " Nothing was changed by you; wait for it."
            )
            % told
        )
    return (
        _(
            "Here %(who)s began to %(what)s at %(time)s (“%(reason)s”), which is still in progress."
            " Nothing was changed by you; wait for it."
        )
        % told
    )


def _attempted(event: SubscriptionEvent) -> str:
    # The registry imports the operations, and they this module.
    from billing.operations import OPERATIONS

    operation = OPERATIONS.get(event.type)
    return operation.attempted(event) if operation else _("change something")


def _time_of(event: SubscriptionEvent) -> str:
    return formats.time_format(timezone.localtime(event.created_at), "H:i")


def know_what_is_in_progress(events: Iterable[SubscriptionEvent]) -> None:
    """Let `in_progress` answer from these, all of an organization's that are pending, within the present look."""
    pending = {event.lock_key: event for event in events if event.state == State.PENDING and event.lock_key}
    remember(pending, _pending)


@read_once
def _pending() -> dict[str, SubscriptionEvent] | None:
    """What is pending by its lock, where that was read at once; None where each lock is to be looked up."""
    return None


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
