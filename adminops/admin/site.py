"""The admin site: Unfold's, with our name, our navigation and the word for the Stripe we talk to."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from unfold.sites import UnfoldAdminSite

from adminops import logins

STRIPE_ITSELF = "https://api.stripe.com"


class BackOfficeSite(UnfoldAdminSite):
    """Where staff work."""

    site_title = gettext_lazy("Back office")
    site_header = gettext_lazy("Back office")
    index_title = gettext_lazy("Home")

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The page to log in, unless that was tried too often, here or at the members' door."""
        wait = logins.wait_of(request) if request.method == "POST" else None
        if wait is not None:
            return logins.refuse(request, "adminops/login_limited.html", wait, {})
        response: HttpResponse = super().login(request, extra_context)
        return response

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The first page, with what wants somebody."""
        from adminops.pages.home import Home

        response: TemplateResponse = super().index(
            request, {"home": Home(request.user), **(extra_context or {})}
        )
        return response

    def get_urls(self) -> Any:
        """Django's and the theme's, with pages of ours that belong to no one list."""
        from adminops.pages.reconciliation.addresses import reconciliation_urls

        return [*reconciliation_urls(self), *super().get_urls()]


def environment(request: HttpRequest) -> list[str]:
    """Which Stripe this is, as a word and a tone, on every page: money moves for real only in "Live"."""
    if settings.STRIPE_API_BASE != STRIPE_ITSELF:
        return [_("Sandbox"), "info"]
    if settings.STRIPE_LIVE_MODE:
        return [_("Live"), "danger"]
    return [_("Test mode"), "warning"]


def stylesheet(request: HttpRequest) -> str:
    """Our own styles, after Unfold's."""
    return static("adminops/backoffice.css")


def list_stylesheet(request: HttpRequest) -> str:
    """Those of the lists, after them."""
    return static("adminops/lists.css")


def favicon(request: HttpRequest) -> str:
    """The mark in the browser's tab."""
    return static("adminops/favicon.svg")


def alpine_scope(request: HttpRequest) -> str:
    """What the theme's templates call by name, for an Alpine that evaluates nothing."""
    return static("adminops/alpine_scope.js")


def script(request: HttpRequest) -> str:
    """Our own script, on every page; it looks for what it can help with."""
    return static("adminops/backoffice.js")


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar. A page that this person may not see is not in it."""

    def item(title: str | Promise, icon: str, model: str, sees: str = "") -> dict[str, Any]:
        app_label, name = model.split(".")
        permission = sees or f"{app_label}.view_{name}"
        change = f"{app_label}.change_{name}"
        return {
            "title": title,
            "icon": icon,
            "link": reverse(f"admin:{app_label}_{name}_changelist"),
            "permission": lambda request: request.user.has_perm(permission) or request.user.has_perm(change),
        }

    from adminops.admin.mirror import MIRROR_PAGES

    # What people act on; the rest of the mirror is for looking something up.
    money = [page for page in MIRROR_PAGES if page.model_name in {"invoice", "charge", "refund", "dispute"}]

    return [
        {
            "items": [{"title": _("Home"), "icon": "home", "link": reverse("admin:index")}],
        },
        {
            "title": _("Customers"),
            "items": [
                item(_("Organizations"), "domain", "organizations.organization"),
                item(_("Members"), "group", "organizations.membership"),
            ],
        },
        {
            "title": _("Billing"),
            "items": [
                *(item(page.title, page.icon, f"djstripe.{page.model_name}") for page in money),
                {
                    "title": _("Reconciliation"),
                    "icon": "compare_arrows",
                    "link": reverse("admin:reconciliation"),
                    "permission": lambda request: request.user.has_perm("billing.view_reconciliationrun"),
                },
                item(_("Subscription events"), "history", "billing.subscriptionevent"),
                item(_("Alerts"), "notifications", "billing.alert"),
                item(_("Bulk jobs"), "checklist", "billing.bulkjob", sees="billing.view_subscriptionevent"),
            ],
        },
        {
            "title": _("Stripe mirror"),
            "collapsible": True,
            "items": [
                item(page.title, page.icon, f"djstripe.{page.model_name}")
                for page in MIRROR_PAGES
                if page.in_navigation and page not in money
            ],
        },
        {
            "title": _("People"),
            "items": [
                item(_("Users"), "badge", "auth.user"),
                item(_("Groups"), "groups", "auth.group"),
                item(_("Access tokens"), "key", "organizations.accesstoken"),
            ],
        },
    ]
