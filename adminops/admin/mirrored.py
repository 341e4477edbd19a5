"""Stripe's objects, for looking: what the pages of all kinds that `billing.mirror` keeps have in common.

dj-stripe's own ModelAdmins are never loaded: theirs let a staff user without any permission act at Stripe.
"""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from adminops.admin.base import ToldAdmin
from adminops.pages import badges, money_page
from adminops.pages.ledger import payload
from adminops.templatetags.backoffice import NOTHING, day
from billing import mirror
from billing.stripe_api import dashboard_url


class MirrorAdmin(ToldAdmin):
    """One kind of Stripe's objects, as Stripe last described it."""

    paginator = InfinitePaginator
    ordering: Any = ("-djstripe_id",)
    search_fields = ("id__exact",)
    search_help_text = _("A Stripe id, in full")
    list_display: Any = ("stripe_id", "customer_id_cell", "created_cell", "status_cell")
    sortable_by = ()
    list_filter_submit = False
    change_form_template = "adminops/mirrored.html"

    @display(description=_("Stripe id"))
    def stripe_id(self, obj: Any) -> str:
        return str(obj.id)

    @display(description=_("Customer"))
    def customer_id_cell(self, obj: Any) -> str:
        customer = (obj.stripe_data or {}).get("customer")
        customer_id = customer.get("id") if isinstance(customer, dict) else customer
        return customer_id or NOTHING

    @display(description=_("Created"))
    def created_cell(self, obj: Any) -> str:
        return day(obj.created)

    @display(description=_("State"))
    def status_cell(self, obj: Any) -> str:
        badge = badges.stripe_badge(obj.stripe_data or {})
        return format_html("{}", badge) if badge else NOTHING

    def get_list_display(self, request: HttpRequest) -> list[str]:
        hidden = set()
        if not mirror.has_field(self.model, "customer"):
            hidden.add("customer_id_cell")
        if self.model._meta.model_name in {"product", "price", "paymentmethod", "customer"}:
            hidden.add("status_cell")
        return [name for name in self.list_display if name not in hidden]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = self.model._default_manager.order_by("-djstripe_id")
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (queryset.filter(id=term) if term else queryset), False

    def told_of(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        facts = money_page.facts_of(row, request.user)
        # What has no words of its own is only there as Stripe said it.
        shows_all = not facts or request.user.has_perm(money_page.SEE_RAW)
        return {
            # The library's own name of a row says a hundredth of an amount in yen.
            "subtitle": row.id,
            "item": row,
            "facts": facts,
            "badge": badges.stripe_badge(row.stripe_data or {}),
            "json": payload.pretty(row.stripe_data) if shows_all else "",
            "dashboard_url": dashboard_url(row.id, row.livemode),
            "list_url": reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"),
        }
