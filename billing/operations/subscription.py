"""What the operations on a subscription share: which one is meant, what locks it, and what must still be so."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing import mirror, stripe_api
from billing.errors import OperationRefused, StripeRefused
from billing.models import OperationStep, SubscriptionEvent
from billing.operations.base import Choices, Operation, Preview, Trace
from billing.operations.intent import in_progress
from billing.projection import from_unix
from billing.stripe_api import StripeObject
from organizations.models import Organization
from organizations.querysets import ENDED_STATUSES


@dataclass(frozen=True)
class SubscriptionChoices(Choices):
    """Choices about one subscription of an organization."""

    subscription: str = ""
    """Which of several live ones; the organization's own where it is empty."""


@dataclass(frozen=True)
class SubscriptionPreview(Preview):
    """What would happen to one subscription."""

    subscription_id: str
    fingerprint: str
    """Of the subscription as it was shown: see `fingerprint`."""


class SubscriptionOperation[ChoicesT: SubscriptionChoices, PreviewT: SubscriptionPreview](
    Operation[Organization, ChoicesT, PreviewT]
):
    """An operation on one subscription, which leaves our mark in the subscription's metadata."""

    def lock_key(self, subject: Organization, choices: ChoicesT) -> str:
        """One subscription, one change at a time."""
        return self.lock_of(subject, subscription_id_of(subject, choices))

    def lock_of(self, organization: Organization, subscription_id: str) -> str:
        """What an operation of this kind holds while it is pending."""
        return lock_key_of(subscription_id)

    def refuse_reason(self, subject: Organization) -> str | None:
        """What our own rows tell: connected, read, and nobody else at it."""
        id_ = subject.stripe_subscription_id
        reason = self.unfit_of(subject, mirror.subscription(id_) if id_ else None)
        return reason or in_progress(self.lock_of(subject, id_ or ""))

    def unfit_of(self, organization: Organization, subscription: StripeObject | None) -> str | None:
        """Why this cannot be done to an organization whose own subscription is this one in the mirror."""
        if not organization.stripe_customer_id:
            return _("This organization is not connected to a Stripe customer.")
        if not organization.stripe_subscription_id:
            return _("This organization has no subscription.")
        if subscription is None:
            return _("This organization's subscription has not been read from Stripe yet.")
        return self.unfit(subscription)

    def unfit(self, subscription: StripeObject) -> str | None:
        """Why this cannot be done to a subscription in this state; None when it can."""
        return ended(subscription)

    def read(self, organization: Organization, choices: ChoicesT) -> StripeObject:
        """The subscription that is meant, as Stripe has it now: the mirror may be seconds behind.

        Raises OperationRefused where it is not this customer's, or in a state this cannot be done in; StripeError.
        """
        if not choices.subscription:
            reason = self.refuse_reason(organization)
            if reason:
                raise OperationRefused(reason)
        subscription = stripe_api.retrieve(subscription_id_of(organization, choices))
        if _id_of(subscription.get("customer")) != organization.stripe_customer_id:
            raise OperationRefused(_("This subscription belongs to another customer. Nothing was changed."))
        reason = self.unfit(subscription)
        if reason:
            raise OperationRefused(reason)
        return subscription

    def find_outcome(self, event: SubscriptionEvent, step: OperationStep) -> Trace:
        """An update leaves our mark in the subscription's metadata, together with what it changed."""
        subscription = stripe_api.retrieve(event.stripe_subscription_id or "")
        return Trace(
            answer=subscription if is_marked(subscription, event) else None,
            still_agreed=fingerprint(subscription) == (event.plan or {}).get("fingerprint"),
        )


def live_subscriptions(organization: Organization) -> list[StripeObject]:
    """The subscriptions of an organization's customer that have not ended, newest first, as the mirror has them."""
    if not organization.stripe_customer_id:
        return []
    return living(mirror.subscriptions_of(organization.stripe_customer_id))


def living(subscriptions: Iterable[StripeObject]) -> list[StripeObject]:
    """Those of a customer's subscriptions that have not ended, newest first."""
    live = [each for each in subscriptions if each["status"] not in ENDED_STATUSES]
    return sorted(live, key=lambda each: (each["created"], each["id"]), reverse=True)


def subscription_id_of(organization: Organization, choices: SubscriptionChoices) -> str:
    """The subscription that is meant. Raises OperationRefused where there is none."""
    id_ = choices.subscription or organization.stripe_subscription_id
    if not id_:
        raise OperationRefused(_("This organization has no subscription."))
    return id_


def lock_key_of(subscription_id: str) -> str:
    """What a change of this subscription holds while it is pending."""
    return f"subscription:{subscription_id}"


def is_marked(thing: StripeObject, event: SubscriptionEvent, mark: str = "operation") -> bool:
    """Whether an object at Stripe carries the mark of this operation."""
    return (thing.get("metadata") or {}).get(mark) == str(event.uuid)


def ended(subscription: StripeObject) -> str | None:
    """That a subscription is over, in a sentence; None while it lives."""
    if subscription["status"] not in ENDED_STATUSES:
        return None
    at = from_unix(subscription.get("ended_at"))
    if at is None:
        return _("This organization's subscription has ended, so nothing can be changed about it.")
    return _("This organization's subscription ended on %(date)s, so nothing can be changed about it.") % {
        "date": date_in_words(at)
    }


def date_in_words(moment: datetime.datetime) -> str:
    """ "12 Dec 2026": with the year, for a sentence that is read years later."""
    return formats.date_format(timezone.localtime(moment), "j M Y")


def every(interval: str, count: int) -> str:
    """ "each month", "every 3 months"."""
    each = {"day": _("each day"), "week": _("each week"), "month": _("each month"), "year": _("each year")}
    if count == 1:
        return each.get(interval, interval)
    return {
        "day": ngettext("every %(n)d day", "every %(n)d days", count),
        "week": ngettext("every %(n)d week", "every %(n)d weeks", count),
        "month": ngettext("every %(n)d month", "every %(n)d months", count),
        "year": ngettext("every %(n)d year", "every %(n)d years", count),
    }[interval] % {"n": count}


def confirmed() -> str:
    """ "Stripe confirmed at 14:05:07." """
    return _("Stripe confirmed at %(time)s.") % {"time": formats.time_format(timezone.localtime(), "H:i:s")}


def upcoming_invoice(params: Mapping[str, Any]) -> StripeObject | None:
    """The invoice that a change would lead to; None where it leads to none. Raises StripeError."""
    try:
        return stripe_api.preview_invoice(params)
    except StripeRefused as error:
        if error.code == "invoice_upcoming_none":
            return None
        raise


def fingerprint(subscription: StripeObject) -> str:
    """What of a subscription must still be so for a preview of it to hold."""
    told = [
        subscription["status"],
        subscription.get("cancel_at"),
        subscription.get("cancel_at_period_end"),
        subscription.get("trial_end"),
        subscription.get("pause_collection"),
        _id_of(subscription.get("schedule")),
        [_id_of(discount) for discount in subscription.get("discounts") or []],
        [
            [item["id"], item["price"]["id"], item.get("quantity"), item.get("current_period_end")]
            for item in subscription["items"]["data"]
        ],
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _id_of(value: StripeObject | str | None) -> str | None:
    return value["id"] if isinstance(value, dict) else value
