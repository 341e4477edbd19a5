"""Reactivating: a planned end taken back, or a new subscription made and paid, exactly once."""

import time
from functools import partial
from typing import Any

import pytest
from pytest_django import Settings

from billing.errors import BillingError, DoneMeanwhile, OperationRefused
from billing.models import SubscriptionEvent
from billing.operations import OPERATIONS
from billing.operations.sweeper import settle_pending
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import StaffFactory
from tests.operating import Shown, at_once, grow_older, make_due, outcome_of, show
from tests.stripe_world import World, make_customer, make_organization, make_price, read

MAY = ["organizations.reactivate_subscription"]
DAY = 86_400

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def leaving(sandbox: Sandbox, world: World) -> Organization:
    """An organization whose subscription is set to end."""
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at_period_end": True})
    return make_organization(world)


@pytest.fixture
def gone(sandbox: Sandbox, world: World) -> Organization:
    """An organization whose subscription has ended."""
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    return make_organization(world)


def previewed(organization: Organization, how: str = "undo", **choices: Any) -> Shown:
    return show("reactivate_subscription", organization, how=how, **choices)


def subscriptions(sandbox: Sandbox, world: World) -> list[Any]:
    return sandbox.client.v1.subscriptions.list({"customer": world.customer, "status": "all"}).data


def live(sandbox: Sandbox, world: World) -> list[Any]:
    return [each for each in subscriptions(sandbox, world) if each.status == "active"]


def invoices(sandbox: Sandbox, world: World) -> list[Any]:
    return sandbox.client.v1.invoices.list({"customer": world.customer}).data


def settled(event: SubscriptionEvent) -> SubscriptionEvent:
    for _ in range(4):
        make_due()
        settle_pending()
    event.refresh_from_db()
    return event


# -- a planned end taken back -------------------------------------------------------------------------------


def test_a_planned_end_is_taken_back(sandbox: Sandbox, world: World, leaving: Organization) -> None:
    shown = previewed(leaving)
    assert (shown.preview.total, shown.preview.due) == (8 * 2900, 8 * 2900)
    assert shown.preview.invoice_date == shown.preview.ends_at == leaving.current_period_end

    event = shown.apply(StaffFactory(username="ann", permissions=MAY), reason="")

    subscription = sandbox.client.v1.subscriptions.retrieve(world.subscription)
    assert (subscription.cancel_at, subscription.cancel_at_period_end) == (None, False)
    leaving.refresh_from_db()
    assert not leaving.cancel_at_period_end
    assert (event.state, event.actor_label) == ("done", "ann")
    assert (event.message or "").startswith("The cancellation was undone.")
    sandbox.control("POST", "clock", {"advance": 32 * DAY})
    assert invoices(sandbox, world)[0].total == shown.preview.total


def test_an_end_at_a_chosen_moment_is_taken_back(sandbox: Sandbox, world: World) -> None:
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at": int(time.time()) + 90 * DAY})
    organization = make_organization(world)
    assert previewed(organization).apply().state == "done"
    assert sandbox.client.v1.subscriptions.retrieve(world.subscription).cancel_at is None


def test_an_end_within_the_running_period_is_taken_back_with_what_its_rest_costs(
    sandbox: Sandbox, world: World
) -> None:
    end = int(time.time()) + 45 * DAY
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at": end})
    sandbox.control("POST", "clock", {"advance": 35 * DAY})
    organization = make_organization(world)
    at = sandbox.control("GET", "clock")["now"]
    shown = show("reactivate_subscription", organization, at=at)
    assert shown.preview.total > 8 * 2900
    assert shown.preview.invoice_date.timestamp() > end
    assert shown.apply().state == "done"
    sandbox.control("POST", "clock", {"advance": 32 * DAY})
    assert invoices(sandbox, world)[0].total == shown.preview.total


def test_a_subscription_that_goes_on_anyway_has_nothing_to_reactivate(world: World) -> None:
    organization = make_organization(world)
    reason = OPERATIONS["reactivate_subscription"].refuse_reason(organization)
    assert (reason or "").startswith("Nothing to reactivate")
    for how in ("undo", "new"):
        with pytest.raises(OperationRefused, match="Nothing to reactivate"):
            previewed(organization, how)


def test_an_end_that_a_schedule_says_is_left_to_the_schedule(sandbox: Sandbox, world: World) -> None:
    client = sandbox.client.v1.subscription_schedules
    made = client.create({"from_subscription": world.subscription})
    client.update(made.id, {"end_behavior": "cancel"})
    with pytest.raises(OperationRefused, match="A schedule at Stripe"):
        previewed(make_organization(world))


def test_of_several_subscriptions_the_one_that_is_set_to_end_goes_on(
    sandbox: Sandbox, world: World, leaving: Organization
) -> None:
    other = sandbox.client.v1.subscriptions.create(
        {"customer": world.customer, "items": [{"price": make_price(sandbox.client), "quantity": 3}]}
    )
    read(world)
    leaving.refresh_from_db()
    assert OPERATIONS["reactivate_subscription"].refuse_reason(leaving) is None
    with pytest.raises(OperationRefused, match="Nothing to reactivate"):
        previewed(leaving, subscription=other.id)
    assert previewed(leaving, subscription=world.subscription).apply().state == "done"


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after", "error_500", "error_500_after"])
def test_an_unknown_outcome_of_an_undoing_ends_in_the_truth(
    sandbox: Sandbox, world: World, leaving: Organization, settings: Settings, kind: str
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    path = f"/v1/subscriptions/{world.subscription}"
    sandbox.control("POST", "faults", {"kind": kind, "method": "POST", "path": path})
    event = previewed(leaving).apply()
    assert event.state == "pending"
    settings.STRIPE_READ_TIMEOUT = 5
    event = settled(event)
    done = not sandbox.client.v1.subscriptions.retrieve(world.subscription).cancel_at_period_end
    assert event.state == ("done" if done else "failed")
    assert done is (kind != "error_500")


def test_a_subscription_that_was_ended_in_another_tab_is_shown_anew(
    sandbox: Sandbox, world: World, leaving: Organization
) -> None:
    keep = previewed(leaving)
    end_now = show("cancel_subscription", leaving, when="now")
    assert end_now.apply().state == "done"
    with pytest.raises(DoneMeanwhile, match="was faster: The subscription was cancelled and has ended"):
        keep.apply()
    assert live(sandbox, world) == []


# -- a new subscription -------------------------------------------------------------------------------------


def test_a_new_subscription_has_the_old_plan_and_seats_and_costs_what_was_previewed(
    sandbox: Sandbox, world: World, gone: Organization
) -> None:
    shown = previewed(gone, "new")
    preview = shown.preview
    assert (preview.seats, preview.due, preview.recurring) == (8, 8 * 2900, 8 * 2900)
    assert preview.card == "Visa •••• 4242"

    event = shown.apply()

    (new,) = live(sandbox, world)
    item = new["items"].data[0]
    assert (item.price.id, item.quantity) == (world.price, 8)
    assert new.metadata["operation"] == str(event.uuid)
    invoice = invoices(sandbox, world)[0]
    assert (invoice.total, invoice.amount_paid, invoice.status) == (preview.total, preview.due, "paid")
    assert (event.state, event.stripe_subscription_id, event.amount) == ("done", new.id, invoice.total)
    assert event.stripe_invoice_id == invoice.id
    assert "Team, 8 seats. $232.00 was charged." in (event.message or "")
    gone.refresh_from_db()
    assert (gone.stripe_subscription_id, gone.subscription_status, gone.seats) == (new.id, "active", 8)


def test_what_is_in_the_balance_is_used_before_the_card(
    sandbox: Sandbox, world: World, gone: Organization
) -> None:
    sandbox.client.v1.customers.balance_transactions.create(
        world.customer, {"amount": -5000, "currency": "usd"}
    )
    shown = previewed(gone, "new")
    assert (shown.preview.total, shown.preview.due) == (8 * 2900, 8 * 2900 - 5000)
    assert shown.apply().state == "done"
    invoice = invoices(sandbox, world)[0]
    assert (invoice.total, invoice.amount_paid) == (shown.preview.total, shown.preview.due)
    event = SubscriptionEvent.objects.get(type="reactivate_subscription")
    assert OPERATIONS[event.type].retell(event).further == (
        "first invoice of $232.00",
        "$50.00 of it from the customer's balance",
        "$182.00 charged",
    )


def test_what_is_owed_on_the_balance_is_told_with_what_was_charged(
    sandbox: Sandbox, world: World, gone: Organization
) -> None:
    sandbox.client.v1.customers.balance_transactions.create(
        world.customer, {"amount": 5000, "currency": "usd"}
    )
    event = previewed(gone, "new").apply()
    assert OPERATIONS[event.type].retell(event).further == (
        "first invoice of $232.00",
        "with $50.00 that the customer owed from before",
        "$282.00 charged",
    )


@pytest.mark.parametrize("when", ["period_end", "now"])
def test_planned_seats_that_the_cancellation_withdrew_are_said_not_to_come_back(
    world: World, when: str
) -> None:
    organization = make_organization(world)
    show("schedule_seats", organization, seats=12, when="renewal").apply()
    show("cancel_subscription", organization, when=when).apply()
    organization.refresh_from_db()
    shown = previewed(organization, "new" if when == "now" else "undo")
    assert shown.preview.withdrawn_seats == 12
    event = shown.apply()
    said = "The planned change to 12 seats that the cancellation withdrew is not restored."
    assert said in (event.message or "")
    retold = OPERATIONS[event.type].retell(event)
    assert "the change to 12 seats that the cancellation withdrew was not restored" in retold.further


def test_a_plan_withdrawn_by_an_earlier_cancellation_is_not_told_again(
    sandbox: Sandbox, world: World
) -> None:
    organization = make_organization(world)
    show("schedule_seats", organization, seats=12, when="renewal").apply()
    show("cancel_subscription", organization, when="period_end").apply()
    previewed(organization).apply()
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at_period_end": True})
    read(world)
    assert previewed(organization).preview.withdrawn_seats is None


def test_a_coupon_of_the_old_subscription_is_not_taken_over(sandbox: Sandbox, world: World) -> None:
    coupon = sandbox.client.v1.coupons.create({"percent_off": 50, "duration": "forever"})
    sandbox.client.v1.subscriptions.update(world.subscription, {"discounts": [{"coupon": coupon.id}]})
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    shown = previewed(make_organization(world), "new")
    assert (shown.preview.due, shown.preview.recurring) == (8 * 2900, 8 * 2900)
    assert shown.apply().state == "done"
    assert live(sandbox, world)[0].discounts == []


def test_a_customer_who_pays_by_invoice_gets_an_invoice(sandbox: Sandbox, world: World) -> None:
    client = sandbox.client.v1
    client.subscriptions.update(
        world.subscription, {"collection_method": "send_invoice", "days_until_due": 14}
    )
    for method in client.payment_methods.list({"customer": world.customer}).data:
        client.payment_methods.detach(method.id)
    client.subscriptions.cancel(world.subscription)
    shown = previewed(make_organization(world), "new")
    assert (shown.preview.is_mailed, shown.preview.days_until_due) == (True, 14)
    event = shown.apply()
    assert event.state == "done", event.message
    (new,) = live(sandbox, world)
    assert (new.collection_method, new.days_until_due) == ("send_invoice", 14)
    assert "Stripe sends the customer an invoice over $232.00." in (event.message or "")


def test_the_old_subscriptions_own_card_is_charged_again(sandbox: Sandbox, world: World) -> None:
    client = sandbox.client.v1
    own = client.payment_methods.attach("pm_card_mastercard", {"customer": world.customer})
    client.subscriptions.update(world.subscription, {"default_payment_method": own.id})
    client.subscriptions.cancel(world.subscription)
    shown = previewed(make_organization(world), "new")
    assert shown.preview.card == "Mastercard •••• 4444"
    assert shown.apply().state == "done"
    assert live(sandbox, world)[0].default_payment_method == own.id


def test_a_declined_card_leaves_nothing_behind(sandbox: Sandbox, world: World, gone: Organization) -> None:
    card = sandbox.client.v1.payment_methods.list({"customer": world.customer}).data[0]
    sandbox.control("POST", "cards", {"payment_method": card.id, "refuses": "insufficient_funds"})
    event = previewed(gone, "new").apply()
    assert event.state == "failed"
    assert "too little money on it" in (event.message or "")
    assert len(subscriptions(sandbox, world)) == 1
    assert len(invoices(sandbox, world)) == 1


@pytest.mark.parametrize(
    "kind", ["timeout_before", "timeout_after", "error_500", "error_500_after", "drop_connection"]
)
def test_an_unknown_outcome_of_a_new_subscription_ends_in_the_truth(
    sandbox: Sandbox, world: World, gone: Organization, settings: Settings, kind: str
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    sandbox.control("POST", "faults", {"kind": kind, "method": "POST", "path": "/v1/subscriptions"})
    event = previewed(gone, "new").apply()
    assert event.state == "pending"
    with pytest.raises(OperationRefused, match="is still in progress"):
        previewed(gone, "new")
    settings.STRIPE_READ_TIMEOUT = 5
    event = settled(event)
    assert event.state == ("failed" if kind == "error_500" else "done")
    assert len(live(sandbox, world)) == (0 if kind == "error_500" else 1)


def test_a_later_change_of_the_new_subscription_does_not_hide_that_it_was_made(
    sandbox: Sandbox, world: World, gone: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    sandbox.control(
        "POST", "faults", {"kind": "timeout_after", "method": "POST", "path": "/v1/subscriptions"}
    )
    event = previewed(gone, "new").apply()
    settings.STRIPE_READ_TIMEOUT = 5
    (new,) = live(sandbox, world)
    sandbox.client.v1.subscriptions.update(new.id, {"metadata": {"operation": "another"}})
    grow_older(25 * 3600)
    assert settled(event).state == "done"
    assert len(live(sandbox, world)) == 1


def test_an_ended_one_that_was_made_before_is_not_taken_for_the_new_one(
    sandbox: Sandbox, world: World, gone: Organization, settings: Settings
) -> None:
    assert previewed(gone, "new").apply().state == "done"
    (first,) = live(sandbox, world)
    sandbox.client.v1.subscriptions.cancel(first.id)
    settings.STRIPE_READ_TIMEOUT = 0.7
    sandbox.control(
        "POST", "faults", {"kind": "timeout_before", "method": "POST", "path": "/v1/subscriptions"}
    )
    event = previewed(gone, "new", subscription=world.subscription).apply()
    settings.STRIPE_READ_TIMEOUT = 5
    event = settled(event)
    assert event.state == "done"
    (second,) = live(sandbox, world)
    assert event.stripe_subscription_id == second.id != first.id


def test_a_new_subscription_that_never_reached_stripe_is_not_made_beside_another(
    sandbox: Sandbox, world: World, gone: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    sandbox.control(
        "POST", "faults", {"kind": "timeout_before", "method": "POST", "path": "/v1/subscriptions"}
    )
    event = previewed(gone, "new").apply()
    settings.STRIPE_READ_TIMEOUT = 5
    sandbox.client.v1.subscriptions.create({"customer": world.customer, "items": [{"price": world.price}]})
    grow_older(180)
    assert settled(event).state == "failed"
    assert len(live(sandbox, world)) == 1


def test_two_people_at_once_make_one_new_subscription(
    sandbox: Sandbox, world: World, gone: Organization
) -> None:
    people = [StaffFactory(permissions=MAY) for _ in range(2)]
    previews = [previewed(gone, "new") for _ in people]
    outcomes = at_once(*(partial(outcome_of, *each) for each in zip(previews, people, strict=True)))
    assert outcomes.count("done") == 1
    assert sum(isinstance(outcome, BillingError) for outcome in outcomes) == 1
    assert len(live(sandbox, world)) == 1


# -- what cannot be -----------------------------------------------------------------------------------------


def test_an_ended_subscription_is_not_undone_and_a_leaving_one_not_doubled(
    sandbox: Sandbox, world: World, leaving: Organization
) -> None:
    with pytest.raises(OperationRefused, match="is live, so no new one is made"):
        previewed(leaving, "new")
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    with pytest.raises(OperationRefused, match="can no longer be undone"):
        previewed(leaving)


def test_a_customer_with_another_live_subscription_gets_no_new_one(
    sandbox: Sandbox, world: World, gone: Organization
) -> None:
    made = sandbox.client.v1.subscriptions.create(
        {"customer": world.customer, "items": [{"price": world.price}]}
    )
    with pytest.raises(OperationRefused, match=f"has a live subscription already \\({made.id}\\)"):
        previewed(gone, "new")


def test_a_customer_without_a_card_is_refused_in_words(
    sandbox: Sandbox, world: World, gone: Organization
) -> None:
    for method in sandbox.client.v1.payment_methods.list({"customer": world.customer}).data:
        sandbox.client.v1.payment_methods.detach(method.id)
    with pytest.raises(OperationRefused, match="has no payment method"):
        previewed(gone, "new")


def test_a_deleted_customer_is_refused_in_words(sandbox: Sandbox, world: World, gone: Organization) -> None:
    sandbox.client.v1.customers.delete(world.customer)
    with pytest.raises(OperationRefused, match="was deleted at Stripe"):
        previewed(gone, "new")


def test_a_plan_that_is_no_longer_sold_is_refused_in_words(
    sandbox: Sandbox, world: World, gone: Organization
) -> None:
    sandbox.client.v1.prices.update(world.price, {"active": False})
    with pytest.raises(OperationRefused, match=r"The old plan \(Team\) is no longer sold"):
        previewed(gone, "new")
