"""What a person should know of a row before agreeing to it, told from our own rows, and counted over all rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.money import format_money
from billing.operations.refund_account import GONE_WRONG, UNDER_WAY, dispute_of
from billing.operations.seat_plan import day_of, plan_in_words
from billing.operations.seat_preview import ends_at
from billing.schedules import planned_seats
from billing.stripe_api import StripeObject


class Kind(StrEnum):
    """What there is to know."""

    ENDS = "ends"
    SEATS_PLANNED = "seats_planned"
    PAUSED = "paused"
    DISPUTED = "disputed"
    PARTLY_BACK = "partly_back"
    UNDER_WAY = "under_way"


@dataclass(frozen=True)
class Caution:
    """One thing to know of one row."""

    kind: Kind
    words: str


def of_subscription(subscription: StripeObject) -> tuple[Caution, ...]:
    """Its planned end, its planned change of seats, and whether its collection is paused."""
    found = []
    if (end := ends_at(subscription)) is not None:
        found.append(Caution(Kind.ENDS, _("Ends on %(day)s already") % {"day": day_of(end)}))
    if (planned := planned_seats(subscription)) is not None:
        found.append(Caution(Kind.SEATS_PLANNED, plan_in_words(planned, "").rstrip(".")))
    if pause := subscription.get("pause_collection"):
        until = pause.get("resumes_at")
        found.append(
            Caution(
                Kind.PAUSED,
                _("Collection is paused until %(day)s") % {"day": day_of(until)}
                if until
                else _("Collection is paused"),
            )
        )
    return tuple(found)


def of_payment(
    invoice: StripeObject,
    charge: StripeObject,
    refunds: Iterable[StripeObject],
    disputes: Iterable[StripeObject],
) -> tuple[Caution, ...]:
    """Disputes of the payment of an invoice, what of it has gone back, and what is on its way."""
    currency = invoice["currency"]
    found = []
    for dispute in map(dispute_of, disputes):
        words = (
            _("The customer's bank asks about %(sum)s")
            if dispute.is_open
            else _("The customer's bank disputed %(sum)s, and it was decided for us")
        )
        found.append(Caution(Kind.DISPUTED, words % {"sum": format_money(dispute.amount, currency)}))
    known = [each for each in refunds if each.get("status") not in GONE_WRONG]
    under_way = sum(each["amount"] for each in known if each.get("status") in UNDER_WAY)
    gone = (charge.get("amount_refunded") or 0) - under_way
    if gone > 0:
        words = _("%(sum)s has gone back already")
        found.append(Caution(Kind.PARTLY_BACK, words % {"sum": format_money(gone, currency)}))
    if credited := invoice.get("post_payment_credit_notes_amount"):
        words = _("credit notes of %(sum)s were made for it")
        found.append(Caution(Kind.PARTLY_BACK, words % {"sum": format_money(credited, currency)}))
    if under_way:
        words = _("a refund of %(sum)s is on its way")
        found.append(Caution(Kind.UNDER_WAY, words % {"sum": format_money(under_way, currency)}))
    return tuple(found)


def counted(rows: Iterable[Sequence[Caution]]) -> list[str]:
    """How many rows have which caution, a sentence each."""
    counts = Counter(kind for cautions in rows for kind in {caution.kind for caution in cautions})
    return [_sentence(kind, counts[kind]) % {"n": counts[kind]} for kind in Kind if counts[kind]]


def _sentence(kind: Kind, n: int) -> str:
    return {
        Kind.ENDS: ngettext("%(n)d of them is set to end.", "%(n)d of them are set to end.", n),
        Kind.SEATS_PLANNED: ngettext(
            "For %(n)d of them a change of seats is planned.",
            "For %(n)d of them a change of seats is planned.",
            n,
        ),
        Kind.PAUSED: ngettext(
            "The collection of %(n)d of them is paused.", "The collection of %(n)d of them is paused.", n
        ),
        Kind.DISPUTED: ngettext(
            "%(n)d of them was questioned by the customer's bank.",
            "%(n)d of them were questioned by the customer's bank.",
            n,
        ),
        Kind.PARTLY_BACK: ngettext(
            "Of %(n)d of them a part has gone back already; what is left goes back now.",
            "Of %(n)d of them a part has gone back already; what is left goes back now.",
            n,
        ),
        Kind.UNDER_WAY: ngettext(
            "Of %(n)d of them a refund is on its way already.",
            "Of %(n)d of them a refund is on its way already.",
            n,
        ),
    }[kind]
