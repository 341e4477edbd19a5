"""`GET /api/access/`: for products that do not share the database. What it says is in docs/access.md."""

from __future__ import annotations

import hashlib
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from organizations.access.activity import note_activity, touch
from organizations.access.decision import Access
from organizations.access.reading import Ambiguous, find_access
from organizations.access.tokens import authenticate


@require_GET
def access_api(request: HttpRequest) -> HttpResponse:
    """May `user` come in to `organization`, and why not; with `active=1`, the person is at work right now."""
    token = authenticate(request.headers.get("Authorization", ""))
    if token is None:
        response = _refuse(401, _("This needs a valid access token: Authorization: Bearer access_…"))
        response.headers["WWW-Authenticate"] = 'Bearer realm="access"'
        return response
    touch(token, "last_used_at")
    organization, user = request.GET.get("organization", ""), request.GET.get("user", "")
    if not organization or not user:
        return _refuse(400, _("Say which organization and which user: ?organization=…&user=…"))
    try:
        access = find_access(organization, user)
    except Ambiguous:
        return _refuse(
            409, _("Several members there have this e-mail address: ask with the person's number instead.")
        )
    if access is None:
        return _refuse(404, _("There is no organization with this number, slug or Stripe customer."))
    if request.GET.get("active") == "1" and access.allowed and access.membership:
        note_activity(access.membership)
    return _answer(request, access)


def _answer(request: HttpRequest, access: Access) -> HttpResponse:
    response: HttpResponse = JsonResponse(_told(access))
    etag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    conditional = get_conditional_response(request, etag=etag, response=response)
    response = conditional if isinstance(conditional, HttpResponse) else response
    response.headers["ETag"] = etag
    return _private(response)


def _told(access: Access) -> dict[str, Any]:
    organization, membership = access.organization, access.membership
    return {
        "allowed": access.allowed,
        "reason": access.reason.value,
        "sentence": access.sentence,
        "until": access.until.isoformat() if access.until else None,
        "organization": {
            "id": organization.pk,
            "slug": organization.slug,
            "name": organization.name,
            "stripe_customer": organization.stripe_customer_id,
        },
        "member": membership
        and {
            "user": membership.user_id,
            "email": membership.user.email,
            "role": membership.role,
            "status": membership.status,
        },
    }


def _refuse(status: int, sentence: str) -> HttpResponse:
    return _private(JsonResponse({"error": sentence}, status=status))


def _private(response: HttpResponse) -> HttpResponse:
    """An answer may be kept to be compared by its ETag, and is never used without asking again."""
    response.headers["Cache-Control"] = "private, no-cache"
    patch_vary_headers(response, ["Authorization"])
    return response
