"""About what the next invoice is: held against what Stripe then really invoices."""

from __future__ import annotations

import time

import pytest

from billing import mirror
from billing.estimates import Estimate, estimate_next_invoice
from billing.operations.dealings import dealings_of
from billing.operations.seats import prorations_waiting
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.operating import show
from tests.stripe_world import World, make_customer, make_organization, plan_seats_at_stripe, read

pytestmark = pytest.mark.django_db(transaction=True)


def estimated(world: World) -> Estimate | None:
    return estimated_for(world, make_organization(world))


def estimated_for(world: World, organization: Organization) -> Estimate | None:
    subscription, customer = mirror.subscription(world.subscription), mirror.customer(world.customer)
    assert subscription
    assert customer
    changes = dealings_of(organization, []).seat_changes
    prorated = prorations_waiting(changes, world.subscription, mirror.invoices_of(world.customer))
    return estimate_next_invoice(subscription, customer, prorated)


def change_seats(organization: Organization, seats: int, proration: str = "create_prorations") -> int:
    """What it prorates."""
    event = show("change_seats", organization, seats=seats, proration=proration).apply()
    organization.refresh_from_db()
    return event.amount or 0


def renewed(sandbox: Sandbox, world: World) -> tuple[int, int]:
    """What the next invoice came to and what of it was due, a good month later."""
    sandbox.control("POST", "clock", {"advance": 32 * 86400})
    read(world)
    invoice = mirror.invoices_of(world.customer)[0]
    return invoice["total"], invoice["amount_due"]


def test_seats_times_price_where_nothing_else_is_known(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    estimate = estimated(world)
    assert estimate
    assert (estimate.total, estimate.due) == renewed(sandbox, world) == (23200, 23200)


def test_planned_seats_are_in_it(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    plan_seats_at_stripe(sandbox, world, 12, mark="of a colleague")
    estimate = estimated(world)
    assert estimate
    assert estimate.seats == 12
    assert (estimate.total, estimate.due) == renewed(sandbox, world) == (34800, 34800)


def test_a_coupon_and_credit_are_in_it(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    coupon = sandbox.client.v1.coupons.create({"percent_off": 10, "duration": "forever"})
    sandbox.client.v1.subscriptions.update(world.subscription, {"discounts": [{"coupon": coupon.id}]})
    sandbox.client.v1.customers.balance_transactions.create(
        world.customer, {"amount": -3000, "currency": "usd"}
    )
    estimate = estimated(world)
    assert estimate
    assert (estimate.discount, estimate.from_balance) == (2320, 3000)
    assert (estimate.total, estimate.due) == renewed(sandbox, world)


def test_a_coupon_that_ends_before_is_not(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    coupon = sandbox.client.v1.coupons.create(
        {"percent_off": 10, "duration": "repeating", "duration_in_months": 1}
    )
    sandbox.client.v1.subscriptions.update(world.subscription, {"discounts": [{"coupon": coupon.id}]})
    estimate = estimated(world)
    assert estimate
    assert estimate.discount == 0
    assert estimate.total == renewed(sandbox, world)[0]


def test_none_is_expected_of_a_subscription_that_ends(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at_period_end": True})
    assert estimated(world) is None


def test_a_pause_says_what_becomes_of_it(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"pause_collection": {"behavior": "keep_as_draft"}}
    )
    estimate = estimated(world)
    assert estimate
    assert (estimate.total, estimate.behavior) == (23200, "keep_as_draft")


def test_a_trial_is_invoiced_when_it_ends(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    made = sandbox.client.v1.subscriptions.create(
        {
            "customer": world.customer,
            "items": [{"price": world.price, "quantity": 2}],
            "trial_period_days": 14,
        }
    )
    make_organization(world)
    subscription = mirror.subscription(made.id)
    assert subscription
    estimate = estimate_next_invoice(subscription, {})
    assert estimate
    assert estimate.total == 5800
    assert estimate.at.timestamp() == made.trial_end


def test_what_our_changes_of_seats_prorated_is_in_it_until_an_invoice_takes_it(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    added = change_seats(organization, 12)
    time.sleep(1.1)  # a preview knows its own lines by the second they are prorated from
    expected = added + change_seats(organization, 10)
    read(world)
    estimate = estimated_for(world, organization)
    assert estimate
    assert estimate.prorated == expected > 0
    assert (estimate.total, estimate.due) == renewed(sandbox, world)
    after = estimated_for(world, organization)
    assert after
    assert (after.prorated, after.total) == (0, 29000)


def test_an_invoice_made_at_once_takes_along_what_waited(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    change_seats(organization, 9)
    sandbox.control("POST", "clock", {"advance": 3600})
    change_seats(organization, 12, "always_invoice")
    read(world)
    estimate = estimated_for(world, organization)
    assert estimate
    assert estimate.prorated == 0
    assert (estimate.total, estimate.due) == renewed(sandbox, world)


def test_no_discount_is_taken_off_what_was_prorated_with_it(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    coupon = sandbox.client.v1.coupons.create({"percent_off": 25, "duration": "forever"})
    sandbox.client.v1.subscriptions.update(world.subscription, {"discounts": [{"coupon": coupon.id}]})
    organization = make_organization(world)
    assert change_seats(organization, 12) > 0
    read(world)
    estimate = estimated_for(world, organization)
    assert estimate
    assert estimate.discount == 8700
    assert (estimate.total, estimate.due) == renewed(sandbox, world)


def test_more_given_back_than_is_charged_stays_credit(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    given_back = change_seats(organization, 1)
    read(world)
    estimate = estimated_for(world, organization)
    assert estimate
    assert estimate.prorated == given_back < -2900
    assert (estimate.total, estimate.to_credit, estimate.from_balance) == (0, -given_back - 2900, 0)
    total, due = renewed(sandbox, world)
    assert (total, due) == (-estimate.to_credit, 0)
