"""The pages of notes on a customer: all of them, a new one, and one that its author mends.

Reading changes nothing; a note is written, mended and pinned by POST only, and nothing takes one away.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from adminops.pages.customer.notes import (
    MAY_ADD,
    MAY_SEE,
    MENDED_WITHIN,
    URL_NAME,
    can_be_mended,
    kept_in_words,
    note_row,
    notes_of,
    notes_url,
)
from adminops.pages.frame import home_of, page_context
from organizations.models import Note, Organization

VIEW, CHANGE = "organizations.view_organization", "organizations.change_organization"
LIST, FORM = "adminops/notes.html", "adminops/note.html"

MOST_CHARACTERS = 5_000
NOTES_ON_A_PAGE = 50
BEFORE = "before"


class _Text(forms.CharField):
    """Lines as they are kept: browsers send two characters for the end of each, and count one."""

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).replace("\r\n", "\n").replace("\r", "\n")


class NoteForm(forms.Form):
    """What to write down."""

    text = _Text(
        label=gettext_lazy("Note"),
        max_length=MOST_CHARACTERS,
        widget=forms.Textarea({"rows": 4, "dir": "auto"}),
        error_messages={
            "required": gettext_lazy("Nothing was kept: write something first."),
            "max_length": gettext_lazy(
                "Nothing was kept: a note has at most %(limit_value)d characters, and this has %(show_value)d."
            ),
        },
    )


def note_urls(model_admin: Any) -> list[URLPattern]:
    """For the admin of organizations."""
    wrap = model_admin.admin_site.admin_view
    return [
        path("<int:object_id>/notes/", wrap(notes_view), name=f"{URL_NAME}s"),
        path("<int:object_id>/notes/<int:note_id>/", wrap(note_view), name=URL_NAME),
        path(
            "<int:object_id>/notes/<int:note_id>/pin/", wrap(require_POST(pin_view)), name=f"{URL_NAME}_pin"
        ),
    ]


def notes_view(request: HttpRequest, object_id: int) -> HttpResponse:
    """All notes, the newest first; a new one where one is sent."""
    organization = _asked_for(request, object_id)
    if request.method == "POST":
        return _add(request, organization)
    _demand(request, MAY_SEE)
    notes = notes_of(organization).order_by("-pk")
    before = request.GET.get(BEFORE, "")
    if before.isascii() and before.isdigit():
        notes = notes.filter(pk__lt=min(int(before), 2**63 - 1))
    found = list(notes[: NOTES_ON_A_PAGE + 1])
    shown = found[:NOTES_ON_A_PAGE]
    context = {
        **page_context(request, organization, _("Notes")),
        "rows": [note_row(note, request.user) for note in shown],
        "older_url": f"?{BEFORE}={shown[-1].pk}" if len(found) > len(shown) else "",
        "home_url": _home(request, organization),
    }
    return TemplateResponse(request, LIST, context)


def note_view(request: HttpRequest, object_id: int, note_id: int) -> HttpResponse:
    """A note of one's own that can still be mended."""
    organization = _asked_for(request, object_id)
    _demand(request, MAY_ADD)
    note = _note(organization, note_id)
    form = NoteForm(request.POST if request.method == "POST" else None, initial={"text": note.text})
    if not can_be_mended(note, request.user):
        return _too_late(request, organization, form, note)
    if request.method != "POST" or not form.is_valid():
        return _show(request, organization, form, _("Mend a note"), request.path)
    # By the database's clock, which also wrote down when it was made.
    mended = Note.objects.filter(pk=note.pk, author=_person(request), created_at__gt=Now() - MENDED_WITHIN)
    if not mended.update(text=form.cleaned_data["text"], edited_at=Now()):
        return _too_late(request, organization, form, note)
    messages.success(request, _("Your note is changed."))
    return redirect(_home(request, organization))


def pin_view(request: HttpRequest, object_id: int, note_id: int) -> HttpResponse:
    """Pin a note, or let it go; whoever may write notes may."""
    organization = _asked_for(request, object_id)
    _demand(request, MAY_ADD)
    note, pinned = _note(organization, note_id), request.POST.get("pinned") == "yes"
    Note.objects.filter(pk=note.pk).update(pinned=pinned)
    said = (
        _("The note is pinned: it stands before the others.")
        if pinned
        else _("The note is no longer pinned.")
    )
    messages.success(request, said)
    return redirect(_home(request, organization))


def _add(request: HttpRequest, organization: Organization) -> HttpResponse:
    _demand(request, MAY_ADD)
    form = NoteForm(request.POST)
    if not form.is_valid():
        return _show(request, organization, form, _("Add a note"), notes_url(organization))
    author, text = _person(request), form.cleaned_data["text"]
    with transaction.atomic():
        # One after the other, so that the second click of two finds what the first one wrote.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        lately = Note.objects.filter(created_at__gt=Now() - timedelta(minutes=1))
        if not lately.filter(organization=organization, author=author, text=text).exists():
            Note.objects.create(organization=organization, author=author, text=text)
    messages.success(request, _("Your note is kept. %(how_long)s") % {"how_long": kept_in_words()})
    return redirect(_home(request, organization))


def _too_late(request: HttpRequest, organization: Organization, form: NoteForm, note: Note) -> HttpResponse:
    """Nothing was changed, and what was typed is not lost: it can be a note of its own."""
    if note.author_id == request.user.pk:
        said = _(
            "This note is older than %(minutes)d minutes, so it is kept as it stands. Nothing was changed."
        ) % {"minutes": MENDED_WITHIN.total_seconds() // 60}
    else:
        said = _("Only its author can mend a note. Nothing was changed.")
    if request.method != "POST":
        messages.error(request, said)
        return redirect(_home(request, organization))
    said += " " + _("What you wrote can be added as another note.")
    return _show(request, organization, form, _("Add a note"), notes_url(organization), said)


def _show(
    request: HttpRequest, organization: Organization, form: NoteForm, title: str, act_url: str, said: str = ""
) -> HttpResponse:
    context = {
        **page_context(request, organization, title),
        "form": form,
        "act_url": act_url,
        "said": said,
        "kept": kept_in_words(),
        "back_url": _home(request, organization),
    }
    return TemplateResponse(request, FORM, context, status=400 if request.method == "POST" else 200)


def _asked_for(request: HttpRequest, object_id: int) -> Organization:
    """The organization. Raises PermissionDenied and Http404."""
    if not (request.user.has_perm(VIEW) or request.user.has_perm(CHANGE)):
        raise PermissionDenied
    organization = Organization.objects.filter(pk=object_id).first()
    if organization is None:
        raise Http404
    return organization


def _note(organization: Organization, note_id: int) -> Note:
    note = Note.objects.filter(organization=organization, pk=note_id).first()
    if note is None:
        raise Http404
    return note


def _demand(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied


def _person(request: HttpRequest) -> User:
    return cast("User", request.user)


def _home(request: HttpRequest, organization: Organization) -> str:
    return f"{home_of(request, organization)}#notes"
