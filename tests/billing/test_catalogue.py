"""Products and prices are everybody's: read under a lease of their own, told to all who buy them, never taken back."""

from __future__ import annotations

import pytest
from django.test import Client
from djstripe.models import Price, Product
from procrastinate.contrib.django.models import ProcrastinateJob

from billing import mirror, stripe_api
from billing.inbox import PROJECTION, SYNC_QUEUE, overdue_customers, request_sync
from billing.models import CustomerSync, SubscriptionEvent
from billing.sync import sync_customer
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.stripe_world import World, make_customer, make_organization
from tests.webhooks.signing import deliver, make_event

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


def read_all() -> None:
    """What workers do."""
    for _ in range(5):
        for row in CustomerSync.objects.exclude(objects_wanted={}):
            sync_customer(row.pk)


def product_of(world: World) -> str:
    return str(Price.objects.get(id=world.price).stripe_data["product"])


def test_a_product_that_is_renamed_is_told_to_all_who_buy_it(
    sandbox: Sandbox, client: Client, world: World, organization: Organization
) -> None:
    other = make_organization(make_customer(sandbox, price=world.price))
    product = product_of(world)
    renamed = sandbox.client.v1.products.update(product, {"name": "Crew"})
    sandbox.control("DELETE", "log")

    assert deliver(client, make_event("product.updated", renamed.to_dict())).status_code == 200
    read_all()

    for each in (organization, other):
        each.refresh_from_db()
        assert each.plan == "Crew"
    event = SubscriptionEvent.objects.get(type="product.updated")
    assert (event.state, event.organization) == ("done", None)
    # One call, however many buy it.
    assert [call["path"] for call in sandbox.control("GET", "log")["calls"]] == [f"/v1/products/{product}"]


def test_telling_all_who_buy_it_delays_no_event(
    sandbox: Sandbox, client: Client, world: World, organization: Organization
) -> None:
    other = make_organization(make_customer(sandbox, price=world.price))
    product = product_of(world)
    ProcrastinateJob.objects.all().delete()
    renamed = sandbox.client.v1.products.update(product, {"name": "Crew"})
    deliver(client, make_event("product.updated", renamed.to_dict()))
    sync_customer(f"product/{product}")

    subscription = {"id": world.subscription, "object": "subscription", "customer": world.customer}
    deliver(client, make_event("customer.subscription.updated", subscription))

    in_order = ProcrastinateJob.objects.filter(queue_name=SYNC_QUEUE).order_by("-priority", "id")
    first, heard, *told = [job.args["customer_id"] for job in in_order]
    assert (first, heard) == (f"product/{product}", world.customer)
    assert set(told) == {world.customer, other.stripe_customer_id}
    # Nor are they taken for lost while they wait for their turn.
    assert overdue_customers() == []
    read_all()
    assert set(Organization.objects.values_list("plan", flat=True)) == {"Crew"}
    assert not CustomerSync.objects.filter(next_attempt_at__isnull=False).exists()


def test_a_price_that_gets_a_nickname_is_told_by_it(
    sandbox: Sandbox, client: Client, world: World, organization: Organization
) -> None:
    sandbox.client.v1.prices.update(world.price, {"nickname": "Founders"})
    deliver(client, make_event("price.updated", {"id": world.price, "object": "price"}))
    read_all()
    organization.refresh_from_db()
    assert organization.plan == "Founders"


def test_what_a_subscription_brought_along_never_overwrites_what_was_read_later(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    product = product_of(world)
    read_earlier = stripe_api.retrieve(world.subscription)
    sandbox.client.v1.products.update(product, {"name": "Crew"})
    request_sync(f"product/{product}", [product])
    read_all()

    # Written late, by whoever had asked before.
    assert mirror.upsert([read_earlier]) == {("product", product)}

    assert Product.objects.get(id=product).stripe_data["name"] == "Crew"


def test_a_sync_that_sees_another_product_than_we_have_has_it_read_again(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    product = product_of(world)
    sandbox.client.v1.products.update(product, {"name": "Crew"})
    request_sync(world.customer, [world.subscription])
    sync_customer(world.customer)
    assert CustomerSync.objects.filter(pk=f"product/{product}").exists()

    read_all()

    organization.refresh_from_db()
    assert (organization.plan, Product.objects.get(id=product).name) == ("Crew", "Crew")
    assert not CustomerSync.objects.exclude(objects_wanted={}).exists()


def test_telling_anew_asks_stripe_nothing(sandbox: Sandbox, world: World, organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="Old", seats=1)
    sandbox.control("DELETE", "log")
    request_sync(world.customer, [PROJECTION])
    sync_customer(world.customer)
    organization.refresh_from_db()
    assert (organization.plan, organization.seats) == ("Team", 8)
    assert sandbox.control("GET", "log")["calls"] == []


def test_a_deleted_product_stays_and_says_so(sandbox: Sandbox, client: Client) -> None:
    product = sandbox.client.v1.products.create({"name": "Short-lived"})
    for type_ in ("product.created", "product.deleted", "product.updated"):
        if type_ == "product.deleted":
            sandbox.client.v1.products.delete(product.id)
        deliver(client, make_event(type_, product.to_dict()))
        read_all()
    assert Product.objects.get(id=product.id).stripe_data["deleted"] is True
    assert set(SubscriptionEvent.objects.values_list("state", flat=True)) == {"done"}


def test_a_product_whose_id_somebody_chose_is_read_all_the_same(sandbox: Sandbox) -> None:
    made = sandbox.client.v1.products.create({"id": "gold", "name": "Gold"})
    price = sandbox.client.v1.prices.create(
        {"product": made.id, "currency": "usd", "unit_amount": 100, "recurring": {"interval": "month"}}
    )
    organization = make_organization(make_customer(sandbox, price=price.id))
    assert organization.plan == "Gold"


def test_a_deleted_draft_is_gone(sandbox: Sandbox, world: World, organization: Organization) -> None:
    draft = sandbox.client.v1.invoices.create({"customer": world.customer})
    request_sync(world.customer, [str(draft.id)])
    sync_customer(world.customer)
    assert mirror.invoice_of(world.customer, str(draft.id)) is not None
    sandbox.client.v1.invoices.delete(str(draft.id))
    request_sync(world.customer, [str(draft.id)])
    sync_customer(world.customer)
    assert mirror.invoice_of(world.customer, str(draft.id)) is None
