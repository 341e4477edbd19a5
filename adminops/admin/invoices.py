"""Invoices of all organizations."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.decorators import display
from unfold.views import ChangeList

from adminops.admin.cells import below
from adminops.admin.money import MoneyAdmin, MoneyChangeList
from adminops.pages import words
from adminops.pages.customer import invoice_page
from adminops.pages.lists import money_rows
from adminops.templatetags.backoffice import NOTHING, day, money, time_tag
from billing.mirror import stored
from billing.money import format_money


class InvoiceChangeList(MoneyChangeList):
    """The list of invoices, each leading to its customer's page of it."""

    def url_for_result(self, result: Any) -> str:
        if result.organization and invoice_page.may_see(self.viewer):
            return invoice_page.invoice_url(result.organization["key"], result.id)
        return str(super().url_for_result(result))


class InvoiceAdmin(MoneyAdmin):
    """What was billed, what of it was paid and given back, and what is owed for how long."""

    list_display = ("number", "date", "organization", "amount_cell", "paid", "refunded", "state", "due")
    search_help_text = gettext_lazy("An invoice's number, a Stripe id, or a customer's name or e-mail")
    cohorts = {"overdue": (gettext_lazy("Overdue"), money_rows.OVERDUE)}
    unsettled = ("open",)
    sums = {
        "listed": Sum("bo_amount"),
        "paid": Sum("bo_amount_paid"),
        "owed": Sum("bo_amount_remaining", filter=Q(bo_status="open")),
    }
    columns_of_ids = {"sub": "subscription_id"}

    def told(self, row: dict[str, Any]) -> str:
        return ngettext(
            "on %(count)d invoice: %(paid)s paid, %(owed)s open",
            "on %(count)d invoices: %(paid)s paid, %(owed)s open",
            row["count"],
        ) % {
            "count": row["count"],
            "paid": format_money(row["paid"], row["bo_currency"]),
            "owed": format_money(row["owed"], row["bo_currency"]),
        }

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return InvoiceChangeList

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **named: Any) -> HttpResponse:
        """The customer's page of it; what is nobody's here is told by this list's own."""
        row = self.get_object(request, object_id, None)
        if row is not None and self.has_view_permission(request, row) and invoice_page.may_see(request.user):
            [row] = money_rows.with_organization(stored.with_columns(self.model).filter(pk=row.pk))
            if row.organization:
                return redirect(invoice_page.invoice_url(row.organization["key"], row.id))
        return super().change_view(request, object_id, *args, **named)

    def named(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any] | None:
        numbered = queryset.filter(bo_number__in=(term, term.upper()))
        return numbered if numbered.exists() else None

    @display(description=gettext_lazy("Number"))
    def number(self, obj: Any) -> str:
        return format_html(
            '<span class="bo-name">{}</span>{}', obj.bo_number or _("No number"), below(obj.id)
        )

    @display(description=gettext_lazy("Paid"))
    def paid(self, obj: Any) -> str:
        return money(obj.bo_amount_paid, obj.bo_currency)

    @display(description=gettext_lazy("Refunded"))
    def refunded(self, obj: Any) -> str:
        return money(obj.refunded or None, obj.bo_currency)

    @display(description=gettext_lazy("Due"))
    def due(self, obj: Any) -> str:
        since = money_rows.overdue_since(obj)
        if since:
            # For how long is said by the badge of its state.
            return format_html('<span class="bo-red-text">{}</span>', day(since))
        if obj.bo_status != "open":
            return NOTHING
        if obj.bo_due_at:
            return day(obj.bo_due_at)
        return (
            time_tag(obj.created, _("open: %(days)s") % {"days": words.days_since(obj.created)})
            if obj.created
            else NOTHING
        )
