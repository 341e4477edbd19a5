"""Where we held something else than Stripe, in words: for whoever looks before, and whoever reads it a year later."""

from __future__ import annotations

import datetime
from typing import Any

from django.contrib.admin.utils import label_for_field
from django.utils import formats, timezone
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing.differences import ORGANIZATION, Count, Difference, Differences
from billing.money import format_money
from organizations.models import Organization

# A line of history names so many differences, and counts the others.
TOLD = 5

KINDS: dict[str, Promise] = {
    "customer": gettext_lazy("Customer"),
    "subscription": gettext_lazy("Subscription"),
    "charge": gettext_lazy("Payment"),
    "invoice": gettext_lazy("Invoice"),
    "refund": gettext_lazy("Refund"),
    "dispute": gettext_lazy("Dispute"),
    "payment_method": gettext_lazy("Payment method"),
}
MISSING: dict[str, Promise] = {
    "customer": gettext_lazy("Customers that we have not read yet"),
    "subscription": gettext_lazy("Subscriptions that we have not read yet"),
    "charge": gettext_lazy("Payments that we have not read yet"),
    "invoice": gettext_lazy("Invoices that we have not read yet"),
    "refund": gettext_lazy("Refunds that we have not read yet"),
    "dispute": gettext_lazy("Disputes that we have not read yet"),
    "payment_method": gettext_lazy("Payment methods that we have not read yet"),
}
FIELDS: dict[str, Promise] = {
    "amount": gettext_lazy("amount"),
    "amount_paid": gettext_lazy("paid"),
    "amount_refunded": gettext_lazy("refunded"),
    "amount_remaining": gettext_lazy("still owed"),
    "balance": gettext_lazy("balance"),
    "deleted": gettext_lazy("deleted at Stripe"),
    "disputed": gettext_lazy("disputed"),
    "email": gettext_lazy("e-mail"),
    "has_billing_issue": gettext_lazy("billing issue"),
    "name": gettext_lazy("name"),
    "status": gettext_lazy("status at Stripe"),
    "total": gettext_lazy("total"),
}
MONEY = frozenset(
    {
        "amount",
        "amount_overdue",
        "amount_paid",
        "amount_refunded",
        "amount_remaining",
        "balance",
        "mrr",
        "total",
        "unit_amount",
    }
)


def name_of(difference: Difference) -> str:
    """What differed: "Seats", "Invoice, total"."""
    if difference.kind != ORGANIZATION:
        return f"{KINDS[difference.kind]}, {FIELDS[difference.field]}"
    label = FIELDS.get(difference.field) or label_for_field(difference.field, Organization)
    return str(capfirst(str(label)))


def change_of(difference: Difference) -> str:
    """What we held and what Stripe says: "3 → 8"."""
    ours, stripes = values_of(difference)
    return _("%(ours)s → %(stripes)s") % {"ours": ours, "stripes": stripes}


def values_of(difference: Difference) -> tuple[str, str]:
    """What we held, and what Stripe says: "3" and "8"."""
    return _value(difference, difference.ours), _value(difference, difference.stripes)


def in_words(differences: Differences) -> list[str]:
    """Each difference as a few words: "Seats 3 → 8"; none where nothing differs."""
    said = [f"{name_of(each)} {change_of(each)}" for each in differences.found]
    said += [f"{MISSING[each.kind]}: {each.n}" for each in differences.missing]
    if differences.detached:
        said.append(f"{_('Payment methods that the customer no longer has')}: {differences.detached}")
    return said


def shortened(said: list[str]) -> list[str]:
    """The first of what differs, and how many more there are."""
    if len(said) <= TOLD:
        return said
    more = len(said) - TOLD
    return [*said[:TOLD], ngettext("and %(n)d more", "and %(n)d more", more) % {"n": more}]


def told_differences(plan: dict[str, Any] | None) -> tuple[str, ...]:
    """What the plan of a ledger row says of its `Differences`, each as a few words; None where nobody looked."""
    if plan is None:
        return (_("nobody looked before at what differed"),)
    found = tuple(Difference(**each) for each in plan["found"])
    missing = tuple(Count(**each) for each in plan["missing"])
    said = in_words(Differences(found, missing, plan["detached"], plan["lifts_hold"]))
    if not said:
        return (_("nothing differed"),)
    told = [_("corrected: %(differences)s") % {"differences": "; ".join(shortened(said))}]
    if plan["lifts_hold"]:
        told.append(_("the hold for non-payment was lifted"))
    return tuple(told)


def _value(difference: Difference, value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if difference.field in {"deleted", "disputed"} and value is None:
        return _("no")
    if value is None or value == "":
        return _("none")
    if difference.field in MONEY and difference.currency:
        return format_money(value, difference.currency)
    # The ledger keeps a moment as text.
    moment = parse_datetime(value) if isinstance(value, str) and "T" in value else value
    if isinstance(moment, datetime.datetime):
        return formats.date_format(timezone.localtime(moment), "j M Y H:i")
    if difference.field in {"status", "subscription_status"}:
        return str(value).replace("_", " ")
    return str(value.upper() if difference.field == "currency" else value)
