"""Why an invoice comes to what it does: its lines in sentences, down to the amount due. Pure, over Stripe's invoice.

Stripe takes discounts off the lines, then adds tax, then takes the customer's balance and credit notes
(https://docs.stripe.com/invoicing/overview). Amounts are minor units of the invoice's currency.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.money import format_money
from billing.operations.subscription import date_in_words
from billing.projection import from_unix
from billing.stripe_api import StripeObject

# Stripe writes a product's unit as it is, whatever the number.
_SEATS = re.compile(r"\b(\d+) seats?(?= ×)")


@dataclass(frozen=True)
class Part:
    """One thing that an invoice is made of: why, how much, and what Stripe wrote on the invoice."""

    why: str
    amount: int
    written: str = ""
    is_sum: bool = False


@dataclass(frozen=True)
class Explanation:
    """An invoice in sentences."""

    parts: tuple[Part, ...]
    afterwards: tuple[str, ...]
    """What became of the amount due."""


def explain(invoice: StripeObject) -> Explanation:
    """The parts of an invoice, each with its sentence, ending in the amount due; and what happened to that."""
    return Explanation((*_lines(invoice), *_reductions(invoice), *_settling(invoice)), _afterwards(invoice))


# -- the lines --------------------------------------------------------------------------------------------


def _lines(invoice: StripeObject) -> list[Part]:
    lines = (invoice.get("lines") or {}).get("data") or []
    parts = [
        Part(_why(line, lines), line["amount"], _written(line.get("description") or "")) for line in lines
    ]
    rest = invoice["subtotal"] - sum(part.amount for part in parts)
    if rest:
        # Stripe puts ten lines into an invoice; the others are a list of their own.
        parts.append(Part(_("Further lines, which stand on the invoice itself."), rest))
    return [*parts, Part(_("All lines together"), invoice["subtotal"], is_sum=True)]


def _written(description: str) -> str:
    """Stripe's words, with our unit in its right number: "9 seat × Team" is "9 seats × Team"."""

    def seats(found: re.Match[str]) -> str:
        count = int(found[1])
        return ngettext("%(n)d seat", "%(n)d seats", count) % {"n": count}

    return _SEATS.sub(seats, description)


def _why(line: StripeObject, lines: Sequence[StripeObject]) -> str:
    """What one line is for, among the others of its invoice."""
    period = _period(line)
    if _is_proration(line):
        told = {**period, "change": _change(line, lines)}
        if line["amount"] < 0:
            return _("%(change)s, so time that was paid for and not used is credited: %(period)s.") % told
        return _("%(change)s, so the rest of the period is charged as it is now: %(period)s.") % told
    details = (line.get("parent") or {}).get("type")
    if details != "subscription_item_details":
        if line["amount"] < 0:
            return _("A credit that was put on this invoice by itself.")
        return _("A charge that was put on this invoice by itself.")
    if not line["amount"]:
        return _("Free for %(period)s.") % period
    quantity = line.get("quantity")
    unit = (line.get("pricing") or {}).get("unit_amount_decimal")
    if quantity and unit and unit.isdigit() and quantity * int(unit) == line["amount"]:
        return ngettext(
            "The plan for %(period)s: %(n)d at %(price)s.",
            "The plan for %(period)s: %(n)d at %(price)s each.",
            quantity,
        ) % {**period, "n": quantity, "price": format_money(int(unit), line["currency"])}
    return _("The plan for %(period)s.") % period


def _change(line: StripeObject, lines: Sequence[StripeObject]) -> str:
    """What changed, as far as the two lines tell that Stripe makes of it: the one credits, the other charges."""
    pair = [
        each
        for each in lines
        if _is_proration(each)
        and each["period"]["start"] == line["period"]["start"]
        and _details(each).get("subscription_item") == _details(line).get("subscription_item")
    ]
    old = next((each for each in pair if each["amount"] < 0), {})
    new = next((each for each in pair if each["amount"] >= 0), {})
    before, after = old.get("quantity"), new.get("quantity")
    if len(pair) == 2 and before and after and before != after:
        return _("Seats went from %(old)d to %(new)d") % {"old": before, "new": after}
    if len(pair) == 2 and _price(old) != _price(new):
        return _("The price changed")
    return _("Something changed")


def _price(line: StripeObject) -> Any:
    return ((line.get("pricing") or {}).get("price_details") or {}).get("price")


def _is_proration(line: StripeObject) -> bool:
    return bool(_details(line).get("proration"))


def _details(line: StripeObject) -> dict[str, Any]:
    parent = line.get("parent") or {}
    return parent.get(parent.get("type") or "") or {}


def _period(line: StripeObject) -> dict[str, str]:
    """ "12 Nov 2026 to 12 Dec 2026"."""
    start, end = from_unix(line["period"]["start"]), from_unix(line["period"]["end"])
    if start is None or end is None:
        return {"period": ""}
    if start == end:
        return {"period": date_in_words(start)}
    return {"period": _("%(start)s to %(end)s") % {"start": date_in_words(start), "end": date_in_words(end)}}


# -- discounts, tax, shipping -----------------------------------------------------------------------------


def _reductions(invoice: StripeObject) -> list[Part]:
    parts = [
        Part(_discount(each.get("discount")), -each["amount"])
        for each in invoice.get("total_discount_amounts") or []
        if each["amount"]
    ]
    parts += [
        Part(_("Tax."), each["amount"])
        for each in invoice.get("total_taxes") or []
        if each["amount"] and each.get("tax_behavior") != "inclusive"
    ]
    rest = invoice["total"] - invoice["subtotal"] - sum(part.amount for part in parts)
    if rest:
        parts.append(Part(_("Shipping and the like, which stand on the invoice itself."), rest))
    return [*parts, Part(_("Total"), invoice["total"], is_sum=True)] if parts else []


def _discount(discount: Any) -> str:
    coupon = (discount.get("source") or {}).get("coupon") if isinstance(discount, dict) else None
    if not isinstance(coupon, dict):
        return _("A coupon takes this off.")
    return _("The coupon “%(name)s” takes this off.") % {"name": coupon.get("name") or coupon["id"]}


# -- balance, credit notes, the amount due ----------------------------------------------------------------


def _settling(invoice: StripeObject) -> list[Part]:
    parts = _of_balance(invoice)
    noted = invoice.get("pre_payment_credit_notes_amount") or 0
    due = invoice["amount_due"]
    if noted and invoice["total"] + sum(part.amount for part in parts) - noted == due:
        parts.append(Part(_("A credit note took this off before it was paid."), -noted))
    rest = due - invoice["total"] - sum(part.amount for part in parts)
    if rest and invoice["total"] >= 0:
        parts.append(Part(_("Settled otherwise at Stripe."), rest))
    return [*parts, Part(_("Amount due"), due, is_sum=True)]


def _of_balance(invoice: StripeObject) -> list[Part]:
    """What moved between this invoice and the customer's balance, where a negative one is the customer's credit."""
    before, after = invoice.get("starting_balance") or 0, invoice.get("ending_balance")
    if after is None:
        # A draft: what Stripe would take when it becomes final.
        after = min(0, invoice["total"] + before)
    if invoice["total"] < 0 and not invoice["amount_due"]:
        return [
            Part(
                _("It comes to less than nothing, so this goes to the customer's balance for later."),
                -invoice["total"],
            )
        ]
    parts = []
    used = min(before, 0) - min(after, 0)
    if used < 0:
        parts.append(Part(_("The customer's credit pays this."), used))
    if before > 0:
        parts.append(Part(_("What the customer owed from before is added."), before))
    if after > 0:
        parts.append(Part(_("Too little to be charged, so it is kept for the next invoice."), -after))
    return parts


def _afterwards(invoice: StripeObject) -> tuple[str, ...]:
    said = []

    def money(amount: int) -> str:
        return format_money(amount, invoice["currency"])

    status, remaining = invoice["status"], invoice.get("amount_remaining") or 0
    paid_on = from_unix((invoice.get("status_transitions") or {}).get("paid_at"))
    outside = invoice.get("amount_paid_off_stripe") or 0
    if status == "draft":
        said.append(_("This is a draft: it may still change until Stripe makes it final."))
    elif status == "void":
        said.append(_("It was voided: nobody owes it."))
    elif status == "uncollectible":
        said.append(
            _("It was written off with %(sum)s still to be paid, which the customer still may.")
            % {"sum": money(remaining)}
        )
    elif status == "paid" and not invoice["amount_due"]:
        said.append(_("Nothing had to be paid."))
    elif status == "paid":
        said.append(_paid(money(invoice["amount_paid"]), paid_on))
    else:
        if invoice["amount_paid"]:
            said.append(_("%(sum)s of it was paid.") % {"sum": money(invoice["amount_paid"])})
        said.append(_("%(sum)s is still to be paid.") % {"sum": money(remaining)})
    if outside:
        said.append(_("%(sum)s of it was paid outside Stripe.") % {"sum": money(outside)})
    noted = invoice.get("post_payment_credit_notes_amount") or 0
    if noted:
        said.append(_("After it was paid, %(sum)s was given back by credit notes.") % {"sum": money(noted)})
    return tuple(said)


def _paid(sum_: str, paid_on: datetime.datetime | None) -> str:
    if paid_on is None:
        return _("%(sum)s was paid.") % {"sum": sum_}
    return _("%(sum)s was paid on %(date)s.") % {"sum": sum_, "date": date_in_words(paid_on)}
