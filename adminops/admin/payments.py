"""Payments of all organizations: every attempt, those that failed too."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q, Sum
from django.utils.translation import gettext_lazy, ngettext
from unfold.decorators import display

from adminops.admin.money import MoneyAdmin
from adminops.pages.lists import money_rows
from adminops.templatetags.backoffice import NOTHING, money
from billing.money import format_money

_WENT_THROUGH = Q(bo_status="succeeded")


class PaymentAdmin(MoneyAdmin):
    """What cards were asked for, what came of it, and what went back."""

    list_display = ("stripe_id", "date", "organization", "amount_cell", "refunded", "card", "state")
    cohorts = {
        "refunded": (gettext_lazy("Refunded, in full or in part"), Q(bo_amount_refunded__gt=0)),
        "disputed": (gettext_lazy("Disputed"), Q(bo_disputed=True)),
    }
    unsettled = ("pending",)
    sums = {
        "listed": Sum("bo_amount_captured", filter=_WENT_THROUGH),
        "through": Count("pk", filter=_WENT_THROUGH),
        "refunded": Sum("bo_amount_refunded"),
    }
    columns_of_ids = {"pi": "bo_intent"}

    def told(self, row: dict[str, Any]) -> str:
        return ngettext(
            "paid by %(through)d of %(count)d attempt, %(refunded)s given back",
            "paid by %(through)d of %(count)d attempts, %(refunded)s given back",
            row["count"],
        ) % {
            "through": row["through"],
            "count": row["count"],
            "refunded": format_money(row["refunded"], row["bo_currency"]),
        }

    def remark(self, obj: Any) -> str:
        return money_rows.failure_of(obj)

    @display(description=gettext_lazy("Refunded"))
    def refunded(self, obj: Any) -> str:
        return money(obj.bo_amount_refunded or None, obj.bo_currency)

    @display(description=gettext_lazy("Card"))
    def card(self, obj: Any) -> str:
        return money_rows.card_of(obj) or NOTHING
