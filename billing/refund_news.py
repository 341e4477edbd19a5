"""What a round of reading tells of money that went back: a refund that failed, perhaps more than was paid.

Runs in the transaction that writes what was read; whatever Stripe must be asked for is left to a job.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable, Mapping

from django.utils.translation import gettext as _
from procrastinate.contrib.django import app

from billing import mirror
from billing.alerts import raise_alert
from billing.money import format_money
from billing.stripe_api import StripeObject
from organizations.models import Organization

EXCESS_TASK = "billing.tasks.tell_of_excess"
EXCESS_QUEUE = "maintenance"

# What went back long ago is history; taking customers in tells nobody of it.
STILL_NEWS = datetime.timedelta(days=60)


def tell_of_failed_refunds(customer_id: str, read: Mapping[str, list[StripeObject]]) -> None:
    """A refund that comes back is money that the customer waits for, so somebody must know; once for each."""
    failed = [each for each in _news(read, "refund") if each.get("status") == "failed"]
    organization = Organization.objects.filter(stripe_customer_id=customer_id).first() if failed else None
    for refund in failed:
        raise_alert(
            "refund_failed",
            refund["id"],
            _("The refund of %(amount)s failed; the money is back at Stripe, not with the customer.")
            % {"amount": format_money(refund["amount"], refund["currency"])},
            organization=organization,
        )


def look_for_excess(read: Mapping[str, list[StripeObject]]) -> None:
    """Queue a look at each invoice of which more may have gone back than was paid.

    Stripe caps the refunds of a payment and the credit notes of an invoice, each for itself. The mirror has both sums,
    but not which credit note speaks of which refund, so whether it is too much is for Stripe to say.
    """
    charges = {each["charge"] for each in _news(read, "refund", "dispute") if each.get("charge")}
    of_charges = {id_ for charge in charges if (id_ := mirror.invoice_of_charge(charge))}
    # Where a whole customer was read, its invoices are no news by themselves.
    asked_for = {id_ for id_ in read if id_.startswith("in_")}
    named: list[StripeObject] = [{"object": "invoice", "id": id_} for id_ in of_charges | asked_for]
    invoices = [each for each in mirror.known(named).values() if each.get("status") == "paid"]
    paid_by = mirror.charges_of_invoices(invoices)
    for invoice in invoices:
        if _may_exceed(invoice, paid_by[invoice["id"]]):
            app.configure_task(EXCESS_TASK, queue=EXCESS_QUEUE).defer(invoice_id=invoice["id"])


def _may_exceed(invoice: StripeObject, charges: Iterable[StripeObject]) -> bool:
    back = invoice.get("post_payment_credit_notes_amount") or 0
    for charge in charges:
        back += charge.get("amount_refunded") or 0
        back += charge["amount"] if charge.get("disputed") else 0
    return bool(back > invoice["amount_paid"])


def _news(read: Mapping[str, list[StripeObject]], *kinds: str) -> list[StripeObject]:
    """The objects of these kinds that were made lately."""
    since = time.time() - STILL_NEWS.total_seconds()
    return [
        each
        for objects in read.values()
        for each in objects
        if each.get("object") in kinds and each["created"] > since
    ]
