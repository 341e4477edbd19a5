"""The doors of Django products that share this database: a middleware for all of it, a decorator for one view.

Both look anew with every request. A member who may come in is noted as seen; `request.access` says what was decided.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from organizations.access.activity import note_activity
from organizations.access.decision import Access
from organizations.access.reading import accesses_of

# Which organization a view is about: its argument of this name, a slug.
ARGUMENT = "organization"
TEMPLATE = "organizations/no_access.html"

type View = Callable[..., HttpResponse]


class AccessMiddleware:
    """Lets nobody but members who have access past; behind Django's AuthenticationMiddleware.

    Who is not logged in passes, since a product has pages for them too: what needs a member says so itself, with
    `login_required` or `access_required`. A view with `@access_exempt` is left alone, such as the one to log out.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: View, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        """The page that says why not, or nothing."""
        if getattr(view, "access_exempt", False) or not request.user.is_authenticated:
            return None
        return _refusal(request, kwargs)


def access_required(view: View) -> View:
    """Let only members who have access into this view; others read why not, and strangers log in first.

    The organization is the view's argument `organization`, a slug; without one, any that lets the person in will do.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        return _refusal(request, kwargs) or view(request, *args, **kwargs)

    return guarded


def access_exempt(view: View) -> View:
    """Let `AccessMiddleware` leave this view alone."""

    @wraps(view)
    def exempt(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return view(request, *args, **kwargs)

    exempt.access_exempt = True  # type: ignore[attr-defined]
    return exempt


def _refusal(request: HttpRequest, kwargs: dict[str, Any]) -> HttpResponse | None:
    """The page that says why not; None, and the member noted as seen, for who may come in."""
    access = _best(request, kwargs.get(ARGUMENT))
    request.access = access  # type: ignore[attr-defined]
    if access is None or not access.allowed or access.membership is None:
        return render(request, TEMPLATE, {"access": access}, status=403)
    note_activity(access.membership)
    return None


def _best(request: HttpRequest, slug: str | None) -> Access | None:
    """The access to the organization a view names, else to the first that lets the person in, else to the first."""
    found = accesses_of(request.user, **({"organization__slug": slug} if slug else {}))
    return next((access for access in found if access.allowed), found[0] if found else None)
