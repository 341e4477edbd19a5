"""Stripe's refusals in our own words, by its error codes (https://docs.stripe.com/error-codes).

For everybody who calls Stripe: `billing.stripe_api` reads them here. What Stripe itself said stays in the ledger.
A word of ours says what happened, that nothing was changed, and what to do.
"""

from __future__ import annotations

from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

_CONFIRM = _(
    "The customer's bank wants the customer to confirm this payment, which nobody can do from here."
    " Nothing was changed; ask the customer to pay the invoice on its own page."
)
_DISPUTED = _(
    "The customer's bank is taking this payment back (a dispute), so Stripe does not refund it."
    " Nothing was changed; answer the dispute at Stripe."
)

WORDS: dict[str, Promise] = {
    "amount_too_large": _("Stripe does not take an amount as large as this. Nothing was changed."),
    "amount_too_small": _(
        "Stripe does not take an amount as small as this. Nothing was changed; choose a larger one."
    ),
    "authentication_required": _CONFIRM,
    "balance_insufficient": _(
        "Our balance at Stripe holds too little for this. Nothing was changed; try again once payments came in."
    ),
    "charge_already_refunded": _("This payment was refunded in full already. Nothing was changed."),
    "charge_disputed": _DISPUTED,
    "charge_not_refundable": _("Stripe cannot refund this payment. Nothing was changed; credit the balance."),
    "coupon_expired": _("This coupon has expired. Nothing was changed; choose another."),
    "customer_max_subscriptions": _(
        "This customer has as many subscriptions as Stripe allows. Nothing was changed."
    ),
    "expired_card": _("The customer's card has expired. Nothing was changed; ask for a new one."),
    "insufficient_funds": _("The customer's card has too little money on it. Nothing was changed."),
    "invoice_no_payment_method_types": _(
        "No way to pay fits this invoice. Nothing was changed; look at the payment settings at Stripe."
    ),
    "invoice_not_editable": _(
        "This invoice is final, so it cannot be changed any more. Nothing was changed."
    ),
    "invoice_payment_intent_requires_action": _CONFIRM,
    "lock_timeout": _(
        "Somebody else is changing the same thing at Stripe. Nothing was changed by you; try again in a minute."
    ),
    "missing": _("Stripe does not know this customer's card any more. Nothing was changed."),
    "parameter_invalid_integer": _("Stripe does not take this number. Nothing was changed."),
    "rate_limit": _("Stripe is busy and asked us to wait. Nothing was changed; try again in a minute."),
    "refund_disputed_payment": _DISPUTED,
    "resource_already_exists": _("Stripe has this already. Nothing was changed."),
    "resource_missing": _(
        "Stripe does not know what this was about, or not any more. Nothing was changed;"
        " resync the customer and look again."
    ),
    "subscription_payment_intent_requires_action": _CONFIRM,
}

# Refusals that Stripe gives no code, by how they begin.
UNCODED: dict[str, Promise] = {
    "Refund amount (": _("More than is left of this payment cannot be refunded. Nothing was changed."),
    "The credit note amount": _("More than is left of this invoice cannot be credited. Nothing was changed."),
    "A canceled subscription": _(
        "This subscription has ended, so it cannot be changed. Nothing was changed."
    ),
    "The subscription is managed by the subscription schedule": _(
        "A schedule at Stripe manages this subscription. Nothing was changed; change or release the schedule."
    ),
}


def words_for(code: str, said: dict[str, Any]) -> Promise | None:
    """Our words for a refusal, by its code or by Stripe's sentence; None where we have none.

    A declined card says more in its decline code than in its code.
    """
    for each in (said.get("decline_code"), code):
        if each in WORDS:
            return WORDS[each]
    message = str(said.get("message") or "")
    return next((words for start, words in UNCODED.items() if message.startswith(start)), None)
