"""Stripe's subscription schedules, as far as seats are planned with them: pure functions over Stripe-shaped dicts.

A subscription has at most one schedule. Its phases follow each other without a gap; the subscription takes each one's
items when it begins, and goes on by itself after the last where the schedule ends by `release`.
https://docs.stripe.com/billing/subscriptions/subscription-schedules
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from billing.metrics import seat_item
from billing.stripe_api import StripeObject

# How long the schedule stays after the change it was made for. Long enough for a Stripe that is late with one phase.
LAST_PHASE_SECONDS = 86_400

# What a phase of an answer has and a phase of a request takes in the same form. What is left out would be unset.
_KEPT = (
    "application_fee_percent",
    "billing_cycle_anchor",
    "billing_thresholds",
    "collection_method",
    "description",
    "proration_behavior",
)

# The names under which operations leave their marks in the metadata of a subscription.
_MARKS = ("operation", "collection")


@dataclass(frozen=True)
class Planned:
    """A number of seats that a schedule will set, and when, in unix seconds."""

    seats: int
    at: int


def schedule_of(subscription: StripeObject) -> StripeObject | None:
    """The schedule that manages a subscription which was read with it; None where there is none."""
    schedule = subscription.get("schedule")
    return schedule if isinstance(schedule, dict) else None


def planned_seats(subscription: StripeObject) -> Planned | None:
    """The next change of seats that is planned; None where none is."""
    schedule, item = schedule_of(subscription), seat_item(subscription)
    if schedule is None or item is None:
        return None
    for phase in _phases_to_come(schedule):
        for planned in phase["items"]:
            seats = planned.get("quantity")
            if _id(planned["price"]) == item["price"]["id"] and seats not in (None, item["quantity"]):
                return Planned(seats=seats, at=phase["start_date"])
    return None


def is_ours(schedule: StripeObject) -> bool:
    """Whether we may change or release this schedule and nobody's plans are lost.

    That is one we made, or one that plans nothing yet: somebody who died between its creation and its first plan, or
    Stripe's dashboard, left it there.
    """
    coming = _phases_to_come(schedule)
    if schedule.get("end_behavior") != "release" or len(coming) > 1:
        return False
    return not coming or bool((schedule.get("metadata") or {}).get("operation"))


def is_bare(schedule: StripeObject) -> bool:
    """Whether a schedule is as it is made from a subscription: nothing follows its one phase, and nothing marks it."""
    return is_ours(schedule) and len(schedule["phases"]) == 1 and not schedule.get("metadata")


def digest(schedule: StripeObject) -> str:
    """Equal while a schedule is as it was."""
    told = [schedule["id"], schedule["status"], schedule.get("metadata"), schedule["phases"]]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def phases_with(
    schedule: StripeObject, *, price: str, seats: int, at: int, proration: str
) -> list[dict[str, Any]]:
    """The phases of a request that leave all as it is until `at` (unix seconds), and then set the seats of `price`.

    A trial must be over by then.
    """
    present = _present_phase(schedule)
    now = {**_as_request(present), "start_date": present["start_date"], "end_date": at}
    then = {
        **_as_request(present),
        "start_date": at,
        "end_date": at + LAST_PHASE_SECONDS,
        "proration_behavior": proration,
    }
    then["items"] = [
        {**item, "quantity": seats} if item["price"] == price else item
        for item in (_item(each) for each in present["items"])
    ]
    # The billing goes on as it is: an anchor that the present phase set is not set anew.
    then.pop("billing_cycle_anchor", None)
    if present.get("trial_end"):
        now["trial_end"] = present["trial_end"]
    return [now, then]


def _present_phase(schedule: StripeObject) -> StripeObject:
    begun = (schedule.get("current_phase") or {}).get("start_date")
    phases: list[StripeObject] = schedule["phases"]
    return next((phase for phase in phases if phase["start_date"] == begun), phases[0])


def _phases_to_come(schedule: StripeObject) -> list[StripeObject]:
    # Told by the phase that Stripe says it is in, and not by our clock, which may be a little ahead of it.
    begun = _present_phase(schedule)["start_date"]
    return [phase for phase in schedule["phases"] if phase["start_date"] > begun]


def _as_request(phase: StripeObject) -> dict[str, Any]:
    """A phase as it is, in the form that a request takes, but for its dates, its trial and what it invoices once."""
    kept = {name: phase[name] for name in _KEPT if phase.get(name)}
    # A phase that begins would put an old mark back in place of a newer operation's.
    if metadata := {key: value for key, value in (phase.get("metadata") or {}).items() if key not in _MARKS}:
        kept["metadata"] = metadata
    for name in ("default_payment_method", "on_behalf_of"):
        if phase.get(name):
            kept[name] = _id(phase[name])
    if phase.get("discounts"):
        kept["discounts"] = [_discount(each) for each in phase["discounts"]]
    if phase.get("default_tax_rates"):
        kept["default_tax_rates"] = [_id(each) for each in phase["default_tax_rates"]]
    if phase.get("automatic_tax"):
        kept["automatic_tax"] = _given(phase["automatic_tax"], "enabled", "liability")
    if phase.get("invoice_settings"):
        kept["invoice_settings"] = _given(
            phase["invoice_settings"], "account_tax_ids", "days_until_due", "issuer"
        )
    if phase.get("transfer_data"):
        destination = _id(phase["transfer_data"]["destination"])
        kept["transfer_data"] = {
            **_given(phase["transfer_data"], "amount_percent"),
            "destination": destination,
        }
    return {**kept, "items": [_item(each) for each in phase["items"]]}


def _item(item: StripeObject) -> dict[str, Any]:
    kept = {**_given(item, "quantity", "metadata", "billing_thresholds"), "price": _id(item["price"])}
    if item.get("discounts"):
        kept["discounts"] = [_discount(each) for each in item["discounts"]]
    if item.get("tax_rates"):
        kept["tax_rates"] = [_id(each) for each in item["tax_rates"]]
    return kept


def _discount(stacked: StripeObject) -> dict[str, Any]:
    """One way to name a discount: the one that is held already, so that it is not redeemed anew."""
    name = next(name for name in ("discount", "promotion_code", "coupon") if stacked.get(name))
    return {name: _id(stacked[name])}


def _given(found: StripeObject, *names: str) -> dict[str, Any]:
    return {name: found[name] for name in names if found.get(name) not in (None, {}, [])}


def _id(value: Any) -> Any:
    return value["id"] if isinstance(value, dict) else value
