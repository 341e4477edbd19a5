"""What the ledger keeps of an act (before, intended, after) as labelled rows: words, money and days for people."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adminops.pages import words
from adminops.pages.ledger.event_words import status_in_words
from billing.difference_words import change_of, name_of
from billing.differences import Difference
from billing.money import format_money
from billing.operations import cancel_preview, reactivate_preview, refund_preview, seat_preview, suspend
from billing.operations.collection import Behavior
from organizations.models import Hold

# Amounts in minor units of the currency beside them, or of the event's.
MONEY = frozenset(
    """
    amount amount_off charged creditable credit_shrinks_by credited due due_now excess from_balance given_back
    invoice_total lost mrr next_after next_before outside paid pending prorated recurring recurring_after
    recurring_before refunded remaining taken_back total unit_amount waiting
    """.split()
)
# Numbers of things, and keys of rows.
COUNTS = frozenset(
    """
    attempts days_until_due detached event holds id interval_count members months n number paused_by_others
    planned_seats seats seats_after seats_before seats_used withdrawn_seats
    """.split()
)
# What holds an agreement together, or is worded for Stripe: for those who open the record itself.
TECHNICAL = frozenset({"digest", "fingerprint", "params", "phases", "schedule_digest", "known"})

LABELS: dict[str, str | Promise] = {
    "account": gettext_lazy("The invoice until then"),
    "at": gettext_lazy("When"),
    "blocks": gettext_lazy("Keeps Stripe from refunding"),
    "choices": gettext_lazy("Chosen"),
    "creditable": gettext_lazy("Could still be credited"),
    "credited": gettext_lazy("Credited"),
    "credit_shrinks_by": gettext_lazy("Credit may shrink by"),
    "due": gettext_lazy("To be paid"),
    "due_now": gettext_lazy("To be paid at once"),
    "found": gettext_lazy("Differences"),
    "from_balance": gettext_lazy("Paid from the balance"),
    "is_proration": gettext_lazy("Caused by this"),
    "last4": gettext_lazy("Last four digits"),
    "lost": gettext_lazy("Kept by the bank"),
    "mrr": gettext_lazy("MRR"),
    "n": gettext_lazy("Number"),
    "outside": gettext_lazy("Paid outside Stripe"),
    "payment": gettext_lazy("The payment it goes back to"),
    "pending": gettext_lazy("Refunds on their way"),
    "recurring": gettext_lazy("Each period"),
    "recurring_after": gettext_lazy("Each period after"),
    "recurring_before": gettext_lazy("Each period before"),
    "stripe_reason": gettext_lazy("Reason given to Stripe"),
    "taken_back": gettext_lazy("Taken off the balance again"),
    "to_close": gettext_lazy("Invoices to close"),
    "when": gettext_lazy("When"),
}
_CHOICES: dict[str, Mapping[str, Any]] = {
    "behavior": dict(Behavior.choices),
    "billing": dict(suspend.Billing.choices),
    "destination": dict(refund_preview.Destination.choices),
    "feedback": dict(cancel_preview.Feedback.choices),
    "held_by": dict(Hold.Kind.choices),
    "holds": dict(Hold.Kind.choices),
    "how": dict(reactivate_preview.How.choices),
    "invoices": dict(suspend.Invoices.choices),
    "kind": dict(Hold.Kind.choices),
    "paused": dict(Behavior.choices),
    "proration": dict(seat_preview.Proration.choices),
    "stripe_reason": dict(refund_preview.StripeReason.choices),
    "when": {**dict(seat_preview.When.choices), **dict(cancel_preview.When.choices)},
}
# Stripe's words, which differ from English by their underscores only.
_STRIPES_WORDS = frozenset({"collection", "duration", "final_invoice_status", "interval", "state", "status"})

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT")
_MOST_ITEMS = 50


@dataclass(frozen=True)
class Fact:
    """One row: what, and how much. A heading has no value, and `depth` tells what stands beneath it."""

    label: str
    value: str
    depth: int = 0


def facts(document: Any, currency: str | None) -> list[Fact]:
    """The rows of a document of the ledger; amounts without a currency beside them are of `currency`."""
    if not isinstance(document, dict):
        return [Fact(_("Value"), _value("", document, currency or ""))]
    return list(_rows(document, currency or "", 0))


def untold(document: Any, ids: Collection[str], amount: int | None) -> Any:
    """A document without what its page tells above it, and without choices that the rest of it repeats."""
    if not isinstance(document, dict):
        return document
    rest = _without(document, ids)
    if amount is not None and rest.get("amount") == amount:
        del rest["amount"]
    if isinstance(rest.get("choices"), dict):
        repeated = {(label_of(key), str(value)) for key, value in document.items() if key != "choices"}
        rest["choices"] = {
            key: value
            for key, value in rest["choices"].items()
            if value not in (None, "") and (label_of(key), str(value)) not in repeated
        }
    return rest


def _without(value: Any, ids: Collection[str]) -> Any:
    """The same, however deep, without the names of those ids."""
    if isinstance(value, list):
        return [_without(each, ids) for each in value]
    if not isinstance(value, dict):
        return value
    kept = ((key, each) for key, each in value.items() if not (isinstance(each, str) and each in ids))
    return {key: _without(each, ids) for key, each in kept}


def is_moment(key: str) -> bool:
    """Whether the numbers under this name are unix seconds."""
    return key == "at" or key.endswith(("_at", "_date"))


def _rows(document: dict[str, Any], currency: str, depth: int) -> Iterator[Fact]:
    currency = str(document.get("currency") or currency)
    for key, value in sorted(document.items(), key=_place):
        if key in TECHNICAL or value in (None, "", [], {}):
            continue
        label = label_of(key)
        if isinstance(value, dict):
            yield Fact(label, "", depth)
            yield from _rows(value, currency, depth + 1)
        else:
            yield Fact(label, _value(key, value, currency), depth)


def _place(item: tuple[str, Any]) -> int:
    """What was chosen first, and lists last; else as the database keeps them, which has an order of its own."""
    key, value = item
    return 0 if key == "choices" else 2 if isinstance(value, list) else 1


def label_of(key: str) -> str:
    """A name of ours as a person says it: "Seats before"."""
    words_of_it = key.removesuffix("_id").removeprefix("is_").replace("_", " ")
    return str(LABELS.get(key) or capfirst(words_of_it))


def _value(key: str, value: Any, currency: str) -> str:
    if isinstance(value, list):
        return _list(key, value, currency)
    if isinstance(value, dict):
        return _inline(value, currency)
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, int | float):
        return _number(key, value, currency)
    return _text(key, str(value))


def _list(key: str, items: list[Any], currency: str) -> str:
    """A line for each thing, or all in one where they are plain."""
    shown = [_value(key, item, currency) for item in items[:_MOST_ITEMS]]
    more = len(items) - len(shown)
    if more:
        shown.append(ngettext("and %(n)d more", "and %(n)d more", more) % {"n": more})
    return ("\n" if any(isinstance(item, dict) for item in items) else ", ").join(shown)


def _inline(document: dict[str, Any], currency: str) -> str:
    """A thing in one line: "Description: …; Amount: $31.20"."""
    if {"field", "ours", "stripes"} <= set(document):
        difference = Difference(**document)
        return f"{name_of(difference)} {change_of(difference)}"
    facts = _rows(document, currency, 0)
    return "; ".join(f"{fact.label}: {fact.value}" if fact.value else f"{fact.label}:" for fact in facts)


def _number(key: str, value: float, currency: str) -> str:
    if key in MONEY and currency and isinstance(value, int):
        return format_money(value, currency)
    if is_moment(key):
        moment = words.from_unix(value)
        return words.short_moment(moment) if moment else ""
    return str(value)


def _text(key: str, value: str) -> str:
    if key in _CHOICES:
        return str(_CHOICES[key].get(value, value))
    if key in _STRIPES_WORDS:
        return status_in_words(value)
    if key == "currency":
        return value.upper()
    if _MOMENT.match(value) and (moment := _parsed(value)):
        return moment
    return value


def _parsed(value: str) -> str:
    """A moment that JSON holds as text, in words; empty where it is none."""
    try:
        moment = parse_datetime(value)
    except ValueError:
        return ""
    return words.short_moment(moment) if moment and moment.tzinfo else ""
