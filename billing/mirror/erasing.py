"""What is personal in Stripe's documents, and taking it out of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from djstripe.models import Charge, Customer

from billing.mirror.tables import id_of
from billing.stripe_api import StripeObject

# The mark of our own in the document of a customer whose personal data were erased.
ERASED = "bo_erased"

# Fields by kind; each becomes null. https://docs.stripe.com/api/customers/object and the like.
_PERSONAL: dict[str, tuple[str, ...]] = {
    "customer": (
        *("name", "email", "phone", "address", "shipping", "description", "metadata", "tax_ids"),
        *("business_name", "individual_name", "invoice_prefix", "preferred_locales"),
    ),
    "payment_method": ("billing_details", "metadata"),
    "subscription": ("description",),
    "payment_intent": ("receipt_email", "shipping", "description"),
    "charge": ("billing_details", "receipt_email", "receipt_url", "shipping", "description"),
    "invoice": (
        *("customer_name", "customer_email", "customer_phone", "customer_address", "customer_shipping"),
        *("customer_tax_ids", "custom_fields", "description", "footer", "hosted_invoice_url", "invoice_pdf"),
    ),
    # What was shown to the bank: names, addresses, letters, files. That there was a dispute and how it ended stays.
    "dispute": ("evidence", "metadata"),
}
_EMPTY: dict[str, Any] = {"metadata": {}, "billing_details": {}, "evidence": {}}


def owners_of(objects: Iterable[StripeObject]) -> dict[str, str]:
    """Whose each of these is, the customer's id by its own; a dispute is whose charge it is about."""
    objects = list(objects)
    owners = {
        each["id"]: owner
        for each in objects
        if (owner := each["id"] if each["object"] == "customer" else id_of(each.get("customer")))
    }
    charges = {
        each["id"]: charge
        for each in objects
        if each["object"] == "dispute" and (charge := id_of(each.get("charge")))
    }
    unread = Charge.objects.filter(id__in={charge for charge in charges.values() if charge not in owners})
    of_charges = {**dict(unread.values_list("id", "customer_id")), **owners} if charges else {}
    owners |= {id_: owner for id_, charge in charges.items() if (owner := of_charges.get(charge))}
    return owners


def erased_among(customer_ids: Iterable[str]) -> set[str]:
    """Those of these customers whose personal data were erased."""
    rows = Customer.objects.filter(id__in=set(customer_ids), stripe_data__has_key=ERASED)
    return set(rows.values_list("id", flat=True))


def without_personal(data: StripeObject) -> StripeObject:
    """The document with what is personal in it taken out; a customer is marked, so that it stays so."""
    names = _PERSONAL.get(data["object"], ())
    kept = {name: _EMPTY.get(name) if name in names else value for name, value in data.items()}
    if data["object"] == "customer":
        kept[ERASED] = True
    return kept
