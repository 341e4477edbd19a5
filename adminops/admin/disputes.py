"""Disputes of all organizations, with the day by which each must be answered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import F, Q, Sum
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.decorators import display

from adminops.admin.money import MoneyAdmin
from adminops.admin.money_filters import MONEY_FILTERS, AnswerByFilter
from adminops.pages import words
from adminops.templatetags.backoffice import NOTHING, day, time_tag
from billing.mirror.stored import TO_ANSWER
from billing.money import format_money
from billing.stripe_api import dashboard_url

SOON = timedelta(days=7)


class DisputeAdmin(MoneyAdmin):
    """What banks took back or ask about. They are answered in Stripe's dashboard, where the evidence goes."""

    list_display = (
        "stripe_id",
        "date",
        "organization",
        "reason",
        "amount_cell",
        "state",
        "answer_by",
        "at_stripe",
    )
    list_filter = (*MONEY_FILTERS, AnswerByFilter)
    cohorts = {"to_answer": (gettext_lazy("To be answered, inquiries too"), Q(bo_status__in=TO_ANSWER))}
    unsettled = (*TO_ANSWER, "under_review", "warning_under_review")
    sums = {"listed": Sum("bo_amount"), "to_answer": Sum("bo_amount", filter=Q(bo_status__in=TO_ANSWER))}
    columns_of_ids = {"ch": "charge_id", "py": "charge_id"}

    def told(self, row: dict[str, Any]) -> str:
        return ngettext(
            "in %(count)d dispute, of which %(to_answer)s to be answered",
            "in %(count)d disputes, of which %(to_answer)s to be answered",
            row["count"],
        ) % {"count": row["count"], "to_answer": format_money(row["to_answer"], row["bo_currency"])}

    def get_ordering(self, request: HttpRequest) -> Any:
        """Those to be answered by their deadline."""
        if request.GET.get("state") == "to_answer":
            return (F("bo_due_by").asc(nulls_last=True), "-djstripe_id")
        return super().get_ordering(request)

    @display(description=gettext_lazy("Answer by"))
    def answer_by(self, obj: Any) -> str:
        due = obj.bo_due_by
        if obj.bo_status not in TO_ANSWER or not due:
            return NOTHING
        left = due - timezone.now()
        if left > SOON:
            return day(due)
        if left < timedelta(0):
            said = _("was due %(day)s") % {"day": words.short_date(due)}
        elif left < timedelta(days=1):
            said = _("%(hours)d h left") % {"hours": left // timedelta(hours=1)}
        else:
            days = left // timedelta(days=1)
            said = ngettext("%(count)d day left", "%(count)d days left", days) % {"count": days}
        return format_html('<span class="bo-red-text">{}</span>', time_tag(due, said))

    @display(description=gettext_lazy("At Stripe"))
    def at_stripe(self, obj: Any) -> str:
        return format_html(
            '<a class="bo-link" href="{}" rel="noreferrer">{}<span class="sr-only"> {}</span></a>',
            dashboard_url(obj.id, obj.livemode),
            _("Answer") if obj.bo_status in TO_ANSWER else _("Open"),
            _("%(dispute)s at Stripe") % {"dispute": obj.id},
        )
