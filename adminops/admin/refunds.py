"""Refunds of all organizations."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, Sum
from django.utils.translation import gettext_lazy, ngettext
from unfold.decorators import display

from adminops.admin.money import MoneyAdmin
from adminops.pages import words
from adminops.pages.lists import money_rows
from adminops.templatetags.backoffice import NOTHING, time_tag
from billing.money import format_money

_CAME_BACK = ("failed", "canceled")


class RefundAdmin(MoneyAdmin):
    """What went back, what is on its way, and what did not arrive."""

    list_display = (
        "stripe_id",
        "date",
        "organization",
        "amount_cell",
        "reason",
        "state",
        "waiting",
        "payment",
    )
    unsettled = ("pending", "requires_action")
    sums = {
        "listed": Sum("bo_amount"),
        "lost": Sum("bo_amount", filter=Q(bo_status__in=_CAME_BACK)),
    }
    columns_of_ids = {"ch": "charge_id", "py": "charge_id"}

    def told(self, row: dict[str, Any]) -> str:
        return ngettext(
            "in %(count)d refund, of which %(lost)s failed or canceled",
            "in %(count)d refunds, of which %(lost)s failed or canceled",
            row["count"],
        ) % {"count": row["count"], "lost": format_money(row["lost"], row["bo_currency"])}

    def remark(self, obj: Any) -> str:
        return money_rows.failure_of(obj)

    @display(description=gettext_lazy("Waiting for"))
    def waiting(self, obj: Any) -> str:
        if obj.bo_status not in self.unsettled or not obj.created:
            return NOTHING
        return time_tag(obj.created, words.days_since(obj.created))

    @display(description=gettext_lazy("Payment"))
    def payment(self, obj: Any) -> str:
        return obj.charge_id or NOTHING
