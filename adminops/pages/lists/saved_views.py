"""Views of a list: a few that come ready, and those that each colleague keeps under names of their own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import Any, cast
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from adminops.models import SavedView

MOST_OF_ONE_PERSON = 50

_LONGEST_QUERY = 2000
# Longer ones no server is asked for.
_LONGEST_ADDRESS = 4000

# Of each list, by its model: what everybody asks it for.
READY: dict[str, tuple[tuple[Promise, dict[str, str]], ...]] = {
    "organizations.organization": (
        (gettext_lazy("All"), {}),
        (gettext_lazy("Past due"), {"overdue": "0"}),
        (gettext_lazy("Set to end"), {"cancels": "soon"}),
        (gettext_lazy("Trials ending"), {"cancels": "trial"}),
        (gettext_lazy("Suspended"), {"access": "suspended"}),
        (gettext_lazy("With differences"), {"drift": "yes"}),
    ),
    "billing.subscriptionevent": (
        (gettext_lazy("All"), {}),
        (gettext_lazy("Failed or waiting"), {"state": "open"}),
        (gettext_lazy("By staff"), {"source__exact": "staff"}),
        (gettext_lazy("By the back office"), {"source__exact": "system"}),
        (gettext_lazy("Subscriptions"), {"kind": "customer.subscription."}),
        (gettext_lazy("Refunds"), {"kind": "refund."}),
        (gettext_lazy("Disputes"), {"kind": "charge.dispute."}),
        (gettext_lazy("Not used"), {"state": "ignored"}),
    ),
    "djstripe.invoice": (
        (gettext_lazy("All"), {}),
        (gettext_lazy("Open"), {"state": "open"}),
        (gettext_lazy("Overdue"), {"state": "overdue"}),
        (gettext_lazy("Open for 30 days"), {"age": "30"}),
        (gettext_lazy("Written off"), {"state": "uncollectible"}),
    ),
    "djstripe.charge": (
        (gettext_lazy("All"), {}),
        (gettext_lazy("Failed"), {"state": "failed"}),
        (gettext_lazy("Refunded"), {"state": "refunded"}),
        (gettext_lazy("Disputed"), {"state": "disputed"}),
    ),
    "djstripe.refund": (
        (gettext_lazy("All"), {}),
        (gettext_lazy("Failed refunds"), {"state": "failed"}),
        (gettext_lazy("On its way for 7 days"), {"age": "7"}),
    ),
    "djstripe.dispute": (
        (gettext_lazy("All"), {}),
        (gettext_lazy("Disputes to answer"), {"state": "to_answer"}),
        (gettext_lazy("Lost"), {"state": "lost"}),
    ),
}

# Where one stands in a list is no part of a view of it.
PASSING = ("p", "e", "before", "after")


@dataclass(frozen=True)
class View:
    """A view to choose. `forget_url` is set where it is one's own."""

    name: str
    url: str
    is_chosen: bool = False
    link: str = ""
    forget_url: str = ""


class ViewForm(forms.Form):
    """What a view is called and what it shows."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=80)
    query = forms.CharField(max_length=_LONGEST_QUERY, required=False, strip=False, widget=forms.HiddenInput)


def views_of(changelist: Any, user: Any) -> list[View]:
    """The views of a list, the chosen one marked: those that come ready, then this person's own."""
    model = changelist.opts.label_lower
    shown = normal(urlencode(changelist.filter_params, doseq=True))
    ready = [
        View(str(name), f"?{urlencode(params)}", normal(urlencode(params)) == shown)
        for name, params in READY.get(model, ())
    ]
    own = [
        View(
            view.name,
            f"?{view.query}",
            view.query == shown,
            reverse(view_url_name(changelist.model_admin, "open"), args=[view.uuid]),
            reverse(view_url_name(changelist.model_admin, "forget"), args=[view.uuid]),
        )
        for view in SavedView.objects.filter(owner=user, model=model)
    ]
    return ready + own


def normal(query: str) -> str:
    """A query without what is passing, in one order, so that equal views are equal."""
    params = QueryDict(query.replace("\0", ""), mutable=True)
    for name in PASSING:
        params.pop(name, None)
    return urlencode(sorted((name, value) for name, values in params.lists() for value in values if value))


def view_urls(model_admin: Any) -> list[URLPattern]:
    """Where views of a list are kept, opened and forgotten."""

    def wrap(view: Any) -> Any:
        @wraps(view)
        def for_those_who_see_the_list(request: HttpRequest, **captured: Any) -> HttpResponse:
            if not model_admin.has_view_permission(request):
                raise PermissionDenied
            response: HttpResponse = view(request, **captured)
            return response

        return model_admin.admin_site.admin_view(for_those_who_see_the_list)

    def kept(request: HttpRequest) -> HttpResponse:
        return _keep(request, model_admin)

    def opened(request: HttpRequest, view: Any) -> HttpResponse:
        return redirect(f"{_listing(model_admin)}?{_find(model_admin, uuid=view).query}")

    def forgotten(request: HttpRequest, view: Any) -> HttpResponse:
        found = _find(model_admin, uuid=view, owner=_owner(request))
        found.delete()
        messages.success(request, _("The view “%(name)s” is forgotten.") % {"name": found.name})
        return redirect(_listing(model_admin))

    return [
        path("views/keep/", wrap(require_POST(kept)), name=_name(model_admin, "keep")),
        path("views/<uuid:view>/", wrap(opened), name=_name(model_admin, "open")),
        path("views/<uuid:view>/forget/", wrap(require_POST(forgotten)), name=_name(model_admin, "forget")),
    ]


def _keep(request: HttpRequest, model_admin: Any) -> HttpResponse:
    form = ViewForm(request.POST)
    if not form.is_valid():
        query = request.POST.get("query", "")
        if "query" in form.errors:
            messages.error(
                request,
                _(
                    "The view was not kept: it is narrowed by more than can be kept. Shorten its search or filters."
                ),
            )
        else:
            messages.error(request, _("The view was not kept: give it a name of up to 80 characters."))
        return redirect(f"{_listing(model_admin)}?{normal(query) if len(query) < _LONGEST_ADDRESS else ''}")
    name, query = form.cleaned_data["name"], normal(form.cleaned_data["query"])
    model = model_admin.opts.label_lower
    if SavedView.objects.filter(owner=_owner(request), model=model).count() >= MOST_OF_ONE_PERSON:
        messages.error(
            request,
            _("The view was not kept: you have %(most)d already. Forget one first.")
            % {"most": MOST_OF_ONE_PERSON},
        )
    else:
        try:
            with transaction.atomic():
                SavedView.objects.create(owner=_owner(request), model=model, name=name, query=query)
            messages.success(request, _("The view “%(name)s” is kept.") % {"name": name})
        except IntegrityError:
            messages.error(
                request, _("The view was not kept: you have another called “%(name)s”.") % {"name": name}
            )
    return redirect(f"{_listing(model_admin)}?{query}")


def _find(model_admin: Any, **lookup: Any) -> SavedView:
    view = SavedView.objects.filter(model=model_admin.opts.label_lower, **lookup).first()
    if view is None:
        raise Http404(_("This view was forgotten, or is not yours."))
    return view


def _owner(request: HttpRequest) -> User:
    return cast("User", request.user)


def _listing(model_admin: Any) -> str:
    return reverse(f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_changelist")


def _name(model_admin: Any, act: str) -> str:
    return f"{model_admin.opts.app_label}_{model_admin.opts.model_name}_view_{act}"


def view_url_name(model_admin: Any, act: str) -> str:
    """The name of the address where a view of a list is kept, opened or forgotten."""
    return f"admin:{_name(model_admin, act)}"
