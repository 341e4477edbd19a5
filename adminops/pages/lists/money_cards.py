"""The cards above lists of money: what is listed comes to, in each currency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Aggregate, Count
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from adminops.pages.lists.cards import Card, Cards, too_many
from billing.money import format_money

MOST_CURRENCIES = 12


def cards_of(changelist: Any, sums: dict[str, Aggregate], told: Callable[[dict[str, Any]], str]) -> Cards:
    """A card for each currency, the most used first; each narrows the list to its currency.

    `sums["listed"]` is the figure itself; `told` says in words what the sums, and the `count` of rows, mean.
    """
    if changelist.paginator.is_capped:
        return too_many(changelist)
    by_currency = changelist.queryset.order_by().values("bo_currency")
    rows = by_currency.exclude(bo_currency=None).annotate(count=Count("pk"), **sums)
    found = [_counted(row) for row in rows.order_by("-count", "bo_currency")]
    more = len(found) - MOST_CURRENCIES
    return Cards(
        tuple(_card(row, told, changelist) for row in found[:MOST_CURRENCIES]),
        ngettext(
            "%(count)d more currency is listed; narrow the list to it to see what it comes to.",
            "%(count)d more currencies are listed; narrow the list to one to see what it comes to.",
            more,
        )
        % {"count": more}
        if more > 0
        else "",
    )


def _counted(row: dict[str, Any]) -> dict[str, Any]:
    """Sums of nothing are nothing, and whole numbers."""
    return {name: value if name == "bo_currency" else int(value or 0) for name, value in row.items()}


def _card(row: dict[str, Any], told: Callable[[dict[str, Any]], str], changelist: Any) -> Card:
    currency = row["bo_currency"]
    return Card(
        format_money(row["listed"], currency),
        _("%(currency)s %(told)s") % {"currency": currency.upper(), "told": told(row)},
        changelist.get_query_string({"currency": currency}),
        is_chosen=changelist.params.get("currency", "").lower() == currency,
    )
