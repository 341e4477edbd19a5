"""What a person decides about differences, one or many: shown first, done on confirmation, told after."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods

from adminops.actions import action_named
from adminops.pages import words
from adminops.pages.bulk.page import begin
from adminops.pages.bulk.page import refuse_those_who_may_not as refuse_action
from adminops.pages.operations.action import StaffAction
from adminops.pages.reconciliation.differences import Shown, money_of, shown
from adminops.pages.reconciliation.rights import SETTLE, refuse_those_who_may_not
from billing.errors import OperationRefused
from billing.models import Discrepancy
from billing.reconciliation import settling
from billing.stripe_api import configuration_problem

# So many are decided about at once; whoever ticks a page of the list ticks fewer.
MOST = 200
# So many organizations are read while somebody waits; more are left to the workers.
READ_AT_ONCE = 3
NOT_SHOWN_DAYS = 7


class NothingAsked(forms.Form):
    """For what needs no answer."""


class AcceptForm(forms.Form):
    """Why it is right as it is."""

    note = forms.CharField(
        label=gettext_lazy("Why it is right as it is"),
        max_length=1000,
        help_text=gettext_lazy("For whoever compares the books a year from now."),
        error_messages={
            "required": gettext_lazy("Say why it is right as it is; whoever looks later wants to know.")
        },
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class IgnoreForm(forms.Form):
    """Until when it is not shown."""

    until = forms.DateField(
        label=gettext_lazy("Show it again on"),
        help_text=gettext_lazy("Until then it is neither shown nor mended by itself."),
        error_messages={"required": gettext_lazy("Choose the day on which it is shown again.")},
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["until"].initial = timezone.localdate() + datetime.timedelta(days=NOT_SHOWN_DAYS)

    def clean_until(self) -> datetime.datetime:
        day: datetime.date = self.cleaned_data["until"]
        if day <= timezone.localdate():
            raise forms.ValidationError(_("Choose a day that is still to come."))
        return timezone.make_aware(datetime.datetime.combine(day, datetime.time.min))


@dataclass(frozen=True)
class Done:
    """What became of it: a sentence, whether all was done, and where one is led."""

    sentence: str
    is_whole: bool
    url: str = ""


@dataclass(frozen=True)
class Way:
    """One way to settle differences."""

    name: str
    label: str | Promise
    icon: str
    form: type[forms.Form]
    meaning: str | Promise
    """What it does, in a sentence above the button."""
    button: Callable[[int], str]
    apply: Callable[[Sequence[Discrepancy], User, dict[str, Any]], Done]
    only_mendable: bool = False

    @property
    def url(self) -> str:
        return reverse(f"admin:reconciliation_{self.name}")


def _mend(rows: Sequence[Discrepancy], actor: User, answers: dict[str, Any]) -> Done:
    if len({row.organization_id for row in rows}) > READ_AT_ONCE:
        run = settling.mend_later(rows, actor=actor)
        said = _("They are being mended one after the other; this page says how far that is.")
        return Done(said, is_whole=True, url=reverse("admin:billing_reconciliationrun_change", args=[run.pk]))
    settled = settling.mend(rows, actor=actor)
    said = ngettext("%(n)d difference was mended.", "%(n)d differences were mended.", settled.done)
    return _done(said, settled)


def _accept(rows: Sequence[Discrepancy], actor: User, answers: dict[str, Any]) -> Done:
    settled = settling.accept(rows, actor=actor, note=answers["note"])
    said = ngettext(
        "%(n)d difference was accepted. It is told again only when it becomes otherwise.",
        "%(n)d differences were accepted. They are told again only when they become otherwise.",
        settled.done,
    )
    return _done(said, settled)


def _ignore(rows: Sequence[Discrepancy], actor: User, answers: dict[str, Any]) -> Done:
    settled = settling.ignore(rows, actor=actor, until=answers["until"])
    said = ngettext(
        "%(n)d difference is not shown until %(date)s.",
        "%(n)d differences are not shown until %(date)s.",
        settled.done,
    )
    return _done(said, settled, date=words.short_date(answers["until"]))


def _done(said: str, settled: settling.Settled, **named: str) -> Done:
    """`said` tells of `n` that were settled, and of what else is named."""
    told = said % {"n": settled.done, **named} if settled.done else ""
    return Done(" ".join(part for part in (told, settled.told_of_left) if part), is_whole=not settled.left)


WAYS: dict[str, Way] = {
    way.name: way
    for way in (
        Way(
            "mend",
            gettext_lazy("Mend"),
            "build_circle",
            NothingAsked,
            gettext_lazy(
                "Each customer is read from Stripe again, and what we hold follows. Nothing is changed at Stripe."
            ),
            lambda n: ngettext("Mend %(n)d difference", "Mend %(n)d differences", n) % {"n": n},
            _mend,
            only_mendable=True,
        ),
        Way(
            "accept",
            gettext_lazy("Accept as it is"),
            "thumb_up",
            AcceptForm,
            gettext_lazy(
                "Nothing is changed, here or at Stripe. It is told again only when it becomes otherwise."
            ),
            lambda n: ngettext("Accept %(n)d difference", "Accept %(n)d differences", n) % {"n": n},
            _accept,
        ),
        Way(
            "ignore",
            gettext_lazy("Ignore until …"),
            "visibility_off",
            IgnoreForm,
            gettext_lazy(
                "Nothing is changed, here or at Stripe. It comes back by itself if it still differs then."
            ),
            lambda n: ngettext("Hide %(n)d difference", "Hide %(n)d differences", n) % {"n": n},
            _ignore,
        ),
    )
}


class Resync:
    """Reading the organizations of differences from Stripe again: the action of the lists, on those."""

    name = "resync"
    label = gettext_lazy("Read again")
    icon = "sync"

    @property
    def permission(self) -> str:
        return self._action.permission

    @property
    def url(self) -> str:
        return reverse("admin:reconciliation_resync")

    @property
    def _action(self) -> StaffAction:
        return action_named("resync_organization")

    def respond(self, request: HttpRequest) -> HttpResponse:
        """To the page that shows what will happen to each, and asks."""
        refuse_action(request, self._action)
        whose = {row.organization.pk: row.organization for row in _chosen(request) if row.organization}
        if not whose:
            messages.warning(request, _("Tick differences of organizations first. Nothing was changed."))
            return HttpResponseRedirect(_back(request))
        if len(whose) == 1:
            return HttpResponseRedirect(self._action.url(*whose.values()))
        return begin(request, self._action, [str(key) for key in sorted(whose)])


RESYNC = Resync()


@require_http_methods(["GET", "HEAD", "POST"])
def settle_view(request: HttpRequest, way: Way) -> HttpResponse:
    """The page that asks, for what was ticked; and on confirmation does it."""
    refuse_those_who_may_not(request, SETTLE)
    rows = _chosen(request)
    if not rows:
        messages.warning(request, _("Tick the differences first. Nothing was changed."))
        return HttpResponseRedirect(_back(request))
    able, unable = _sorted(way, rows)
    problem = configuration_problem() if way.only_mendable else None
    form = way.form(request.POST if request.method == "POST" else None)
    if request.method == "POST" and able and not problem and form.is_valid():
        try:
            done = way.apply([each.row for each in able], cast(User, request.user), form.cleaned_data)
        except OperationRefused as refusal:
            messages.warning(request, str(refusal))
        else:
            (messages.success if done.is_whole else messages.warning)(request, done.sentence)
            return HttpResponseRedirect(done.url or _back(request))
    return TemplateResponse(
        request,
        "adminops/reconciliation/settle.html",
        {
            **admin.site.each_context(request),
            "title": way.label,
            "way": way,
            "form": form,
            "able": able,
            "unable": unable,
            "problem": problem,
            "at_stake": money_of(each.row for each in able),
            "button": way.button(len(able)),
            "back_url": _back(request),
        },
    )


def resync_view(request: HttpRequest) -> HttpResponse:
    """Read the organizations of what was ticked from Stripe again."""
    return RESYNC.respond(request)


def settle_views() -> dict[str, Callable[..., HttpResponse]]:
    """The views of this module by the name of what they do."""
    return {**{name: partial(settle_view, way=way) for name, way in WAYS.items()}, RESYNC.name: resync_view}


def _sorted(way: Way, rows: Sequence[Discrepancy]) -> tuple[list[Shown], list[tuple[Shown, str]]]:
    """What can be settled this way, and what cannot, each with why."""
    able: list[Shown] = []
    unable: list[tuple[Shown, str]] = []
    for row in rows:
        each = shown(row)
        if row.closed_at is not None:
            unable.append((each, _("It was settled already.")))
        elif way.only_mendable and not each.told.can_be_mended:
            unable.append((each, each.told.what_to_do))
        else:
            able.append(each)
    return able, unable


def _chosen(request: HttpRequest) -> list[Discrepancy]:
    """The differences that were ticked; what is no key is left out."""
    sent = request.POST if request.method == "POST" else request.GET
    keys = {int(key) for key in sent.getlist("rows") if key.isascii() and key.isdigit() and len(key) < 19}
    return list(Discrepancy.objects.filter(pk__in=sorted(keys)[:MOST]).select_related("organization"))


def _back(request: HttpRequest) -> str:
    """Where one came from, if that is a page of ours; else the page of reconciliation."""
    sent = request.POST if request.method == "POST" else request.GET
    url = sent.get("back", "")
    is_ours = url_has_allowed_host_and_scheme(
        url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return url if is_ours else reverse("admin:reconciliation")
