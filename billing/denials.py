"""Whoever asks for what they may not do leaves a line in the ledger, so that a colleague can see it."""

from __future__ import annotations

import datetime
from typing import Any

from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from billing.models import SubscriptionEvent
from billing.operations.base import Operation, Subject

TYPE = "permission.denied"
# Whoever presses a hundred times is written down once.
_ONCE_IN = datetime.timedelta(minutes=1)


def record(user: Any, operation: Operation[Any, Any, Any], subject: Subject | None, why: str = "") -> None:
    """Write down that `user` tried what they may not do. Nothing else is changed."""
    organization = subject.organization if isinstance(subject, SubscriptionEvent) else subject
    message = _("%(who)s tried “%(what)s” without being allowed to. Nothing was changed.") % {
        "who": user.get_username(),
        "what": operation.label,
    }
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
        reason=why or None,
        occurred_at=now,
        processed_at=now,
        state=SubscriptionEvent.State.DONE,
        message=message,
        after={"permission": operation.permission},
    )
