"""The ledger, for looking: a list without an end, and a page that says everything about one event."""

from __future__ import annotations

import re
import uuid
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesRadioFilter, RadioFilter
from unfold.decorators import display
from unfold.views import ChangeList

from adminops.actions import offered_on_event
from adminops.admin.base import ReadOnlyAdmin, operation_urls
from adminops.pages import documents, event_words, payload
from adminops.pages.answers import answer_in_words, declined_in_words
from adminops.pages.badges import event_badge
from adminops.templatetags.backoffice import NOTHING, moment
from billing.models import EventPayload, SubscriptionEvent
from billing.money import format_money
from organizations.models import Organization

# Who may read how our own code failed; it can quote what a customer wrote.
SEE_TRACEBACKS = "billing.view_traceback"

BEFORE, AFTER = "before", "after"
ORGANIZATIONS_SEARCHED = 100

# Which column an id of Stripe's is looked up in, by its prefix; any other is the event's own object.
STRIPE_IDS = {
    "evt_": "stripe_event_id",
    "cus_": "stripe_customer_id",
    "sub_": "stripe_subscription_id",
    "in_": "stripe_invoice_id",
    "ch_": "stripe_charge_id",
    "py_": "stripe_charge_id",
    "re_": "stripe_refund_id",
    "pyr_": "stripe_refund_id",
    "req_": "stripe_request_id",
}
STRIPE_ID = re.compile(r"^[a-z]{1,10}_[A-Za-z0-9_]+$")
EVENT_TYPE = re.compile(r"^[a-z_]+(\.[a-z_]+)+$")


class StateFilter(RadioFilter):
    """How far we are. "Troubled" are those that want a person, from an index of their own."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("troubled", _("Failed or needs a person")), *SubscriptionEvent.State.choices]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        if value == "troubled":
            return queryset.filter(state__in=("failed", "parked"))
        return queryset.filter(state=value) if value in SubscriptionEvent.State.values else queryset


class FamilyFilter(RadioFilter):
    """What kind of thing happened."""

    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(event_words.FAMILIES.items())

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        value = self.value()
        return queryset.filter(type__in=event_words.types_of_family(value)) if value else queryset


class EndlessPaginator(Paginator):
    """A paginator that counts nothing; `KeysetChangeList` cuts the pages."""

    template_name = "adminops/keyset_pagination.html"

    @cached_property
    def count(self) -> int:
        return 0


class KeysetChangeList(ChangeList):
    """A list paged by its key, newest first, by `?before=<id>` and `?after=<id>`: no page costs more than another."""

    newer_url: str | None = None
    older_url: str | None = None

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        lookups: dict[str, Any] = super().get_filters_params(params)
        return {name: value for name, value in lookups.items() if name not in (BEFORE, AFTER)}

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[str]:
        return ["-id"]

    def _key(self, name: str) -> int | None:
        value = str(self.params.get(name, ""))
        return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None

    def get_results(self, request: HttpRequest) -> None:
        size = self.list_per_page
        before, after = self._key(BEFORE), self._key(AFTER)
        if after is not None:
            rows = list(self.queryset.filter(id__gt=after).order_by("id")[: size + 1])
            has_newer, has_older = len(rows) > size, True
            rows = rows[:size][::-1]
        else:
            older = self.queryset if before is None else self.queryset.filter(id__lt=before)
            rows = list(older[: size + 1])
            has_newer, has_older = before is not None, len(rows) > size
            rows = rows[:size]
        if rows and has_newer:
            self.newer_url = self.get_query_string({AFTER: rows[0].pk}, remove=[BEFORE])
        if rows and has_older:
            self.older_url = self.get_query_string({BEFORE: rows[-1].pk}, remove=[AFTER])
        self.newest_url = self.get_query_string(remove=[BEFORE, AFTER])
        self.result_list = rows
        self.result_count = len(rows)
        self.full_result_count = len(rows)
        self.show_admin_actions = False
        self.can_show_all = False
        self.multi_page = False
        self.paginator = EndlessPaginator([], size)


FILTERS = frozenset({"state", "kind", "source__exact", "organization__id__exact", "actor__id__exact"})


@admin.register(SubscriptionEvent)
class SubscriptionEventAdmin(ReadOnlyAdmin):
    """Everything that happened, whoever did it. Nobody writes here: the database itself refuses."""

    list_display = (
        "happened",
        "what",
        "organization_cell",
        "source_cell",
        "state_cell",
        "attempts_cell",
        "amount_cell",
        "quantity_cell",
        "status_cell",
    )
    list_display_links = ("what",)
    list_filter = (StateFilter, ("source", ChoicesRadioFilter), FamilyFilter)
    search_fields = ("id",)
    search_help_text = _("A Stripe id, a type, or an organization")
    sortable_by = ()
    change_form_template = "adminops/event.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        # Django allows a filter by any column, typed into the address: it would scan ten million rows, and would
        # answer questions about tracebacks to those who may not see them.
        return lookup in FILTERS

    def get_queryset(self, request: HttpRequest) -> QuerySet[SubscriptionEvent]:
        return (
            SubscriptionEvent.objects.select_related("organization", "actor")
            .defer("before", "after", "plan", "traceback", "error")
            .order_by("-id")
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SubscriptionEvent], search_term: str
    ) -> tuple[QuerySet[SubscriptionEvent], bool]:
        return search(queryset, search_term.strip()), False

    # -- cells ------------------------------------------------------------------------------------------

    @display(description=_("Date"))
    def happened(self, obj: SubscriptionEvent) -> str:
        return moment(obj.occurred_at or obj.created_at)

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
        url = reverse("admin:organizations_organization_change", args=[obj.organization_id])
        return format_html('<a class="bo-link" href="{}">{}</a>', url, obj.organization.name)

    @display(description=_("By"))
    def source_cell(self, obj: SubscriptionEvent) -> str:
        return event_words.by_whom(obj)

    @display(description=_("State"))
    def state_cell(self, obj: SubscriptionEvent) -> str:
        return format_html("{}", event_badge(obj))

    @display(description=_("Tries"))
    def attempts_cell(self, obj: SubscriptionEvent) -> str:
        return str(obj.attempts) if obj.attempts else NOTHING

    @display(description=_("Amount"))
    def amount_cell(self, obj: SubscriptionEvent) -> str:
        if obj.amount is None or not obj.currency:
            return NOTHING
        return format_money(obj.amount, obj.currency)

    @display(description=_("Seats"))
    def quantity_cell(self, obj: SubscriptionEvent) -> str:
        return event_words.change_of_quantity(obj) or NOTHING

    @display(description=_("Status"))
    def status_cell(self, obj: SubscriptionEvent) -> str:
        return event_words.change_of_status(obj) or NOTHING

    # -- the page ---------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        download = path(
            "<int:object_id>/payload.json",
            self.admin_site.admin_view(self.payload_view),
            name="billing_subscriptionevent_payload",
        )
        return [download, *operation_urls(self), *super().get_urls()]

    def payload_view(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """The body as Stripe sent it, as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        body = EventPayload.objects.filter(event_id=object_id).values_list("body", flat=True).first()
        if body is None:
            raise Http404(_("There is no payload kept for this event."))
        return HttpResponse(
            body,
            content_type="application/json; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="event-{object_id}.json"'},
        )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        # The template shows every fact in its own words.
        return []

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> SubscriptionEvent | None:
        if not object_id.isdigit():
            return None
        events = SubscriptionEvent.objects.select_related("organization", "actor", "payload")
        return events.filter(pk=object_id).first()

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        event = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if event is not None:
            context = event_context(event, sees_tracebacks=request.user.has_perm(SEE_TRACEBACKS))
            context["offers"] = offered_on_event(request.user, event)
        response: HttpResponse = super().change_view(
            request, object_id, form_url, {**context, **(extra_context or {})}
        )
        return response


def search(queryset: QuerySet[SubscriptionEvent], term: str) -> QuerySet[SubscriptionEvent]:
    """Events for what somebody pasted: an id of Stripe's or ours, a type, or a part of an organization's name."""
    if not term:
        return queryset
    try:
        return queryset.filter(uuid=uuid.UUID(term))
    except ValueError:
        pass
    if EVENT_TYPE.match(term):
        return queryset.filter(type=term)
    if STRIPE_ID.match(term):
        column = STRIPE_IDS.get(f"{term.split('_', 1)[0]}_", "stripe_object_id")
        if term.startswith(("cus_", "sub_")):
            # By the organization's key where it is known: that is where the index is.
            owner = Organization.objects.filter(**{column: term}).values_list("pk", flat=True).first()
            if owner is not None:
                return queryset.filter(organization_id=owner)
        return queryset.filter(**{column: term})
    owners = Organization.objects.filter(name__icontains=term).order_by().values_list("pk", flat=True)
    return queryset.filter(organization_id__in=list(owners[:ORGANIZATIONS_SEARCHED]))


def event_context(event: SubscriptionEvent, *, sees_tracebacks: bool) -> dict[str, Any]:
    """What the page of one event shows."""
    ids = [
        (title, stripe_id)
        for title, stripe_id in (
            (_("Event"), event.stripe_event_id),
            (_("Customer"), event.stripe_customer_id),
            (_("Subscription"), event.stripe_subscription_id),
            (_("Invoice"), event.stripe_invoice_id),
            (_("Charge"), event.stripe_charge_id),
            (_("Refund"), event.stripe_refund_id),
        )
        if stripe_id
    ]
    if event.stripe_object_id and event.stripe_object_id not in [stripe_id for _title, stripe_id in ids]:
        ids.append((_("Object"), event.stripe_object_id))
    kept = getattr(event, "payload", None)
    steps = list(event.steps.all())
    is_act = event.source != SubscriptionEvent.Source.STRIPE
    return {
        "event": event,
        "badge": event_badge(event),
        "type_in_words": event_words.type_in_words(event.type),
        "by": event_words.by_whom(event),
        "login": event.actor_label if event.actor_label != event_words.by_whom(event) else "",
        "answer": answer_in_words(event, steps) if is_act and steps else "",
        # What Stripe itself said of an act; of a webhook, why we could not use it.
        "error": event.error if sees_tracebacks or not is_act else "",
        "quantity_change": event_words.change_of_quantity(event),
        "status_change": event_words.change_of_status(event),
        "ids": ids,
        "steps": [
            {
                "step": step,
                "declined": declined_in_words(event, step),
                "params": payload.pretty(step.params),
                "answer": payload.pretty(step.answer) if step.answer is not None and sees_tracebacks else "",
                "error": payload.pretty(step.error) if step.error is not None and sees_tracebacks else "",
            }
            for step in steps
        ],
        "documents": [
            {"title": title, "facts": documents.facts(value, event.currency), "record": payload.pretty(value)}
            for title, value in (
                (_("Before"), event.before),
                (_("What was intended"), event.plan),
                (_("After"), event.after),
            )
            if value
        ],
        "sees_tracebacks": sees_tracebacks,
        "body": payload.pretty_body(kept.body) if kept else None,
        "payload_url": reverse("admin:billing_subscriptionevent_payload", args=[event.pk]) if kept else None,
        "title": event_words.type_in_words(event.type),
        "subtitle": None,
    }
