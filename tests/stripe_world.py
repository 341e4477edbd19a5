"""Customers at the sandbox Stripe, made the way a product would make them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import stripe

from billing.sync import EVERYTHING, request_sync, sync_customer
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import UnbilledOrganizationFactory


@dataclass(frozen=True)
class World:
    """What `make_customer` made: ids at Stripe."""

    customer: str
    subscription: str
    item: str
    price: str


def make_price(
    client: stripe.StripeClient,
    *,
    amount: int = 2900,
    currency: str = "usd",
    interval: Any = "month",
    metadata: dict[str, str] | None = None,
) -> str:
    """A product and its recurring price; `amount` in minor units."""
    made = client.v1.products.create({"name": "Team", "metadata": metadata or {}})
    price = client.v1.prices.create(
        {"product": made.id, "currency": currency, "unit_amount": amount, "recurring": {"interval": interval}}
    )
    return price.id


def make_customer(
    sandbox: Sandbox, *, seats: int = 8, card: str = "pm_card_visa", price: str | None = None
) -> World:
    """A customer with a card and a live subscription."""
    client = sandbox.client
    price = price or make_price(client)
    customer = client.v1.customers.create({"name": "Northwind Labs", "email": "billing@northwind.example"})
    method = client.v1.payment_methods.attach(card, {"customer": customer.id})
    client.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": method.id}})
    made = client.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price, "quantity": seats}]}
    )
    return World(customer.id, made.id, made["items"]["data"][0]["id"], price)


def make_organization(world: World, **columns: Any) -> Organization:
    """Our row of that customer, read from Stripe as it is now."""
    organization: Organization = UnbilledOrganizationFactory(stripe_customer_id=world.customer, **columns)
    read(world)
    organization.refresh_from_db()
    return organization


def read(world: World) -> None:
    """Read everything of that customer from Stripe."""
    request_sync(world.customer, [EVERYTHING])
    assert sync_customer(world.customer)


def seats_at_stripe(sandbox: Sandbox, world: World) -> int | None:
    """The quantity that Stripe bills."""
    return sandbox.client.v1.subscription_items.retrieve(world.item).quantity


def seats_planned_at_stripe(sandbox: Sandbox, world: World) -> int | None:
    """The quantity of the last phase of the subscription's schedule; None where it has none."""
    schedule = sandbox.client.v1.subscriptions.retrieve(world.subscription).schedule
    if not schedule:
        return None
    phases = sandbox.client.v1.subscription_schedules.retrieve(str(schedule)).phases
    seats: int = phases[-1]["items"][0].quantity
    return seats


def charges_at_stripe(sandbox: Sandbox, world: World) -> list[Any]:
    """What the customer was charged, newest first."""
    return list(sandbox.client.v1.charges.list({"customer": world.customer, "limit": 100}).data)


def plan_seats_at_stripe(sandbox: Sandbox, world: World, seats: int, mark: str = "") -> str:
    """A schedule that sets `seats` with the renewal, as Stripe's dashboard makes one, or as ours with a `mark`."""
    made = sandbox.client.v1.subscription_schedules.create({"from_subscription": world.subscription})
    present = made.phases[0]
    seats_now = seats_at_stripe(sandbox, world) or 0
    sandbox.client.v1.subscription_schedules.update(
        made.id,
        {
            "metadata": {"operation": mark} if mark else {},
            "phases": [
                {
                    "items": [{"price": world.price, "quantity": seats_now}],
                    "start_date": present.start_date,
                    "end_date": present.end_date,
                },
                {
                    "items": [{"price": world.price, "quantity": seats}],
                    "duration": {"interval": "month"},
                },
            ],
        },
    )
    return made.id
