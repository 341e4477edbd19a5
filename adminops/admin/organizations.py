"""Organizations: the list that support keeps open all day, and the customer page. Members: who is in them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesRadioFilter, RadioFilter, TextFilter
from unfold.decorators import display

from adminops.actions import action_named
from adminops.admin.base import BackOfficeAdmin, ReadOnlyAdmin, operation_urls
from adminops.pages.badges import access_badge, member_badge, subscription_badge
from adminops.pages.customer import CustomerPage
from adminops.templatetags.backoffice import NOTHING, ago, day
from billing.money import format_money
from organizations.models import Hold, Membership, Organization
from organizations.querysets import ENDED_STATUSES

# Which column an id of Stripe's is looked up in, by its prefix.
STRIPE_IDS = {"cus_": "stripe_customer_id", "sub_": "stripe_subscription_id"}


class AccessFilter(RadioFilter):
    """May members come in, and if not, for which kind of hold."""

    title = _("access")
    parameter_name = "access"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        held_for = [
            (kind.value, _("Suspended: %(kind)s") % {"kind": kind.label.lower()}) for kind in Hold.Kind
        ]
        return [("active", _("Active")), ("suspended", _("Suspended")), *held_for]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        if value == "active":
            return queryset.not_suspended()
        if value == "suspended":
            return queryset.suspended()
        if value in Hold.Kind.values:
            return queryset.filter(
                pk__in=Hold.objects.open().filter(kind=value).order_by().values("organization_id")
            )
        return queryset


class CancelsFilter(RadioFilter):
    """Live subscriptions that are set to end."""

    title = _("cancellation")
    parameter_name = "cancels"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("soon", _("Set to end"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.cancels_soon() if self.value() == "soon" else queryset


class PlanFilter(TextFilter):
    """A part of the plan's name. Typed rather than listed: listing would read the whole table."""

    title = _("plan")
    parameter_name = "plan"

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(plan__icontains=self.value()) if self.value() else queryset


class CurrencyFilter(TextFilter):
    """A currency by its ISO code."""

    title = _("currency (USD, EUR, …)")
    parameter_name = "currency"

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(currency=self.value().strip().lower()) if self.value() else queryset


@admin.register(Organization)
class OrganizationAdmin(BackOfficeAdmin):
    """Organizations come in by import, and go nowhere: the ledger refers to them for ever."""

    list_display = (
        "customer",
        "access",
        "subscription",
        "plan_cell",
        "seats_cell",
        "mrr_cell",
        "renews",
        "seen",
    )
    search_fields = ("name", "slug", "billing_email")
    search_help_text = _("Name, e-mail, cus_… or sub_…")
    list_filter = (
        AccessFilter,
        ("subscription_status", ChoicesRadioFilter),
        CancelsFilter,
        PlanFilter,
        CurrencyFilter,
    )
    fields = ("name", "slug", "billing_email", "notes")
    readonly_fields = ("slug",)
    change_form_template = "adminops/customer.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    # -- the list ---------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        return Organization.objects.order_by("name", "pk")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        used = (
            Membership.objects.filter(organization=OuterRef("pk"), status=Membership.Status.ACTIVE)
            .order_by()
            .values("organization")
            .annotate(count=Count("pk"))
            .values("count")
        )
        # After filters and count, so that only the rows of this page pay for it.
        changelist.result_list = changelist.result_list.annotate(
            used=Coalesce(Subquery(used), 0),
            # For whoever looks; this object serves many requests at once and must not remember one.
            seats_lead_on=Value(request.user.has_perm(action_named("change_seats").permission)),
        ).prefetch_related(Prefetch("holds", Hold.objects.open(), to_attr="holds_open"))
        return changelist

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Organization], search_term: str
    ) -> tuple[QuerySet[Organization], bool]:
        term = search_term.strip()
        for prefix, column in STRIPE_IDS.items():
            if term.startswith(prefix):
                return queryset.filter(**{column: term}), False
        found: tuple[QuerySet[Organization], bool] = super().get_search_results(
            request, queryset, search_term
        )
        return found

    @display(description=_("Customer"), ordering="name")
    def customer(self, obj: Organization) -> str:
        return format_html(
            '<span class="bo-name">{}</span><span class="bo-below">{}</span>', obj.name, obj.billing_email
        )

    @display(description=_("Access"))
    def access(self, obj: Any) -> str:
        return format_html("{}", access_badge(obj.holds_open))

    @display(description=_("Subscription"), ordering="subscription_status")
    def subscription(self, obj: Organization) -> str:
        return format_html("{}", subscription_badge(obj))

    @display(description=_("Plan"))
    def plan_cell(self, obj: Organization) -> str:
        if not obj.plan:
            return NOTHING
        return format_html(
            '{}<span class="bo-below">{}</span>', obj.plan, obj.get_interval_display() if obj.interval else ""
        )

    @display(description=_("Seats"))
    def seats_cell(self, obj: Any) -> str:
        if obj.seats is None:
            return NOTHING
        text = format_html(
            '<span title="{}">{}/{}</span>',
            _("%(used)d used of %(seats)d paid") % {"used": obj.used, "seats": obj.seats},
            obj.used,
            obj.seats,
        )
        if not obj.seats_lead_on or not obj.has_live_subscription:
            return text
        return format_html(
            '<a class="bo-act" href="{}">{}<span class="sr-only"> {}</span></a>',
            action_named("change_seats").url(obj),
            text,
            _("Change seats of %(name)s") % {"name": obj.name},
        )

    @display(description=_("MRR"), ordering="mrr")
    def mrr_cell(self, obj: Organization) -> str:
        return format_money(obj.mrr, obj.currency) if obj.currency and obj.mrr else NOTHING

    @display(description=_("Renews"), ordering="current_period_end")
    def renews(self, obj: Organization) -> str:
        if obj.subscription_status in ENDED_STATUSES or not obj.subscription_status:
            return NOTHING
        ends = obj.cancel_at or (obj.current_period_end if obj.cancel_at_period_end else None)
        if ends:
            return format_html('<span class="bo-amber-text">{} {}</span>', _("ends"), day(ends))
        return day(obj.current_period_end)

    @display(description=_("Seen"), ordering="last_activity_at")
    def seen(self, obj: Organization) -> str:
        return ago(obj.last_activity_at)

    # -- the page ---------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        return [*operation_urls(self), *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        organization = self.get_object(request, object_id)
        context = {
            "customer": CustomerPage(organization, request.user) if organization else None,
            "subtitle": None,
        }
        response: HttpResponse = super().change_view(
            request, object_id, form_url, {**context, **(extra_context or {})}
        )
        return response


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    """Members of all organizations, for looking: the product itself invites and removes them."""

    list_display = ("person", "organization_cell", "role", "state", "joined", "seen")
    list_filter = (("status", ChoicesRadioFilter), ("role", ChoicesRadioFilter))
    search_fields = ("user__username", "user__email", "organization__name")
    search_help_text = _("Name or e-mail of a person, or an organization")
    list_select_related = ("user", "organization")
    ordering = ("-pk",)
    sortable_by = ()

    @display(description=_("Person"))
    def person(self, obj: Membership) -> str:
        return format_html(
            '<span class="bo-name">{}</span><span class="bo-below">{}</span>',
            obj.user.get_full_name() or obj.user.get_username(),
            obj.user.email,
        )

    @display(description=_("Organization"))
    def organization_cell(self, obj: Membership) -> str:
        url = reverse("admin:organizations_organization_change", args=[obj.organization_id])
        return format_html('<a class="bo-link" href="{}">{}</a>', url, obj.organization.name)

    @display(description=_("State"))
    def state(self, obj: Membership) -> str:
        return format_html("{}", member_badge(obj))

    @display(description=_("Joined"))
    def joined(self, obj: Membership) -> str:
        return day(obj.joined_at)

    @display(description=_("Seen"))
    def seen(self, obj: Membership) -> str:
        return ago(obj.last_activity_at)
