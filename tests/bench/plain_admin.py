"""Our addresses, and beside them the same tables under ModelAdmins as Django has them: the peer of a benchmark."""

from __future__ import annotations

from django.contrib.admin import AdminSite, ModelAdmin
from django.urls import path
from djstripe.models import Invoice

from adminops.urls import urlpatterns as ours
from billing.models import SubscriptionEvent
from organizations.models import Membership, Organization

site = AdminSite(name="plain")


class PlainOrganizations(ModelAdmin):  # type: ignore[type-arg]  # Django's own takes none
    """What a first attempt lists of organizations."""

    list_display = (
        "name",
        "billing_email",
        "subscription_status",
        "plan",
        "seats",
        "mrr",
        "current_period_end",
    )
    list_filter = ("subscription_status", "plan", "currency")
    search_fields = ("name", "slug", "billing_email", "memberships__user__email")


class PlainEvents(ModelAdmin):  # type: ignore[type-arg]
    """What a first attempt lists of events."""

    list_display = ("occurred_at", "type", "organization", "source", "state", "amount")
    list_filter = ("type", "source", "state")
    search_fields = ("stripe_event_id", "stripe_customer_id", "organization__name")


site.register(Organization, PlainOrganizations)
site.register(SubscriptionEvent, PlainEvents)
site.register(Membership, ModelAdmin)
site.register(Invoice, ModelAdmin)

urlpatterns = [path("plain/", site.urls), *ours]
