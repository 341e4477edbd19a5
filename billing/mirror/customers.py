"""Customers, their subscriptions and payment methods: Stripe-shaped dicts, as Stripe sent them."""

from __future__ import annotations

from collections.abc import Iterable

from djstripe.models import Customer, PaymentMethod, Product, Subscription

from billing.mirror.tables import newest, one
from billing.one_look import read_once
from billing.stripe_api import StripeObject


@read_once
def customer(customer_id: str) -> StripeObject | None:
    """The customer, or None where the mirror has none."""
    return one(Customer.objects.filter(id=customer_id))


@read_once
def subscriptions_of(customer_id: str) -> list[StripeObject]:
    """All subscriptions of a customer, ended ones too, newest first, their products expanded."""
    return with_products(newest(Subscription.objects.filter(customer_id=customer_id), None))


def subscriptions_of_many(customer_ids: Iterable[str]) -> dict[str, list[StripeObject]]:
    """The same for many customers, by their ids, in two queries."""
    rows = Subscription.objects.filter(customer_id__in=list(customer_ids)).order_by(
        "-created", "-djstripe_id"
    )
    found: dict[str, list[StripeObject]] = {}
    pairs = list(rows.values_list("customer_id", "stripe_data"))
    with_products([data for _customer_id, data in pairs])
    for customer_id, data in pairs:
        found.setdefault(customer_id, []).append(data)
    return found


@read_once
def subscription(subscription_id: str) -> StripeObject | None:
    """One subscription with its products expanded, or None where the mirror has none."""
    found = one(Subscription.objects.filter(id=subscription_id))
    return with_products([found])[0] if found else None


def with_products(subscriptions: list[StripeObject], read: Iterable[StripeObject] = ()) -> list[StripeObject]:
    """Expand the products of items that were read from a list, where Stripe expands less deeply.

    A product that is among the objects just `read` is taken from there.
    """
    items = [item for each in subscriptions for item in (each.get("items") or {}).get("data", [])]
    names = {item["price"]["product"] for item in items if isinstance(item["price"].get("product"), str)}
    products = {each["id"]: each for each in read if each["object"] == "product"}
    if missing := names - products.keys():
        products.update(Product.objects.filter(id__in=missing).values_list("id", "stripe_data"))
    for item in items:
        product = item["price"].get("product")
        item["price"]["product"] = products.get(product, product) if isinstance(product, str) else product
    return subscriptions


def products_named_in(subscriptions: Iterable[StripeObject]) -> set[str]:
    """Ids of the products that these subscriptions sell and that did not come along with them."""
    return {
        item["price"]["product"]
        for each in subscriptions
        for item in each["items"]["data"]
        if isinstance(item["price"].get("product"), str)
    }


@read_once
def payment_methods_of(customer_id: str) -> list[StripeObject]:
    """Payment methods attached to a customer, newest first."""
    return newest(PaymentMethod.objects.filter(customer_id=customer_id), None)


def forget_detached(customer_id: str, everything: Iterable[StripeObject]) -> None:
    """Take from a customer the payment methods that are not among everything it has at Stripe now."""
    attached = [each["id"] for each in everything if each["object"] == "payment_method"]
    PaymentMethod.objects.filter(customer_id=customer_id).exclude(id__in=attached).update(customer=None)


def knows_payment_method(payment_method_id: str) -> bool:
    """Whether the mirror has read this payment method."""
    return bool(PaymentMethod.objects.filter(id=payment_method_id).exclude(created=None).exists())
