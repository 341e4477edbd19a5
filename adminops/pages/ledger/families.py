"""Families of events: what the list of events and a timeline can be narrowed to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_

from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from billing.event_types import types_recorded
from billing.operations import OPERATIONS
from billing.operations.refund_preview import REFUND_INVOICE


@dataclass(frozen=True)
class Family:
    """The types that begin with one of `prefixes`, unless another family has a longer one of them; and `types`."""

    label: Promise
    prefixes: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


OTHER = "other"
"""Whatever is of no family: types that are new to us among them."""

_OF_SUBSCRIPTIONS = (
    "change_seats",
    "schedule_seats",
    "withdraw_scheduled_seats",
    "cancel_subscription",
    "reactivate_subscription",
    "pause_collection",
    "resume_collection",
)

# By their names in the address. What staff give back is an operation of theirs and a refund as well.
FAMILIES: dict[str, Family] = {
    "operations": Family(gettext_lazy("Staff operations"), types=tuple(OPERATIONS)),
    "hold.": Family(
        gettext_lazy("Suspensions"),
        ("hold.",),
        ("suspend_organization", "activate_organization", "resume_billing"),
    ),
    "customer.subscription.": Family(
        gettext_lazy("Subscriptions"), ("customer.subscription.",), _OF_SUBSCRIPTIONS
    ),
    "subscription_schedule.": Family(gettext_lazy("Plans for subscriptions"), ("subscription_schedule.",)),
    "customer.": Family(gettext_lazy("Customers"), ("customer.",)),
    "coupon.": Family(
        gettext_lazy("Coupons"),
        ("coupon.", "promotion_code.", "customer.discount."),
        ("apply_discount", "remove_discount"),
    ),
    "invoice.": Family(
        gettext_lazy("Invoices and credit notes"),
        ("invoice.", "invoiceitem.", "invoice_payment.", "credit_note."),
    ),
    "charge.": Family(gettext_lazy("Payments"), ("charge.",)),
    "charge.dispute.": Family(gettext_lazy("Disputes"), ("charge.dispute.",)),
    "refund.": Family(gettext_lazy("Refunds"), ("refund.", "charge.refund"), (REFUND_INVOICE,)),
    "payment_intent.": Family(gettext_lazy("Payment attempts"), ("payment_intent.",)),
    "payment_method.": Family(gettext_lazy("Payment methods"), ("payment_method.",)),
    "product.": Family(gettext_lazy("Products"), ("product.",)),
    "price.": Family(gettext_lazy("Prices"), ("price.",)),
    "reconciliation.": Family(gettext_lazy("Reconciliation"), ("reconciliation.",)),
    OTHER: Family(gettext_lazy("Other")),
}

_BY_PREFIX = {prefix: name for name, family in FAMILIES.items() for prefix in family.prefixes}
_LISTED = frozenset(type_ for family in FAMILIES.values() for type_ in family.types)


def families_of(type_: str) -> set[str]:
    """The families a type is of, at least one."""
    longest = max((prefix for prefix in _BY_PREFIX if type_.startswith(prefix)), key=len, default=None)
    found = {name for name, family in FAMILIES.items() if type_ in family.types}
    return found | ({_BY_PREFIX[longest]} if longest else set()) or {OTHER}


def types_of_family(name: str) -> list[str]:
    """The types of a family that the ledger has, each of which an index finds."""
    return [type_ for type_ in types_recorded() if name in families_of(type_)]


def of_family(name: str) -> Q:
    """The events of a family, for a query that something else has narrowed already."""
    if name == OTHER:
        return ~(_begin_with(_BY_PREFIX) | Q(type__in=_LISTED))
    family = FAMILIES[name]
    narrower = [
        prefix for prefix, owner in _BY_PREFIX.items() if owner != name and prefix.startswith(family.prefixes)
    ]
    return _begin_with(family.prefixes) & ~_begin_with(narrower) | Q(type__in=family.types)


def _begin_with(prefixes: Iterable[str]) -> Q:
    return reduce(or_, (Q(type__startswith=prefix) for prefix in prefixes), Q(pk__in=[]))
