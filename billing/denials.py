"""Whoever asks for what they may not do leaves a line in the ledger, so that a colleague can see it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from django.db.models.functions import Now
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from billing.actors import person_name
from billing.errors import Attempt
from billing.models import SubscriptionEvent
from billing.operations.base import Operation, Subject

TYPE = "permission.denied"
# Whoever presses a hundred times is written down once.
_ONCE_IN = datetime.timedelta(minutes=1)


@dataclass(frozen=True)
class Right:
    """Something that wants a permission and is no operation."""

    permission: str
    attempt: str | Promise
    """As it follows "tried to"."""


def record(
    user: Any,
    operation: Operation[Any, Any, Any] | Right,
    subject: Subject | None,
    attempt: Attempt | None = None,
    *,
    reason: str = "",
    ticket: str = "",
    bulk_job: int | None = None,
) -> None:
    """Write down that `user` tried what they may not do. Nothing else is changed.

    `attempt` is what was too much; without it they may do nothing of the kind. `reason` and `ticket` are their own,
    and `bulk_job` is the key of the job that it was a row of.
    """
    organization = subject.organization if isinstance(subject, SubscriptionEvent) else subject
    if attempt is None:
        message = _("%(who)s tried to %(what)s, without being allowed to. Nothing was changed.")
        attempt = Attempt(str(operation.attempt))
    else:
        message = _("%(who)s tried to %(what)s. Nothing was changed.")
    message %= {"who": person_name(user), "what": attempt.words}
    again = SubscriptionEvent.objects.filter(
        type=TYPE, actor=user, organization=organization, created_at__gt=Now() - _ONCE_IN, message=message
    )
    if again.exists():
        return
    now = timezone.now()
    SubscriptionEvent.objects.create(
        source=SubscriptionEvent.Source.STAFF,
        type=TYPE,
        organization=organization,
        organization_label=organization.name if organization else None,
        actor=user,
        actor_label=user.get_username(),
        reason=reason or None,
        ticket=ticket or None,
        occurred_at=now,
        processed_at=now,
        state=SubscriptionEvent.State.DONE,
        message=message,
        after={"permission": operation.permission, **({"bulk_job": bulk_job} if bulk_job else {})},
        **attempt.columns,
    )
