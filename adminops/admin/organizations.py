"""Organizations: the list that support keeps open all day, and the customer page. Members: who is in them."""

from __future__ import annotations

import re
from contextlib import nullcontext
from datetime import datetime
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR
from django.contrib.auth.models import User
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.views import ChangeList

from adminops.actions import action_named
from adminops.admin.base import BackOfficeAdmin, ReadOnlyAdmin, operation_urls
from adminops.admin.filters import FieldChoiceFilter, OrganizationFilter
from adminops.admin.listing import BackOfficeChangeList
from adminops.admin.organization_filters import ORGANIZATION_FILTERS
from adminops.pages.badges import (
    Badge,
    access_badge,
    comparison_badge,
    member_badge,
    overdue_badge,
    stripe_badge,
    subscription_badge,
)
from adminops.pages.customer import CustomerPage
from adminops.pages.customer.invoice_page import invoice_urls
from adminops.pages.customer.member_access import member_access_urls
from adminops.pages.customer.note_pages import note_urls
from adminops.pages.frame import home_of
from adminops.pages.ledger.timeline import Timeline
from adminops.pages.lists import customer_rows
from adminops.pages.lists.cards import Cards, cards_of
from adminops.templatetags.backoffice import NOTHING, ago, day
from billing.actors import person_name
from billing.customer_details import change_details
from billing.finding import Found, find, id_in, is_stripe_id, may_name_one
from billing.money import format_money
from billing.one_look import one_look, read_once
from billing.reconciliation.telling import checked_at
from organizations.models import Membership, Organization
from organizations.querysets import ENDED_STATUSES
from organizations.search import find_organizations, find_users, ranked

SEES_EVENTS = "billing.view_subscriptionevent"
# Unicode's embeddings, overrides and isolates of direction.
_TURNS_TEXT_AROUND = re.compile("[\u202a-\u202e\u2066-\u2069]")

SEES_MEMBERS = "organizations.view_membership"

# What is done most often, a click away from each row.
QUICK_ACTIONS = ("change_seats", "refund_invoice", "suspend_organization", "resync_organization")


class CustomerChangeList(BackOfficeChangeList):
    """The list of customers: found by scraps, the best first; counted and paged up to a cap."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = list(self.result_list)  # type: ignore[has-type]
        customer_rows.tell(rows, self.query if request.user.has_perm(SEES_MEMBERS) else "")
        for row in rows:
            # For whoever looks; the admin itself serves many requests at once and must not remember one.
            row.viewer = request.user
        self.result_list = rows

    @cached_property
    def cards(self) -> Cards:
        """What is listed comes to."""
        return cards_of(self)

    def descending_by(self, column: str) -> str:
        """What the address says to sort by a column of the list, the largest first."""
        return f"-{self.list_display.index(f'{column}_cell')}"


class DetailsForm(forms.ModelForm):
    """What staff keep of a customer themselves."""

    def clean_name(self) -> str:
        """Without what would turn around the rest of every sentence that the name stands in."""
        name = str(self.cleaned_data["name"])
        if _TURNS_TEXT_AROUND.search(name):
            raise forms.ValidationError(
                _(
                    "The name has an invisible character that turns the direction of text around. Clear the field"
                    " and type the name anew."
                )
            )
        return name


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
        "invoice_cell",
        "renews",
        "seen",
        "quick",
    )
    search_fields = ("name", "slug", "billing_email")
    search_help_text = _("Name, e-mail or Stripe id")
    list_filter = ORGANIZATION_FILTERS
    form = DetailsForm
    fields = ("name", "slug", "billing_email")
    readonly_fields = ("slug",)
    change_form_template = "adminops/customer.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    # -- the list ---------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        rows = Organization.objects.order_by("name", "pk")
        # The page of one says when it was compared with Stripe; the list need not look for each.
        is_of_one = request.resolver_match is not None and "object_id" in request.resolver_match.kwargs
        return rows.annotate(compared_at=checked_at()) if is_of_one else rows

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CustomerChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        term = request.GET.get(SEARCH_VAR, "").strip()
        if request.method == "GET" and may_name_one(term) and self.has_view_permission(request):
            found = find(term)
            if found is not None and (found.organization_id or request.user.has_perm(SEES_EVENTS)):
                return redirect(_address(found))
        return super().changelist_view(request, extra_context)

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[QuerySet[Organization], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        sees_members = request.user.has_perm(SEES_MEMBERS)
        # An id is right or wrong, and never misspelt.
        found = find_organizations(term, by_members=sees_members, alike=not is_stripe_id(id_in(term)))
        best_first = ranked(queryset, found)
        return best_first if ORDER_VAR in request.GET else best_first.order_by(F("rank")), False

    @display(description=_("Customer"), ordering="name")
    def customer(self, obj: Any) -> str:
        return format_html(
            '<span class="bo-name">{}</span>{}<span class="bo-below">{}</span>{}',
            obj.name,
            comparison_badge(obj.differences, obj.compared_at) if obj.stripe_customer_id else "",
            obj.billing_email,
            format_html('<span class="bo-below">{} {}</span>', _("member:"), obj.member_found)
            if obj.member_found
            else "",
        )

    @display(description=_("Access"))
    def access(self, obj: Any) -> str:
        badge = access_badge(obj, obj.holds_open)
        if not obj.holds_open:
            return format_html("{}", badge)
        # The kinds beneath the word: beside it they would make the column as wide as the longest of them.
        kinds = ", ".join(hold.get_kind_display() for hold in obj.holds_open)
        short = Badge(_("Suspended"), badge.tone, badge.icon, badge.title)
        return format_html('{}<span class="bo-below">{}</span>', short, kinds)

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
        if not obj.has_live_subscription or not _may(obj.viewer, "change_seats"):
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

    @display(description=_("Last invoice"))
    def invoice_cell(self, obj: Any) -> str:
        invoice = obj.newest_invoice
        if not invoice or not invoice["currency"]:
            return NOTHING
        amount = format_money(int(invoice["total"] or 0), invoice["currency"])
        since = invoice["overdue_since"]
        state = (
            overdue_badge(datetime.fromisoformat(since))
            if since
            else stripe_badge({"object": "invoice", "status": invoice["status"]})
        )
        return format_html('{}<span class="bo-below">{}</span>', amount, state or "")

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

    @display(description=_("Act"))
    def quick(self, obj: Any) -> str:
        links = format_html_join(
            "",
            '<li><a href="{}">{}</a></li>',
            [
                (action.url(obj), action.label)
                for action in (action_named(name) for name in QUICK_ACTIONS)
                if obj.viewer.has_perm(action.permission)
            ],
        )
        return format_html(
            '<details class="bo-more bo-row-menu"><summary><span aria-hidden="true">⋯</span>'
            '<span class="sr-only">{}</span></summary><ul><li><a href="{}">{}</a></li>{}</ul></details>',
            _("Actions for %(name)s") % {"name": obj.name},
            reverse("admin:organizations_organization_change", args=[obj.pk]),
            _("Look at the customer"),
            links,
        )

    # -- the page ---------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        own = [*invoice_urls(self), *member_access_urls(), *note_urls(self), *operation_urls(self)]
        return [*own, *super().get_urls()]

    @read_once
    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Once for the page, which asks before Django does."""
        return super().get_object(request, object_id, from_field)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context: dict[str, Any] = {"customer": None, "subtitle": None}
        with one_look() if request.method == "GET" else nullcontext():
            organization = self.get_object(request, object_id, None)
            if organization:
                customer = _page_of(organization, request)
                context["customer"] = customer
                # As it is kept: Django's own has what was typed, also where that is refused.
                context["original"] = organization
                context["timeline"] = Timeline(
                    organization,
                    request.user,
                    request.GET,
                    lambda: customer.stripe_invoices,
                    lambda: customer.dealings.colleagues,
                )
            response: HttpResponse = super().change_view(
                request, object_id, form_url, {**context, **(extra_context or {})}
            )
            # What the template asks for belongs to the same look.
            return response.render() if isinstance(response, TemplateResponse) else response

    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        event = change_details(obj, cast("User", request.user))
        if event is None:
            messages.info(request, gettext("Nothing was different, so nothing was saved."))
        else:
            messages.success(request, gettext("The details are saved. %(what)s") % {"what": event.message})

    def response_change(self, request: HttpRequest, obj: Organization) -> HttpResponse:
        """Back to the page; what was saved is said already."""
        return redirect(home_of(request, obj))


def _page_of(organization: Organization, request: HttpRequest) -> CustomerPage:
    return CustomerPage(
        organization,
        request.user,
        shows_all_invoices=request.GET.get("invoices") == "all",
        member_search=request.GET.get("member", ""),
    )


def _may(user: Any, name: str) -> bool:
    return bool(user.has_perm(action_named(name).permission))


def _address(found: Found) -> str:
    """The page of what an id led to."""
    if found.event_id is not None:
        return reverse("admin:billing_subscriptionevent_change", args=[found.event_id])
    return reverse("admin:organizations_organization_change", args=[found.organization_id])


class EmployerFilter(OrganizationFilter):
    """Of which organization; links of other pages have its key."""

    parameter_name = "organization__id__exact"


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    """Members of all organizations, for looking: the product itself invites and removes them."""

    list_display = ("person", "organization_cell", "role", "state", "joined", "seen")
    list_filter = (("status", FieldChoiceFilter), ("role", FieldChoiceFilter), EmployerFilter)
    search_fields = ("user__username", "user__email", "organization__name")
    search_help_text = _("E-mail or login of a person, or an organization")
    list_select_related = ("user", "organization")
    ordering = ("-pk",)
    sortable_by = ()

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[QuerySet[Membership], bool]:
        if not search_term.strip():
            return queryset, False
        of_organizations = Q(organization__in=find_organizations(search_term, alike=False, by_members=True))
        return queryset.filter(of_organizations | Q(user__in=find_users(search_term))), False

    @display(description=_("Person"))
    def person(self, obj: Membership) -> str:
        return format_html(
            '<span class="bo-name">{}</span><span class="bo-below">{}</span>',
            person_name(obj.user),
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
