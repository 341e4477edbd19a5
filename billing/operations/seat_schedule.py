"""Seats that change later: a schedule at Stripe changes them at the renewal or on a date, and can be withdrawn.

Stripe makes a schedule from a subscription as it is, with no parameter beside, and takes the plan in a second call. A
death between the two leaves a schedule that plans nothing; the sweeper goes on from there.
https://docs.stripe.com/api/subscription_schedules/create#create_subscription_schedule-from_subscription
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing import stripe_api
from billing.errors import StripeError
from billing.models import OperationStep, SubscriptionEvent
from billing.operations.base import Failure, Intent, Settlement, Step, Told, Trace
from billing.operations.seat_plan import (
    SeatPlanPreview,
    SeatWithdrawalPreview,
    day_of,
    preview_plan,
    preview_withdrawal,
)
from billing.operations.seat_preview import SeatChoices
from billing.operations.seats import SeatOperation, prorated_in_words
from billing.operations.subscription import confirmed, fingerprint, is_marked
from billing.schedules import digest, is_bare, phases_with, schedule_of
from billing.stripe_api import StripeObject
from organizations.models import Organization

CREATE = "create"


class ScheduleSeats(SeatOperation[SeatPlanPreview]):
    """Have Stripe change the seats later, in place of what was planned before."""

    type = "schedule_seats"
    label = gettext_lazy("Change of seats planned")
    attempt = gettext_lazy("plan a change of seats")

    def preview(self, subject: Organization, choices: SeatChoices, at: int) -> SeatPlanPreview:
        """When, and what it costs from then on."""
        return preview_plan(subject, self.read(subject, choices), choices, at)

    def prepare(
        self, subject: Organization, choices: SeatChoices, preview: SeatPlanPreview, actor: User
    ) -> Intent:
        """A schedule, and then its phases; or only those, where a schedule is there."""
        if preview.schedule_id:
            step = _plan(preview.schedule_id, preview.phases)
        else:
            step = Step(
                CREATE,
                "POST",
                "/v1/subscription_schedules",
                {"from_subscription": preview.subscription_id},
                signed=False,
            )
        return Intent(
            steps=(step,),
            before={"seats": preview.seats_before, "planned": _as_json(preview.replaced)},
            columns={
                "stripe_subscription_id": preview.subscription_id,
                "stripe_object_id": preview.subscription_id,
                "previous_quantity": preview.seats_before,
                "quantity": preview.seats_after,
                "amount": preview.prorated,
                "currency": preview.currency,
            },
        )

    def following(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Step | None:
        """The phases of the schedule that was just made."""
        plan = event.plan or {}
        if plan["schedule_id"] or len(answers) != 1:
            return None
        phases = phases_with(
            answers[0],
            price=plan["price_id"],
            seats=plan["seats_after"],
            at=plan["at"],
            proration=plan["proration"],
        )
        return _plan(answers[0]["id"], phases)

    def find_outcome(self, event: SubscriptionEvent, step: OperationStep) -> Trace:
        """A plan leaves our mark on its schedule, for ever; a schedule that plans nothing yet is as good as ours."""
        plan = event.plan or {}
        subscription = stripe_api.retrieve(event.stripe_subscription_id or "")
        attached = schedule_of(subscription)
        as_it_was = {**subscription, "schedule": plan["schedule_id"] or None}
        unchanged = fingerprint(as_it_was) == plan["fingerprint"]
        if step.name == CREATE:
            found = attached if attached and is_bare(attached) else None
            return Trace(answer=found, still_agreed=unchanged and attached is None)
        schedule = stripe_api.call("GET", step.path)
        is_attached = attached is not None and attached["id"] == schedule["id"]
        is_new = not plan["schedule_id"]
        as_agreed = is_bare(schedule) if is_new else digest(schedule) == plan["schedule_digest"]
        return Trace(
            answer=schedule if is_marked(schedule, event) else None,
            still_agreed=unchanged and is_attached and as_agreed,
        )

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """Stripe's last answer is the schedule."""
        plan = event.plan or {}
        return Settlement(
            message=ngettext(
                "%(seats)d seat is planned from %(day)s on; until then it stays at %(before)s. %(confirmed)s",
                "%(seats)d seats are planned from %(day)s on; until then it stays at %(before)s."
                " %(confirmed)s",
                plan["seats_after"],
            )
            % {
                "seats": plan["seats_after"],
                "day": day_of(plan["at"]),
                "before": plan["seats_before"],
                "confirmed": confirmed(),
            },
            after={
                "seats": plan["seats_before"],
                "planned": {"seats": plan["seats_after"], "at": plan["at"]},
                "schedule": answers[-1]["id"],
            },
        )

    def retell(self, event: SubscriptionEvent) -> Told:
        """How many from when on, and what was planned before."""
        plan = event.plan or {}
        done = ngettext(
            "planned %(seats)d seat from %(day)s on (%(before)s until then)",
            "planned %(seats)d seats from %(day)s on (%(before)s until then)",
            plan["seats_after"],
        ) % {"seats": plan["seats_after"], "day": day_of(plan["at"]), "before": plan["seats_before"]}
        further = []
        if plan["replaced"]:
            further.append(
                _("replaced an earlier plan: %(plan)s")
                % {"plan": _earlier(plan["replaced"], plan["replaced_by_whom"])}
            )
        if plan["prorated"]:
            further.append(prorated_in_words(plan["proration"], plan["prorated"], plan["currency"]))
        return Told(done, tuple(further))

    def fail(self, event: SubscriptionEvent, done: list[OperationStep], error: StripeError) -> Failure:
        """A schedule that plans nothing changes nothing, and ends by itself with the period."""
        if not done:
            return super().fail(event, done, error)
        return Failure(
            _(
                "Nothing is planned: %(why)s An empty schedule is left at Stripe, which changes nothing and ends with"
                " this period. Plan the change again, or withdraw what is planned."
            )
            % {"why": error.message}
        )


class WithdrawScheduledSeats(SeatOperation[SeatWithdrawalPreview]):
    """Let the subscription go on as it is: its schedule is released, and what it planned does not happen."""

    type = "withdraw_scheduled_seats"
    label = gettext_lazy("Planned change of seats withdrawn")
    attempt = gettext_lazy("withdraw a planned change of seats")

    def preview(self, subject: Organization, choices: SeatChoices, at: int) -> SeatWithdrawalPreview:
        """What will not happen."""
        return preview_withdrawal(self.read(subject, choices))

    def prepare(
        self, subject: Organization, choices: SeatChoices, preview: SeatWithdrawalPreview, actor: User
    ) -> Intent:
        """One call, which takes no metadata."""
        release = Step(
            "release", "POST", f"/v1/subscription_schedules/{preview.schedule_id}/release", signed=False
        )
        return Intent(
            steps=(release,),
            before={"seats": preview.seats, "planned": _as_json(preview.planned)},
            columns={
                "stripe_subscription_id": preview.subscription_id,
                "stripe_object_id": preview.subscription_id,
                "quantity": preview.seats,
            },
        )

    def find_outcome(self, event: SubscriptionEvent, step: OperationStep) -> Trace:
        """A schedule that was released before its change came was released by us: nobody else held its lock here."""
        plan = event.plan or {}
        schedule = stripe_api.call("GET", f"/v1/subscription_schedules/{plan['schedule_id']}")
        due = plan["planned"]["at"] if plan["planned"] else None
        released = schedule.get("released_at")
        in_time = released is not None and (due is None or released < due)
        return Trace(
            answer=schedule if in_time else None,
            still_agreed=digest(schedule) == plan["schedule_digest"],
        )

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """What stays."""
        plan = event.plan or {}
        planned = plan["planned"]
        if planned:
            message = _(
                "The change to %(planned)s seats on %(day)s was withdrawn; it stays at %(seats)s."
                " %(confirmed)s"
            ) % {
                "planned": planned["seats"],
                "day": day_of(planned["at"]),
                "seats": plan["seats"],
                "confirmed": confirmed(),
            }
        else:
            message = _(
                "What was left of an earlier plan was withdrawn; it stays at %(seats)s seats. %(confirmed)s"
            ) % {"seats": plan["seats"], "confirmed": confirmed()}
        return Settlement(message=message, after={"seats": plan["seats"], "planned": None})

    def retell(self, event: SubscriptionEvent) -> Told:
        """What will not happen, and what stays."""
        plan = event.plan or {}
        stays = ngettext("it stays at %(n)d seat", "it stays at %(n)d seats", plan["seats"]) % {
            "n": plan["seats"]
        }
        if not plan["planned"]:
            return Told(_("withdrew what was left of an earlier plan of seats"), (stays,))
        return Told(
            _("withdrew the planned change of seats (%(plan)s)")
            % {"plan": _earlier(plan["planned"], plan["by_whom"])},
            (stays,),
        )


def _earlier(planned: dict[str, int], who: str) -> str:
    words = {"seats": planned["seats"], "day": day_of(planned["at"]), "who": who}
    if not who:
        return (
            ngettext("%(seats)d seat from %(day)s on", "%(seats)d seats from %(day)s on", planned["seats"])
            % words
        )
    return (
        ngettext(
            "%(seats)d seat from %(day)s on, by %(who)s",
            "%(seats)d seats from %(day)s on, by %(who)s",
            planned["seats"],
        )
        % words
    )


def _plan(schedule_id: str, phases: Sequence[dict[str, Any]]) -> Step:
    """The one call that plans: all phases from the present one on, and none of the present one's terms changed."""
    return Step(
        "plan",
        "POST",
        f"/v1/subscription_schedules/{schedule_id}",
        {"phases": list(phases), "end_behavior": "release", "proration_behavior": "none"},
    )


def _as_json(planned: Any) -> dict[str, int] | None:
    return {"seats": planned.seats, "at": planned.at} if planned else None
