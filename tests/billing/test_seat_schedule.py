"""Seats that change later: planned, replaced, withdrawn, and never in doubt for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import stripe
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from billing.errors import BillingError, DoneMeanwhile, OperationRefused
from billing.models import SubscriptionEvent
from billing.operations.seat_plan import period_around
from billing.operations.sweeper import settle_pending
from billing.schedules import phases_with
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import StaffFactory
from tests.operating import Shown, at_once, grow_older, make_due, outcome_of, show
from tests.stripe_world import (
    World,
    make_customer,
    make_organization,
    make_price,
    plan_seats_at_stripe,
    read,
    seats_at_stripe,
)
from tests.webhooks.signing import deliver, make_event

MAY = ["organizations.change_seats"]
DAY = 86_400
SCHEDULES = "/v1/subscription_schedules"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


def in_days(days: int) -> str:
    """A day from today on, as the form has it."""
    return (timezone.localdate() + timedelta(days=days)).isoformat()


def midnight(days: int) -> int:
    """The same day's beginning, in unix seconds."""
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=days)
    return int(day.timestamp())


def previewed(organization: Organization, seats: int, **choices: Any) -> Shown:
    return show("schedule_seats", organization, **{"seats": seats, "when": "renewal", **choices})


def planned(organization: Organization, seats: int, actor: Any = None, **choices: Any) -> SubscriptionEvent:
    event = previewed(organization, seats, **choices).apply(actor)
    assert event.state == "done", event.error
    return event


def withdrawal(organization: Organization, **choices: Any) -> Shown:
    return show("withdraw_scheduled_seats", organization, when="withdraw", **choices)


def renewal(sandbox: Sandbox, world: World) -> int:
    return sandbox.client.v1.subscription_items.retrieve(world.item).current_period_end


def schedule_at_stripe(sandbox: Sandbox, world: World) -> stripe.SubscriptionSchedule | None:
    found = sandbox.client.v1.subscriptions.retrieve(world.subscription).schedule
    return sandbox.client.v1.subscription_schedules.retrieve(str(found)) if found else None


def writes(sandbox: Sandbox) -> list[str]:
    """The calls that changed schedules, with ids left out."""
    return [
        call["endpoint"]
        for call in sandbox.control("GET", "log")["calls"]
        if call["method"] == "POST" and call["path"].startswith(SCHEDULES) and call["status"] == 200
    ]


def columns(organization: Organization) -> tuple[int | None, int | None, datetime | None]:
    organization.refresh_from_db()
    return organization.seats, organization.scheduled_seats, organization.scheduled_at


def newest_invoice(sandbox: Sandbox, world: World) -> stripe.Invoice:
    return sandbox.client.v1.invoices.list({"subscription": world.subscription, "limit": 1}).data[0]


# -- when ---------------------------------------------------------------------------------------------------


def test_seats_change_with_the_renewal_and_our_rows_follow(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    at = renewal(sandbox, world)
    shown = previewed(organization, 15)
    assert (shown.preview.at, shown.preview.is_renewal, shown.preview.prorated) == (at, True, 0)
    assert (shown.preview.recurring_before, shown.preview.recurring_after) == (8 * 2900, 15 * 2900)

    event = shown.apply(StaffFactory(username="ann", permissions=MAY))

    assert (event.state, event.type, event.previous_quantity, event.quantity) == (
        "done",
        "schedule_seats",
        8,
        15,
    )
    assert (event.message or "").startswith("15 seats are planned from ")
    assert seats_at_stripe(sandbox, world) == 8
    assert columns(organization) == (8, 15, datetime.fromtimestamp(at, UTC))
    schedule = schedule_at_stripe(sandbox, world)
    assert schedule is not None
    assert (schedule.metadata or {})["operation"] == str(event.uuid)
    assert schedule.end_behavior == "release"
    assert not sandbox.client.v1.invoice_items.list({"customer": world.customer}).data

    sandbox.control("POST", "clock", {"now": at + 3700})
    read(world)

    assert seats_at_stripe(sandbox, world) == 15
    assert columns(organization) == (15, None, None)
    invoice = newest_invoice(sandbox, world)
    assert (invoice.total, len(invoice.lines.data)) == (15 * 2900, 1)
    sandbox.control("POST", "clock", {"advance": DAY})
    assert schedule_at_stripe(sandbox, world) is None
    assert sandbox.client.v1.subscriptions.retrieve(world.subscription).status == "active"


@pytest.mark.parametrize("proration", ["create_prorations", "always_invoice", "none"])
def test_seats_change_on_a_date_as_was_shown(
    sandbox: Sandbox, world: World, organization: Organization, proration: str
) -> None:
    shown = previewed(organization, 15, when="date", on=in_days(10), proration=proration)
    assert (shown.preview.at, shown.preview.is_renewal, shown.preview.is_estimate) == (
        midnight(10),
        False,
        False,
    )
    assert (shown.preview.prorated == 0) is (proration == "none")
    shown.apply()
    assert columns(organization)[1:] == (15, datetime.fromtimestamp(midnight(10), UTC))

    sandbox.control("POST", "clock", {"now": midnight(10) + 60})
    read(world)

    assert seats_at_stripe(sandbox, world) == 15
    assert columns(organization) == (15, None, None)
    waiting = sum(
        item.amount
        for item in sandbox.client.v1.invoice_items.list({"customer": world.customer, "pending": True}).data
    )
    if proration == "create_prorations":
        assert waiting == shown.preview.prorated > 0
    elif proration == "always_invoice":
        assert newest_invoice(sandbox, world).total == shown.preview.prorated > 0
    else:
        assert waiting == 0


def test_what_is_prorated_in_a_later_period_is_an_estimate_that_comes_true(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown = previewed(organization, 15, when="date", on=in_days(45), proration="always_invoice")
    assert shown.preview.is_estimate
    shown.apply()
    sandbox.control("POST", "clock", {"now": midnight(45) + 60})
    assert seats_at_stripe(sandbox, world) == 15
    # Two lines, rounded each; ours is rounded once.
    assert abs(newest_invoice(sandbox, world).total - shown.preview.prorated) <= 1


def test_an_estimate_follows_the_anchor_through_short_months() -> None:
    def moment(month: int, day: int) -> int:
        return int(datetime(2027, month, day, tzinfo=UTC).timestamp())

    item = {
        "price": {"recurring": {"interval": "month", "interval_count": 1}},
        "current_period_start": moment(1, 31),
        "current_period_end": moment(2, 28),
    }
    subscription = {"billing_cycle_anchor": moment(1, 31)}
    assert period_around(subscription, item, moment(2, 10)) == (moment(1, 31), moment(2, 28))
    assert period_around(subscription, item, moment(3, 31)) == (moment(3, 31), moment(4, 30))
    weekly = {**item, "price": {"recurring": {"interval": "week", "interval_count": 2}}}
    assert period_around(subscription, weekly, moment(3, 1)) == (moment(2, 28), moment(3, 14))


def test_a_day_begins_at_midnight_where_the_site_is(organization: Organization, settings: Settings) -> None:
    settings.TIME_ZONE = "Pacific/Auckland"
    on = timezone.localdate() + timedelta(days=10)
    shown = previewed(organization, 15, when="date", on=on.isoformat())
    local = timezone.localtime(shown.preview.moment)
    assert (local.date(), local.hour, local.minute) == (on, 0, 0)
    assert local.utcoffset() != timedelta(0)


@pytest.mark.parametrize(
    ("days", "sentence"),
    [(-1, "a day after today"), (0, "a day after today"), (367, "a year ahead at most")],
)
def test_days_that_will_not_do_are_refused_in_words(
    organization: Organization, days: int, sentence: str
) -> None:
    with pytest.raises(OperationRefused, match=sentence):
        previewed(organization, 15, when="date", on=in_days(days))


@pytest.mark.parametrize(("seats", "sentence"), [(0, "whole number"), (8, "8 seats already")])
def test_seats_that_will_not_do_are_refused_in_words(
    organization: Organization, seats: int, sentence: str
) -> None:
    with pytest.raises(OperationRefused, match=sentence):
        previewed(organization, seats)


def test_what_a_subscription_has_is_taken_along(sandbox: Sandbox) -> None:
    seats = make_price(sandbox.client, metadata={"seats": "yes"})
    support = make_price(sandbox.client, amount=900)
    world = make_customer(sandbox, price=seats)
    sandbox.client.v1.subscription_items.create(
        {
            "subscription": world.subscription,
            "price": support,
            "quantity": 2,
            "proration_behavior": "none",
        }
    )
    coupon = sandbox.client.v1.coupons.create({"percent_off": 50, "duration": "forever"})
    sandbox.client.v1.subscriptions.update(world.subscription, {"discounts": [{"coupon": coupon.id}]})
    held = sandbox.client.v1.subscriptions.retrieve(world.subscription).discounts
    organization = make_organization(world)
    at = renewal(sandbox, world)

    planned(organization, 15)
    sandbox.control("POST", "clock", {"now": at + 3700})

    after = sandbox.client.v1.subscriptions.retrieve(world.subscription)
    assert {item.price.id: item.quantity for item in after["items"].data} == {seats: 15, support: 2}
    assert after.discounts == held
    assert newest_invoice(sandbox, world).total == (15 * 2900 + 2 * 900) // 2


def test_marks_of_ours_are_not_taken_along() -> None:
    item = {"price": "price_1", "quantity": 8}
    metadata = {"operation": "old", "collection": "older", "theirs": "kept"}
    schedule = {"phases": [{"start_date": 1, "items": [item], "metadata": metadata}]}
    phases = phases_with(schedule, price="price_1", seats=9, at=5, proration="none")
    assert [phase["metadata"] for phase in phases] == [{"theirs": "kept"}] * 2


def test_a_trial_ends_when_it_was_to_end_and_the_seats_change_then(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    trial = sandbox.client.v1.subscriptions.create(
        {
            "customer": world.customer,
            "items": [{"price": world.price, "quantity": 8}],
            "trial_period_days": 14,
        }
    )
    organization = make_organization(world)
    with pytest.raises(OperationRefused, match="no change can be planned for a day within it"):
        previewed(organization, 15, when="date", on=in_days(5))

    shown = previewed(organization, 15)
    assert (shown.preview.at, shown.preview.prorated) == (trial.trial_end, 0)
    shown.apply()
    during = sandbox.client.v1.subscriptions.retrieve(trial.id)
    assert (during.status, during.trial_end) == ("trialing", trial.trial_end)
    sandbox.control("POST", "clock", {"now": shown.preview.at + 3700})
    after = sandbox.client.v1.subscriptions.retrieve(trial.id)
    assert (after.status, after["items"].data[0].quantity) == ("active", 15)
    invoices = sandbox.client.v1.invoices.list({"subscription": trial.id, "limit": 1}).data
    assert invoices[0].total == 15 * 2900


def test_one_of_several_subscriptions_is_the_one_that_was_meant(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.control("POST", "clock", {"advance": 1})  # the newest by Stripe's clock is the organization's
    other = sandbox.client.v1.subscriptions.create(
        {"customer": world.customer, "items": [{"price": world.price, "quantity": 3}]}
    )
    read(world)
    organization.refresh_from_db()
    assert organization.stripe_subscription_id == other.id

    planned(organization, 15, subscription=world.subscription)

    assert schedule_at_stripe(sandbox, world) is not None
    assert sandbox.client.v1.subscriptions.retrieve(other.id).schedule is None


# -- replaced and withdrawn -----------------------------------------------------------------------------------


def test_a_plan_takes_the_place_of_another(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    planned(organization, 15, StaffFactory(username="ann", permissions=MAY))
    shown = previewed(organization, 20, when="date", on=in_days(10), proration="none")
    assert (shown.preview.replaced.seats, shown.preview.replaced_by_whom) == (15, "ann")

    event = shown.apply()

    assert event.before["planned"]["seats"] == 15
    assert columns(organization)[1:] == (20, datetime.fromtimestamp(midnight(10), UTC))
    assert writes(sandbox) == [SCHEDULES, f"{SCHEDULES}/{{}}", f"{SCHEDULES}/{{}}"]
    sandbox.control("POST", "clock", {"now": renewal(sandbox, world) + 3700})
    assert seats_at_stripe(sandbox, world) == 20


def test_a_plan_is_withdrawn_and_nothing_happens(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    at = renewal(sandbox, world)
    planned(organization, 15, StaffFactory(username="ann", permissions=MAY))
    shown = withdrawal(organization)
    assert (shown.preview.seats, shown.preview.planned.seats, shown.preview.by_whom) == (8, 15, "ann")

    event = shown.apply()

    assert event.state == "done"
    assert "The change to 15 seats on " in (event.message or "")
    assert columns(organization) == (8, None, None)
    assert schedule_at_stripe(sandbox, world) is None
    sandbox.control("POST", "clock", {"now": at + 3700})
    assert seats_at_stripe(sandbox, world) == 8
    with pytest.raises(OperationRefused, match="No change of seats is planned"):
        withdrawal(organization)


def test_a_change_now_is_refused_while_another_is_planned(organization: Organization) -> None:
    planned(organization, 15, StaffFactory(username="ann", permissions=MAY))
    with pytest.raises(
        OperationRefused, match=r"A change to 15 seats is planned for .+ by ann\. Withdraw that"
    ):
        show("change_seats", organization, seats=12)
    withdrawal(organization).apply()
    assert show("change_seats", organization, seats=12).apply().state == "done"


def test_between_the_change_and_the_end_of_its_schedule_more_can_be_planned(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    planned(organization, 15)
    sandbox.control("POST", "clock", {"now": renewal(sandbox, world) + 60})
    read(world)
    organization.refresh_from_db()
    with pytest.raises(OperationRefused, match="keeps the schedule of an earlier plan"):
        show("change_seats", organization, seats=12)
    at = renewal(sandbox, world)
    planned(organization, 20)
    assert columns(organization) == (15, 20, datetime.fromtimestamp(at, UTC))
    sandbox.control("POST", "clock", {"now": at + 3700})
    assert seats_at_stripe(sandbox, world) == 20


# -- somebody else's plans --------------------------------------------------------------------------------


def test_a_schedule_that_is_not_ours_is_seen_and_left_alone(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    plan_seats_at_stripe(sandbox, world, 30)
    before = writes(sandbox)
    for attempt in (
        lambda: previewed(organization, 15),
        lambda: withdrawal(organization),
        lambda: show("change_seats", organization, seats=12),
    ):
        with pytest.raises(OperationRefused, match="not made here"):
            attempt()
    read(world)
    assert columns(organization)[:2] == (8, 30)
    assert writes(sandbox) == before


def test_a_schedule_that_plans_nothing_is_used(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.client.v1.subscription_schedules.create({"from_subscription": world.subscription})
    planned(organization, 15)
    assert columns(organization)[1] == 15


def test_a_plan_that_was_changed_at_stripe_since_it_was_shown_is_not_overwritten(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    planned(organization, 15)
    stale, gone = previewed(organization, 20), withdrawal(organization)
    planned(organization, 16)
    for shown in (stale, gone):
        with pytest.raises(DoneMeanwhile, match="was faster: 16 seats are planned"):
            shown.apply()
    assert columns(organization)[1] == 16


def test_a_webhook_of_a_schedule_tells_what_the_dashboard_planned(
    sandbox: Sandbox, world: World, organization: Organization, client: Client
) -> None:
    id_ = plan_seats_at_stripe(sandbox, world, 30)
    found = sandbox.client.v1.subscription_schedules.retrieve(id_).to_dict()
    deliver(client, make_event("subscription_schedule.updated", found))
    read(world)
    event = SubscriptionEvent.objects.get(type="subscription_schedule.updated")
    assert (event.state, event.organization) == ("done", organization)
    assert columns(organization)[1] == 30


# -- a planned end ----------------------------------------------------------------------------------------


def test_a_change_after_the_end_is_refused_in_words(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at_period_end": True})
    with pytest.raises(OperationRefused, match=r"ends on .+, before this change would happen"):
        previewed(organization, 15)
    with pytest.raises(OperationRefused, match=r"ends on .+, before this change would happen"):
        previewed(organization, 15, when="date", on=in_days(60))


def test_a_change_before_the_end_does_not_take_the_end_away(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at": midnight(50)})
    with pytest.raises(OperationRefused, match="cannot plan a change beside that"):
        previewed(organization, 15, when="date", on=in_days(10))
    shown = show("change_seats", organization, seats=12)
    assert shown.preview.ends_at == datetime.fromtimestamp(midnight(50), UTC)


# -- Stripe slow, silent, or saying no --------------------------------------------------------------------


def fault(sandbox: Sandbox, kind: str, path: str, **more: Any) -> None:
    sandbox.control("POST", "faults", {"kind": kind, "method": "POST", "path": path, **more})


def settle(event: SubscriptionEvent) -> SubscriptionEvent:
    for _ in range(4):
        make_due()
        settle_pending()
    event.refresh_from_db()
    return event


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after", "error_500_after", "drop_connection"])
@pytest.mark.parametrize("path", [SCHEDULES, f"{SCHEDULES}/sub_sched_*"])
def test_an_unknown_outcome_of_either_call_ends_in_one_plan(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings, kind: str, path: str
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, kind, path)
    event = previewed(organization, 15).apply()
    assert event.state == "pending"
    with pytest.raises(OperationRefused, match="still in progress"):
        previewed(organization, 16)
    settings.STRIPE_READ_TIMEOUT = 10
    assert settle(event).state == "done"
    read(world)
    assert columns(organization)[:2] == (8, 15)
    listed = sandbox.client.v1.subscription_schedules.list({"customer": world.customer}).data
    assert len(listed) == 1


def test_a_plan_that_stripe_refuses_leaves_an_empty_schedule_that_harms_nothing(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    fault(sandbox, "error_500", f"{SCHEDULES}/sub_sched_*")
    event = settle(previewed(organization, 15).apply())
    assert event.state == "failed", (event.error, event.attempts)
    assert "Nothing is planned: Stripe did not do it" in (event.message or "")
    assert "An empty schedule is left at Stripe" in (event.message or "")
    assert seats_at_stripe(sandbox, world) == 8
    planned(organization, 15)
    assert columns(organization)[1] == 15


def test_a_withdrawal_that_came_too_late_is_said_to_be(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    planned(organization, 15)
    shown = withdrawal(organization)
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, "timeout_before", f"{SCHEDULES}/*/release")
    event = shown.apply()
    assert event.state == "pending"
    settings.STRIPE_READ_TIMEOUT = 10
    sandbox.control("POST", "clock", {"now": renewal(sandbox, world) + 2 * DAY})
    SubscriptionEvent.objects.filter(pk=event.pk).update(attempts=3)
    grow_older(180)
    assert settle(event).state == "failed"
    assert "things changed there meanwhile" in (event.message or "")
    assert seats_at_stripe(sandbox, world) == 15


def test_two_people_at_once_make_one_plan_and_the_other_is_told(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown = {
        StaffFactory(username=name, permissions=MAY): previewed(organization, seats)
        for name, seats in (("ann", 15), ("ben", 20))
    }
    outcomes = at_once(*(partial(outcome_of, each, who) for who, each in shown.items()))

    assert outcomes.count("done") == 1
    assert sum(isinstance(outcome, BillingError) for outcome in outcomes) == 1
    assert writes(sandbox) == [SCHEDULES, f"{SCHEDULES}/{{}}"]
