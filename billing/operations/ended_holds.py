"""Holds that come to their end by themselves. Members have access from that moment on; here it is written down.

A hold that stopped billing stays unlifted until billing is taken up again, so the row itself says what is left to do.
"""

from __future__ import annotations

import logging

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from billing.ledger import record_system_event
from billing.models import SubscriptionEvent
from billing.operations.activate import ResumeBilling, stopping
from billing.operations.base import Intent
from billing.operations.collection import access_lock, look_step
from billing.operations.intent import in_progress, record_intent
from billing.operations.settlement import carry_out
from organizations.models import Hold, Organization

log = logging.getLogger(__name__)


def lift_ended_holds() -> int:
    """Lift the holds whose end has come, and have Stripe bill again where none is left that stops it.

    Returns how many were lifted. Where somebody's change is still in progress, it is left for the next time.
    """
    ended = Hold.objects.filter(lifted_at=None, ends_at__lte=timezone.now())
    lifted = 0
    for organization_id in list(
        ended.order_by("organization").values_list("organization", flat=True).distinct()
    ):
        try:
            with transaction.atomic():
                count, event = _lift_of(organization_id)
        except IntegrityError:
            log.warning(
                "The holds of organization %s are being changed; they are lifted later", organization_id
            )
            continue
        lifted += count
        if event is not None:
            carry_out(event, ResumeBilling(), resend=False)
    return lifted


def _lift_of(organization_id: int) -> tuple[int, SubscriptionEvent | None]:
    """Lift what ended of one organization; returns how many, and the intent to resume billing if there is one."""
    organization = Organization.objects.select_for_update(no_key=True).get(pk=organization_id)
    ended = list(organization.holds.filter(lifted_at=None, ends_at__lte=timezone.now()).order_by("pk"))
    if not ended or (any(hold.stops_billing for hold in ended) and in_progress(access_lock(organization))):
        return 0, None
    organization.holds.filter(pk__in=[hold.pk for hold in ended]).update(lifted_at=F("ends_at"))
    message = _("The suspension ended (%(kinds)s).") % {
        "kinds": ", ".join(str(hold.get_kind_display()).lower() for hold in ended)
    }
    if organization.open_holds().exists():
        message += " " + _("Access stays closed by other holds.")
    else:
        message += " " + _("Members have access again.")
    resumes = any(hold.stops_billing for hold in ended) and not stopping(organization.holds.all()).exists()
    customer = organization.stripe_customer_id
    if not resumes or not customer:
        record_system_event("hold.lifted", organization, message)
        return len(ended), None
    intent = Intent(
        steps=(look_step(customer),), columns={"stripe_subscription_id": organization.stripe_subscription_id}
    )
    event = record_intent(
        ResumeBilling(),
        organization,
        intent,
        lock_key=access_lock(organization),
        actor=None,
        reason=message,
    )
    return len(ended), event
