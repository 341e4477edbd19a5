"""How members log in: Django's own view in our look, with a limit per address and per name."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse

from adminops import logins


class MemberLogin(LoginView):
    """The login page of members. Staff may use it as well; it leads to the members' page in any case."""

    template_name = "members/login.html"
    next_page = "members"
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Try, unless that was tried too often."""
        wait = logins.wait_of(request)
        if wait is None:
            return super().post(request, *args, **kwargs)
        context = self.get_context_data(form=self.get_form_class()())
        return logins.refuse(request, self.template_name, wait, context)
