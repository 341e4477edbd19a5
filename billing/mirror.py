"""The mirror of Stripe in dj-stripe's tables: the one module that touches its models.

Rows are written by our own upserts, with dj-stripe's field mapping, and never by dj-stripe's sync, which fetches by
itself inside transactions and lets older answers overwrite newer ones. Whoever calls `upsert` holds the customer's
lease (billing/sync.py). A referenced row that is not here is left NULL where the column allows it; a customer, or a
parent the column demands, is written as a stub that the next sync fills.

Readers return Stripe-shaped dicts, as Stripe sent them: amounts in minor units, times in unix seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from django.core.exceptions import FieldDoesNotExist
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
    Refund,
    Subscription,
    SubscriptionItem,
)
from djstripe.models.base import StripeModel

from billing.one_look import read_once
from billing.stripe_api import StripeObject

# Parents before children. What the admin shows read-only is the same list.
MIRRORED_MODELS: tuple[type[StripeModel], ...] = (
    Product,
    Price,
    Customer,
    PaymentMethod,
    Subscription,
    SubscriptionItem,
    PaymentIntent,
    Charge,
    Invoice,
    Refund,
    Dispute,
)

_MODEL_OF: dict[str, type[StripeModel]] = {model.stripe_class.OBJECT_NAME: model for model in MIRRORED_MODELS}
# Shared by all customers, so written only when they changed: two syncs at once shall not wait for each other.
_CATALOGUE = (Product, Price)


def upsert(objects: Iterable[StripeObject]) -> None:
    """Write objects, and the objects expanded inside them, into the mirror. Kinds it does not hold are passed over.

    Runs inside the caller's transaction.
    """
    batch: dict[type[StripeModel], dict[str, StripeObject]] = {model: {} for model in MIRRORED_MODELS}
    for item in objects:
        for found in _with_nested(item):
            batch[_MODEL_OF[found["object"]]][found["id"]] = found
    _write_customer_stubs(batch)
    for model in MIRRORED_MODELS:
        deleted = [data for data in batch[model].values() if data.get("deleted")]
        present = [data for data in batch[model].values() if not data.get("deleted")]
        if model in _CATALOGUE:
            present = _changed(model, present)
        if present:
            _write(model, present)
        for data in deleted:
            _mark_deleted(model, data)


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
        data = {**data, "product": _id_of(data.get("product"))}
    if kind in _MODEL_OF:
        yield data


def _id_of(value: Any) -> str | None:
    """The id in a reference, whether Stripe sent the id or the expanded object."""
    if isinstance(value, dict):
        return cast("str | None", value.get("id"))
    return value or None


def _reference(field: models.ForeignKey[Any, Any], data: StripeObject) -> str | None:
    if field.model is Customer and field.name == "default_payment_method":
        return _id_of((data.get("invoice_settings") or {}).get("default_payment_method"))
    if field.name not in data and field.name == "subscription":
        parent = (data.get("parent") or {}).get("subscription_details") or {}
        return _id_of(parent.get("subscription"))
    return _id_of(data.get(field.name))


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
            owner = _id_of(data.get("customer"))
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


def _changed(model: type[StripeModel], objects: list[StripeObject]) -> list[StripeObject]:
    known = dict(
        model.objects.filter(id__in=[data["id"] for data in objects]).values_list("id", "stripe_data")
    )
    return [data for data in objects if known.get(data["id"]) != data]


def _write(model: type[StripeModel], objects: list[StripeObject]) -> None:
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


# -- reading ----------------------------------------------------------------------------------------------


def _newest(rows: models.QuerySet[Any], limit: int | None) -> list[StripeObject]:
    newest = rows.order_by("-created", "-djstripe_id").values_list("stripe_data", flat=True)
    return list(newest[:limit] if limit else newest)


def _one(rows: models.QuerySet[Any]) -> StripeObject | None:
    return cast("StripeObject | None", rows.values_list("stripe_data", flat=True).first())


def known(objects: Iterable[StripeObject]) -> dict[str, StripeObject]:
    """What the mirror has under the ids of these objects, by id. Kinds it does not hold are passed over."""
    ids: dict[type[StripeModel], list[str]] = {}
    for data in objects:
        if data["object"] in _MODEL_OF:
            ids.setdefault(_MODEL_OF[data["object"]], []).append(data["id"])
    found: dict[str, StripeObject] = {}
    for model, wanted in ids.items():
        found.update(model.objects.filter(id__in=wanted).values_list("id", "stripe_data"))
    return found


@read_once
def customer(customer_id: str) -> StripeObject | None:
    """The customer, or None where the mirror has none."""
    return _one(Customer.objects.filter(id=customer_id))


@read_once
def subscriptions_of(customer_id: str) -> list[StripeObject]:
    """All subscriptions of a customer, ended ones too, newest first, their products expanded."""
    return with_products(_newest(Subscription.objects.filter(customer_id=customer_id), None))


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
    found = _one(Subscription.objects.filter(id=subscription_id))
    return with_products([found])[0] if found else None


def with_products(subscriptions: list[StripeObject], read: Iterable[StripeObject] = ()) -> list[StripeObject]:
    """Expand the products of items that were read from a list, where Stripe expands less deeply.

    A product that is among the objects just `read` is taken from there.
    """
    items = [item for each in subscriptions for item in (each.get("items") or {}).get("data", [])]
    names = {item["price"]["product"] for item in items if isinstance(item["price"].get("product"), str)}
    products = dict(Product.objects.filter(id__in=names).values_list("id", "stripe_data")) if names else {}
    products.update({each["id"]: each for each in read if each["object"] == "product"})
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


def invoices_of(customer_id: str, limit: int | None = None) -> list[StripeObject]:
    """Invoices of a customer, newest first."""
    return _newest(Invoice.objects.filter(customer_id=customer_id), limit)


def open_invoices_of(customer_id: str) -> list[StripeObject]:
    """Invoices of a customer that are to be paid, newest first."""
    return _newest(Invoice.objects.filter(customer_id=customer_id, stripe_data__status="open"), None)


def open_invoices_of_many(customer_ids: Iterable[str]) -> dict[str, list[StripeObject]]:
    """The same for many customers, by their ids, in one query."""
    rows = Invoice.objects.filter(customer_id__in=list(customer_ids), stripe_data__status="open")
    found: dict[str, list[StripeObject]] = {}
    for invoice in _newest(rows, None):
        found.setdefault(_id_of(invoice["customer"]) or "", []).append(invoice)
    return found


def unpaid_invoices_of(customer_id: str, subscription_id: str) -> list[StripeObject]:
    """Invoices of one subscription that are open or still drafts, newest first."""
    unpaid = Invoice.objects.filter(customer_id=customer_id, stripe_data__status__in=("open", "draft"))
    return _newest(
        unpaid.filter(stripe_data__parent__subscription_details__subscription=subscription_id), None
    )


def _paid_invoices(customer_id: str) -> models.QuerySet[Any]:
    paid = Invoice.objects.filter(customer_id=customer_id, stripe_data__status="paid")
    return cast("models.QuerySet[Any]", paid.filter(stripe_data__total__gt=0))


def paid_invoices_of(customer_id: str, limit: int | None = None) -> list[StripeObject]:
    """Invoices of a customer that were paid and came to more than nothing, newest first."""
    return _newest(_paid_invoices(customer_id), limit)


def paid_invoice(customer_id: str, invoice_id: str) -> StripeObject | None:
    """One of those, or None where this customer has none of that id."""
    return _one(_paid_invoices(customer_id).filter(id=invoice_id))


def invoices_by_key(keys: Iterable[int]) -> dict[int, StripeObject]:
    """Invoices by their row numbers, as the admin's list names what was ticked."""
    return dict(Invoice.objects.filter(djstripe_id__in=list(keys)).values_list("djstripe_id", "stripe_data"))


def charges_of_invoices(invoices: Iterable[StripeObject]) -> dict[str, list[StripeObject]]:
    """The charges that paid each invoice, by its id, in one query. https://docs.stripe.com/api/invoice-payment"""
    paid_by = {invoice["id"]: (_id_of(invoice.get("customer")), _intents(invoice)) for invoice in invoices}
    charges = Charge.objects.filter(
        customer_id__in={customer for customer, _intents_of in paid_by.values()},
        stripe_data__payment_intent__in=[intent for _customer, ids in paid_by.values() for intent in ids],
        stripe_data__status="succeeded",
    )
    found: dict[tuple[str | None, str | None], list[StripeObject]] = {}
    for charge in _newest(charges, None):
        found.setdefault((_id_of(charge.get("customer")), _id_of(charge["payment_intent"])), []).append(
            charge
        )
    return {
        id_: [charge for intent in intents for charge in found.get((customer, intent), [])]
        for id_, (customer, intents) in paid_by.items()
    }


def _intents(invoice: StripeObject) -> list[str]:
    payments = (invoice.get("payments") or {}).get("data") or []
    intents = (_id_of((each.get("payment") or {}).get("payment_intent")) for each in payments)
    return [intent for intent in intents if intent]


def has_paid_invoice(customer_id: str) -> bool:
    """Whether this customer ever paid an invoice that came to more than nothing."""
    return _paid_invoices(customer_id).exists()


def charges_of(customer_id: str, limit: int | None = None) -> list[StripeObject]:
    """Charges of a customer, failed ones too, newest first."""
    return _newest(Charge.objects.filter(customer_id=customer_id), limit)


def refunds_of(customer_id: str, limit: int | None = None) -> list[StripeObject]:
    """Refunds of a customer's charges, newest first."""
    return _newest(Refund.objects.filter(charge__customer_id=customer_id), limit)


def charges_with_refunds(customer_id: str) -> set[str]:
    """Ids of a customer's charges of which the mirror knows a refund, failed ones too."""
    return set(Refund.objects.filter(charge__customer_id=customer_id).values_list("charge_id", flat=True))


def disputes_of(customer_id: str, limit: int | None = None) -> list[StripeObject]:
    """Disputes of a customer's charges, newest first."""
    return _newest(Dispute.objects.filter(charge__customer_id=customer_id), limit)


def payment_methods_of(customer_id: str) -> list[StripeObject]:
    """Payment methods attached to a customer, newest first."""
    return _newest(PaymentMethod.objects.filter(customer_id=customer_id), None)


def forget_detached(customer_id: str, everything: Iterable[StripeObject]) -> None:
    """Take from a customer the payment methods that are not among everything it has at Stripe now."""
    attached = [each["id"] for each in everything if each["object"] == "payment_method"]
    PaymentMethod.objects.filter(customer_id=customer_id).exclude(id__in=attached).update(customer=None)


def knows_payment_method(payment_method_id: str) -> bool:
    """Whether the mirror has read this payment method."""
    return bool(PaymentMethod.objects.filter(id=payment_method_id).exclude(created=None).exists())


def customer_of_charge(charge_id: str) -> str | None:
    """Whose charge it is, or None where the mirror does not know the charge or its customer."""
    charge = _one(Charge.objects.filter(id=charge_id))
    return _id_of(charge.get("customer")) if charge else None


def invoice_of_charge(charge_id: str) -> str | None:
    """The invoice that a charge paid or was to pay, or None where the mirror knows of none."""
    charge = _one(Charge.objects.filter(id=charge_id))
    intent = _id_of((charge or {}).get("payment_intent"))
    if charge is None or intent is None:
        return None
    payment = [{"payment": {"payment_intent": intent}}]
    invoices = Invoice.objects.filter(customer_id=_id_of(charge.get("customer")))
    return _id_of(_one(invoices.filter(stripe_data__payments__data__contains=payment)))


def has_field(model: type[StripeModel], name: str) -> bool:
    """Whether a mirrored model has a column of that name; the admin builds its lists with it."""
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True
