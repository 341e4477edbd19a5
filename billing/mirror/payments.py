"""Invoices and the charges, refunds and disputes of their payments, as Stripe sent them; amounts in minor units."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any, cast

from django.db import models
from django.db.models import OuterRef, Subquery
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, JSONObject
from djstripe.models import Charge, Dispute, Invoice, PaymentIntent, Refund

from billing.mirror.stored import OVERDUE, TO_ANSWER, with_columns
from billing.mirror.tables import id_of, newest, one
from billing.one_look import read_once
from billing.stripe_api import StripeObject


def _sum(rows: models.QuerySet[Any], name: str, sign: int) -> models.QuerySet[Any, Any]:
    amount = Cast(KT(f"stripe_data__{name}"), models.BigIntegerField())
    by_currency = rows.order_by().values_list(KT("stripe_data__currency"))
    return cast(
        "models.QuerySet[Any, Any]", by_currency.annotate(total=models.Sum(amount) * models.Value(sign))
    )


def invoice_of(customer_id: str, invoice_id: str) -> StripeObject | None:
    """One invoice, or None where this customer has none of that id."""
    return one(Invoice.objects.filter(customer_id=customer_id, id=invoice_id))


def invoices_of(customer_id: str, limit: int | None = None) -> list[StripeObject]:
    """Invoices of a customer, newest first."""
    return newest(Invoice.objects.filter(customer_id=customer_id), limit)


def payer_of(payment_intent_id: str) -> str | None:
    """The customer whose payment named this intent, by their id; lists bring payments without their intents."""
    charges = with_columns(Charge).filter(bo_intent=payment_intent_id)
    return charges.values_list("customer_id", flat=True).first()


def payer_of_number(number: str) -> str | None:
    """The customer whose invoice has this number, by their id."""
    invoices = with_columns(Invoice).filter(bo_number=number)
    return invoices.values_list("customer_id", flat=True).first()


def newest_invoice(customer: OuterRef) -> Subquery:
    """Of the newest invoice of the customer whose id another query has there: what a list tells of it, or NULL."""
    invoices = with_columns(Invoice).filter(customer_id=customer).exclude(stripe_data__status="draft")
    told: dict[str, Any] = {
        name: KT(f"stripe_data__{name}") for name in ("id", "status", "total", "currency")
    }
    told["created"] = models.F("created")
    told["overdue_since"] = models.Case(models.When(OVERDUE, then=models.F("bo_due_at")))
    return Subquery(invoices.order_by("-created", "-djstripe_id").values(told=JSONObject(**told))[:1])


@read_once
def open_invoices_of(customer_id: str) -> list[StripeObject]:
    """Invoices of a customer that are to be paid, newest first."""
    return newest(with_columns(Invoice).filter(customer_id=customer_id, bo_status="open"), None)


def open_invoices_of_many(customer_ids: Iterable[str]) -> dict[str, list[StripeObject]]:
    """The same for many customers, by their ids, in one query."""
    rows = with_columns(Invoice).filter(customer_id__in=list(customer_ids), bo_status="open")
    found: dict[str, list[StripeObject]] = {}
    for invoice in newest(rows, None):
        found.setdefault(id_of(invoice["customer"]) or "", []).append(invoice)
    return found


def unpaid_invoices_of(customer_id: str, subscription_id: str) -> list[StripeObject]:
    """Invoices of one subscription that are open or still drafts, newest first."""
    unpaid = with_columns(Invoice).filter(customer_id=customer_id, bo_status__in=("open", "draft"))
    return newest(
        unpaid.filter(stripe_data__parent__subscription_details__subscription=subscription_id), None
    )


def paid_invoices(customer_id: str) -> models.QuerySet[Any]:
    """The rows of a customer's invoices that were paid and came to more than nothing."""
    return with_columns(Invoice).filter(customer_id=customer_id, bo_status="paid", bo_amount__gt=0)


def paid_invoices_of(customer_id: str, limit: int | None = None) -> list[StripeObject]:
    """Invoices of a customer that were paid and came to more than nothing, newest first."""
    return newest(paid_invoices(customer_id), limit)


def paid_invoice(customer_id: str, invoice_id: str) -> StripeObject | None:
    """One of those, or None where this customer has none of that id."""
    return one(paid_invoices(customer_id).filter(id=invoice_id))


def invoices_by_key(keys: Iterable[int]) -> dict[int, StripeObject]:
    """Invoices by their row numbers, as the admin's list names what was ticked."""
    return dict(Invoice.objects.filter(djstripe_id__in=list(keys)).values_list("djstripe_id", "stripe_data"))


def charges_of_invoices(invoices: Iterable[StripeObject]) -> dict[str, list[StripeObject]]:
    """The charges that paid each invoice, by its id, in one query. https://docs.stripe.com/api/invoice-payment"""
    invoices = list(invoices)
    paid_by = {invoice["id"]: (id_of(invoice.get("customer")), _intents(invoice)) for invoice in invoices}
    charges = Charge.objects.filter(
        customer_id__in={customer for customer, _intents_of in paid_by.values()},
        stripe_data__payment_intent__in=[intent for _customer, ids in paid_by.values() for intent in ids],
        stripe_data__status="succeeded",
    )
    return charges_by_invoice(invoices, newest(charges, None))


def charges_by_invoice(
    invoices: Iterable[StripeObject], charges: Iterable[StripeObject]
) -> dict[str, list[StripeObject]]:
    """Which of these charges paid each invoice, by its id."""
    paid_by = {invoice["id"]: (id_of(invoice.get("customer")), _intents(invoice)) for invoice in invoices}
    found: dict[tuple[str | None, str | None], list[StripeObject]] = {}
    for charge in charges:
        if charge.get("status") != "succeeded" or not charge.get("payment_intent"):
            continue
        found.setdefault((id_of(charge.get("customer")), id_of(charge["payment_intent"])), []).append(charge)
    return {
        id_: [charge for intent in intents for charge in found.get((customer, intent), [])]
        for id_, (customer, intents) in paid_by.items()
    }


def _intents(invoice: StripeObject) -> list[str]:
    payments = (invoice.get("payments") or {}).get("data") or []
    intents = (id_of((each.get("payment") or {}).get("payment_intent")) for each in payments)
    return [intent for intent in intents if intent]


@read_once
def has_paid_invoice(customer_id: str) -> bool:
    """Whether this customer ever paid an invoice that came to more than nothing."""
    return paid_invoices(customer_id).exists()


def charges_of(customer_id: str, limit: int | None = None) -> list[StripeObject]:
    """Charges of a customer, failed ones too, newest first."""
    return newest(Charge.objects.filter(customer_id=customer_id), limit)


@read_once
def refunds_of(customer_id: str, limit: int | None = None) -> list[StripeObject]:
    """Refunds of a customer's charges, newest first."""
    return newest(Refund.objects.filter(charge__customer_id=customer_id), limit)


def refunds_of_charges(charge_ids: Iterable[str]) -> dict[str, list[StripeObject]]:
    """Refunds by the charge they give back, newest first, in one query."""
    return _by_charge(Refund, charge_ids)


def disputes_of_charges(charge_ids: Iterable[str]) -> dict[str, list[StripeObject]]:
    """Disputes by the charge they are about, newest first, in one query."""
    return _by_charge(Dispute, charge_ids)


def _by_charge(model: type[Refund | Dispute], charge_ids: Iterable[str]) -> dict[str, list[StripeObject]]:
    found: dict[str, list[StripeObject]] = {}
    for each in newest(model.objects.filter(charge_id__in=list(charge_ids)), None):
        found.setdefault(id_of(each["charge"]) or "", []).append(each)
    return found


def disputes_to_answer() -> tuple[int, datetime.datetime | None]:
    """How many disputes of everybody wait for our answer, and by when the first of them."""
    waiting = with_columns(Dispute).filter(bo_status__in=TO_ANSWER)
    found = waiting.aggregate(count=models.Count("pk"), first=models.Min("bo_due_by"))
    return found["count"], found["first"]


@read_once
def disputes_of(customer_id: str, limit: int | None = None) -> list[StripeObject]:
    """Disputes of a customer's charges, newest first."""
    return newest(Dispute.objects.filter(charge__customer_id=customer_id), limit)


def waiting_for_customer(invoices: Sequence[StripeObject]) -> list[StripeObject]:
    """Those of these invoices whose payment the customer must confirm with their bank."""
    paid_by = {invoice["id"]: _intents(invoice) for invoice in invoices}
    intents = [id_ for ids in paid_by.values() for id_ in ids]
    if not intents:
        return []
    waiting = PaymentIntent.objects.filter(id__in=intents, stripe_data__status="requires_action")
    ids = set(waiting.values_list("id", flat=True))
    return [invoice for invoice in invoices if ids & set(paid_by[invoice["id"]])]


def invoice_of_charge(charge_id: str) -> str | None:
    """The invoice that a charge paid or was to pay, or None where the mirror knows of none."""
    charge = one(Charge.objects.filter(id=charge_id))
    intent = id_of((charge or {}).get("payment_intent"))
    if charge is None or intent is None:
        return None
    payment = [{"payment": {"payment_intent": intent}}]
    invoices = Invoice.objects.filter(customer_id=id_of(charge.get("customer")))
    return id_of(one(invoices.filter(stripe_data__payments__data__contains=payment)))
