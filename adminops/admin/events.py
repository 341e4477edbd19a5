"""The ledger, for looking: a list without an end, and a page that says everything about one event."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.views import ChangeList

from adminops.actions import offered_on_event
from adminops.admin.base import ToldAdmin, operation_urls
from adminops.admin.cells import organization_link
from adminops.admin.event_filters import EVENT_FILTERS, PARAMETERS
from adminops.admin.event_search import lane_of
from adminops.admin.keyset import KeysetChangeList, Lane, any_of
from adminops.pages.badges import event_badge, retry_badge
from adminops.pages.ledger import event_lines, event_words
from adminops.pages.ledger.event import SEE_PAYLOADS, event_context
from adminops.templatetags.backoffice import NOTHING, moment
from billing.models import EventPayload, SubscriptionEvent
from billing.money import format_money
from billing.one_look import one_look, read_once

_LONGEST_NOTE = 120


def _lane(term: str, viewer: Any) -> Lane:
    return lane_of(term, viewer.has_perm("organizations.view_membership"))


class EventChangeList(KeysetChangeList):
    """The list of events."""

    def search_lane(self) -> Lane | None:
        return _lane(self.query, self.viewer) if self.query.strip() else None


@admin.register(SubscriptionEvent)
class SubscriptionEventAdmin(ToldAdmin):
    """Everything that happened, whoever did it. Nobody writes here: the database itself refuses."""

    list_display = (
        "happened",
        "what",
        "organization_cell",
        "source_cell",
        "state_cell",
        "amount_cell",
        "change_cell",
        "notes_cell",
    )
    list_display_links = ("what",)
    list_filter = EVENT_FILTERS
    search_fields = ("id",)
    search_help_text = _("A Stripe id, a type or its words, or an organization")
    sortable_by = ()
    change_form_template = "adminops/event.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return EventChangeList

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        with one_look():
            return super().get_changelist_instance(request)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        if request.user.has_perms(event_lines.PERMISSIONS):
            actions[event_lines.NAME] = (event_lines.json_lines, event_lines.NAME, event_lines.LABEL)
        return actions

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        # Django allows a filter by any column, typed into the address: it would scan ten million rows, and would
        # answer questions about tracebacks to those who may not see them.
        return lookup in PARAMETERS

    def get_queryset(self, request: HttpRequest) -> QuerySet[SubscriptionEvent]:
        return (
            SubscriptionEvent.objects.select_related("organization", "actor")
            .defer("before", "after", "plan", "traceback", "error")
            .order_by("-id")
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SubscriptionEvent], search_term: str
    ) -> tuple[QuerySet[SubscriptionEvent], bool]:
        return (
            queryset.filter(any_of(_lane(search_term, request.user))) if search_term.strip() else queryset
        ), False

    # -- cells ------------------------------------------------------------------------------------------

    @display(description=_("Date"))
    def happened(self, obj: SubscriptionEvent) -> str:
        told = moment(obj.occurred_at or obj.created_at)
        if not event_words.is_late(obj):
            return told
        return format_html(
            '{}<span class="bo-below">{} {}</span>', told, _("recorded"), moment(obj.created_at)
        )

    @display(description=_("Event"))
    def what(self, obj: SubscriptionEvent) -> str:
        return format_html(
            '<span class="bo-name">{}</span><span class="bo-below">{}</span>',
            event_words.type_in_words(obj.type),
            obj.type,
        )

    @display(description=_("Organization"))
    def organization_cell(self, obj: SubscriptionEvent) -> str:
        if obj.organization is None:
            return obj.organization_label or NOTHING
        return organization_link(obj.organization_id, obj.organization.name)

    @display(description=_("By"))
    def source_cell(self, obj: SubscriptionEvent) -> str:
        who, source = event_words.by_whom(obj), event_words.source_in_words(obj)
        below = "" if who == source else format_html('<span class="bo-below">{}</span>', source)
        return format_html("{}{}", who, below)

    @display(description=_("State"))
    def state_cell(self, obj: SubscriptionEvent) -> str:
        return format_html('{}<span class="bo-below">{}</span>', event_badge(obj), retry_badge(obj) or "")

    @display(description=_("Amount"))
    def amount_cell(self, obj: SubscriptionEvent) -> str:
        if obj.amount is None or not obj.currency:
            return NOTHING
        return format_money(obj.amount, obj.currency)

    @display(description=_("Seats and status"))
    def change_cell(self, obj: SubscriptionEvent) -> str:
        seats, status = event_words.change_of_quantity(obj), event_words.change_of_status(obj)
        if not seats:
            return status or NOTHING
        told = _("%(change)s seats") % {"change": seats}
        return format_html('{}<span class="bo-below">{}</span>', told, status) if status else told

    @display(description=_("Notes"))
    def notes_cell(self, obj: SubscriptionEvent) -> str:
        note = obj.message or obj.reason
        if not note:
            return NOTHING
        return format_html('<span class="bo-remark-cell">{}</span>', Truncator(note).chars(_LONGEST_NOTE))

    # -- the page ---------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        download = path(
            "<int:object_id>/payload.json",
            self.admin_site.admin_view(self.payload_view),
            name="billing_subscriptionevent_payload",
        )
        return [download, *operation_urls(self), *super().get_urls()]

    def payload_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """The body as Stripe sent it, as a file, for those who may see it on the page."""
        if not (self.has_view_permission(request) and request.user.has_perm(SEE_PAYLOADS)):
            raise PermissionDenied
        body = EventPayload.objects.filter(event_id=object_id).values_list("body", flat=True).first()
        if body is None:
            raise Http404(_("There is no payload kept for this event."))
        return HttpResponse(
            body,
            content_type="application/json; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="event-{object_id}.json"'},
        )

    @read_once
    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> SubscriptionEvent | None:
        """Once for the page, which asks before Django does."""
        if not (object_id.isascii() and object_id.isdigit()):
            return None
        events = SubscriptionEvent.objects.select_related("organization", "actor", "payload")
        return events.filter(pk=object_id).first()

    def told_of(self, request: HttpRequest, row: SubscriptionEvent) -> dict[str, Any]:
        return {**event_context(row, request.user), "offers": offered_on_event(request.user, row)}

    def change_view(self, *args: Any, **named: Any) -> HttpResponse:
        with one_look():
            return super().change_view(*args, **named)
