"""What stands around every page of an operation: its subject, the way back, and what to say of what was done."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from billing.models import SubscriptionEvent
from billing.operations import OPERATIONS
from billing.operations.base import Subject
from organizations.models import Organization

LIMITED = "adminops/limited.html"

_LONGEST_KEY = 40


def tell(request: HttpRequest, event: SubscriptionEvent) -> None:
    """What became of an operation, as a message on the next page."""
    level = {
        SubscriptionEvent.State.DONE: messages.SUCCESS,
        SubscriptionEvent.State.FAILED: messages.ERROR,
    }.get(SubscriptionEvent.State(event.state), messages.WARNING)
    messages.add_message(
        request,
        level,
        event.message or OPERATIONS[event.type].while_pending(event),
    )


def home_of(request: HttpRequest, subject: Subject) -> str:
    """The page of the subject, for those who may see it."""
    names = subject._meta.app_label, subject._meta.model_name
    view, change = f"{names[0]}.view_{names[1]}", f"{names[0]}.change_{names[1]}"
    if request.user.has_perm(view) or request.user.has_perm(change):
        return reverse(f"admin:{names[0]}_{names[1]}_change", args=[subject.pk])
    return reverse("admin:index")


def to_the_list(request: HttpRequest, opts: Any, key: str) -> HttpResponse:
    """From the address of a row that is not there to the list of those that are, which says so."""
    said = _(
        "There is no %(what)s %(key)s. It was deleted, or the address is mistyped. These are all there are."
    )
    messages.warning(request, said % {"what": opts.verbose_name, "key": Truncator(key).chars(_LONGEST_KEY)})
    return redirect(f"admin:{opts.app_label}_{opts.model_name}_changelist")


def name_of(subject: Subject) -> str:
    """What a page calls its subject."""
    if isinstance(subject, Organization):
        return subject.name
    return subject.organization_label or _("Event %(id)s") % {"id": subject.pk}


def page_context(request: HttpRequest, subject: Subject, title: str | Promise) -> dict[str, Any]:
    """What the frame around a page of ours needs."""
    model: type[Model] = type(subject)
    return {
        **admin.site.each_context(request),
        "title": title,
        "subtitle": name_of(subject),
        "opts": model._meta,
        "original": subject,
        "name": name_of(subject),
        "back_url": home_of(request, subject),
    }
