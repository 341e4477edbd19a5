"""Access tokens: made, told once, revoked. What they open is `/api/access/` (docs/access.md)."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from adminops.admin.base import BackOfficeAdmin
from adminops.pages.badges import GREEN, GREY, Badge
from adminops.templatetags.backoffice import ago, moment
from organizations.access.tokens import AccessToken


class NewTokenForm(forms.ModelForm):
    """The name is all there is to say; the token is made."""

    class Meta:
        model = AccessToken
        fields = ("name",)


class TokenForm(NewTokenForm):
    """Renaming, and revoking, for ever."""

    revoke = forms.BooleanField(
        label=_("Revoke"),
        required=False,
        help_text=_("From the next request on it opens nothing. This cannot be undone; make a new one then."),
    )


@admin.register(AccessToken)
class AccessTokenAdmin(BackOfficeAdmin):
    """Who may ask whether people have access. The row of a revoked token stays."""

    list_display = ("name", "hint", "state", "made", "used")
    search_fields = ("name",)
    ordering = ("-pk",)
    sortable_by = ()

    def get_form(self, request: HttpRequest, obj: AccessToken | None = None, **kwargs: Any) -> Any:
        return super().get_form(request, obj, **{**kwargs, "form": TokenForm if obj else NewTokenForm})

    def get_fields(self, request: HttpRequest, obj: AccessToken | None = None) -> Any:
        if obj is None:
            return ["name"]
        shown = ["name", "hint", "state", "made", "created_by", "used"]
        return shown if obj.revoked_at else [*shown, "revoke"]

    def get_readonly_fields(self, request: HttpRequest, obj: AccessToken | None = None) -> Any:
        return ["hint", "state", "made", "created_by", "used"] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: AccessToken, form: Any, change: bool) -> None:
        if not change:
            obj.issue()
            obj.created_by = cast(User, request.user)
        super().save_model(request, obj, form, change)
        if form.cleaned_data.get("revoke"):
            obj.revoke()

    def response_add(
        self, request: HttpRequest, obj: AccessToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The token, once. The admin's answers are stored by nobody, so it is gone on reload."""
        return TemplateResponse(
            request,
            "adminops/access_token.html",
            {
                **admin.site.each_context(request),
                "title": _("Access token"),
                "opts": self.opts,
                "row": obj,
                "back_url": reverse("admin:organizations_accesstoken_changelist"),
            },
        )

    @display(description=_("Token"))
    def hint(self, obj: AccessToken) -> str:
        return f"access_…{obj.ending}"

    @display(description=_("State"))
    def state(self, obj: AccessToken) -> str:
        badge = Badge(_("Revoked"), GREY, "block") if obj.revoked_at else Badge(_("Works"), GREEN, "key")
        return str(badge)

    @display(description=_("Made"))
    def made(self, obj: AccessToken) -> str:
        return moment(obj.created_at)

    @display(description=_("Last used"))
    def used(self, obj: AccessToken) -> str:
        return ago(obj.last_used_at)
