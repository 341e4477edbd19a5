"""Cancelling: what was previewed of its money, exactly once, and never in doubt for long."""

import time
from functools import partial
from typing import Any

import pytest
from pytest_django import Settings

from billing.errors import BillingError, DoneMeanwhile, OperationRefused
from billing.models import SubscriptionEvent
from billing.operations.cancel import CancelSubscription
from billing.operations.cancel_preview import When
from billing.operations.sweeper import settle_pending
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import StaffFactory
from tests.operating import Shown, at_once, grow_older, make_due, outcome_of, show
from tests.stripe_world import World, make_customer, make_organization, make_price, read

MAY = ["organizations.cancel_subscription"]
DAY = 86_400

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


def previewed(organization: Organization, when: When = When.PERIOD_END, **choices: Any) -> Shown:
    return show("cancel_subscription", organization, when=when.value, **choices)


def now_at_stripe(sandbox: Sandbox) -> int:
    """The moment of the sandbox's clock, which stands still once it was moved."""
    now: int = sandbox.control("GET", "clock")["now"]
    return now


def at_stripe(sandbox: Sandbox, world: World) -> Any:
    return sandbox.client.v1.subscriptions.retrieve(world.subscription)


def pending_amount(sandbox: Sandbox, world: World) -> int:
    items = sandbox.client.v1.invoice_items.list({"customer": world.customer, "pending": True}).data
    return sum(item.amount for item in items)


def fault(sandbox: Sandbox, kind: str, method: str, path: str) -> None:
    sandbox.control("POST", "faults", {"kind": kind, "method": method, "path": path})


def settled(event: SubscriptionEvent) -> SubscriptionEvent:
    for _ in range(4):
        make_due()
        settle_pending()
    event.refresh_from_db()
    return event


def deletions(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [call for call in sandbox.control("GET", "log")["calls"] if call["method"] == "DELETE"]


def test_cancelling_at_the_end_of_the_period_is_set_at_stripe_here_and_in_the_ledger(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown = previewed(organization, feedback="too_expensive", comment="Too dear for us")
    assert shown.preview.ends_at == organization.current_period_end

    event = shown.apply(StaffFactory(username="ann", permissions=MAY), reason="asked by mail")

    subscription = at_stripe(sandbox, world)
    assert (subscription.status, subscription.cancel_at_period_end) == ("active", True)
    assert subscription.cancellation_details.feedback == "too_expensive"
    assert subscription.cancellation_details.comment == "Too dear for us"
    organization.refresh_from_db()
    assert organization.cancel_at_period_end
    assert (event.state, event.actor_label, event.reason) == ("done", "ann", "asked by mail")
    assert (event.message or "").startswith("The subscription is set to end on ")


def test_cancelling_now_ends_the_subscription_and_says_what_the_customer_said(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    event = previewed(organization, When.NOW, feedback="unused", comment="Nobody used it").apply()

    subscription = at_stripe(sandbox, world)
    assert (event.state, subscription.status) == ("done", "canceled")
    assert subscription.cancellation_details.feedback == "unused"
    assert subscription.cancellation_details.comment == f"Nobody used it (operation {event.uuid})"
    organization.refresh_from_db()
    assert organization.subscription_status == "canceled"
    assert (event.previous_status, event.status) == ("active", "canceled")
    assert len(deletions(sandbox)) == 1


@pytest.mark.parametrize("has_changes", [False, True], ids=["plain", "after a change of seats"])
@pytest.mark.parametrize("invoice_now", [False, True], ids=["no invoice", "invoice"])
@pytest.mark.parametrize("prorate", [False, True], ids=["no credit", "credit"])
def test_what_is_credited_and_invoiced_is_what_was_previewed(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    prorate: bool,
    invoice_now: bool,
    has_changes: bool,
) -> None:
    if has_changes:
        sandbox.control("POST", "clock", {"advance": 3 * DAY + 777})
        sandbox.client.v1.subscriptions.update(
            world.subscription, {"items": [{"id": world.item, "quantity": 12}]}
        )
    sandbox.control("POST", "clock", {"advance": 9 * DAY + 12_345})
    before = sandbox.client.v1.invoices.list({"customer": world.customer}).data
    waiting = pending_amount(sandbox, world)
    shown = show(
        "cancel_subscription",
        organization,
        at=now_at_stripe(sandbox),
        when="now",
        prorate=prorate,
        invoice_now=invoice_now,
    )
    preview = shown.preview
    assert preview.waiting == waiting
    assert (preview.credited < 0) is prorate
    assert (preview.credit_shrinks_by > 0) is prorate

    event = shown.apply()

    assert event.state == "done"
    assert at_stripe(sandbox, world).status == "canceled"
    invoices = sandbox.client.v1.invoices.list({"customer": world.customer}).data
    new = [each for each in invoices if each.id not in {old.id for old in before}]
    balance = sandbox.client.v1.customers.retrieve(world.customer).balance
    if invoice_now and (prorate or has_changes):
        assert [each.total for each in new] == [preview.total] == [preview.waiting + preview.credited]
        assert new[0].amount_due == preview.due
        assert balance == min(preview.total, 0)
        assert (event.amount, event.stripe_invoice_id) == (new[0].total, new[0].id)
        assert pending_amount(sandbox, world) == 0
    else:
        assert (new, preview.total, preview.due, balance) == ([], 0, 0, 0)
        assert event.amount is None
        assert pending_amount(sandbox, world) == (preview.waiting + preview.credited if prorate else 0)


def test_what_is_still_owed_at_the_end_of_the_period_is_what_was_previewed(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.control("POST", "clock", {"advance": 3 * DAY})
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"items": [{"id": world.item, "quantity": 12}]}
    )
    shown = show("cancel_subscription", organization, at=now_at_stripe(sandbox))
    assert shown.preview.waiting > 0
    assert shown.apply().state == "done"
    sandbox.control("POST", "clock", {"advance": 40 * DAY})
    assert at_stripe(sandbox, world).status == "canceled"
    newest = sandbox.client.v1.invoices.list({"customer": world.customer}).data[0]
    assert newest.total == shown.preview.waiting


def test_open_invoices_are_told_and_no_longer_collected_after_an_end_now(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    card = sandbox.client.v1.payment_methods.list({"customer": world.customer}).data[0]
    sandbox.control("POST", "cards", {"payment_method": card.id, "refuses": "insufficient_funds"})
    sandbox.control("POST", "clock", {"advance": 32 * DAY})
    read(world)
    organization.refresh_from_db()
    assert organization.subscription_status == "past_due"

    shown = show("cancel_subscription", organization, at=now_at_stripe(sandbox), when="now", prorate=True)

    (unpaid,) = shown.preview.unpaid
    invoice = sandbox.client.v1.invoices.retrieve(unpaid.id)
    assert (unpaid.number, unpaid.amount, unpaid.is_draft) == (invoice.number, 8 * 2900, False)
    assert invoice.auto_advance
    assert shown.apply().state == "done"
    assert not sandbox.client.v1.invoices.retrieve(unpaid.id).auto_advance


def test_a_final_invoice_that_the_card_does_not_pay_is_said_to_be_open(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.control("POST", "clock", {"advance": 3 * DAY})
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"items": [{"id": world.item, "quantity": 12}]}
    )
    card = sandbox.client.v1.payment_methods.list({"customer": world.customer}).data[0]
    sandbox.control("POST", "cards", {"payment_method": card.id, "refuses": "insufficient_funds"})
    event = show(
        "cancel_subscription", organization, at=now_at_stripe(sandbox), when="now", invoice_now=True
    ).apply()
    assert event.state == "done"
    assert at_stripe(sandbox, world).status == "canceled"
    assert "was not paid, and Stripe does not try again by itself" in (event.message or "")


# -- unknown outcomes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["timeout_before", "timeout_after", "error_500", "error_500_after", "drop_connection"]
)
@pytest.mark.parametrize("when", list(When))
def test_an_unknown_outcome_ends_in_the_truth(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings, when: When, kind: str
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    method = "DELETE" if when == When.NOW else "POST"
    fault(sandbox, kind, method, f"/v1/subscriptions/{world.subscription}")

    event = previewed(organization, when, prorate=True, invoice_now=True).apply()

    assert (event.state, event.message) == ("pending", None)
    with pytest.raises(OperationRefused, match="is still in progress"):
        previewed(organization)
    settings.STRIPE_READ_TIMEOUT = 5
    event = settled(event)
    subscription = at_stripe(sandbox, world)
    done = subscription.status == "canceled" or subscription.cancel_at_period_end
    assert event.state == ("done" if done else "failed")
    # A 500 is kept by Stripe under its key; a deletion has no key.
    assert done is (kind != "error_500" or when == When.NOW)
    invoices = sandbox.client.v1.invoices.list({"customer": world.customer}).data
    assert len(invoices) == (2 if when == When.NOW else 1)


def test_an_end_that_somebody_else_made_meanwhile_is_not_called_ours(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, "timeout_before", "DELETE", f"/v1/subscriptions/{world.subscription}")
    event = previewed(organization, When.NOW, prorate=True, invoice_now=True).apply()
    assert event.state == "pending"
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    settings.STRIPE_READ_TIMEOUT = 5
    grow_older(180)
    event = settled(event)
    assert event.state == "failed"
    assert "things changed there meanwhile" in (event.message or "")


def test_an_end_a_moment_before_ours_is_told_in_words(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = CancelSubscription.following

    def be_overtaken(*args: Any) -> Any:
        step = following(*args)
        if step is not None:
            sandbox.client.v1.subscriptions.cancel(world.subscription)
        return step

    monkeypatch.setattr(CancelSubscription, "following", be_overtaken)
    event = previewed(organization, When.NOW).apply()
    assert event.state == "failed"
    assert "somebody else was a moment faster" in (event.message or "")


def test_two_people_at_once_cancel_once_and_the_other_is_told(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    people = [StaffFactory(permissions=MAY) for _ in range(2)]
    previews = [previewed(organization, When.NOW, prorate=True, invoice_now=True) for _ in people]
    outcomes = at_once(*(partial(outcome_of, *each) for each in zip(previews, people, strict=True)))
    assert outcomes.count("done") == 1
    assert sum(isinstance(outcome, BillingError) for outcome in outcomes) == 1
    assert len(deletions(sandbox)) == 1
    assert len(sandbox.client.v1.invoices.list({"customer": world.customer}).data) == 2


def test_a_cancellation_that_was_reactivated_in_another_tab_is_shown_anew(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    assert previewed(organization).apply().state == "done"
    organization.refresh_from_db()
    end_now = previewed(organization, When.NOW)
    keep = show("reactivate_subscription", organization)
    assert keep.apply().state == "done"
    with pytest.raises(DoneMeanwhile, match="was faster: The cancellation was undone"):
        end_now.apply()
    assert at_stripe(sandbox, world).status == "active"


# -- what is there already ----------------------------------------------------------------------------------


def test_an_end_that_is_set_already_is_not_set_again_but_may_come_now(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at_period_end": True})
    with pytest.raises(OperationRefused, match=r"is set to end on .* already"):
        previewed(organization)
    shown = previewed(organization, When.NOW)
    assert shown.preview.scheduled_end == organization.current_period_end
    assert shown.apply().state == "done"


def test_a_later_end_becomes_the_end_of_the_period(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    later = int(time.time()) + 100 * DAY
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at": later})
    shown = previewed(organization)
    assert shown.preview.scheduled_end is not None
    assert shown.apply().state == "done"
    assert at_stripe(sandbox, world).cancel_at < later


def schedule(sandbox: Sandbox, world: World, *, ours: bool) -> str:
    """A change to 12 seats that is planned for the end of the period."""
    made = sandbox.client.v1.subscription_schedules.create({"from_subscription": world.subscription})
    phase = made.phases[0]
    sandbox.client.v1.subscription_schedules.update(
        made.id,
        {
            "end_behavior": "release",
            "metadata": {"operation": "one of ours"} if ours else {},
            "phases": [
                {
                    "items": [{"price": world.price, "quantity": 8}],
                    "start_date": phase.start_date,
                    "end_date": phase.end_date,
                },
                {
                    "items": [{"price": world.price, "quantity": 12}],
                    "start_date": phase.end_date,
                    "end_date": phase.end_date + DAY,
                },
            ],
        },
    )
    read(world)
    return made.id


@pytest.mark.parametrize("when", list(When))
def test_planned_seats_are_withdrawn_with_the_cancellation(
    sandbox: Sandbox, world: World, organization: Organization, when: When
) -> None:
    planned = schedule(sandbox, world, ours=True)
    shown = previewed(organization, when)
    assert shown.preview.planned_seats == 12
    event = shown.apply()
    assert event.state == "done", event.error
    assert "The planned change to 12 seats was withdrawn." in (event.message or "")
    assert sandbox.client.v1.subscription_schedules.retrieve(planned).status == "released"
    subscription = at_stripe(sandbox, world)
    assert subscription.status == "canceled" if when == When.NOW else subscription.cancel_at_period_end


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after"])
@pytest.mark.parametrize("when", list(When))
@pytest.mark.parametrize("step", ["release", "end"])
def test_an_unknown_outcome_of_either_step_ends_in_the_truth(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    settings: Settings,
    step: str,
    when: When,
    kind: str,
) -> None:
    planned = schedule(sandbox, world, ours=True)
    settings.STRIPE_READ_TIMEOUT = 0.7
    shown = previewed(organization, when)
    if step == "release":
        fault(sandbox, kind, "POST", f"/v1/subscription_schedules/{planned}/release")
    else:
        method = "DELETE" if when == When.NOW else "POST"
        fault(sandbox, kind, method, f"/v1/subscriptions/{world.subscription}")
    event = shown.apply()
    assert event.state == "pending"
    settings.STRIPE_READ_TIMEOUT = 5
    assert settled(event).state == "done", event.error
    subscription = at_stripe(sandbox, world)
    assert subscription.status == "canceled" if when == When.NOW else subscription.cancel_at_period_end


def test_a_refusal_after_the_release_is_handed_to_a_person(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    schedule(sandbox, world, ours=True)
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, "timeout_before", "DELETE", f"/v1/subscriptions/{world.subscription}")
    event = previewed(organization, When.NOW).apply()
    sandbox.client.v1.subscriptions.update(world.subscription, {"items": [{"id": world.item, "quantity": 9}]})
    grow_older(180)
    event = settled(event)
    assert event.state == "parked"
    assert "withdrawn, but the subscription was not cancelled" in (event.message or "")
    assert at_stripe(sandbox, world).status == "active"


def test_a_schedule_that_somebody_made_at_stripe_is_left_alone(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    schedule(sandbox, world, ours=False)
    for when in When:
        with pytest.raises(OperationRefused, match="A schedule that was made at Stripe"):
            previewed(organization, when)


# -- in every state -----------------------------------------------------------------------------------------


def test_a_trial_is_cancelled_and_nothing_is_credited(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    sandbox.client.v1.subscriptions.create(
        {
            "customer": world.customer,
            "items": [{"price": world.price, "quantity": 8}],
            "trial_period_days": 14,
        }
    )
    shown = previewed(make_organization(world), When.NOW, prorate=True, invoice_now=True)
    assert (shown.preview.credited, shown.preview.total) == (0, 0)
    event = shown.apply()
    assert (event.state, event.previous_status, event.status) == ("done", "trialing", "canceled")


def test_a_paused_trial_is_cancelled_now_and_not_at_the_end_of_a_period_that_is_over(
    sandbox: Sandbox,
) -> None:
    world = make_customer(sandbox)
    client = sandbox.client.v1
    client.subscriptions.cancel(world.subscription)
    client.subscriptions.create(
        {
            "customer": world.customer,
            "items": [{"price": world.price, "quantity": 8}],
            "trial_period_days": 14,
            "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
        }
    )
    for method in client.payment_methods.list({"customer": world.customer}).data:
        client.payment_methods.detach(method.id)
    sandbox.control("POST", "clock", {"advance": 15 * DAY})
    organization = make_organization(world)
    assert organization.subscription_status == "paused"
    at = now_at_stripe(sandbox)
    with pytest.raises(OperationRefused, match="no other runs"):
        show("cancel_subscription", organization, at=at)
    assert show("cancel_subscription", organization, at=at, when="now").apply().state == "done"


def test_a_subscription_whose_first_payment_failed_is_cancelled_without_money(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    client = sandbox.client.v1
    client.subscriptions.cancel(world.subscription)
    client.subscriptions.create(
        {
            "customer": world.customer,
            "items": [{"price": world.price, "quantity": 8}],
            "payment_behavior": "default_incomplete",
        }
    )
    organization = make_organization(world)
    assert organization.subscription_status == "incomplete"
    with pytest.raises(OperationRefused, match="Cancel it now instead"):
        previewed(organization)
    with pytest.raises(OperationRefused, match="nothing to credit"):
        previewed(organization, When.NOW, prorate=True)
    assert previewed(organization, When.NOW).apply().state == "done"


def test_an_ended_subscription_is_refused_in_words(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    with pytest.raises(OperationRefused, match="ended on"):
        previewed(organization)


def test_of_several_subscriptions_the_chosen_one_ends(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    other = sandbox.client.v1.subscriptions.create(
        {"customer": world.customer, "items": [{"price": make_price(sandbox.client), "quantity": 3}]}
    )
    read(world)
    event = previewed(organization, When.NOW, subscription=world.subscription).apply()
    assert event.state == "done"
    assert at_stripe(sandbox, world).status == "canceled"
    assert sandbox.client.v1.subscriptions.retrieve(other.id).status == "active"
    stranger = make_customer(sandbox)
    with pytest.raises(OperationRefused, match="belongs to another customer"):
        previewed(organization, When.NOW, subscription=stranger.subscription)
