"""A product that shares the database: a few views behind the middleware, or the decorator."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from organizations.access.doors import access_exempt, access_required


def work(request: HttpRequest, **kwargs: str) -> HttpResponse:
    """What the product is for."""
    return HttpResponse("at work")


urlpatterns = [
    path("work/", work),
    path("in/<slug:organization>/", work),
    path("goodbye/", access_exempt(work)),
    path("guarded/", access_required(work)),
    path("guarded/<slug:organization>/", access_required(work)),
]
