"""How Stripe answered what staff asked of it, and what becomes of what we could not use, in words."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext as _

from adminops.pages import words
from billing.models import OperationStep, SubscriptionEvent
from billing.refusals import words_for

State = SubscriptionEvent.State

# Stripe's answers that say nothing of the work itself: our key, a clash, a wait.
_NO_VERDICTS = frozenset({401, 403, 408, 409, 429})


def answer_in_words(event: SubscriptionEvent, steps: Sequence[OperationStep]) -> str:
    """How it ended, at the end of a line of history: "Stripe confirmed 2 s later"; empty where nobody was asked.

    `steps` are all of the operation's.
    """
    if event.state == State.DONE:
        moments = [step.answered_at for step in steps if step.answered_at]
        return confirmed_in_words((max(moments) - event.created_at).total_seconds()) if moments else ""
    if event.state == State.PENDING:
        return _("Stripe has not answered yet") if steps else _("under way")
    why = event.message or _("what became of it is not known")
    if event.state == State.PARKED:
        return _("needs a person: %(why)s") % {"why": why}
    if any(is_declined(step) for step in steps):
        return _("declined by Stripe: %(why)s") % {"why": why}
    return _("not done: %(why)s") % {"why": why}


def failure_in_words(event: SubscriptionEvent) -> str:
    """That an event of Stripe's could not be used, and what becomes of it; empty where it could."""
    if event.state == State.PARKED:
        return _("It could not be processed, and is not tried again by itself; it waits for a person.")
    if event.state != State.FAILED:
        return ""
    if event.next_attempt_at is None:
        return _("It could not be processed; it is tried again.")
    when = words.short_moment(event.next_attempt_at)
    return _("It could not be processed; next try: %(when)s.") % {"when": when}


def confirmed_in_words(seconds: float) -> str:
    """That Stripe confirmed, and how long after it was asked for."""
    if seconds < 1:
        return _("Stripe confirmed at once")
    return _("Stripe confirmed %(time)s later") % {"time": _lasting(seconds)}


def is_declined(step: OperationStep) -> bool:
    """Whether Stripe looked at a call and said no."""
    status = (step.error or {}).get("status") or 0
    return step.answered_at is None and 400 <= status < 500 and status not in _NO_VERDICTS


def declined_in_words(event: SubscriptionEvent, step: OperationStep) -> str:
    """Why Stripe said no to a call, in our words; empty where it did not."""
    if refused := (step.answer or {}).get("refused"):
        return str(refused)
    if not is_declined(step):
        return ""
    said = (step.error or {}).get("error") or {}
    return str(words_for(said.get("code") or "", said) or event.message or _("it gave no reason"))


def _lasting(seconds: float) -> str:
    """Coarsely: "2 s", "5 min", "3 h", "2 d"."""
    for unit, size in ((_("%(count)d d"), 86_400), (_("%(count)d h"), 3_600), (_("%(count)d min"), 60)):
        if seconds >= 2 * size:
            return unit % {"count": seconds // size}
    return _("%(count)d s") % {"count": seconds}
