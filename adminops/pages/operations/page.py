"""The page of a staff operation: ask, show what will happen, do exactly that, say what happened.

The steps are the same for every operation: load it or 404, permission or 403, form, preview, confirm, limit or 429,
perform, message, redirect. An operation brings its form and its words; `adminops/actions.py` names it; what it does is
`billing.operations`.

Nothing changes before the confirmation. That a person agreed to what was shown travels with it as a signed token,
bound to the person and the subject, so that what is applied is what was agreed to.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from django import forms
from django.conf import settings
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from adminops import limits
from adminops.pages import words
from adminops.pages.frame import LIMITED, page_context
from adminops.pages.operations.action import StaffAction
from adminops.pages.operations.base import OperationPage
from billing import denials
from billing.errors import BillingError, DoneMeanwhile, NotPermitted, PreviewOutdated
from billing.models import SubscriptionEvent
from billing.operations.base import Agreement, Choices, Subject
from billing.operations.intent import agree, perform
from organizations.models import Organization

# A preview asks Stripe twice, and is made anew while somebody types.
PREVIEWS = "preview"
PREVIEW_RATE = "60/m"

TEMPLATE = "adminops/operation.html"
FRAGMENT = "adminops/operation_preview.html"
# What the page's script sends along when it wants the preview alone.
FRAGMENT_HEADER = "X-Preview"


class Page:
    """One request to the page of one operation."""

    def __init__(self, action: StaffAction, request: HttpRequest, subject: Subject) -> None:
        self.action = action
        self.request = request
        self.subject = subject
        self.page: OperationPage[Any, Any, Any] = action.page(subject, request.user, request.GET)
        self.salt = f"adminops.preview.{action.name}"

    def respond(self) -> HttpResponse:
        """The answer to this request."""
        refusal = self.action.refusal(self.subject) or self.page.refusal()
        if refusal:
            return self.show(self.page.form(), refusal=refusal)
        if self.request.method != "POST":
            return self.show(self.page.form(), **self.previewed_at_once())
        form = self.page.form(self.request.POST)
        if self.request.POST.get("step") == "apply":
            return self.apply(form)
        return self.show(self.without_errors_of_others(form), **self.previewed(form))

    # -- showing ----------------------------------------------------------------------------------------

    @property
    def asked_before(self) -> set[str]:
        """The fields that the preview depends on."""
        return {*self.page.previewed_fields, "subscription"}

    def without_errors_of_others(self, form: forms.Form) -> forms.Form:
        """A preview may be asked for before a reason is written, so it does not complain of that."""
        for name in set(form.errors) - self.asked_before:
            del form.errors[name]
        return form

    def previewed_at_once(self) -> dict[str, Any]:
        """The preview of the form as it is shown first, where it has no questions, or all are answered in it."""
        if not self.page.previews_at_once:
            return {}
        form = self.page.form({field.name: field.value() for field in self.page.form()})
        return {} if self.asked_before & set(form.errors) else self.previewed(form)

    def previewed(self, form: forms.Form, sentence: str = "") -> dict[str, Any]:
        """The preview of what the form says, or why there is none; `sentence` says why it is shown anew."""
        first = [sentence] if sentence else []
        errors = form.errors  # cleans the form, which one without questions needs as well
        wrong = [
            error
            for name in form.fields
            if name in self.asked_before
            for error in cast("list[str]", errors.get(name, []))
        ]
        if wrong:
            return {"problems": [*first, *wrong]}
        usage = limits.count(self.request, group=PREVIEWS, rate=PREVIEW_RATE)
        if usage.exceeded:
            busy = _("That were many previews within a minute. Try again in %(n)d s.")
            return {"problems": [busy % {"n": usage.seconds_left}]}
        try:
            choices = self.page.choices(form.cleaned_data)
            page = self.page.variant_for(choices)
            preview, agreement = agree(page.operation, self.subject, choices)
        except BillingError as error:
            problem = words.without_reassurance(str(error.message))
            # What outdated the one before may be why there is none now.
            return {"problems": first if problem in sentence else [*first, problem]}
        now = timezone.now()
        return {
            "preview": preview,
            "notice": sentence,
            "rows": page.rows(preview),
            "sentences": page.sentences(preview),
            "warnings": page.warnings(preview),
            "confirm_label": page.confirm_label(preview),
            "token": self.token(choices, agreement),
            "as_of": now,
            "valid_minutes": settings.PREVIEW_MAX_AGE_SECONDS // 60,
        }

    def show(self, form: forms.Form, **context: Any) -> HttpResponse:
        """The page, or only its preview for the page's script."""
        if (context.get("problems") or context.get("refusal")) and self.may_pass():
            context["look_again_url"] = self.request.get_full_path()
        if self.request.headers.get(FRAGMENT_HEADER):
            return TemplateResponse(self.request, FRAGMENT, context)
        return TemplateResponse(
            self.request,
            TEMPLATE,
            {
                **page_context(self.request, self.subject, str(self.action.label)),
                "action": self.action,
                "form": form,
                "previewed_fields": " ".join(name for name in form.fields if name in self.asked_before),
                "facts": [] if context.get("refusal") else self.page.facts(),
                **context,
            },
        )

    def may_pass(self) -> bool:
        """Whether something of ours is in progress, so that what stands in the way may soon be gone."""
        organization = self.subject if isinstance(self.subject, Organization) else self.subject.organization
        return SubscriptionEvent.objects.filter(
            organization=organization,
            state=SubscriptionEvent.State.PENDING,
            source=SubscriptionEvent.Source.STAFF,
        ).exists()

    # -- applying ---------------------------------------------------------------------------------------

    def token(self, choices: Choices, agreement: Agreement) -> str:
        """What was shown, to whom and of what, signed."""
        return signing.dumps(
            {
                "choices": choices.to_dict(),
                "at": agreement.at,
                "digest": agreement.digest,
                "uuid": str(agreement.uuid),
                "user": self.request.user.pk,
                "subject": self.subject.pk,
            },
            salt=self.salt,
            compress=True,
        )

    def agreed(self) -> tuple[Choices, Agreement]:
        """What the person agreed to. Raises PreviewOutdated with what to say."""
        try:
            token = signing.loads(
                self.request.POST.get("token", ""), salt=self.salt, max_age=settings.PREVIEW_MAX_AGE_SECONDS
            )
            if (token["user"], token["subject"]) != (self.request.user.pk, self.subject.pk):
                raise signing.BadSignature
            agreement = Agreement(at=token["at"], digest=token["digest"], uuid=UUID(token["uuid"]))
            return self.page.operation.choices_class.from_dict(token["choices"]), agreement
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
        # What the form itself refuses confirms nothing, so it does not use up the limit: whoever forgot a reason
        # twice may still refund. The preview that it is shown with has a limit of its own.
        if not form.is_valid():
            return self.show(form, **self.previewed(form))
        usage = limits.count(self.request, group=self.action.name, rate=self.action.rate)
        if usage.exceeded:
            return limited(self.request, self.action, self.subject, usage)
        try:
            choices, agreement = self.agreed()
            if self.page.choices(form.cleaned_data) != choices:
                raise PreviewOutdated(
                    _("You changed the form after this was shown. Nothing was changed; here it is anew.")
                )
            page = self.page.variant_for(choices)
            done = perform(
                page.operation,
                self.subject,
                choices=choices,
                agreed=agreement,
                actor=cast(Any, self.request.user),
                reason=form.cleaned_data.get("reason", ""),
                ticket=form.cleaned_data.get("ticket", ""),
            )
        except PreviewOutdated as outdated:
            return self.show(form, **self.previewed(form, str(outdated.message)))
        except NotPermitted as refusal:
            denials.record(
                self.request.user,
                self.page.operation,
                self.subject,
                refusal.attempt,
                reason=form.cleaned_data.get("reason", ""),
                ticket=form.cleaned_data.get("ticket", ""),
            )
            return self.show(form, problems=[str(refusal.message)])
        except DoneMeanwhile as done_already:
            # Without a preview anew, whose button would stand where the first one was.
            return self.show(
                form, problems=[str(done_already.message)], look_again_url=self.request.get_full_path()
            )
        except BillingError as error:
            return self.show(form, problems=[str(error.message)])
        return page.done(self.request, done)


def limited(request: HttpRequest, action: StaffAction, subject: Subject, usage: limits.Usage) -> HttpResponse:
    """Too many in a minute: nothing was done, and when to try again."""
    response = TemplateResponse(
        request,
        LIMITED,
        {
            **page_context(request, subject, str(action.label)),
            "action": action,
            "usage": usage,
            "again_at": timezone.now() + timedelta(seconds=usage.seconds_left),
            "again_url": action.url(subject),
        },
        status=429,
    )
    response.headers["Retry-After"] = str(usage.seconds_left)
    return response


def operation_view(request: HttpRequest, object_id: int, action: StaffAction) -> HttpResponse:
    """The page of an action for one organization or one event."""
    subject = action.subject_class.objects.filter(pk=object_id).first()
    # Permission first: a 404 would tell those who may not ask which numbers exist.
    if not request.user.has_perm(action.permission):
        denials.record(request.user, action.page.operation, subject)
        raise PermissionDenied
    if subject is None:
        raise Http404
    return Page(action, request, subject).respond()
