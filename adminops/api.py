"""The access endpoint with its limit: whoever tries tokens is slowed down, whoever has one is not counted."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from adminops import limits
from organizations.access.api import access_api

# Wrong tokens from one address.
RATE = "20/m"


@csrf_exempt
def access(request: HttpRequest) -> HttpResponse:
    """`GET /api/access/`, with 429 in the place of 401 for an address that had too many of those."""
    response = access_api(request)
    if response.status_code != 401:
        return response
    usage = limits.count(request, group="api.access", rate=RATE, key="ip")
    if not usage.exceeded:
        return response
    refusal = JsonResponse(
        {"error": _("Too many wrong tokens from your address; wait a minute.")}, status=429
    )
    refusal.headers["Retry-After"] = str(usage.seconds_left)
    refusal.headers["Cache-Control"] = "no-store"
    return refusal
