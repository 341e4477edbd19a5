"""What a round of reading tells of money that went back: a refund that failed, perhaps more than was paid.

Runs in the transaction that writes what was read; whatever Stripe must be asked for is left to a job.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Iterable, Mapping

from django.db import OperationalError, transaction
from django.utils.translation import gettext as _
from procrastinate.contrib.django import app

from billing import mirror
from billing.alerts import raise_alert
from billing.money import format_money
from billing.stripe_api import StripeObject
from organizations.models import Organization

log = logging.getLogger(__name__)

EXCESS_TASK = "billing.tasks.tell_of_excess"
EXCESS_QUEUE = "maintenance"

# What went back long ago is history; taking customers in tells nobody of it.
STILL_NEWS = datetime.timedelta(days=60)


def tell_of_money_back(customer_id: str, read: Mapping[str, list[StripeObject]]) -> None:
    """Both that there is to tell. Where one fails, whoever reads the customer goes on all the same."""
    for tell in (tell_of_failed_refunds, look_for_excess):
        try:
            with transaction.atomic():
                tell(customer_id, read)
        except OperationalError:
            raise
        except Exception:
            log.exception("Telling what was read of %s failed", customer_id)


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


def look_for_excess(customer_id: str, read: Mapping[str, list[StripeObject]]) -> None:
    """Queue a look at each invoice of which more may have gone back than was paid.

    Stripe caps the refunds of a payment and the credit notes of an invoice, each for itself. The mirror has both sums,
    but not which credit note speaks of which refund, so whether it is too much is for Stripe to say. Two queries.
    """
    given_back = _charges_given_back(read)
    # Where a whole customer was read, its invoices are no news by themselves.
    asked_for = {id_ for id_ in read if id_.startswith("in_")}
    if not given_back and not asked_for:
        return
    invoices = mirror.paid_invoices_of(customer_id)
    paid_by = mirror.charges_by_invoice(invoices, mirror.charges_of(customer_id))
    for invoice in invoices:
        charges = paid_by[invoice["id"]]
        is_news = invoice["id"] in asked_for or any(charge["id"] in given_back for charge in charges)
        if is_news and _may_exceed(invoice, charges):
            app.configure_task(EXCESS_TASK, queue=EXCESS_QUEUE).defer(invoice_id=invoice["id"])


def _charges_given_back(read: Mapping[str, list[StripeObject]]) -> set[str]:
    """The charges of which money went back, or may have, as far as that is news."""
    lately = {each["charge"] for each in _news(read, "refund", "dispute") if each.get("charge")}
    # Banks take months to decide. What was read because Stripe told of it is news, however long ago it was made.
    told_of = [each for name, objects in read.items() for each in objects if each.get("id") == name]
    disputed = {each["charge"] for each in told_of if each["object"] == "dispute" and each.get("charge")}
    changed = {each["id"] for each in told_of if each["object"] == "charge" and _went_back(each)}
    return lately | disputed | changed


def _may_exceed(invoice: StripeObject, charges: Iterable[StripeObject]) -> bool:
    back = invoice.get("post_payment_credit_notes_amount") or 0
    return bool(back + sum(map(_went_back, charges)) > invoice["amount_paid"])


def _went_back(charge: StripeObject) -> int:
    """What may have gone back of a charge at most, in minor units."""
    disputed: int = charge["amount"] if charge.get("disputed") else 0
    return disputed + (charge.get("amount_refunded") or 0)


def _news(read: Mapping[str, list[StripeObject]], *kinds: str) -> list[StripeObject]:
    """The objects of these kinds that were made lately."""
    since = time.time() - STILL_NEWS.total_seconds()
    return [
        each
        for objects in read.values()
        for each in objects
        if each.get("object") in kinds and each["created"] > since
    ]
