"""Attempts to pay, as Stripe's charges tell them: why one was declined, and which look as if they were made twice."""

from __future__ import annotations

import calendar
import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from billing.stripe_api import StripeObject

# How close together two payments must be to look like one that was made twice.
DUPLICATE_SECONDS = 10 * 60

# https://docs.stripe.com/declines/codes, and the codes of charges that have no decline code.
DECLINES: dict[str, Promise] = {
    "authentication_required": _("the bank wants the customer to confirm the payment"),
    "card_not_supported": _("the card does not take such payments"),
    "card_velocity_exceeded": _("the card was used too often, or is over its limit"),
    "currency_not_supported": _("the card does not take this currency"),
    "do_not_honor": _("the bank declined it without saying why"),
    "expired_card": _("the card has expired"),
    "fraudulent": _("the payment looks fraudulent to Stripe"),
    "generic_decline": _("the bank declined it without saying why"),
    "incorrect_cvc": _("the security code is wrong"),
    "incorrect_number": _("the card's number is wrong"),
    "insufficient_funds": _("the card has too little money on it"),
    "invalid_account": _("the card or its account is not valid"),
    "issuer_not_available": _("the bank could not be reached"),
    "lost_card": _("the card was reported lost"),
    "pickup_card": _("the card may not be used any more"),
    "processing_error": _("the bank could not process it"),
    "stolen_card": _("the card was reported stolen"),
    "transaction_not_allowed": _("the card does not allow it"),
    "try_again_later": _("the bank declined it for the moment"),
    "withdrawal_count_limit_exceeded": _("the card is over its limit"),
}


def decline_in_words(charge: StripeObject) -> str:
    """Why a charge failed; what Stripe said where we have no words for it, empty where it did not fail."""
    if charge.get("status") != "failed":
        return ""
    for code in ((charge.get("outcome") or {}).get("reason"), charge.get("failure_code")):
        if code in DECLINES:
            return str(DECLINES[code])
    return str(charge.get("failure_message") or "")


def has_expired(month: int | None, year: int | None) -> bool:
    """Whether a card is past its last day; one without a date is not."""
    if not month or not year:
        return False
    last_day = calendar.monthrange(year, month)[1]
    return datetime.datetime(year, month, last_day, 23, 59, 59, tzinfo=datetime.UTC) < timezone.now()


def likely_duplicates(charges: Iterable[StripeObject]) -> dict[str, int]:
    """Payments that went through though a like one just had, by their ids: how many seconds after it.

    Like means the same amount on the same card by another intent. Nothing proves that it was not meant.
    """
    earlier: dict[Sequence[Any], StripeObject] = {}
    found = {}
    for charge in sorted(charges, key=lambda each: (each["created"], each["id"])):
        card = (charge.get("payment_method_details") or {}).get("card") or {}
        if charge.get("status") != "succeeded" or not card:
            continue
        like = (
            charge["amount"],
            charge["currency"],
            card.get("fingerprint") or (card["brand"], card["last4"]),
        )
        before, earlier[like] = earlier.get(like), charge
        if before is None or before.get("payment_intent") == charge.get("payment_intent"):
            continue
        seconds = charge["created"] - before["created"]
        if seconds <= DUPLICATE_SECONDS:
            found[charge["id"]] = seconds
    return found
