"""Which of dj-stripe's tables hold the mirror, and how one object names another."""

from __future__ import annotations

from collections.abc import Iterable
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

from billing.stripe_api import StripeObject
from billing.stripe_ids import prefix_of

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

MODEL_OF: dict[str, type[StripeModel]] = {model.stripe_class.OBJECT_NAME: model for model in MIRRORED_MODELS}


def id_of(value: Any) -> str | None:
    """The id in a reference, whether Stripe sent the id or the expanded object."""
    if isinstance(value, dict):
        return cast("str | None", value.get("id"))
    return value or None


def newest(rows: models.QuerySet[Any], limit: int | None) -> list[StripeObject]:
    """The objects in these rows, the newest first."""
    newest = rows.order_by("-created", "-djstripe_id").values_list("stripe_data", flat=True)
    return list(newest[:limit] if limit else newest)


def one(rows: models.QuerySet[Any]) -> StripeObject | None:
    """The object in the first of these rows, or None."""
    return cast("StripeObject | None", rows.values_list("stripe_data", flat=True).first())


_BY_PREFIX: dict[str, type[StripeModel]] = {
    "cus": Customer,
    "sub": Subscription,
    "si": SubscriptionItem,
    "in": Invoice,
    "ch": Charge,
    "py": Charge,
    "pi": PaymentIntent,
    "pm": PaymentMethod,
    "card": PaymentMethod,
    "re": Refund,
    "pyr": Refund,
    "du": Dispute,
    "dp": Dispute,
}


def customer_of(stripe_id: str) -> str | None:
    """Whose object this is, by the customer's id; None where the mirror does not know it or it is nobody's."""
    model = _BY_PREFIX.get(prefix_of(stripe_id))
    found = one(model.objects.filter(id=stripe_id)) if model else None
    if found is None:
        return None
    owner = found["id"] if model is Customer else id_of(found.get("customer"))
    # Refunds and disputes name their charge and no customer; items name their subscription.
    parent = id_of(found.get("charge")) or id_of(found.get("subscription"))
    return owner or (customer_of(parent) if parent else None)


def known(objects: Iterable[StripeObject]) -> dict[str, StripeObject]:
    """What the mirror has under the ids of these objects, by id. Kinds it does not hold are passed over."""
    ids: dict[type[StripeModel], list[str]] = {}
    for data in objects:
        if data["object"] in MODEL_OF:
            ids.setdefault(MODEL_OF[data["object"]], []).append(data["id"])
    found: dict[str, StripeObject] = {}
    for model, wanted in ids.items():
        found.update(model.objects.filter(id__in=wanted).values_list("id", "stripe_data"))
    return found


def has_field(model: type[StripeModel], name: str) -> bool:
    """Whether a mirrored model has a column of that name; the admin builds its lists with it."""
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True
