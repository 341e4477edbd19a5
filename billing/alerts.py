"""Alerts: what a person must look at, raised once each, listed in the admin and sent by e-mail.

A kind is a row of `KINDS`, with what to do about it. Raising is part of the caller's transaction; the e-mail is a job
that is deferred with it, so that neither is there without the other.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from procrastinate.contrib.django import app

from billing.models import Alert, SubscriptionEvent
from organizations.models import Organization

MAIL_TASK = "billing.tasks.mail_alert"
MAIL_QUEUE = "maintenance"


@dataclass(frozen=True)
class Kind:
    """One kind of alert."""

    label: str | Promise
    severity: Alert.Severity
    what_to_do: str | Promise


KINDS: dict[str, Kind] = {
    "operation_parked": Kind(
        gettext_lazy("Operation without a known end"),
        Alert.Severity.TODAY,
        gettext_lazy("Look at the customer at Stripe, see what was done, and do or undo the rest there."),
    ),
    "confirmed_late": Kind(
        gettext_lazy("Operation done after all"),
        Alert.Severity.TODAY,
        gettext_lazy(
            "Look at the customer at Stripe; if it was done a second time meanwhile, undo one of them."
        ),
    ),
    "refund_failed": Kind(
        gettext_lazy("Refund failed"),
        Alert.Severity.TODAY,
        gettext_lazy("Tell the customer, and refund again or credit their balance."),
    ),
    "event_parked": Kind(
        gettext_lazy("Webhook given up"),
        Alert.Severity.TODAY,
        gettext_lazy(
            "Open the event, see why it failed, mend that, and process it again. Until then this customer's page may be"
            " behind; the customer's other events go on."
        ),
    ),
    "webhooks_silent": Kind(
        gettext_lazy("Webhooks fell silent"),
        Alert.Severity.TODAY,
        gettext_lazy(
            "Look at the endpoint in Stripe's dashboard (Developers, Webhooks): whether it is enabled, its address is"
            " right, and how its deliveries are answered. Until it works, events are read from Stripe's list every ten"
            " minutes, so nothing is lost, only late."
        ),
    ),
    "webhooks_missed": Kind(
        gettext_lazy("Webhooks got lost"),
        Alert.Severity.LOOK,
        gettext_lazy(
            "Nothing is to be done for these events: they were read from Stripe's list. If it happens again, look at"
            " the endpoint's failed deliveries in Stripe's dashboard."
        ),
    ),
    "backlog": Kind(
        gettext_lazy("Webhooks wait too long"),
        Alert.Severity.TODAY,
        gettext_lazy(
            "See whether workers run (manage.py work) and what they log; start more of them if they are busy. Nothing"
            " is lost, but pages are behind until they have caught up."
        ),
    ),
    "clock_off": Kind(
        gettext_lazy("A clock is wrong"),
        Alert.Severity.TODAY,
        gettext_lazy(
            "Set the clock of the machines by the network's time (NTP). Webhooks are refused once it is five"
            " minutes off."
        ),
    ),
    "reconciliation_tripped": Kind(
        gettext_lazy("Reconciliation stopped and asks"),
        Alert.Severity.TODAY,
        gettext_lazy(
            "Open Reconciliation and look at what it would change. If that is right, let it go on; if not, it is"
            " rather our key, or the account, that is wrong."
        ),
    ),
    "reconciliation_failed": Kind(
        gettext_lazy("Reconciliation failed"),
        Alert.Severity.TODAY,
        gettext_lazy(
            "Open Reconciliation, read why, mend that, and start it again. Until one comes to its end, nobody knows"
            " whether we agree with Stripe."
        ),
    ),
    "given_back_too_much": Kind(
        gettext_lazy("More given back than was paid"),
        Alert.Severity.TODAY,
        gettext_lazy(
            "Look at the invoice at Stripe. A credit can be taken off the customer's balance again; a refund that"
            " reached the card cannot be called back, so ask the customer for it, or bear it."
        ),
    ),
}


def raise_alert(
    kind: str,
    about: str,
    message: str,
    *,
    organization: Organization | None = None,
    event: SubscriptionEvent | None = None,
) -> bool:
    """Raise an alert of a kind of `KINDS` about one thing (`about`, an id). Returns False where it was raised before.

    Runs inside the caller's transaction.
    """
    alert, is_new = Alert.objects.get_or_create(
        key=f"{kind}:{about}",
        defaults={
            "kind": kind,
            "severity": KINDS[kind].severity,
            "message": message,
            "organization": organization,
            "event": event,
        },
    )
    if is_new and settings.ALERT_EMAILS:
        app.configure_task(MAIL_TASK, queue=MAIL_QUEUE).defer(alert_id=alert.pk)
    return is_new


# What was over for less than that was not: an alert that comes and goes is one.
STILL_THE_SAME = datetime.timedelta(hours=1)


def watch(kind: str, wrong: str | None) -> bool:
    """Raise an alert of a kind for as long as something is `wrong`, in a sentence; None says that it is over.

    Returns whether it was raised now: once for each time it goes wrong. Asked by one job at a time.
    """
    now = timezone.now()
    with transaction.atomic():
        same = Alert.objects.filter(Q(ended_at=None) | Q(ended_at__gt=now - STILL_THE_SAME), kind=kind)
        if wrong is None:
            same.filter(ended_at=None).update(ended_at=now)
            return False
        if same.update(ended_at=None):
            return False
        return raise_alert(kind, now.isoformat(), wrong)


def mail_alert(alert_id: int) -> None:
    """Send one alert to those who want them, once. Raises what the mail server raises; the job tries again."""
    alert = Alert.objects.select_related("organization").get(pk=alert_id)
    if alert.mailed_at is not None:
        return
    kind = KINDS[alert.kind]
    who = alert.organization.name if alert.organization else _("No organization")
    lines = [
        f"{who}: {alert.message}",
        "",
        _("What to do: %(what)s") % {"what": kind.what_to_do},
        _("See the list of alerts in the back office."),
    ]
    # A name may hold a line break, a subject may not.
    subject = " ".join(f"[{alert.get_severity_display()}] {kind.label}: {who}".split())
    send_mail(subject, "\n".join(lines), settings.DEFAULT_FROM_EMAIL, settings.ALERT_EMAILS)
    Alert.objects.filter(pk=alert.pk).update(mailed_at=timezone.now())
