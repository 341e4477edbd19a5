"""What planning a change of seats would do, when, and what is planned already. Asks Stripe, changes nothing."""

from __future__ import annotations

import datetime
from calendar import monthrange
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.errors import OperationRefused
from billing.metrics import recurring_amount, seat_item
from billing.models import SubscriptionEvent
from billing.operations.seat_preview import (
    Proration,
    SeatChoices,
    When,
    ends_at,
    item_to_change,
    previewed_invoice,
)
from billing.operations.subscription import SubscriptionPreview, date_in_words, fingerprint
from billing.schedules import Planned, digest, phases_with, planned_seats, schedule_of
from billing.stripe_api import StripeObject
from organizations.models import Organization

MOST_AHEAD = datetime.timedelta(days=366)


@dataclass(frozen=True)
class SeatPlanPreview(SubscriptionPreview):
    """A change of seats that Stripe would make at `at` (unix seconds). Amounts in minor units of `currency`."""

    price_id: str
    seats_before: int
    seats_after: int
    seats_used: int
    at: int
    is_renewal: bool
    """Whether the change comes with a renewal, so that nothing is prorated."""
    proration: str
    prorated: int
    is_estimate: bool
    """Whether `prorated` is ours: Stripe tells what is prorated in the present period only."""
    currency: str
    recurring_before: int
    recurring_after: int
    interval: str
    interval_count: int
    schedule_id: str
    """The schedule that manages the subscription already; empty where one is to be made."""
    schedule_digest: str
    phases: tuple[dict[str, Any], ...]
    """What that schedule's phases become, in the form of a request."""
    replaced: Planned | None
    replaced_by_whom: str

    @property
    def moment(self) -> datetime.datetime:
        """When the seats change."""
        return datetime.datetime.fromtimestamp(self.at, datetime.UTC)


@dataclass(frozen=True)
class SeatWithdrawalPreview(SubscriptionPreview):
    """A planned change of seats that would not be made."""

    seats: int
    """How many there stay."""
    schedule_id: str
    schedule_digest: str
    planned: Planned | None
    """None where the change was made already, and only the end of its schedule is to come."""
    by_whom: str


def preview_plan(
    organization: Organization, subscription: StripeObject, choices: SeatChoices, at: int
) -> SeatPlanPreview:
    """What planning a change of seats means, asked at `at`. Raises OperationRefused and StripeError."""
    item = item_to_change(subscription, choices.seats)
    moment = _moment(choices, item, at)
    _refuse_for_a_trial(subscription, moment)
    _refuse_for_an_end(subscription, moment)
    start, end = period_around(subscription, item, moment)
    is_renewal = moment == start
    proration = Proration.NONE if is_renewal else Proration(choices.proration)
    schedule = schedule_of(subscription)
    before, after = recurring_amount(subscription), recurring_amount(subscription, choices.seats)
    is_estimate = proration != Proration.NONE and (
        schedule is not None or moment >= item["current_period_end"]
    )
    prorated = 0
    if is_estimate:
        prorated = round((after - before) * Fraction(end - moment, end - start))
    elif proration != Proration.NONE:
        _invoice, lines = previewed_invoice(subscription, item, choices.seats, proration, moment)
        prorated = sum(line.amount for line in lines if line.is_proration)
    recurring = item["price"].get("recurring") or {}
    return SeatPlanPreview(
        subscription_id=subscription["id"],
        fingerprint=fingerprint(subscription),
        price_id=item["price"]["id"],
        seats_before=item["quantity"],
        seats_after=choices.seats,
        seats_used=organization.seats_used(),
        at=moment,
        is_renewal=is_renewal,
        proration=proration.value,
        prorated=prorated,
        is_estimate=is_estimate,
        currency=subscription["currency"],
        recurring_before=before,
        recurring_after=after,
        interval=recurring.get("interval", ""),
        interval_count=recurring.get("interval_count", 1),
        schedule_id=schedule["id"] if schedule else "",
        schedule_digest=digest(schedule) if schedule else "",
        phases=tuple(
            phases_with(
                schedule,
                price=item["price"]["id"],
                seats=choices.seats,
                at=moment,
                proration=proration.value,
            )
            if schedule
            else ()
        ),
        replaced=planned_seats(subscription),
        replaced_by_whom=planner(schedule) if schedule else "",
    )


def preview_withdrawal(subscription: StripeObject) -> SeatWithdrawalPreview:
    """What withdrawing a plan means. Raises OperationRefused where there is none."""
    schedule, item = schedule_of(subscription), seat_item(subscription)
    if schedule is None or item is None:
        raise OperationRefused(_("No change of seats is planned for this subscription."))
    return SeatWithdrawalPreview(
        subscription_id=subscription["id"],
        fingerprint=fingerprint(subscription),
        seats=item["quantity"],
        schedule_id=schedule["id"],
        schedule_digest=digest(schedule),
        planned=planned_seats(subscription),
        by_whom=planner(schedule),
    )


def _moment(choices: SeatChoices, item: StripeObject, now: int) -> int:
    """When the seats are to change, in unix seconds. Raises OperationRefused for a day that will not do."""
    if choices.when == When.RENEWAL:
        return int(item["current_period_end"])
    day = datetime.date.fromisoformat(choices.on)
    midnight = datetime.datetime.combine(day, datetime.time.min, timezone.get_default_timezone())
    moment = int(midnight.timestamp())
    if moment <= now:
        raise OperationRefused(_("Choose a day after today: a planned change begins as its day does."))
    if moment > now + MOST_AHEAD.total_seconds():
        raise OperationRefused(_("Seats can be planned for a year ahead at most. Choose an earlier day."))
    return moment


def _refuse_for_a_trial(subscription: StripeObject, moment: int) -> None:
    """A phase of a schedule cannot end before the trial in it does."""
    trial_end = subscription.get("trial_end")
    if trial_end and moment < trial_end:
        raise OperationRefused(
            _(
                "The trial lasts until %(day)s, and no change can be planned for a day within it."
                " Plan it for when the trial ends, or change the seats now: a trial is not charged."
            )
            % {"day": day_of(trial_end)}
        )


def _refuse_for_an_end(subscription: StripeObject, moment: int) -> None:
    """A schedule would take the cancellation over, so the two do not go together."""
    ends = ends_at(subscription)
    if ends is None:
        return
    if ends <= moment:
        raise OperationRefused(
            _("The subscription ends on %(day)s, before this change would happen.") % {"day": day_of(ends)}
        )
    raise OperationRefused(
        _(
            "The subscription is set to end on %(day)s, and Stripe cannot plan a change beside that."
            " Change the seats now, or take the cancellation back first."
        )
        % {"day": day_of(ends)}
    )


def plan_in_the_way(subscription: StripeObject) -> str | None:
    """What is planned, in a sentence for whoever wants to change the seats now; None where nothing is."""
    schedule = schedule_of(subscription)
    if schedule is None:
        return None
    planned = planned_seats(subscription)
    if planned is None:
        return _(
            "Stripe still keeps the schedule of an earlier plan for this subscription."
            " Withdraw that first, or plan this change instead."
        )
    return _("%(what)s Withdraw that first, or plan this change in its place.") % {
        "what": plan_in_words(planned, planner(schedule))
    }


def plan_in_words(planned: Planned, who: str) -> str:
    """ "A change to 15 seats is planned for 12 Dec 2026 by ann."."""
    said = {"seats": planned.seats, "day": day_of(planned.at), "who": who}
    if not who:
        return (
            ngettext(
                "A change to %(seats)d seat is planned for %(day)s.",
                "A change to %(seats)d seats is planned for %(day)s.",
                planned.seats,
            )
            % said
        )
    return (
        ngettext(
            "A change to %(seats)d seat is planned for %(day)s by %(who)s.",
            "A change to %(seats)d seats is planned for %(day)s by %(who)s.",
            planned.seats,
        )
        % said
    )


def planner(schedule: StripeObject) -> str:
    """Who planned what a schedule does, by the mark it carries; empty where the ledger does not know."""
    try:
        id_ = UUID((schedule.get("metadata") or {}).get("operation") or "")
    except ValueError:
        return ""
    event = SubscriptionEvent.objects.filter(uuid=id_).only("actor_label").first()
    return (event.actor_label if event else None) or ""


def day_of(moment: int) -> str:
    """A day of Stripe's (unix seconds) in the site's time zone: "12 Dec 2026"."""
    return date_in_words(datetime.datetime.fromtimestamp(moment, datetime.UTC))


def period_around(subscription: StripeObject, item: StripeObject, moment: int) -> tuple[int, int]:
    """Start and end of the period of `item` that `moment` (from now on) lies in, in unix seconds."""
    recurring = item["price"]["recurring"]
    start, end = item["current_period_start"], item["current_period_end"]
    anchor = subscription["billing_cycle_anchor"]
    while end <= moment:
        start, end = end, _period_end(end, recurring["interval"], recurring["interval_count"], anchor)
    return start, end


def _period_end(start: int, interval: str, count: int, anchor: int) -> int:
    """A period later. Months keep the day of the anchor, in UTC, where they have it."""
    if interval in ("day", "week"):
        return start + count * 86_400 * (7 if interval == "week" else 1)
    begun = datetime.datetime.fromtimestamp(start, datetime.UTC)
    months = begun.year * 12 + begun.month - 1 + count * (12 if interval == "year" else 1)
    year, month = divmod(months, 12)
    day = min(
        datetime.datetime.fromtimestamp(anchor, datetime.UTC).day,
        monthrange(year, month + 1)[1],
    )
    return int(begun.replace(year=year, month=month + 1, day=day).timestamp())
