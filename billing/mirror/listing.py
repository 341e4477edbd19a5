"""Pages of Stripe's lists beside the mirror: what of them is new, written in bulk, and what no page named.

Whoever writes holds the customers' rows of the inbox (billing/reconciliation/listing.py), as the sync holds its lease.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from typing import Any, cast

from django.db import connection
from django.utils import timezone
from djstripe.models import Charge, Customer, Invoice, PaymentMethod, Price, Product, Refund, Subscription
from djstripe.models.base import StripeModel

from billing.mirror.tables import MODEL_OF, id_of, known
from billing.mirror.writing import upsert
from billing.stripe_api import StripeObject
from organizations.querysets import ENDED_STATUSES

# The lists that are read as a whole. The catalogue comes first: what subscriptions sell is taken from it.
CATALOGUE = "/v1/prices"
LISTED: dict[str, type[StripeModel]] = {
    CATALOGUE: Price,
    "/v1/customers": Customer,
    "/v1/subscriptions": Subscription,
    "/v1/invoices": Invoice,
    "/v1/refunds": Refund,
}
# What comes along with an object of a list.
EXPANDED: dict[str, tuple[str, ...]] = {
    CATALOGUE: ("data.product", "data.tiers"),
    "/v1/customers": ("data.invoice_settings.default_payment_method",),
    "/v1/subscriptions": ("data.discounts.source.coupon", "data.default_payment_method", "data.schedule"),
    "/v1/invoices": ("data.payments",),
    "/v1/refunds": ("data.charge",),
}


# Up to so many are counted; of more, PostgreSQL's own guess is near enough, and takes no time.
COUNTED = 20_000


def mirrored_counts() -> dict[str, int]:
    """How many objects of each list the mirror has; about so many where they are many. Two queries."""
    tables = {path: model._meta.db_table for path, model in LISTED.items()}
    with connection.cursor() as cursor:
        guesses = ", ".join("(SELECT reltuples FROM pg_class WHERE oid = %s::regclass)" for _table in tables)
        cursor.execute(f"SELECT {guesses}", list(tables.values()))
        counts = dict(zip(tables, map(int, cursor.fetchone()), strict=True))
        few = [path for path, guess in counts.items() if guess <= COUNTED]
        if few:
            counted = ", ".join(f"(SELECT count(*) FROM {tables[path]})" for path in few)  # noqa: S608
            cursor.execute(f"SELECT {counted}")
            counts |= zip(few, cursor.fetchone(), strict=True)
    return counts


def boundaries(path: str, size: int) -> list[int]:
    """Unix seconds that divide what the mirror has of a list into parts of about `size` objects, oldest first."""
    table = LISTED[path]._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT DISTINCT ceil(extract(epoch FROM created))::bigint FROM (
                SELECT created, row_number() OVER (ORDER BY created) AS number FROM {table}
                WHERE created IS NOT NULL
            ) AS ordered WHERE number %% %s = 0 ORDER BY 1
            """,  # noqa: S608  (a table's name)
            [size],
        )
        return [row[0] for row in cursor.fetchall()]


def taken_apart(objects: Iterable[StripeObject]) -> list[StripeObject]:
    """The objects of a page with what was expanded in them beside them, in the form that is compared and stored."""
    found: dict[str, StripeObject] = {}
    for each in objects:
        for part in _parts(each):
            found[part["id"]] = part
    return list(found.values())


def _parts(data: StripeObject) -> Iterator[StripeObject]:
    kind = data["object"]
    if kind == "refund" and isinstance(data.get("charge"), dict):
        yield data["charge"]
        data = {**data, "charge": id_of(data["charge"])}
    elif kind == "customer":
        settings = data.get("invoice_settings") or {}
        card = settings.get("default_payment_method")
        if isinstance(card, dict):
            yield card
            data = {**data, "invoice_settings": {**settings, "default_payment_method": card["id"]}}
    elif kind == "price" and isinstance(data.get("product"), dict):
        yield data["product"]
        data = {**data, "product": id_of(data["product"])}
    yield data


def owner_of(data: StripeObject, charges: dict[str, StripeObject]) -> str | None:
    """Whose object it is: a customer's id; None for the catalogue. `charges` came along with refunds."""
    if data["object"] == "customer":
        return cast(str, data["id"])
    if data["object"] == "refund":
        charge = charges.get(id_of(data.get("charge")) or "")
        return id_of(charge.get("customer")) if charge else None
    return id_of(data.get("customer"))


def differing(objects: list[StripeObject]) -> list[tuple[StripeObject | None, StripeObject]]:
    """Those that the mirror has otherwise or not at all: each as it was, and as it is now."""
    held = known(objects)
    pairs: list[tuple[StripeObject | None, StripeObject]] = []
    for data in objects:
        before = held.get(data["id"])
        if before is None or _comparable(before) != _comparable(data):
            pairs.append((before, data))
    return pairs


_ADDRESSES = frozenset({"hosted_invoice_url", "invoice_pdf"})


def _comparable(data: StripeObject) -> StripeObject:
    """An object without what its list, or reading it alone, expands more or less deeply."""
    kind = data["object"]
    if kind == "customer":
        settings = data.get("invoice_settings") or {}
        card = id_of(settings.get("default_payment_method"))
        return {**data, "invoice_settings": {**settings, "default_payment_method": card}}
    if kind == "refund":
        return {**data, "charge": id_of(data.get("charge"))}
    if kind == "invoice":
        # Stripe makes these addresses anew with each answer.
        return {name: value for name, value in data.items() if name not in _ADDRESSES}
    if kind != "subscription":
        return data
    items = (data.get("items") or {}).get("data", [])
    return {
        **data,
        "default_payment_method": id_of(data.get("default_payment_method")),
        "items": {"data": [{**item, "price": _bare_price(item["price"])} for item in items]},
    }


def _bare_price(price: StripeObject) -> StripeObject:
    bare = {name: value for name, value in price.items() if name != "tiers"}
    return {**bare, "product": id_of(price.get("product"))}


def write_listed(objects: list[StripeObject]) -> set[tuple[str, str]]:
    """Write objects of lists, whose subscriptions name prices and products that the mirror has from the catalogue.

    Returns what of the catalogue itself is otherwise here, and is to be read again.
    """
    return upsert(_with_catalogue(objects))


def _with_catalogue(objects: list[StripeObject]) -> list[StripeObject]:
    items = [
        item
        for each in objects
        if each["object"] == "subscription"
        for item in (each.get("items") or {}).get("data", [])
    ]
    prices = dict(
        Price.objects.filter(id__in={item["price"]["id"] for item in items}).values_list("id", "stripe_data")
    )
    products = dict(
        Product.objects.filter(id__in={id_of(item["price"].get("product")) for item in items}).values_list(
            "id", "stripe_data"
        )
    )
    for item in items:
        listed = item["price"]
        tiers = (prices.get(listed["id"]) or {}).get("tiers")
        product = id_of(listed.get("product"))
        item["price"] = {
            **listed,
            **({"tiers": tiers} if tiers and not listed.get("tiers") else {}),
            "product": products.get(product, product),
        }
    return objects


def mark_seen(objects: Iterable[StripeObject]) -> None:
    """Note that a list named these now, whether or not they changed."""
    ids: dict[type[StripeModel], list[str]] = {}
    for data in objects:
        if MODEL_OF[data["object"]] in (Customer, Subscription, Refund):
            ids.setdefault(MODEL_OF[data["object"]], []).append(data["id"])
    for model, named in ids.items():
        model.objects.filter(id__in=named).update(djstripe_updated=timezone.now())


def unseen(since: datetime.datetime, limit: int) -> list[StripeObject]:
    """Customers and subscriptions that were neither listed nor read since, as the mirror has them; `limit` at most.

    Lists leave out what belongs to test clocks, so that is not missed.
    """
    found: list[StripeObject] = []
    for model in (Customer, Subscription):
        rows = model.objects.filter(djstripe_updated__lt=since).exclude(
            stripe_data__contains={"deleted": True}
        )
        rows = rows.filter(stripe_data__test_clock=None) | rows.exclude(stripe_data__has_key="test_clock")
        found += rows.order_by("id").values_list("stripe_data", flat=True)[: limit - len(found)]
    return found


def deleted(known: StripeObject) -> StripeObject:
    """What Stripe says of an object that it no longer has."""
    return {name: known[name] for name in ("id", "object", "customer") if name in known} | {"deleted": True}


# -- many at once ---------------------------------------------------------------------------------------------


def customers_of_many(customer_ids: Iterable[str]) -> dict[str, StripeObject]:
    """Customers by their ids, in one query."""
    return dict(Customer.objects.filter(id__in=list(customer_ids)).values_list("id", "stripe_data"))


def payment_methods_of_many(customer_ids: Iterable[str]) -> dict[str, list[StripeObject]]:
    """The payment methods of many customers, by the customers' ids."""
    return _grouped(
        PaymentMethod.objects.filter(customer_id__in=list(customer_ids)).values_list(
            "customer_id", "stripe_data"
        )
    )


def refunds_of_many(customer_ids: Iterable[str]) -> dict[str, list[StripeObject]]:
    """The refunds of many customers' charges, by the customers' ids."""
    charges = dict(
        Charge.objects.filter(customer_id__in=list(customer_ids), refunds__isnull=False)
        .distinct()
        .values_list("id", "customer_id")
    )
    rows = Refund.objects.filter(charge_id__in=list(charges)).values_list("charge_id", "stripe_data")
    return _grouped((charges[charge], data) for charge, data in rows)


def unknown_refunds(refund_ids: Iterable[str]) -> set[str]:
    """Those of these refunds that the mirror does not have."""
    wanted = set(refund_ids)
    return wanted - set(Refund.objects.filter(id__in=wanted).values_list("id", flat=True))


def _grouped(pairs: Iterable[tuple[Any, StripeObject]]) -> dict[str, list[StripeObject]]:
    found: dict[str, list[StripeObject]] = {}
    for owner, data in pairs:
        found.setdefault(owner, []).append(data)
    return found


def owners_of_live_subscriptions(after: str, limit: int, owned: str) -> list[str]:
    """Ids, after `after`, of customers with a live subscription whom no row of the column `owned` names.

    `owned` is a table and column, as `table.column`.
    """
    table, column = owned.split(".")
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH unowned AS MATERIALIZED (
                SELECT subscription.customer_id, subscription.stripe_data
                FROM {Subscription._meta.db_table} AS subscription
                WHERE subscription.customer_id > %s
                    AND NOT EXISTS (SELECT FROM {table} WHERE {table}.{column} = subscription.customer_id)
            )
            SELECT DISTINCT customer_id FROM unowned WHERE stripe_data ->> 'status' <> ALL(%s)
            ORDER BY 1 LIMIT %s
            """,  # noqa: S608  (names of tables and columns)
            [after, list(ENDED_STATUSES), limit],
        )
        return [row[0] for row in cursor.fetchall()]
