"""Alerts: the one list of what a person must look at, and the mark that somebody did."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST
from unfold.decorators import display

from adminops.admin.base import ReadOnlyAdmin
from adminops.admin.cells import organization_link
from adminops.admin.filters import ChoiceFilter, FieldChoiceFilter
from adminops.pages.badges import AMBER, RED, Badge
from adminops.templatetags.backoffice import NOTHING, moment
from billing.actors import person_name
from billing.alerts import KINDS
from billing.models import Alert

ACKNOWLEDGES = "billing.acknowledge_alert"
ACKNOWLEDGE_URL = "billing_alert_acknowledge"

_BADGES = {
    Alert.Severity.TODAY: Badge(str(Alert.Severity.TODAY.label), RED, "error"),
    Alert.Severity.LOOK: Badge(str(Alert.Severity.LOOK.label), AMBER, "warning"),
}


class OpenFilter(ChoiceFilter):
    """Whether somebody has acknowledged it."""

    title = _("acknowledged")
    parameter_name = "acknowledged"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("no", _("Not yet")), ("yes", _("By somebody"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() in ("no", "yes"):
            return queryset.filter(acknowledged_at__isnull=self.value() == "no")
        return queryset


class KindFilter(ChoiceFilter):
    """What is wrong."""

    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(name, kind.label) for name, kind in KINDS.items()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(kind=self.value()) if self.value() in KINDS else queryset


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    """What wants a person, newest first; acknowledging says who looks after it, and hides nothing."""

    list_display = ("what", "since", "acknowledged")
    list_filter = (OpenFilter, KindFilter, ("severity", FieldChoiceFilter))
    list_select_related = ("organization", "acknowledged_by")
    list_display_links = None
    search_fields = ("message", "organization__name")
    search_help_text = _("Words of an alert, or an organization")
    ordering = ("-pk",)
    sortable_by = ()

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        if not request.user.has_perm(ACKNOWLEDGES):
            return {}
        return {"acknowledge": (acknowledge, "acknowledge", _("Acknowledge: I look after it"))}

    def get_urls(self) -> list[URLPattern]:
        address = path(
            "<int:key>/acknowledge/", self.admin_site.admin_view(self.acknowledge_one), name=ACKNOWLEDGE_URL
        )
        return [address, *super().get_urls()]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        for alert in changelist.result_list:
            alert.may_acknowledge = request.user.has_perm(ACKNOWLEDGES)
        return changelist

    @method_decorator(require_POST)
    def acknowledge_one(self, request: HttpRequest, key: int) -> HttpResponse:
        """The button of a row; whoever presses it comes back to the list as it was narrowed."""
        if not request.user.has_perm(ACKNOWLEDGES):
            raise PermissionDenied
        acknowledge(self, request, Alert.objects.filter(pk=key))
        address = reverse("admin:billing_alert_changelist")
        query = request.META.get("QUERY_STRING", "")
        return HttpResponseRedirect(f"{address}?{query}" if query else address)

    @display(description=_("What happened"))
    def what(self, obj: Alert) -> str:
        kind = KINDS.get(obj.kind)
        text = format_html("{}", obj.message)
        if obj.event_id:
            url = reverse("admin:billing_subscriptionevent_change", args=[obj.event_id])
            text = format_html('<a class="bo-link" href="{}">{}</a>', url, obj.message)
        whose = organization_link(obj.organization_id, obj.organization.name) if obj.organization else ""
        return format_html(
            '<div class="bo-alert"><div>{} {}</div><div class="bo-advice">{}</div>{}</div>',
            _BADGES[Alert.Severity(obj.severity)],
            text,
            kind.what_to_do if kind else "",
            whose,
        )

    @display(description=_("Since"))
    def since(self, obj: Alert) -> str:
        if obj.ended_at is None:
            return moment(obj.created_at)
        return format_html(
            '{}<span class="bo-below">{}</span>',
            moment(obj.created_at),
            format_html(str(_("over since {}")), moment(obj.ended_at)),
        )

    @display(description=_("Acknowledged"))
    def acknowledged(self, obj: Any) -> str:
        if obj.acknowledged_at is None and obj.may_acknowledge:
            # Within the form of the list, whose token it sends along.
            return format_html(
                '<button class="bo-button" type="submit" formaction="{}">{}</button>',
                reverse(f"admin:{ACKNOWLEDGE_URL}", args=[obj.pk]),
                _("Acknowledge"),
            )
        if obj.acknowledged_at is None or obj.acknowledged_by is None:
            return NOTHING
        return format_html("{}, {}", person_name(obj.acknowledged_by), moment(obj.acknowledged_at))


def acknowledge(model_admin: AlertAdmin, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
    """Say who looks after these; one that a colleague looks after already stays theirs."""
    count = queryset.filter(acknowledged_at__isnull=True).update(
        acknowledged_at=timezone.now(), acknowledged_by=cast(User, request.user)
    )
    messages.success(
        request, ngettext("%(n)d alert acknowledged.", "%(n)d alerts acknowledged.", count) % {"n": count}
    )
