"""What reactivating would bring: a renewal again, or a new subscription and its first invoice. Changes nothing."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing import stripe_api
from billing.errors import ObjectMissing, OperationRefused
from billing.metrics import licensed_items, recurring_amount, seat_item
from billing.models import SubscriptionEvent
from billing.operations.cancel_preview import period_end
from billing.operations.subscription import (
    SubscriptionChoices,
    SubscriptionPreview,
    fingerprint,
    living,
    upcoming_invoice,
)
from billing.projection import from_unix, plan_name
from billing.stripe_api import StripeObject
from organizations.models import Organization
from organizations.querysets import ENDED_STATUSES


class How(models.TextChoices):
    """How a customer stays, or comes back."""

    UNDO = "undo", gettext_lazy("Undo the cancellation")
    NEW = "new", gettext_lazy("Make a new subscription with the same plan and seats")


@dataclass(frozen=True)
class ReactivateChoices(SubscriptionChoices):
    """Whether a cancellation is undone, or a new subscription made where the old one has ended."""

    how: str = How.UNDO.value


@dataclass(frozen=True)
class ReactivatePreview(SubscriptionPreview):
    """What reactivating would bring. Amounts in minor units of `currency`."""

    how: str
    status: str
    plan: str
    seats: int | None
    ends_at: datetime.datetime | None
    """When it was to end, or has ended."""
    currency: str
    invoice_date: datetime.datetime | None
    """Of the next invoice; a new subscription's first one is made at once, and has None."""
    total: int
    due: int
    """What of that invoice is to be paid, after the customer's balance."""
    recurring: int
    """Each interval, before discounts and tax where the subscription is new."""
    interval: str
    interval_count: int
    collection: str
    params: dict[str, Any]
    """What is asked of Stripe."""
    card: str = ""
    """What is charged, in words."""
    days_until_due: int | None = None
    withdrawn_seats: int | None = None
    """What its cancellation withdrew: a change to so many seats that had been planned."""
    known: tuple[str, ...] = ()
    """The subscriptions that the customer had, all ended, when a new one was asked for."""

    @property
    def is_new(self) -> bool:
        """Whether a new subscription is made."""
        return self.how == How.NEW

    @property
    def is_mailed(self) -> bool:
        """Whether Stripe sends an invoice to be paid instead of charging a card."""
        return self.collection == "send_invoice"


def preview_undo(organization: Organization, subscription: StripeObject, at: int) -> ReactivatePreview:
    """What going on would cost when the planned end of `subscription` is taken back at `at` (unix seconds).

    Raises OperationRefused where it has ended meanwhile, StripeError where Stripe does not tell.
    """
    if subscription["status"] in ENDED_STATUSES:
        raise OperationRefused(
            _(
                "This subscription has ended, so its cancellation can no longer be undone. Nothing was changed."
                " A new one can be made instead."
            )
        )
    params: dict[str, Any] = {"cancel_at_period_end": False}
    if not subscription.get("cancel_at_period_end"):
        # Within a last period that was cut short, its rest is prorated: from the moment that was shown.
        params = {"cancel_at": "", "proration_date": at}
    invoice = upcoming_invoice({"subscription": subscription["id"], "subscription_details": params})
    return ReactivatePreview(
        **_described(organization, subscription),
        how=How.UNDO.value,
        ends_at=from_unix(subscription.get("cancel_at")),
        invoice_date=from_unix(invoice["period_end"] if invoice else period_end(subscription)),
        total=invoice["total"] if invoice else 0,
        due=invoice["amount_due"] if invoice else 0,
        recurring=recurring_amount(subscription),
        params=params,
    )


def preview_new(organization: Organization, ended: StripeObject) -> ReactivatePreview:
    """What a new subscription with the plan and seats of `ended` would cost today, and from then on.

    Raises OperationRefused where none can be made, StripeError where Stripe does not tell.
    """
    if ended["status"] not in ENDED_STATUSES:
        raise OperationRefused(_("This subscription is live, so no new one is made. Nothing was changed."))
    customer = _customer(organization)
    known = all_at_stripe(customer["id"])
    live = living(known)
    if live:
        raise OperationRefused(
            _(
                "This customer has a live subscription already (%(id)s), so no other is made. Nothing was changed."
            )
            % {"id": live[0]["id"]}
        )
    items = _items(ended)
    invoice = stripe_api.preview_invoice(
        {
            "customer": customer["id"],
            "currency": ended["currency"],
            "subscription_details": {"items": items},
        }
    )
    params: dict[str, Any] = {"customer": customer["id"], "currency": ended["currency"], "items": items}
    described = _described(organization, ended)
    card = ""
    if described["collection"] == "send_invoice":
        if not customer.get("email"):
            raise OperationRefused(
                _(
                    "This customer has no email address, so Stripe cannot send it an invoice. Nothing was changed."
                )
            )
        params |= {"collection_method": "send_invoice", "days_until_due": ended.get("days_until_due") or 30}
    else:
        method = _payment_method(customer, ended)
        if method is None and invoice["total"] > 0:
            raise OperationRefused(
                _(
                    "This customer has no payment method, so nothing can be charged. Nothing was changed; ask for a"
                    " card first, with a link to the customer portal for instance."
                )
            )
        # A declined card leaves no subscription behind. The customer is not here to answer the bank.
        params |= {"payment_behavior": "error_if_incomplete", "off_session": True}
        if method and method["id"] != _default_of(customer):
            params["default_payment_method"] = method["id"]
        card = _in_words(method) if method else ""
    return ReactivatePreview(
        **described,
        how=How.NEW.value,
        ends_at=from_unix(ended.get("ended_at")),
        invoice_date=None,
        total=invoice["total"],
        due=invoice["amount_due"],
        recurring=recurring_amount({**ended, "discounts": []}),
        params=params,
        card=card,
        days_until_due=params.get("days_until_due"),
        known=tuple(sorted(each["id"] for each in known)),
    )


def all_at_stripe(customer_id: str) -> list[StripeObject]:
    """The customer's subscriptions, ended ones too, as Stripe has them now. Raises StripeError."""
    pages = stripe_api.list_pages("/v1/subscriptions", {"customer": customer_id, "status": "all"})
    return [each for page in pages for each in page]


def _described(organization: Organization, subscription: StripeObject) -> dict[str, Any]:
    item = (
        seat_item(subscription)
        or (licensed_items(subscription) or subscription["items"]["data"] or [None])[0]
    )
    price = item["price"] if item else {}
    recurring = price.get("recurring") or {}
    return {
        "subscription_id": subscription["id"],
        "fingerprint": fingerprint(subscription),
        "status": subscription["status"],
        "plan": plan_name(price),
        "seats": item.get("quantity") if item else None,
        "currency": subscription["currency"],
        "interval": recurring.get("interval", ""),
        "interval_count": recurring.get("interval_count", 1),
        "collection": subscription.get("collection_method") or "charge_automatically",
        "withdrawn_seats": _withdrawn_seats(organization, subscription),
    }


def _withdrawn_seats(organization: Organization, subscription: StripeObject) -> int | None:
    """The planned seats that the last of our acts on `subscription` withdrew, where that was to cancel it."""
    last = (
        SubscriptionEvent.objects.filter(
            organization=organization,
            stripe_subscription_id=subscription["id"],
            type__in=("cancel_subscription", "reactivate_subscription", "schedule_seats"),
            state=SubscriptionEvent.State.DONE,
        )
        .order_by("-pk")
        .first()
    )
    if last is None or last.type != "cancel_subscription":
        return None
    planned: int | None = (last.plan or {}).get("planned_seats")
    return planned


def not_restored(withdrawn_seats: int | None) -> list[str]:
    """That a plan which the cancellation withdrew stays withdrawn; nothing where it withdrew none."""
    if withdrawn_seats is None:
        return []
    return [
        ngettext(
            "The planned change to %(n)d seat that the cancellation withdrew is not restored. Plan it again if it is"
            " still wanted.",
            "The planned change to %(n)d seats that the cancellation withdrew is not restored. Plan it again if it is"
            " still wanted.",
            withdrawn_seats,
        )
        % {"n": withdrawn_seats}
    ]


def _customer(organization: Organization) -> StripeObject:
    gone = _("This customer was deleted at Stripe, so it can have no new subscription. Nothing was changed.")
    try:
        customer = stripe_api.retrieve_customer(organization.stripe_customer_id or "")
    except ObjectMissing as error:
        raise OperationRefused(gone, error.detail) from error
    if customer.get("deleted"):
        raise OperationRefused(gone)
    return customer


def _items(ended: StripeObject) -> list[dict[str, Any]]:
    """The plan and seats of the old subscription, for a new one. Raises OperationRefused where a price is gone."""
    items = []
    for item in ended["items"]["data"]:
        price = item["price"]
        if not price.get("active", True):
            raise OperationRefused(
                _(
                    "The old plan (%(plan)s) is no longer sold, so it cannot be subscribed to again. Nothing was"
                    " changed; make the new subscription at Stripe, with a present plan."
                )
                % {"plan": plan_name(price)}
            )
        quantity = {} if item.get("quantity") is None else {"quantity": item["quantity"]}
        items.append({"price": price["id"], **quantity})
    return items


def _default_of(customer: StripeObject) -> str | None:
    default = (customer.get("invoice_settings") or {}).get("default_payment_method")
    source: str | None = default["id"] if isinstance(default, dict) else default
    return source or customer.get("default_source")


def _payment_method(customer: StripeObject, ended: StripeObject) -> StripeObject | None:
    """What would be charged: the old subscription's own card if the customer still has it, else the default."""
    own = ended.get("default_payment_method")
    if isinstance(own, dict) and own.get("customer") == customer["id"]:
        return own
    default = _default_of(customer)
    if default is None:
        return None
    return stripe_api.retrieve(default) if stripe_api.path_of(default) else {"id": default, "type": "source"}


def _in_words(method: StripeObject) -> str:
    """ "Visa •••• 4242", or Stripe's word for another kind: "sepa debit"."""
    card = method.get("card")
    if not card:
        return str(method.get("type") or "").replace("_", " ")
    return f"{str(card['brand']).capitalize()} •••• {card['last4']}"
