"""Customers that are to be read from Stripe, for looking: who waits for how long, and why one waits still."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import F, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import JSONObject
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from adminops.admin.base import ReadOnlyAdmin
from adminops.pages.ledger.event import SEE_TRACEBACKS
from adminops.templatetags.backoffice import NOTHING, moment
from billing.models import CustomerSync
from organizations.models import Organization

_LONGEST_ERROR = 200
_ORGANIZATION = Organization.objects.filter(stripe_customer_id=OuterRef("pk")).order_by()


@admin.register(CustomerSync)
class CustomerSyncAdmin(ReadOnlyAdmin):
    """Those with something asked for that was not read yet; a reading that succeeds takes its row off."""

    list_display = ("customer", "organization", "since", "next_try", "objects", "what_failed")
    list_display_links = None
    search_fields = ("customer_id",)
    search_help_text = _("A Stripe customer's id, in full")
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[CustomerSync]:
        waiting = CustomerSync.objects.filter(wanted__gt=F("done"))
        told = Subquery(_ORGANIZATION.values(told=JSONObject(key="pk", name="name"))[:1])
        # The admin itself serves many at once, so each row says what its reader may see.
        sees_errors = Value(request.user.has_perm(SEE_TRACEBACKS))
        return waiting.annotate(owner=told, sees_errors=sees_errors).order_by("next_attempt_at", "pk")

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        return ("next_attempt_at", "pk")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[CustomerSync], search_term: str
    ) -> tuple[QuerySet[CustomerSync], bool]:
        term = search_term.strip()
        return (queryset.filter(pk=term) if term else queryset), False

    def has_view_permission(self, request: HttpRequest, obj: CustomerSync | None = None) -> bool:
        # There is no page of one: the row says all there is.
        return obj is None and super().has_view_permission(request)

    @display(description=_("Customer"))
    def customer(self, obj: Any) -> str:
        return format_html('<span class="bo-mono">{}</span>', obj.pk)

    @display(description=_("Organization"))
    def organization(self, obj: Any) -> str:
        if not obj.owner:
            return NOTHING
        url = reverse("admin:organizations_organization_change", args=[obj.owner["key"]])
        return format_html('<a class="bo-link" href="{}">{}</a>', url, obj.owner["name"])

    @display(description=_("Asked for"))
    def since(self, obj: CustomerSync) -> str:
        return moment(obj.queued_at)

    @display(description=_("Next try"))
    def next_try(self, obj: CustomerSync) -> str:
        return moment(obj.next_attempt_at)

    @display(description=_("Objects to read"))
    def objects(self, obj: CustomerSync) -> str:
        return str(len(obj.objects_wanted))

    @display(description=_("What failed last"))
    def what_failed(self, obj: Any) -> str:
        if not obj.last_error:
            return NOTHING
        said = str(_("It could not be read."))
        if obj.sees_errors:
            said = f"{said} {Truncator(obj.last_error).chars(_LONGEST_ERROR)}"
        return format_html('<span class="bo-remark-cell">{}</span>', said)
