"""Every check finds the drift that it is for, and no check finds anything else."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe
from django.utils import timezone
from djstripe.models import Invoice

from billing.models import Discrepancy, SubscriptionEvent
from billing.reconciliation.checks import CHECKS, COLUMNS, Mending, Policy
from billing.reconciliation.telling import overview, sentence
from organizations.models import Organization
from tests.billing.reconciliation.running import found, reconcile
from tests.conftest import Sandbox
from tests.factories import HoldFactory, MembershipFactory, OrganizationFactory, StaffEventFactory
from tests.stripe_world import World, charges_at_stripe, make_customer, make_organization, make_price, read

pytestmark = pytest.mark.django_db(transaction=True)

type Seed = Callable[[Sandbox, World, Organization], Any]


def _ours(**columns: Any) -> Seed:
    return lambda sandbox, world, organization: Organization.objects.filter(pk=organization.pk).update(
        **columns
    )


def _lose_subscription(sandbox: Sandbox, world: World, organization: Organization) -> None:
    bare = sandbox.client.v1.customers.create({"name": "Bare"}).id
    Organization.objects.filter(pk=organization.pk).update(
        stripe_customer_id=bare, stripe_subscription_id="sub_never"
    )


def _subscribe_again(sandbox: Sandbox, world: World, organization: Organization) -> None:
    time.sleep(1.1)  # Stripe knows whole seconds only
    made = sandbox.client.v1.subscriptions.create(
        {"customer": world.customer, "items": [{"price": world.price, "quantity": 8}]}
    )
    # The newest is the subscription of an organization, and ours knew that already.
    Organization.objects.filter(pk=organization.pk).update(
        stripe_subscription_id=made.id,
        current_period_start=datetime.datetime.fromtimestamp(
            made["items"]["data"][0].current_period_start, datetime.UTC
        ),
        current_period_end=datetime.datetime.fromtimestamp(
            made["items"]["data"][0].current_period_end, datetime.UTC
        ),
    )


def _take_another_card(sandbox: Sandbox, world: World, organization: Organization) -> None:
    card = sandbox.client.v1.payment_methods.attach("pm_card_mastercard", {"customer": world.customer})
    sandbox.client.v1.customers.update(
        world.customer, {"invoice_settings": {"default_payment_method": card.id}}
    )


def _change_price(sandbox: Sandbox, world: World, organization: Organization) -> None:
    price = make_price(sandbox.client, amount=3500)
    sandbox.client.v1.subscription_items.update(
        world.item, {"price": price, "quantity": 8, "proration_behavior": "none"}
    )


def _discount(sandbox: Sandbox, world: World, organization: Organization) -> None:
    coupon = sandbox.client.v1.coupons.create({"percent_off": 20, "duration": "forever"})
    sandbox.client.v1.subscriptions.update(world.subscription, {"discounts": [{"coupon": coupon.id}]})


def _owe_for_months(sandbox: Sandbox, world: World, organization: Organization) -> None:
    """An invoice whose payment failed long ago."""
    client = sandbox.client
    card = client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": world.customer})
    client.v1.invoice_items.create({"customer": world.customer, "amount": 500, "currency": "usd"})
    made = client.v1.invoices.create(
        {"customer": world.customer, "pending_invoice_items_behavior": "include"}
    )
    client.v1.invoices.finalize_invoice(made.id)
    with pytest.raises(stripe.CardError):
        client.v1.invoices.pay(made.id, {"payment_method": card.id})
    read(world)
    Organization.objects.filter(pk=organization.pk).update(
        billing_issue_since=timezone.now() - datetime.timedelta(days=90)
    )


def _invoice_was_open(sandbox: Sandbox, world: World, organization: Organization) -> None:
    [invoice] = Invoice.objects.filter(customer_id=world.customer)
    invoice.stripe_data |= {"status": "open", "amount_remaining": 23200}
    invoice.save(update_fields=["stripe_data"])


def _name_another(sandbox: Sandbox, world: World, organization: Organization) -> None:
    other = OrganizationFactory(stripe_customer_id=None, stripe_subscription_id=None, subscription_status="")
    sandbox.client.v1.customers.update(world.customer, {"metadata": {"organization": other.slug}})


DRIFTS: dict[str, Seed] = {
    "subscription": lambda sandbox, world, organization: sandbox.client.v1.subscriptions.cancel(
        world.subscription
    ),
    "seats": lambda sandbox, world, organization: sandbox.client.v1.subscription_items.update(
        world.item, {"quantity": 11}
    ),
    "price": _change_price,
    "period": _ours(current_period_end=datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)),
    "cancellation": lambda sandbox, world, organization: sandbox.client.v1.subscriptions.update(
        world.subscription, {"cancel_at_period_end": True}
    ),
    "trial": _ours(trial_end=datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)),
    "currency": _ours(currency="eur"),
    "discount": _discount,
    "card": _take_another_card,
    "billing_issue": _ours(billing_issue_since=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
    "subscription_missing": _lose_subscription,
    "several_subscriptions": _subscribe_again,
    "customer_gone": _ours(stripe_customer_id="cus_never"),
    "customer_of_two": _name_another,
    "seats_below_members": lambda sandbox, world, organization: MembershipFactory.create_batch(
        9, organization=organization
    ),
    "paid_but_suspended": lambda sandbox, world, organization: HoldFactory(
        organization=organization, kind="non_payment"
    ),
    "unpaid_but_active": _owe_for_months,
    "suspended_but_billed": lambda sandbox, world, organization: HoldFactory(
        organization=organization, stops_billing=True
    ),
    "refund_unknown": lambda sandbox, world, organization: sandbox.client.v1.refunds.create(
        {"charge": charges_at_stripe(sandbox, world)[0].id, "amount": 500}
    ),
    "refund_missing": lambda sandbox, world, organization: StaffEventFactory(
        organization=organization,
        type="refund_invoice",
        stripe_refund_id="re_never",
        amount=500,
        quantity=None,
        previous_quantity=None,
    ),
    "invoice_paid": _invoice_was_open,
}
# The customer of the organization whose row was connected elsewhere is then nobody's.
ELSEWHERE = {"subscription_missing", "customer_gone"}
# Found among Stripe's events; see test_incremental.py.
OF_EVENTS = {"event_missing"}


def test_every_drift_is_found_and_none_is_invented(sandbox: Sandbox) -> None:
    expected: set[tuple[str, str | None]] = {("subscription_of_nobody", None)}
    slugs = {}
    price = make_price(sandbox.client)
    for type_, seed in DRIFTS.items():
        world = make_customer(sandbox, price=price)
        organization = make_organization(world)
        seed(sandbox, world, organization)
        slugs[type_] = organization.slug
        expected.add((type_, organization.slug))
    clean = [make_organization(make_customer(sandbox, price=price)) for _ in range(3)]
    make_customer(sandbox, price=price)
    run = reconcile(dry_run=True)
    assert run.errors == 0, run.log
    mended_by_reading = {("invoice_paid", slugs["invoice_paid"])}
    assert found() == expected - mended_by_reading
    assert Discrepancy.objects.get(type="invoice_paid").closed_how == "gone"
    assert run.fixed == 0
    assert not Discrepancy.objects.filter(organization__in=clean).exists()
    nobodys = Discrepancy.objects.filter(organization=None)
    assert nobodys.count() == 1 + len(ELSEWHERE)
    for row in Discrepancy.objects.all():
        assert sentence(row)
    assert all("“Northwind Labs”, whom nobody here is." in sentence(row) for row in nobodys)
    assert overview().differing == len(DRIFTS) - 1

    # The same again, and then what may be mended is.
    assert reconcile(dry_run=True).found == 0
    run = reconcile(max_changes=100)
    left = {each for each in expected - mended_by_reading if CHECKS[each[0]].policy is not Policy.FIX}
    assert found() == left
    assert run.fixed == len(expected - mended_by_reading - left)
    assert SubscriptionEvent.objects.filter(type="reconciliation.refund_found").count() == 1
    assert reconcile().fixed == 0


def test_every_check_has_its_drift() -> None:
    assert DRIFTS.keys() | {"subscription_of_nobody"} | OF_EVENTS == CHECKS.keys()


def test_every_column_that_the_sync_writes_is_compared() -> None:
    from billing.projection import project

    columns = project({"id": "cus_1"}, [], [], [], timezone.now(), None)
    assert sorted(columns) == sorted(name for names in COLUMNS.values() for name in names)


def test_whatever_is_mended_without_asking_can_be() -> None:
    for check in CHECKS.values():
        if check.policy is Policy.FIX:
            assert check.mending in (Mending.READ, Mending.RECORD, Mending.DONE)
        if check.policy is Policy.REPORT:
            assert check.mending is None


def test_an_amount_that_differs_is_told_as_money_and_a_price_by_more_than_its_id(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    Organization.objects.filter(pk=organization.pk).update(
        billing_issue_since=timezone.now(), amount_overdue=20300, price_id="price_other", unit_amount=900
    )
    reconcile(dry_run=True)
    said = {row.type: sentence(row) for row in Discrepancy.objects.open()}
    assert "$203.00 → $0.00" in said["billing_issue"]
    assert "$9.00 → $29.00" in said["price"]
    assert "price_" not in said["price"]
