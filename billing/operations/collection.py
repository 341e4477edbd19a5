"""The pause of collection at Stripe: whose it is, how it is asked for and found again, which invoices it concerns.

Shared by those who pause and resume, and those who place holds and lift them, because a hold may stop billing. All
of them take the lock of the organization's access, so no two of them are under way at once. A change of seats does not
conflict with a pause at Stripe and has a lock of its own; so that neither overwrites the other's mark, a pause leaves
its mark under a name of its own.
"""

from __future__ import annotations

import calendar
import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import stripe_api
from billing.errors import StripeRefused
from billing.metrics import licensed_items, recurring_amount, seat_item
from billing.models import OperationStep, SubscriptionEvent
from billing.operations.base import Step, Trace
from billing.operations.subscription import date_in_words, is_marked
from billing.projection import from_unix
from billing.stripe_api import StripeObject
from organizations.models import Organization
from organizations.querysets import ENDED_STATUSES

MARK = "collection"
# By its type in the ledger a pause is known as that of a suspension; OPERATIONS names it so.
SUSPENSION = "suspend_organization"
LOOK = "look"

RENEWALS_SHOWN = 6


class Behavior(models.TextChoices):
    """What becomes of invoices while collection is paused, in Stripe's words."""

    KEEP_AS_DRAFT = "keep_as_draft", gettext_lazy("Keep them as drafts")
    VOID = "void", gettext_lazy("Void them: nobody ever owes them")
    UNCOLLECTIBLE = "mark_uncollectible", gettext_lazy("Write them off as uncollectible")


@dataclass(frozen=True)
class Due:
    """An invoice as a preview names it; `amount` is what is still to be paid, in minor units of `currency`."""

    id: str
    number: str
    amount: int
    currency: str
    is_collected: bool = True
    """Whether Stripe goes on collecting it; it stops with the end of the subscription."""


@dataclass(frozen=True)
class Renewal:
    """An invoice that is still to come; `amount` in minor units, exact for the next and about for later ones."""

    at: datetime.datetime
    amount: int


def access_lock(organization: Organization) -> str:
    """What whoever changes holds, or the pause of collection, has while it is pending."""
    return f"access:{organization.pk}"


# -- the pause --------------------------------------------------------------------------------------------


def pause_step(subscription_id: str, behavior: Behavior, resumes_at: int | None = None) -> Step:
    """Stop collecting a subscription's invoices, until `resumes_at` (unix seconds) or until somebody resumes."""
    pause: dict[str, Any] = {"behavior": behavior.value}
    if resumes_at is not None:
        pause["resumes_at"] = resumes_at
    return _step("pause", subscription_id, pause)


def resume_step(subscription_id: str) -> Step:
    """Collect a subscription's invoices again."""
    return _step("resume", subscription_id, "")


def _step(verb: str, subscription_id: str, pause: dict[str, Any] | str) -> Step:
    return Step(
        f"{verb} {subscription_id}",
        "POST",
        f"/v1/subscriptions/{subscription_id}",
        {"pause_collection": pause},
        mark=MARK,
    )


def look_step(customer_id: str) -> Step:
    """Read the live subscriptions of a customer: whether their collection is paused, and by whom."""
    return Step(LOOK, "GET", "/v1/subscriptions", {"customer": customer_id, "limit": 100})


def remembered(answer: StripeObject) -> StripeObject:
    """What the ledger keeps of an answer: of a look, whether each subscription is paused and by whom."""
    if answer.get("object") != "list":
        return answer
    kept = ("id", "status", "pause_collection")
    return {
        "object": "list",
        "data": [
            {
                **{name: each.get(name) for name in kept},
                "metadata": {MARK: (each.get("metadata") or {}).get(MARK)},
            }
            for each in answer["data"]
        ],
    }


def unpaused(looked: StripeObject) -> list[str]:
    """The ids of the subscriptions that a look found living and not paused."""
    return [
        each["id"]
        for each in looked["data"]
        if each["status"] not in ENDED_STATUSES and not each.get("pause_collection")
    ]


def resuming_step(answers: list[StripeObject]) -> Step | None:
    """After a look, which subscription of those paused by a suspension is resumed next; None when all are.

    Told from what the look found, so a pause that somebody else made is left alone.
    """
    if not answers:
        return None
    paused = [each for each in answers[0]["data"] if is_paused_by_suspension(each)]
    resumed = len(answers) - 1
    return resume_step(paused[resumed]["id"]) if resumed < len(paused) else None


def find_outcome(
    event: SubscriptionEvent, step: OperationStep, is_as_agreed: Callable[[StripeObject], bool]
) -> Trace:
    """Look at Stripe for what a step of pausing or resuming led to. Raises StripeError where that cannot be told.

    A pause is known by its mark. That collection is not paused is all that resuming wants, whoever did it.
    """
    if step.name == LOOK:
        return Trace(None, still_agreed=True)
    subscription = stripe_api.retrieve(step.path.rsplit("/", 1)[1])
    has_ended = subscription["status"] in ENDED_STATUSES
    is_resuming = step.params["pause_collection"] == ""
    if is_marked(subscription, event, MARK):
        return Trace(subscription, still_agreed=True)
    if is_resuming and (has_ended or not subscription.get("pause_collection")):
        return Trace(subscription, still_agreed=True)
    return Trace(None, still_agreed=not has_ended and is_as_agreed(subscription))


def pausing_event(subscription: StripeObject) -> SubscriptionEvent | None:
    """Which of our acts paused the collection of a subscription; None where it was done elsewhere."""
    return pausing_events([subscription]).get(subscription["id"])


def pausing_events(subscriptions: Iterable[StripeObject]) -> dict[str, SubscriptionEvent]:
    """The same for many, by the subscription's id, in one query; those paused elsewhere are left out."""
    marks = {each["id"]: mark for each in subscriptions if (mark := _mark_of(each))}
    events = SubscriptionEvent.objects.in_bulk(set(marks.values()), field_name="uuid") if marks else {}
    return {id_: events[mark] for id_, mark in marks.items() if mark in events}


def _mark_of(subscription: StripeObject) -> UUID | None:
    try:
        return UUID((subscription.get("metadata") or {}).get(MARK) or "")
    except ValueError:
        return None


def is_paused_by_suspension(subscription: StripeObject) -> bool:
    """Whether collection is paused, and it was a suspension of ours that paused it so."""
    return is_paused_by(pausing_event(subscription), subscription)


def is_paused_by(event: SubscriptionEvent | None, subscription: StripeObject) -> bool:
    """Whether collection is paused as a suspension pauses it, and `event`, which paused it, was one."""
    pause = subscription.get("pause_collection") or {}
    if pause.get("behavior") != Behavior.VOID or pause.get("resumes_at"):
        return False
    return event is not None and event.type == SUSPENSION


def pause_in_words(pause: StripeObject) -> str:
    """ "Invoices that fall due stay drafts until somebody resumes"."""
    what = {
        Behavior.KEEP_AS_DRAFT: _("Invoices that fall due stay drafts"),
        Behavior.VOID: _("Invoices that fall due are voided"),
        Behavior.UNCOLLECTIBLE: _("Invoices that fall due are written off"),
    }[Behavior(pause["behavior"])]
    until = from_unix(pause.get("resumes_at"))
    ends = _("until %(date)s") % {"date": date_in_words(until)} if until else _("until somebody resumes")
    return f"{what} {ends}"


# -- invoices ---------------------------------------------------------------------------------------------


def dues(invoices: Iterable[StripeObject]) -> tuple[Due, ...]:
    """Invoices as previews name them, oldest first."""
    return tuple(
        Due(
            id=invoice["id"],
            number=invoice.get("number") or "",
            amount=invoice.get("amount_remaining") or 0,
            currency=invoice["currency"],
            is_collected=invoice.get("auto_advance") is not False,
        )
        for invoice in sorted(invoices, key=lambda each: (each["created"], each["id"]))
    )


def invoices_at_stripe(subscription_id: str, status: str) -> tuple[Due, ...]:
    """The invoices of a subscription in a status, as Stripe has them now. Raises StripeError."""
    pages = stripe_api.list_pages("/v1/invoices", {"subscription": subscription_id, "status": status})
    return dues(invoice for page in pages for invoice in page)


def upcoming_amount(subscription: StripeObject) -> int | None:
    """What the next invoice will come to; None where Stripe expects none. Raises StripeError."""
    try:
        total: int = stripe_api.preview_invoice({"subscription": subscription["id"]})["total"]
    except StripeRefused:
        return None  # it ends before
    return total


def period_end(subscription: StripeObject) -> datetime.datetime | None:
    """When the running period ends; of several, that of the item that is the seats."""
    lead = _lead(subscription)
    return from_unix(lead.get("current_period_end")) if lead else None


def renewals(
    subscription: StripeObject, upcoming: int | None, until: datetime.datetime | None
) -> tuple[tuple[Renewal, ...], bool]:
    """The invoices to come before `until` and before the subscription's end, the next of them `upcoming`.

    `RENEWALS_SHOWN` at most (without `until`, only the next one); and whether there are more.
    """
    first, lead = period_end(subscription), _lead(subscription)
    if first is None or lead is None or upcoming is None:
        return (), False
    recurring = lead["price"].get("recurring") or {}
    anchor = from_unix(subscription.get("billing_cycle_anchor")) or first
    end = from_unix(subscription.get("cancel_at"))
    found: list[Renewal] = []
    for n in range(RENEWALS_SHOWN + 1):
        at = _later(first, recurring, n, anchor.day)
        if (until is not None and at >= until) or (n and end is not None and at >= end):
            return tuple(found), False
        if len(found) == (RENEWALS_SHOWN if until else 1):
            break
        found.append(Renewal(at, recurring_amount(subscription) if n else upcoming))
    return tuple(found), True


def _lead(subscription: StripeObject) -> StripeObject | None:
    items = (subscription.get("items") or {}).get("data", [])
    return seat_item(subscription) or next(iter(licensed_items(subscription) or items), None)


def _later(
    moment: datetime.datetime, recurring: dict[str, Any], periods: int, anchor_day: int
) -> datetime.datetime:
    """`periods` intervals later; a month too short for the anchor's day renews on its last."""
    count = periods * (recurring.get("interval_count") or 1)
    interval = recurring.get("interval")
    if interval in {"day", "week"}:
        return moment + datetime.timedelta(days=count * (7 if interval == "week" else 1))
    year, month = divmod(moment.year * 12 + moment.month - 1 + count * (12 if interval == "year" else 1), 12)
    last = calendar.monthrange(year, month + 1)[1]
    day = moment.day if periods == 0 else min(anchor_day, last)
    return moment.replace(year=year, month=month + 1, day=day)
