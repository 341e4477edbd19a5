"""Whether the road of Stripe's webhooks is in order: a look every few minutes, and an alert for as long as it is not.

What is told by the ledger is asked of the ledger; only Stripe's clock takes a call.
"""

from __future__ import annotations

import datetime
import logging

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing import stripe_api
from billing.alerts import watch
from billing.errors import StripeError
from billing.models import SubscriptionEvent

log = logging.getLogger(__name__)

# How far a clock may be off: signatures are refused from five minutes on.
CLOCK_SECONDS = 60
# What was read from Stripe's list longer ago than that is history.
LATELY = datetime.timedelta(days=1)
# How long a delivery that got lost is told of.
MISSED_IS_NEWS = datetime.timedelta(hours=1)

STRIPES = SubscriptionEvent.objects.filter(source=SubscriptionEvent.Source.STRIPE)


def look() -> None:
    """Look at everything; raise what is wrong, and note what is over."""
    watch("backlog", backlog())
    watch("webhooks_silent", silence())
    watch("webhooks_missed", missed())
    try:
        watch("clock_off", clock())
    except StripeError as error:
        log.warning("Stripe's clock could not be read: %s", error)


def backlog() -> str | None:
    """That events wait too long to be processed, in a sentence; those that failed have their own time."""
    waiting = STRIPES.filter(state=SubscriptionEvent.State.PENDING)
    oldest = waiting.order_by("id").values_list("created_at", flat=True).first()
    if oldest is None or oldest > timezone.now() - datetime.timedelta(
        minutes=settings.WEBHOOK_BACKLOG_MINUTES
    ):
        return None
    return _("%(n)d events of Stripe's wait to be processed, the oldest since %(since)s.") % {
        "n": waiting.count(),
        "since": _moment(oldest),
    }


def silence() -> str | None:
    """That Stripe has events and delivers none, in a sentence: what we have of them we found in its list."""
    now = timezone.now()
    delivered = STRIPES.filter(recovered=False).order_by("-id").values_list("id", "created_at").first()
    found = STRIPES.filter(
        recovered=True,
        created_at__gt=now - LATELY,
        occurred_at__range=(now - LATELY, now - datetime.timedelta(minutes=settings.WEBHOOK_SILENCE_MINUTES)),
    )
    if delivered:
        found = found.filter(id__gt=delivered[0], occurred_at__gt=delivered[1])
    first = found.order_by("id").values_list("occurred_at", flat=True).first()
    if first is None:
        return None
    if delivered is None:
        return _("Stripe has events, and not one webhook has ever arrived here.")
    return _("No webhook has arrived since %(last)s, although Stripe has had events since %(first)s.") % {
        "last": _moment(delivered[1]),
        "first": _moment(first),
    }


def missed() -> str | None:
    """That single events were never delivered while others were, in a sentence."""
    now = timezone.now()
    first = STRIPES.filter(recovered=False).order_by("id").values_list("created_at", flat=True).first()
    if first is None:
        return None
    lost = STRIPES.filter(recovered=True, created_at__gt=now - MISSED_IS_NEWS)
    number = lost.filter(occurred_at__gt=max(first, now - LATELY)).count()
    if not number:
        return None
    return ngettext(
        "%(n)d event of Stripe's was never delivered, and was read from its list.",
        "%(n)d events of Stripe's were never delivered, and were read from its list.",
        number,
    ) % {"n": number}


def clock() -> str | None:
    """That our clock and Stripe's differ by more than a minute, in a sentence. Raises StripeError."""
    if stripe_api.configuration_problem():
        return None
    ahead = stripe_api.seconds_ahead_of_stripe()
    if ahead is None or abs(ahead) <= CLOCK_SECONDS:
        return None
    words = (
        _("The clock of this machine is %(seconds)d seconds ahead of Stripe's.")
        if ahead > 0
        else _("The clock of this machine is %(seconds)d seconds behind Stripe's.")
    )
    return words % {"seconds": round(abs(ahead))}


def _moment(moment: datetime.datetime) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M}"
