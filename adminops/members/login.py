"""How members log in: Django's own view in our look, with a limit per address and per name."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from adminops import limits

# An office of many shares an address; a name belongs to one person, who may mistype.
PER_ADDRESS = "60/5m"
PER_NAME = "10/5m"


class MemberLogin(LoginView):
    """The login page of members. Staff may use it as well; it leads to the members' page in any case."""

    template_name = "members/login.html"
    next_page = "members"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Try, unless that was tried too often."""
        usages = [
            limits.count(request, group="members.login.address", rate=PER_ADDRESS, key="ip"),
            limits.count(request, group="members.login.name", rate=PER_NAME, key=_name),
        ]
        wait = max((usage.seconds_left for usage in usages if usage.exceeded), default=None)
        if wait is None:
            return super().post(request, *args, **kwargs)
        context = self.get_context_data(form=self.get_form_class()(), minutes=-(-wait // 60))
        response = TemplateResponse(request, self.template_name, context, status=429)
        response.headers["Retry-After"] = str(wait)
        return response


def _name(group: str, request: HttpRequest) -> str:
    return request.POST.get("username", "").strip().casefold()
