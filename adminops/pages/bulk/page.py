"""The page that does one operation to many: ask, show what will happen to each, start exactly that.

Nothing changes before the confirmation: a row is shown from our own rows, and held against Stripe's when its turn comes
(`billing.bulk`). Only a kind that is about what Stripe says looks there beforehand, at the first few. What was ticked
and typed is a draft in the person's session, so that Back and Reload find it; what was shown of it travels as a signed
token bound to the person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib import admin, messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import formats
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from adminops import limits
from adminops.pages import words
from adminops.pages.bulk import drafts
from adminops.pages.bulk.drafts import Draft
from adminops.pages.bulk.forms import FORMS, BulkForm
from adminops.pages.frame import LIMITED
from adminops.pages.operations.action import StaffAction
from billing import denials
from billing.bulk import cautions, jobs
from billing.bulk.base import BulkKind
from billing.bulk.jobs import Plan
from billing.bulk.kinds import KINDS
from billing.errors import OperationRefused, PreviewOutdated
from billing.models import BulkJob
from billing.stripe_api import configuration_problem

TEMPLATE = "adminops/bulk.html"


@dataclass(frozen=True)
class Shown:
    """What a person was shown, and agreed to by sending it back."""

    id_: UUID
    asked: dict[str, Any]
    rows: dict[str, str]
    """Digest by key of what was ticked."""
    left_out: dict[str, str]
    """Why it cannot be done, by key of the rest."""


def can_be_done_to_many(action: StaffAction, model_label: str) -> bool:
    """Whether the list of a model (`app_label.model_name`) has this action."""
    return action.name in FORMS and KINDS[action.name].ticked_in == model_label


class BulkPage:
    """One request to the page of one operation on many."""

    def __init__(self, action: StaffAction, request: HttpRequest, draft: Draft) -> None:
        self.action = action
        self.request = request
        self.kind: BulkKind[Any, Any, Any] = KINDS[action.name]
        self.draft = draft
        self.salt = f"adminops.bulk.{action.name}"

    @property
    def keys(self) -> list[str]:
        """Of what was ticked."""
        return self.draft.keys

    @property
    def list_url(self) -> str:
        """The list in which the rows were ticked."""
        return list_url(self.kind)

    @cached_property
    def problem(self) -> str | None:
        """Why nothing of the kind can be done just now."""
        if len(self.keys) > jobs.ROWS_PER_JOB:
            return jobs.too_many()
        return configuration_problem() if self.action.operation.calls_stripe else None

    def respond(self) -> HttpResponse:
        """The answer to a request of the page's own form, which is an address; or the page at that address."""
        if self.request.method == "POST":
            if self.request.POST.get("step") == "apply":
                return self.apply(self.form(self.request.POST))
            self.draft.job = str(uuid4())
            return self.to_page("preview")
        form = self.form(self.draft.data)
        if not self.draft.step:
            return self.show(form)
        if self.draft.step == "preview":
            # What will happen may be asked for before a reason is written.
            form.errors.pop("reason", None)
        return self.previewed(form, self.draft.notice)

    def to_page(self, step: str, notice: str = "") -> HttpResponse:
        """Note what was typed and pressed, and go where it is shown, so that Back and Reload find it."""
        self.draft.answer(self.request.POST, step, notice)
        drafts.keep(self.request, self.draft)
        return HttpResponseRedirect(self.url)

    @property
    def url(self) -> str:
        """The address of this page, as far as it went."""
        return f"{bulk_url(self.action)}?{urlencode({'chosen': self.draft.id})}"

    def form(self, data: Any = None) -> BulkForm:
        """What is asked once for all, empty or with what was typed."""
        return FORMS[self.action.name](self.request.user, data)

    # -- showing ----------------------------------------------------------------------------------------

    def show(self, form: BulkForm | None = None, **context: Any) -> HttpResponse:
        """The page: the form, and what will happen to each once that is known."""
        return TemplateResponse(
            self.request,
            TEMPLATE,
            {
                **self.frame(),
                "form": form or self.form(),
                "refusal": self.problem,
                "count": self.kind.counted(len(self.keys)),
                "chosen": self.draft.id,
                "form_url": bulk_url(self.action),
                **context,
            },
        )

    def frame(self) -> dict[str, Any]:
        """What the frame around the page needs."""
        return {
            **admin.site.each_context(self.request),
            "title": str(self.action.label),
            "subtitle": None,
            "action": self.action,
            "back_url": self.list_url,
        }

    def previewed(self, form: BulkForm, notice: str = "") -> HttpResponse:
        """The page with what will happen to each."""
        if self.problem or form.errors:
            return self.show(form)
        if started := BulkJob.objects.filter(uuid=self.draft.job, actor=cast(Any, self.request.user)).first():
            return self.show(form, started=started)
        planned = jobs.plan(self.kind, self.keys, form.asked(), cast(Any, self.request.user))
        planned.refused[:] = [(each, words.without_reassurance(why)) for each, why in planned.refused]
        token = self.token(planned, form.asked())
        planned.rows[:] = self.kind.looked_at(planned.rows)
        return self.show(
            form,
            plan=planned,
            notice=notice,
            source=self.kind.source,
            token=token,
            cautions=cautions.counted(row.cautions for row in planned.rows),
            sums=self.kind.sums(planned.figures) if len(planned.rows) > 1 else [],
            duration=self.duration(len(planned.rows)),
            confirm_label=_("%(what)s: %(n)s of %(all)s")
            % {
                "what": self.action.label,
                "n": in_digits(len(planned.rows)),
                "all": in_digits(len(planned.rows) + len(planned.refused)),
            },
            valid_minutes=settings.PREVIEW_MAX_AGE_SECONDS // 60,
        )

    def duration(self, rows: int) -> str:
        """How long it will take, in a sentence; empty where nothing limits it."""
        seconds = jobs.seconds_needed(self.kind, rows)
        if seconds is None:
            return ""
        return _("At the pace that Stripe allows, this takes %(long)s.") % {"long": words.roughly(seconds)}

    # -- starting ---------------------------------------------------------------------------------------

    def token(self, planned: Plan, asked: dict[str, Any]) -> str:
        """What was shown, to whom, signed."""
        return signing.dumps(
            {
                "id": self.draft.job,
                "asked": asked,
                "rows": {row.selected.key: row.digest for row in planned.rows},
                "left_out": {selected.key: why for selected, why in planned.refused},
                "user": self.request.user.pk,
            },
            salt=self.salt,
            compress=True,
        )

    def agreed(self) -> Shown:
        """What the person agreed to. Raises PreviewOutdated with what to say."""
        try:
            token = signing.loads(
                self.request.POST.get("token", ""), salt=self.salt, max_age=settings.PREVIEW_MAX_AGE_SECONDS
            )
            if token["user"] != self.request.user.pk:
                raise signing.BadSignature
            return Shown(UUID(token["id"]), token["asked"], token["rows"], token["left_out"])
        except signing.SignatureExpired:
            raise PreviewOutdated(
                _("This was shown more than %(minutes)d minutes ago. Nothing was changed; here it is anew.")
                % {"minutes": settings.PREVIEW_MAX_AGE_SECONDS // 60}
            ) from None
        except (signing.BadSignature, KeyError, ValueError):
            raise PreviewOutdated(
                _("Nothing was changed. Please look at what will happen, then confirm.")
            ) from None

    def apply(self, form: BulkForm) -> HttpResponse:
        """Start what was agreed to, or show anew what would happen. Counts once, however many rows there are."""
        # As on the page of one: what the form itself refuses confirms nothing.
        if self.problem or not form.is_valid():
            return self.to_page("apply")
        usage = limits.count(self.request, group=self.action.name, rate=self.action.rate)
        if usage.exceeded:
            return self.limited(usage)
        try:
            shown = self.agreed()
            if shown.asked != form.asked():
                raise PreviewOutdated(
                    _("You changed the form after this was shown. Nothing was changed; here it is anew.")
                )
            job = jobs.start(
                self.kind,
                id_=shown.id_,
                shown=shown.rows,
                left_out=shown.left_out,
                asked=shown.asked,
                actor=cast(Any, self.request.user),
                reason=form.cleaned_data["reason"],
                ticket=form.cleaned_data["ticket"],
            )
        except OperationRefused as refusal:
            return self.to_page("apply", str(refusal.message))
        # Whoever goes back sees that this was started.
        self.draft.job = str(job.uuid)
        self.to_page("apply")
        return HttpResponseRedirect(reverse("admin:billing_bulkjob_change", args=[job.pk]))

    def limited(self, usage: limits.Usage) -> HttpResponse:
        """Too many in a minute: nothing was done, and when to try again."""
        response = TemplateResponse(
            self.request,
            LIMITED,
            {
                **self.frame(),
                "name": self.kind.counted(len(self.keys)),
                "usage": usage,
                "again_url": self.url,
            },
            status=429,
        )
        response.headers["Retry-After"] = str(usage.seconds_left)
        return response


def in_digits(count: int) -> str:
    """ "1,000"."""
    return formats.number_format(count, force_grouping=True)


def list_url(kind: BulkKind[Any, Any, Any]) -> str:
    """The list in which the rows of this kind are ticked."""
    return reverse("admin:{}_{}_changelist".format(*kind.ticked_in.split(".")))


def bulk_url_name(action: StaffAction) -> str:
    """The name of the address at which an action is done to many."""
    return "{}_{}_bulk_{}".format(*KINDS[action.name].ticked_in.split("."), action.name)


def bulk_url(action: StaffAction) -> str:
    """The address at which an action is done to many."""
    return reverse(f"admin:{bulk_url_name(action)}")


def refuse_those_who_may_not(request: HttpRequest, action: StaffAction) -> None:
    """Write down who tried, and raise PermissionDenied, unless they may."""
    if not request.user.has_perm(action.permission):
        denials.record(request.user, action.operation, None)
        raise PermissionDenied


def begin(
    request: HttpRequest, action: StaffAction, keys: Sequence[str], answers: Mapping[str, Any] | None = None
) -> HttpResponse:
    """To the page of an action for what was ticked; `answers` fill in its form."""
    draft = Draft(action.name, list(keys))
    for name, value in (answers or {}).items():
        if value is None:
            continue
        draft.answers[name] = [str(each) for each in (value if isinstance(value, list) else [value])]
    drafts.keep(request, draft)
    return HttpResponseRedirect(BulkPage(action, request, draft).url)


def bulk_view(request: HttpRequest, action: StaffAction) -> HttpResponse:
    """The page of an action on many, after its rows were ticked."""
    refuse_those_who_may_not(request, action)
    sent = request.POST if request.method == "POST" else request.GET
    draft = drafts.find(request, sent.get("chosen", ""), action.name)
    if draft is None:
        said = _("Nothing was changed. Tick the rows in the list first, then choose “%(what)s”.")
        messages.warning(request, said % {"what": action.label})
        return HttpResponseRedirect(list_url(KINDS[action.name]))
    return BulkPage(action, request, draft).respond()
