"""A limit on guessing passwords, one for both doors: the members' login and the back office's."""

from __future__ import annotations

import unicodedata
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import ngettext

from adminops import limits

# An office of many shares an address; a name belongs to one person, who may mistype.
PER_ADDRESS = "60/5m"
PER_NAME = "10/5m"


def wait_of(request: HttpRequest) -> int | None:
    """Count a try to log in. Returns how many seconds to wait where its address or name had too many, else None."""
    usages = [
        limits.count(request, group="login.address", rate=PER_ADDRESS, key="ip"),
        limits.count(request, group="login.name", rate=PER_NAME, key=_name),
    ]
    return max((usage.seconds_left for usage in usages if usage.exceeded), default=None)


def refuse(request: HttpRequest, template: str, wait: int, context: dict[str, Any]) -> TemplateResponse:
    """The page that says when to try again; its template has that sentence as `too_often`."""
    minutes = -(-wait // 60)
    sentence = ngettext(
        "That was tried too often. Try again in %(n)d minute.",
        "That was tried too often. Try again in %(n)d minutes.",
        minutes,
    ) % {"n": minutes}
    response = TemplateResponse(request, template, {**context, "too_often": sentence}, status=429)
    response.headers["Retry-After"] = str(wait)
    return response


def _name(group: str, request: HttpRequest) -> str:
    """The name as the login form reads it, which takes letters that are written otherwise for the same."""
    return unicodedata.normalize("NFKC", request.POST.get("username", "")).strip().casefold()
