"""All that the page of a customer tells of what Stripe has, in one query; amounts in minor units."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from django.db.models import BigIntegerField, CharField, Count, F, JSONField, QuerySet, Sum, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from djstripe.models import Charge, Customer, Dispute, Invoice, PaymentMethod, Product, Refund, Subscription

from billing.mirror.customers import with_products
from billing.mirror.payments import paid_invoices
from billing.stripe_api import StripeObject

# Of what nobody has many: the newest are read.
_FEW = 100


@dataclass(frozen=True)
class Whole:
    """A customer with what belongs to it, as Stripe sent it; each list the newest first."""

    customer: StripeObject
    """Nothing in it where the mirror has none."""
    subscriptions: list[StripeObject]
    """Ended ones too, their products expanded."""
    payment_methods: list[StripeObject]
    invoices: list[StripeObject]
    charges: list[StripeObject]
    refunds: list[StripeObject]
    disputes: list[StripeObject]
    invoice_count: int
    """How many there are, however many were read."""
    has_paid_invoice: bool
    """Whether one that came to more than nothing was ever paid."""
    revenue: dict[str, int]
    """What was paid so far less what went back, by currency."""


NOTHING = Whole({}, [], [], [], [], [], [], 0, False, {})
"""Of an organization that Stripe does not know."""


def whole(customer_id: str, *, invoices: int, charges: int, refunds: int, disputes: int) -> Whole:
    """A customer, at most so many of its invoices, charges, refunds and disputes, and what they come to.

    In the revenue, what was paid by card or outside Stripe counts; refunds count against it from the moment they are
    asked for, disputes once they are lost.
    """
    subscriptions = Subscription.objects.filter(customer_id=customer_id)
    sold = Product.objects.filter(id__in=subscriptions.values("items__price__product_id"))
    all_invoices = Invoice.objects.filter(customer_id=customer_id)
    all_charges = Charge.objects.filter(customer_id=customer_id)
    all_disputes = Dispute.objects.filter(charge__customer_id=customer_id)
    paid = all_charges.filter(stripe_data__status="succeeded")
    outside = all_invoices.filter(stripe_data__amount_paid_off_stripe__gt=0)
    parts = [
        _newest("subscription", subscriptions, _FEW),
        _newest("product", sold, _FEW),
        _newest("payment_method", PaymentMethod.objects.filter(customer_id=customer_id), _FEW),
        _newest("invoice", all_invoices, invoices),
        _newest("charge", all_charges, charges),
        _newest("refund", Refund.objects.filter(charge__customer_id=customer_id), refunds),
        _newest("dispute", all_disputes, disputes),
        _figure("invoices", all_invoices, Count("pk")),
        _figure("paid invoices", paid_invoices(customer_id), Count("pk")),
        _sum(paid, "amount_captured", 1),
        _sum(paid, "amount_refunded", -1),
        _sum(outside, "amount_paid_off_stripe", 1),
        _sum(all_disputes.filter(stripe_data__status="lost"), "amount", -1),
    ]
    found: dict[str, list[tuple[int, StripeObject, str]]] = {}
    for kind, number, data, currency in _newest("customer", Customer.objects.filter(id=customer_id), 1).union(
        *parts, all=True
    ):
        found.setdefault(kind, []).append((number, data, currency))

    def objects(kind: str) -> list[StripeObject]:
        rows = sorted(found.get(kind, ()), key=lambda row: (row[1].get("created") or 0, row[0]), reverse=True)
        return [data for _number, data, _currency in rows]

    def figure(name: str) -> int:
        return sum(map(itemgetter(0), found.get(name, ())))

    revenue: dict[str, int] = {}
    for total, _data, currency in found.get("revenue", ()):
        revenue[currency] = revenue.get(currency, 0) + (total or 0)
    return Whole(
        customer=next(iter(objects("customer")), {}),
        subscriptions=with_products(objects("subscription"), read=objects("product")),
        payment_methods=objects("payment_method"),
        invoices=objects("invoice"),
        charges=objects("charge"),
        refunds=objects("refund"),
        disputes=objects("dispute"),
        invoice_count=figure("invoices"),
        has_paid_invoice=figure("paid invoices") > 0,
        revenue={currency: total for currency, total in revenue.items() if total},
    )


# Each part has the same four columns: what it is, a number, an object, and the currency of the number.
_NAMES = ("part", "number", "stripe_data", "of_currency")


def _newest(kind: str, rows: QuerySet[Any], most: int) -> Any:
    told = rows.annotate(part=_text(kind), number=F("djstripe_id"), of_currency=_text(""))
    return told.order_by("-created", "-djstripe_id").values_list(*_NAMES)[:most]


def _figure(name: str, rows: QuerySet[Any], figure: Any, currency: Any = None) -> Any:
    by_currency = rows.order_by().values(part=_text(name), of_currency=currency or _text(""))
    nothing = Value(None, output_field=JSONField())
    told = by_currency.annotate(number=Cast(figure, BigIntegerField()), nothing=nothing)
    return told.values_list("part", "number", "nothing", "of_currency")


def _sum(rows: QuerySet[Any], name: str, sign: int) -> Any:
    amount = Cast(KT(f"stripe_data__{name}"), BigIntegerField())
    return _figure("revenue", rows, Sum(amount) * Value(sign), KT("stripe_data__currency"))


def _text(text: str) -> Value:
    return Value(text, output_field=CharField())
