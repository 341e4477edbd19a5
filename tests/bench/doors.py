"""Our addresses under gunicorn, and beside them dj-stripe's stock view and two views that show where the ceiling is."""

from __future__ import annotations

import json
import os

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "adminops.settings")
from adminops.wsgi import application

# Only now are there models, which addresses lead to.
settings.ROOT_URLCONF = __name__
from adminops.urls import urlpatterns as ours  # noqa: E402
from webhooks.signatures import Verdict, verify  # noqa: E402

__all__ = ["application"]


@csrf_exempt
def hello(request: HttpRequest) -> HttpResponse:
    """The least that an answer costs."""
    return HttpResponse("hello\n")


@csrf_exempt
def verify_and_parse(request: HttpRequest) -> HttpResponse:
    """What no door can do without."""
    body = request.body.decode()
    verdict = verify(body, request.headers["Stripe-Signature"], settings.STRIPE_WEBHOOK_SECRETS, 300)
    return HttpResponse(json.loads(body)["id"], status=200 if verdict is Verdict.SIGNED else 400)


urlpatterns = [
    path("hello/", hello),
    path("verify/", verify_and_parse),
    path("stripe/", include("djstripe.urls")),
    *ours,
]
