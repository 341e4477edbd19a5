"""Writing the mirror: our own upserts, with dj-stripe's field mapping.

Never dj-stripe's sync, which fetches by itself inside transactions and lets older answers overwrite newer ones. Whoever
calls `upsert` holds the customer's lease (billing/sync.py). A referenced row that is not here is left NULL where the
column allows it; a customer, or a parent the column demands, is written as a stub that the next sync fills.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db import models
from djstripe.models import (
    Charge,
    Customer,
    Dispute,
    Invoice,
    PaymentIntent,
    PaymentMethod,
    Price,
    Product,
    Subscription,
)
from djstripe.models.base import StripeModel

from billing.mirror.erasing import erased_among, owners_of, without_personal
from billing.mirror.tables import MIRRORED_MODELS, MODEL_OF, id_of
from billing.stripe_api import StripeObject

# Shared by all customers, so no customer's lease guards them.
_CATALOGUE: tuple[type[StripeModel], ...] = (Product, Price)

type OfCatalogue = tuple[str, str]
"""Stripe's word for a kind of the catalogue, and an id."""


def upsert(objects: Iterable[StripeObject], *, rules_catalogue: bool = False) -> set[OfCatalogue]:
    """Write objects, and the objects expanded inside them, into the mirror. Kinds it does not hold are passed over.

    A product or a price that came along with something else may be older than what we have, so it is written only where
    we have none, unless the caller has the lease of the catalogue's row (`rules_catalogue`). Returns those that are
    otherwise here: they are to be read again. Runs inside the caller's transaction.
    """
    otherwise: set[OfCatalogue] = set()
    batch: dict[type[StripeModel], dict[str, StripeObject]] = {model: {} for model in MIRRORED_MODELS}
    for item in objects:
        for found in _with_nested(item):
            batch[MODEL_OF[found["object"]]][found["id"]] = found
    _write_customer_stubs(batch)
    _leave_out_erased(batch)
    for model in MIRRORED_MODELS:
        deleted = [data for data in batch[model].values() if data.get("deleted")]
        present = [data for data in batch[model].values() if not data.get("deleted")]
        if model in _CATALOGUE and not rules_catalogue:
            otherwise |= {(data["object"], data["id"]) for data in _write_unknown(model, present)}
            present = []
        if present:
            _write(model, present)
        for data in deleted:
            _mark_deleted(model, data)
    return otherwise


def _leave_out_erased(batch: dict[type[StripeModel], dict[str, StripeObject]]) -> None:
    """Take what is personal out of what is of customers whose data were erased here; Stripe may go on telling it."""
    named = owners_of(data for found in batch.values() for data in found.values())
    erased = erased_among(named.values()) if named else set()
    for found in batch.values() if erased else ():
        for id_, data in found.items():
            if named.get(id_) in erased and not data.get("deleted"):
                found[id_] = without_personal(data)


def erase(customer_id: str) -> int:
    """Take what is personal out of all documents of a customer, now and for ever. Returns how many there were.

    Runs inside the caller's transaction.
    """
    documents = 0
    columns: dict[type[StripeModel], str] = {Customer: "id", Dispute: "charge__customer_id"}
    for model in (Customer, PaymentMethod, Subscription, PaymentIntent, Charge, Invoice, Dispute):
        column = columns.get(model, "customer_id")
        rows = model.objects.select_for_update(of=("self",)).filter(**{column: customer_id}).order_by("id")
        found = [without_personal(data) for data in rows.values_list("stripe_data", flat=True)]
        if found:
            _write(model, found)
        documents += len(found)
    return documents


def forget(object_ids: Iterable[str]) -> None:
    """What Stripe has no more: a deleted draft is gone here too; what was sold stays, and says that it is deleted.

    Runs inside the caller's transaction.
    """
    ids = list(object_ids)
    Invoice.objects.filter(id__in=ids, stripe_data__status="draft").delete()
    for model in _CATALOGUE:
        for known in model.objects.filter(id__in=ids).values_list("stripe_data", flat=True):
            _mark_deleted(model, known)


def renew_catalogue(customer_id: str) -> None:
    """Have a customer's subscriptions say of what they sell what the catalogue says now.

    Whoever calls holds the customer's lease. Runs inside the caller's transaction.
    """
    rows = list(Subscription.objects.filter(customer_id=customer_id).only("id", "stripe_data"))
    items = [item for row in rows for item in (row.stripe_data.get("items") or {}).get("data", [])]
    prices = _documents(Price, (item["price"]["id"] for item in items))
    products = _documents(Product, filter(None, (id_of(item["price"].get("product")) for item in items)))
    for item in items:
        price, product = item["price"], item["price"].get("product")
        now = prices.get(price["id"], {})
        item["price"] = {
            **price,
            **{name: now[name] for name in price.keys() & now.keys()},
            "product": product,
        }
        if isinstance(product, dict):
            item["price"]["product"] = products.get(product["id"], product)
    Subscription.objects.bulk_update(rows, ["stripe_data"])


def buyers_of(kind: str, stripe_id: str) -> list[str]:
    """The ids of the customers who have, or had, a subscription to this product or price."""
    column = "items__price__id" if kind == "price" else "items__price__product__id"
    rows = Subscription.objects.filter(**{column: stripe_id}).order_by()
    return list(rows.values_list("customer_id", flat=True).distinct())


def _documents(model: type[StripeModel], ids: Iterable[str]) -> dict[str, StripeObject]:
    """What was read of these; stubs are left out."""
    rows = model.objects.filter(id__in=set(ids)).exclude(created=None)
    return dict(rows.values_list("id", "stripe_data"))


def _with_nested(data: StripeObject) -> Iterator[StripeObject]:
    """The object itself, preceded by the complete objects expanded inside it."""
    kind = data.get("object")
    nested: list[Any] = []
    if kind == "subscription":
        items = data.get("items") or {}
        nested = [*items.get("data", []), data.get("default_payment_method")]
    elif kind == "subscription_item":
        nested = [data.get("price")]
    elif kind == "price":
        nested = [data.get("product")]
    elif kind == "customer":
        nested = [(data.get("invoice_settings") or {}).get("default_payment_method")]
    for child in nested:
        if isinstance(child, dict) and "id" in child:
            yield from _with_nested(child)
    if kind == "price":
        # Expanded or not, a price is stored the same way, or it would look changed each time.
        data = {**data, "product": id_of(data.get("product"))}
    if kind in MODEL_OF:
        yield data


def _reference(field: models.ForeignKey[Any, Any], data: StripeObject) -> str | None:
    if field.model is Customer and field.name == "default_payment_method":
        return id_of((data.get("invoice_settings") or {}).get("default_payment_method"))
    if field.name not in data and field.name == "subscription":
        parent = (data.get("parent") or {}).get("subscription_details") or {}
        return id_of(parent.get("subscription"))
    return id_of(data.get(field.name))


def _stripe_fields(model: type[StripeModel]) -> list[models.Field[Any, Any]]:
    skipped = {"stripe_data", "date_purged", "subscriber"}
    return [
        field
        for field in model._meta.concrete_fields
        if not field.name.startswith("djstripe_") and field.name not in skipped
    ]


def _write_customer_stubs(batch: dict[type[StripeModel], dict[str, StripeObject]]) -> None:
    """Rows to refer to for every customer named in the batch, so that no child stands there ownerless."""
    wanted = set(batch[Customer])
    for model in MIRRORED_MODELS:
        for data in batch[model].values():
            owner = id_of(data.get("customer"))
            if owner:
                wanted.add(owner)
    _write_stubs(Customer, wanted)


def _write_stubs(model: type[StripeModel], ids: Iterable[str]) -> None:
    """Rows that say nothing but their id, so that others can refer to them; the next sync fills them."""
    name = model.stripe_class.OBJECT_NAME
    rows = []
    for id_ in sorted(ids):
        row = model(id=id_, stripe_data={"id": id_, "object": name})
        for field in _stripe_fields(model):
            if not field.null and field.name != "id" and not isinstance(field, models.ForeignKey):
                setattr(row, field.attname, _blank(field))
        rows.append(row)
    model.objects.bulk_create(rows, ignore_conflicts=True)


def _blank(field: models.Field[Any, Any]) -> Any:
    if field.has_default():
        return field.get_default()
    if isinstance(field, models.CharField | models.TextField):
        return ""
    return False if isinstance(field, models.BooleanField) else 0


def _write_unknown(model: type[StripeModel], objects: list[StripeObject]) -> list[StripeObject]:
    """Write those that we have not read yet; returns those that we have otherwise."""
    known = _documents(model, (data["id"] for data in objects))
    missing = [data for data in objects if data["id"] not in known]
    if missing:
        _write(model, missing, only_new=True)
        # What was but a stub is ours to fill; whoever was faster may have written something newer.
        ids = {data["id"] for data in missing}
        stubs = model.objects.select_for_update().filter(id__in=ids, created=None).order_by("id")
        ours = set(stubs.values_list("id", flat=True))
        if ours:
            _write(model, [data for data in missing if data["id"] in ours])
        known |= _documents(model, ids - ours)
    return [data for data in objects if data["id"] in known and _contradicts(known[data["id"]], data)]


def _contradicts(known: StripeObject, data: StripeObject) -> bool:
    """Whether we have something else; what was expanded less deeply this time says nothing about it."""
    return any(name not in known or known[name] != value for name, value in data.items())


def _write(model: type[StripeModel], objects: list[StripeObject], *, only_new: bool = False) -> None:
    """Write rows whole, or only those that are not there yet."""
    fields = _stripe_fields(model)
    present = {
        field: _present_references(field, objects) for field in fields if isinstance(field, models.ForeignKey)
    }
    rows = []
    for data in sorted(objects, key=lambda each: each["id"]):
        row = model(stripe_data=data)
        for field in fields:
            if isinstance(field, models.ForeignKey):
                setattr(row, field.attname, present[field].get(_reference(field, data)))
            else:
                setattr(row, field.attname, _value(field, data))
        rows.append(row)
    updated = [
        field.name
        for field in model._meta.concrete_fields
        if field.name
        not in {
            "djstripe_id",
            "id",
            "djstripe_created",
            "date_purged",
            "subscriber",
            "djstripe_owner_account",
        }
    ]
    if only_new:
        model.objects.bulk_create(rows, ignore_conflicts=True)
    else:
        model.objects.bulk_create(rows, update_conflicts=True, unique_fields=["id"], update_fields=updated)


def _present_references(
    field: models.ForeignKey[Any, Any], objects: list[StripeObject]
) -> dict[str | None, Any]:
    """What to write in `field` for each id it may refer to, after writing stubs for those it cannot do without."""
    related = field.related_model
    wanted = {id_ for data in objects if (id_ := _reference(field, data))}
    if not wanted or not issubclass(related, StripeModel):
        return {}
    # Most of dj-stripe's foreign keys hold Stripe's id; a few hold its own row number.
    here = related._default_manager.filter(id__in=wanted)
    found = dict(here.values_list("id", field.target_field.attname))
    if not field.null and wanted - set(found):
        _write_stubs(related, wanted - set(found))
        found = dict(here.values_list("id", field.target_field.attname))
    return found


def _value(field: models.Field[Any, Any], data: StripeObject) -> Any:
    converted = field.stripe_to_db(data) if hasattr(field, "stripe_to_db") else data.get(field.name)
    return _blank(field) if converted is None and not field.null else converted


def _mark_deleted(model: type[StripeModel], data: StripeObject) -> None:
    """Keep what we knew of an object that Stripe deleted, and say that it is gone."""
    row = model.objects.filter(id=data["id"]).first()
    known = row.stripe_data if row else {"id": data["id"], "object": data["object"]}
    model.objects.update_or_create(id=data["id"], defaults={"stripe_data": {**known, "deleted": True}})
