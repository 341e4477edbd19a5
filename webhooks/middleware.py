"""The way of Stripe's requests past all that is for people."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.functional import cached_property

from webhooks.views import receive


class StripeFirst:
    """Answers Stripe before sessions, languages, messages and headers for browsers are made, none of which it reads.

    They would be a third of what a webhook costs. What is ahead of this (HTTPS, the host's name) holds for it too.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return receive(request) if request.path == self._address else self.get_response(request)

    @cached_property
    def _address(self) -> str | None:
        try:
            return reverse("webhooks:stripe")
        except NoReverseMatch:  # addresses that have no door for Stripe: a product beside us
            return None
