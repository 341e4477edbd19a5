"""The webhooks that wait for a reading: which they are, and what becomes of them once it was made, or failed.

Everything here runs in the transaction of the one writer (billing/sync.py), under the lease of whom they are about.
"""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing import inbox
from billing.alerts import raise_alert
from billing.errors import StripeBusy
from billing.inbox import EVERYTHING, Lease, request_sync
from billing.models import CustomerSync, SubscriptionEvent
from billing.reading import is_ownerless, kind_of_catalogue
from billing.stripe_api import StripeObject
from organizations.models import Organization

State = SubscriptionEvent.State

# An event that was tried as often as an object may be, and is as old as that takes, is given up, even where newer
# events of the same object have it tried from the beginning again and again.
GIVEN_UP_AFTER = datetime.timedelta(days=3)


@dataclass
class Answers:
    """What a round of reading brought: per wanted object its Stripe objects, or the failure."""

    read: dict[str, list[StripeObject]] = field(default_factory=dict)
    failed: dict[str, tuple[Exception, str]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    """Those of `read` that Stripe does not know."""
    given_up: set[str] = field(default_factory=set)
    """Those of `failed` that are not tried again until somebody asks."""

    def fail(self, object_id: str, error: Exception) -> None:
        """Keep the failure of one object, with its traceback."""
        self.read.pop(object_id, None)
        self.failed[object_id] = (error, traceback.format_exc().replace("\0", ""))


def for_lease(lease: Lease) -> list[int]:
    """The webhooks that stood in the ledger before the first call of this round, so that it can answer them."""
    theirs = SubscriptionEvent.objects.filter(
        _about(lease.customer_id), source=SubscriptionEvent.Source.STRIPE
    ).order_by()
    waiting = theirs.filter(state__in=(State.PENDING, State.FAILED))
    # One that was given up takes part again where all that it is about is read, for another's sake.
    parked = theirs.filter(state=State.PARKED)
    if EVERYTHING not in lease.objects:
        parked = parked.filter(objects_to_read__contained_by=list(lease.objects))
    return sorted([*waiting.values_list("id", flat=True), *parked.values_list("id", flat=True)])


def _about(key: str) -> Q:
    """The events whose objects the row of the inbox with this key reads."""
    if kind := kind_of_catalogue(key):
        stripe_id = key.removeprefix(f"{kind}/")
        return Q(stripe_object_id=stripe_id, stripe_customer_id=None, type__startswith=f"{kind}.")
    if is_ownerless(key):
        column = "stripe_invoice_id" if key.startswith("in_") else "stripe_charge_id"
        return Q(**{column: key}, stripe_customer_id=None)
    return Q(stripe_customer_id=key)


def close(row: CustomerSync, answers: Answers, ids: list[int], owner: Organization | None) -> None:
    """Close each webhook of which everything was read since it came, and put off those of which something failed."""
    closing = _put_off(row, answers, ids)
    if owner is None:
        _ignore(closing, _("No organization here has this Stripe customer."))
        return
    # That something is gone is just what the event of its deletion says.
    unknown = closing.filter(stripe_object_id__in=list(answers.missing)).exclude(type__endswith=".deleted")
    unknown_ids = list(unknown.values_list("id", flat=True))
    _ignore(closing.filter(id__in=unknown_ids), _("Stripe knows no such object, or not any more."))
    closing.exclude(id__in=unknown_ids).update(state=State.DONE, **_closed())


def close_of_catalogue(row: CustomerSync, answers: Answers, ids: list[int]) -> None:
    """The same for what is about a product or a price, which are nobody's."""
    _put_off(row, answers, ids).update(state=State.DONE, **_closed())


def hand_over(key: str, answers: Answers, ids: list[int]) -> bool:
    """Events of a charge or an invoice that we had never seen: now its customer is known, who takes them over.

    Returns False where it turned out that it is nobody's.
    """
    events = SubscriptionEvent.objects.filter(id__in=ids)
    found = next((each for objects in answers.read.values() for each in objects if each["id"] == key), None)
    if found is None:
        if answers.failed:
            # Perhaps not its own failure; until the charge was read, nobody can tell whose it is.
            why = next(iter(answers.failed.values()))
            _fail(events, why, timezone.now() + inbox.backoff(1), given_up=bool(answers.given_up))
        elif key.startswith("in_"):
            _ignore(events, _("Stripe knows no such invoice."))
        else:
            _ignore(events, _("Stripe knows no such charge."))
        return True
    if not found.get("customer"):
        _ignore(events, _("This belongs to no customer."))
        return False
    organization = Organization.objects.filter(stripe_customer_id=found["customer"]).first()
    objects = {
        *answers.read,
        *(id_ for ids in events.values_list("objects_to_read", flat=True) for id_ in ids or ()),
    }
    request_sync(found["customer"], objects)
    events.update(
        state=State.PENDING,
        stripe_customer_id=found["customer"],
        organization=organization,
        organization_label=organization.name if organization else None,
    )
    return True


def _put_off(row: CustomerSync, answers: Answers, ids: list[int]) -> QuerySet[SubscriptionEvent]:
    """Put off, or give up, the events of which something failed; returns those that can be closed."""
    events = SubscriptionEvent.objects.filter(id__in=ids)
    left = {*row.objects_wanted, *answers.failed}
    if left:
        open_ids = set(events.filter(objects_to_read__overlap=list(left)).values_list("id", flat=True))
        closing = events.filter(id__in=set(ids) - open_ids)
    else:
        closing = events
    for object_id, why in answers.failed.items():
        if isinstance(why[0], StripeBusy):
            continue  # being asked to slow down is nobody's fault
        due = row.objects_wanted.get(object_id, {}).get("due")
        _fail(
            events.filter(objects_to_read__contains=[object_id]),
            why,
            datetime.datetime.fromisoformat(due) if due else timezone.now(),
            given_up=object_id in answers.given_up,
        )
    return closing


def _fail(
    events: QuerySet[SubscriptionEvent],
    why: tuple[Exception, str],
    next_attempt: datetime.datetime,
    *,
    given_up: bool,
) -> None:
    """Write down the failure of events, and when they are tried again; or that they are not."""
    error, trace = why
    waiting = events.exclude(state=State.PARKED)
    failed: Mapping[str, Any] = {"attempts": F("attempts") + 1, "error": str(error), "traceback": trace}
    hopeless = (
        Q() if given_up else Q(attempts__gte=inbox.TRIES - 1, created_at__lt=timezone.now() - GIVEN_UP_AFTER)
    )
    parked = list(waiting.filter(hopeless).order_by("id").values_list("id", flat=True))
    waiting.exclude(id__in=parked).update(state=State.FAILED, next_attempt_at=next_attempt, **failed)
    if parked:
        waiting.filter(id__in=parked).update(
            state=State.PARKED, next_attempt_at=None, processed_at=timezone.now(), **failed
        )
        _tell_of_parked(parked)


def _tell_of_parked(ids: list[int]) -> None:
    """One alert for what was given up together; given up once more after a person asked for it, it is told again."""
    first = SubscriptionEvent.objects.select_related("organization").get(pk=ids[0])
    raise_alert(
        "event_parked",
        f"{first.pk}@{first.processed_at:%Y-%m-%d}",
        ngettext(
            "%(n)d event of Stripe's (%(type)s) could not be used in three days of trying.",
            "%(n)d events of Stripe's (the first: %(type)s) could not be used in three days of trying.",
            len(ids),
        )
        % {"n": len(ids), "type": first.type},
        organization=first.organization,
        event=first,
    )


def _ignore(events: QuerySet[SubscriptionEvent], why: str) -> None:
    events.update(state=State.IGNORED, **_closed() | {"error": why})


def _closed() -> dict[str, Any]:
    return {
        "processed_at": timezone.now(),
        "attempts": F("attempts") + 1,
        "error": "",
        "traceback": "",
        "next_attempt_at": None,
    }
