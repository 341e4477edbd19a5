"""What Stripe says now about a customer: read, and given back. Nothing is written here.

The one writer (billing/sync.py) reads this way while it holds the lease, and so does whoever only wants to compare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from billing import mirror, stripe_api
from billing.errors import ObjectMissing
from billing.stripe_api import StripeObject

type BeforeEachCall = Callable[[], None]
"""Called before each call to Stripe; what it raises ends the reading."""

type ReadObject = Callable[[str, str], list[StripeObject]]
"""Given whose it is and its id, the object as `read_object` gives it."""


def _as_it_comes() -> None:
    """Nothing to do before a call."""


def read_object(
    customer_id: str, object_id: str, before_each_call: BeforeEachCall = _as_it_comes
) -> list[StripeObject]:
    """One object of a customer, preceded by the default card that the mirror does not know yet.

    Raises ObjectMissing where Stripe knows no such object, StripeError otherwise.
    """
    before_each_call()
    if kind := kind_of_catalogue(customer_id):
        return [stripe_api.retrieve_of_catalogue(kind, object_id)]
    is_customer = object_id == customer_id and not is_ownerless(object_id)
    found = stripe_api.retrieve_customer(object_id) if is_customer else stripe_api.retrieve(object_id)
    card = (found.get("invoice_settings") or {}).get("default_payment_method")
    if isinstance(card, str) and not mirror.knows_payment_method(card):
        before_each_call()
        return [stripe_api.retrieve(card), found]
    return [found]


class ReadOnce:
    """`read_object` for many that may be about the same: Stripe is asked for each object once.

    What Stripe does not know is remembered as well. Not for long: what it says changes.
    """

    def __init__(self) -> None:
        self._read: dict[tuple[str | None, str], list[StripeObject] | ObjectMissing] = {}

    def __call__(self, customer_id: str, object_id: str) -> list[StripeObject]:
        """The object, as `read_object` gives it. Raises what that raises."""
        key = kind_of_catalogue(customer_id), object_id
        if key not in self._read:
            try:
                self._read[key] = read_object(customer_id, object_id)
            except ObjectMissing as missing:
                self._read[key] = missing
        found = self._read[key]
        if isinstance(found, ObjectMissing):
            raise found
        return found


def read_everything(customer_id: str, before_each_call: BeforeEachCall = _as_it_comes) -> list[StripeObject]:
    """All that the mirror keeps of one customer, parents first. Raises ObjectMissing and StripeError."""

    def listed(path: str, **params: Any) -> list[StripeObject]:
        rows: list[StripeObject] = []
        before_each_call()
        for page in stripe_api.list_pages(path, params):
            rows.extend(page)
            before_each_call()
        return rows

    def retrieved(object_id: str) -> StripeObject:
        before_each_call()
        return stripe_api.retrieve(object_id)

    def sold(product_id: str) -> StripeObject:
        before_each_call()
        return stripe_api.retrieve_of_catalogue("product", product_id)

    before_each_call()
    customer = stripe_api.retrieve_customer(customer_id)
    found = [customer]
    if not customer.get("deleted"):
        found += listed(f"/v1/customers/{customer_id}/payment_methods")
    subscriptions = listed("/v1/subscriptions", customer=customer_id, status="all")
    # A list expands less deeply than a subscription read alone: tiers and products do not come along.
    found += [retrieved(each["id"]) if _lacks_tiers(each) else each for each in subscriptions]
    found += [sold(product) for product in sorted(mirror.products_named_in(subscriptions))]
    found += listed("/v1/payment_intents", customer=customer_id)
    # Told along with each charge: one whose only refund failed says of itself that nothing went back.
    charges = listed("/v1/charges", customer=customer_id, expand=["data.refunds"])
    for charge in charges:
        refunds = charge.pop("refunds")
        found.append(charge)
        found += listed("/v1/refunds", charge=charge["id"]) if refunds["has_more"] else refunds["data"]
        if charge.get("disputed"):
            found += listed("/v1/disputes", charge=charge["id"])
    return found + listed("/v1/invoices", customer=customer_id)


def is_ownerless(key: str) -> bool:
    """Whether a row of the inbox is of a charge or an invoice whose customer is not known yet."""
    return key.startswith(("ch_", "py_", "in_"))


def catalogue_key(kind: str, stripe_id: str) -> str:
    """The row of the inbox of a product or a price, which are nobody's and everybody's."""
    return f"{kind}/{stripe_id}"


def kind_of_catalogue(key: str) -> str | None:
    """ "product" or "price" where a row of the inbox is of one, instead of a customer."""
    kind, separator, _id = key.partition("/")
    return kind if separator and kind in stripe_api.CATALOGUE else None


def _lacks_tiers(subscription: StripeObject) -> bool:
    prices = [item["price"] for item in subscription["items"]["data"]]
    return any(price.get("billing_scheme") == "tiered" and not price.get("tiers") for price in prices)
