"""What an empty list says: what would be here, and how it comes; or that nothing is what was searched for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.finding import id_in, is_an_id, is_stripe_id

# By the model of the list.
_COMES: dict[str, Promise] = {
    "organizations.organization": gettext_lazy(
        "No customers yet. Those that Stripe has are taken in by the command import_organizations."
    ),
    "organizations.membership": gettext_lazy(
        "No members yet. They appear once the product they use adds them to a customer."
    ),
    "organizations.accesstoken": gettext_lazy(
        "No access tokens yet. Add one for each product that asks whether a member may come in."
    ),
    "billing.subscriptionevent": gettext_lazy(
        "Nothing has happened yet. Stripe's events appear once its webhooks reach us, and whatever staff do here."
    ),
    "billing.alert": gettext_lazy(
        "No alerts. What a person must look at, such as a failed refund, appears here."
    ),
    "billing.customersync": gettext_lazy(
        "Everything is read. A customer appears here from the moment Stripe tells of a change until it was read."
    ),
    "billing.bulkjob": gettext_lazy(
        "No bulk jobs yet. Tick several rows in a list and choose what to do with them."
    ),
    "djstripe.invoice": gettext_lazy(
        "No invoices yet. Stripe writes the first one when a subscription starts."
    ),
    "djstripe.charge": gettext_lazy(
        "No payments yet. Every attempt to charge a card appears here, and why one was declined."
    ),
    "djstripe.refund": gettext_lazy("No refunds yet. Refund an invoice from its row on the customer's page."),
    "djstripe.dispute": gettext_lazy(
        "No disputes. One appears here when a customer asks their bank for a payment back."
    ),
    "djstripe.customer": gettext_lazy(
        "No customers at Stripe yet. They appear as soon as Stripe tells of one."
    ),
    "djstripe.subscription": gettext_lazy(
        "No subscriptions yet. They appear as soon as Stripe tells of one."
    ),
    "djstripe.paymentmethod": gettext_lazy(
        "No payment methods yet. They appear when a customer leaves a card."
    ),
    "djstripe.product": gettext_lazy("No products yet. They appear with the first subscription to one."),
    "djstripe.price": gettext_lazy("No prices yet. They appear with the first subscription at one."),
}


@dataclass(frozen=True)
class Nothing:
    """That nothing was found, and what may be why."""

    said: str
    hint: str = ""


def nothing_found(changelist: Any) -> Nothing:
    """What is said where a search found nothing; an id leads customers' list to whatever has it, so nothing has."""
    sought = id_in(changelist.query.strip())
    if changelist.opts.label_lower != "organizations.organization" or not is_an_id(sought):
        return Nothing(_("Nothing matches this search."))
    return Nothing(
        _("No customer and no event here has this id.")
        if changelist.viewer.has_perm("billing.view_subscriptionevent")
        else _("No customer here has this id."),
        _("Stripe's ids tell capitals apart; prices and products belong to nobody.")
        if is_stripe_id(sought)
        else "",
    )


def what_would_come(model: str) -> str:
    """What would be in the list of a model, by its label, and how it comes there."""
    return str(_COMES.get(model) or gettext_lazy("There is nothing here yet."))
