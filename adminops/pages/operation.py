"""The page of a staff operation: ask, show what will happen, do exactly that, say what happened.

The steps are the same for every operation: load it or 404, permission or 403, form, preview, confirm, limit or 429,
perform, message, redirect. An operation brings its form, its preview and its function; `adminops/actions.py` names it.

Nothing changes before the confirmation. What was shown travels with it as a signed token, bound to the person and the
organization, so that what is applied is what was agreed to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from adminops import limits
from billing.errors import BillingError, PreviewOutdated
from billing.models import SubscriptionEvent
from organizations.models import Organization

if TYPE_CHECKING:
    from adminops.actions import StaffAction

# A preview asks Stripe twice, and is made anew while somebody types.
PREVIEWS = "preview"
PREVIEW_RATE = "60/m"

TEMPLATE = "adminops/operation.html"
FRAGMENT = "adminops/operation_preview.html"
LIMITED = "adminops/limited.html"
# What the page's script sends along when it wants the preview alone.
FRAGMENT_HEADER = "X-Preview"


class Operation[PreviewT](ABC):
    """What one operation asks, shows and does, for one organization and one colleague."""

    form_class: ClassVar[type[forms.Form]]
    preview_template: ClassVar[str]
    # The fields that the preview depends on. A change of the others (reason, ticket) needs no new preview.
    previewed_fields: ClassVar[tuple[str, ...]]

    def __init__(self, organization: Organization, user: Any) -> None:
        self.organization = organization
        self.user = user

    @abstractmethod
    def facts(self) -> list[str]:
        """What the person should know before typing, in short sentences."""

    @abstractmethod
    def initial(self) -> dict[str, Any]:
        """What the form holds at first."""

    @abstractmethod
    def preview(self, data: dict[str, Any]) -> PreviewT:
        """What would happen. Changes nothing. Raises BillingError."""

    @abstractmethod
    def preview_context(self, preview: PreviewT) -> dict[str, Any]:
        """What `preview_template` shows."""

    @abstractmethod
    def confirm_label(self, preview: PreviewT) -> str:
        """The act and its number: "Change to 12 seats"."""

    @abstractmethod
    def dump(self, preview: PreviewT) -> dict[str, Any]:
        """The preview as JSON can hold it."""

    @abstractmethod
    def load(self, dumped: dict[str, Any]) -> PreviewT:
        """The inverse of `dump`. Raises KeyError, TypeError or ValueError for what it did not write."""

    @abstractmethod
    def is_about(self, preview: PreviewT, data: dict[str, Any]) -> bool:
        """Whether the preview answers what the form now says."""

    @abstractmethod
    def perform(self, preview: PreviewT, data: dict[str, Any]) -> SubscriptionEvent:
        """Do exactly what was shown. Raises PreviewOutdated or BillingError when nothing was attempted."""

    def form(self, data: Any = None) -> forms.Form:
        """The form, empty or with what was typed."""
        return self.form_class(data, initial=self.initial())


class Page:
    """One request to the page of one operation."""

    def __init__(self, action: StaffAction, request: HttpRequest, organization: Organization) -> None:
        self.action = action
        self.request = request
        self.organization = organization
        self.operation = action.operation(organization, request.user)
        self.salt = f"adminops.preview.{action.name}"

    def respond(self) -> HttpResponse:
        """The answer to this request."""
        refusal = self.action.refusal(self.organization)
        if refusal:
            return self.show(self.operation.form(), refusal=refusal)
        if self.request.method != "POST":
            return self.show(self.operation.form())
        form = self.operation.form(self.request.POST)
        if self.request.POST.get("step") == "apply":
            return self.apply(form)
        return self.show(self.without_errors_of_others(form), **self.previewed(form))

    # -- showing ----------------------------------------------------------------------------------------

    def without_errors_of_others(self, form: forms.Form) -> forms.Form:
        """A preview may be asked for before a reason is written, so it does not complain of that."""
        for name in set(form.errors) - set(self.operation.previewed_fields):
            del form.errors[name]
        return form

    def previewed(self, form: forms.Form, sentence: str = "") -> dict[str, Any]:
        """The preview of what the form says, or why there is none; `sentence` says why it is shown anew."""
        wrong = [
            error
            for name in self.operation.previewed_fields
            for error in cast("list[str]", form.errors.get(name, []))
        ]
        if wrong:
            return {"problems": [sentence, *wrong] if sentence else wrong}
        usage = limits.count(self.request, group=PREVIEWS, rate=PREVIEW_RATE)
        if usage.exceeded:
            busy = _("That were many previews within a minute. Nothing was changed; try again in %(n)d s.")
            return {"problems": [busy % {"n": usage.seconds_left}]}
        try:
            preview = self.operation.preview(form.cleaned_data)
        except BillingError as error:
            return {"problems": [sentence, str(error.message)] if sentence else [str(error.message)]}
        now = timezone.now()
        return {
            "preview": preview,
            "notice": sentence,
            "preview_template": self.operation.preview_template,
            "confirm_label": self.operation.confirm_label(preview),
            "token": self.token(preview),
            "valid_minutes": settings.PREVIEW_MAX_AGE_SECONDS // 60,
            "valid_until": now + timedelta(seconds=settings.PREVIEW_MAX_AGE_SECONDS),
            **self.operation.preview_context(preview),
        }

    def show(self, form: forms.Form, **context: Any) -> HttpResponse:
        """The page, or only its preview for the page's script."""
        if self.request.headers.get(FRAGMENT_HEADER):
            return TemplateResponse(self.request, FRAGMENT, context)
        return TemplateResponse(
            self.request,
            TEMPLATE,
            {
                **page_context(self.request, self.organization, str(self.action.label)),
                "action": self.action,
                "form": form,
                "previewed_fields": " ".join(self.operation.previewed_fields),
                "facts": [] if context.get("refusal") else self.operation.facts(),
                **context,
            },
        )

    # -- applying ---------------------------------------------------------------------------------------

    def token(self, preview: Any) -> str:
        """What was shown, to whom and of what, signed."""
        return signing.dumps(
            {
                "preview": self.operation.dump(preview),
                "user": self.request.user.pk,
                "organization": self.organization.pk,
            },
            salt=self.salt,
            compress=True,
        )

    def agreed(self) -> Any:
        """The preview that the person agreed to. Raises PreviewOutdated with what to say."""
        try:
            token = signing.loads(
                self.request.POST.get("token", ""), salt=self.salt, max_age=settings.PREVIEW_MAX_AGE_SECONDS
            )
            if (token["user"], token["organization"]) != (self.request.user.pk, self.organization.pk):
                raise signing.BadSignature
            return self.operation.load(token["preview"])
        except signing.SignatureExpired:
            raise PreviewOutdated(
                _(
                    "These figures were older than %(minutes)d minutes. Nothing was changed; here they are anew."
                )
                % {"minutes": settings.PREVIEW_MAX_AGE_SECONDS // 60}
            ) from None
        except (signing.BadSignature, KeyError, TypeError, ValueError):
            raise PreviewOutdated(
                _("Nothing was changed. Please look at what will happen, then confirm.")
            ) from None

    def apply(self, form: forms.Form) -> HttpResponse:
        """Do what was agreed to, or show anew what would happen."""
        usage = limits.count(self.request, group=self.action.name, rate=self.action.rate)
        if usage.exceeded:
            return self.limited(usage)
        try:
            preview = self.agreed()
            if not form.is_valid():
                return self.show(form, **self.previewed(form))
            if not self.operation.is_about(preview, form.cleaned_data):
                raise PreviewOutdated(
                    _("You changed the form after this was shown. Nothing was changed; here it is anew.")
                )
            event = self.operation.perform(preview, form.cleaned_data)
        except PreviewOutdated as outdated:
            return self.show(form, **self.previewed(form, str(outdated.message)))
        except BillingError as error:
            return self.show(form, problems=[str(error.message)])
        return self.done(event)

    def done(self, event: SubscriptionEvent) -> HttpResponse:
        """Say what happened, on the page one came from."""
        level = {
            SubscriptionEvent.State.DONE: messages.SUCCESS,
            SubscriptionEvent.State.FAILED: messages.ERROR,
        }.get(SubscriptionEvent.State(event.state), messages.WARNING)
        messages.add_message(
            self.request,
            level,
            event.message
            or _(
                "Stripe gave no clear answer, so we do not know yet whether it was done. We are finding out, mostly"
                " within a minute; do not repeat it. This page will say."
            ),
        )
        return HttpResponseRedirect(home_of(self.request, self.organization))

    def limited(self, usage: limits.Usage) -> HttpResponse:
        """Too many in a minute: nothing was done, and when to try again."""
        response = TemplateResponse(
            self.request,
            LIMITED,
            {
                **page_context(self.request, self.organization, str(self.action.label)),
                "action": self.action,
                "usage": usage,
                "again_at": timezone.now() + timedelta(seconds=usage.seconds_left),
                "again_url": self.action.url(self.organization),
            },
            status=429,
        )
        response.headers["Retry-After"] = str(usage.seconds_left)
        return response


def operation_view(request: HttpRequest, object_id: int, action: StaffAction) -> HttpResponse:
    """The page of an action for one organization."""
    # Permission first: a 404 would tell those who may not ask which numbers exist.
    if not request.user.has_perm(action.permission):
        raise PermissionDenied
    organization = get_object_or_404(Organization, pk=object_id)
    return Page(action, request, organization).respond()


def home_of(request: HttpRequest, organization: Organization) -> str:
    """The customer page, for those who may see it."""
    if request.user.has_perm("organizations.view_organization") or request.user.has_perm(
        "organizations.change_organization"
    ):
        return reverse("admin:organizations_organization_change", args=[organization.pk])
    return reverse("admin:index")


def page_context(request: HttpRequest, organization: Organization, title: str | Promise) -> dict[str, Any]:
    """What the frame around a page of ours needs."""
    return {
        **admin.site.each_context(request),
        "title": title,
        "subtitle": organization.name,
        "opts": Organization._meta,
        "original": organization,
        "organization": organization,
        "back_url": home_of(request, organization),
    }
