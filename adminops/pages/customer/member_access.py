"""Can they get in? The three questions about one member, in order, each with its answer. Nothing here asks Stripe."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from adminops.pages.badges import GREEN, RED, Badge, holds_badge, member_badge, subscription_badge
from adminops.pages.frame import page_context
from billing.actors import person_name
from organizations.access.decision import decide
from organizations.models import Hold, Membership

URL_NAME = "organizations_organization_member_access"


@dataclass(frozen=True)
class Row:
    """A question, its answer in words, and what the answer rests on."""

    question: str | Promise
    answer: Badge
    state: Badge
    further: tuple[str, ...] = ()


def member_access_url(membership: Membership) -> str:
    """The page about one member."""
    return reverse(f"admin:{URL_NAME}", args=[membership.organization_id, membership.pk])


def member_access_urls() -> list[URLPattern]:
    """For the admin of organizations."""
    return [
        path(
            "<int:organization_id>/members/<int:membership_id>/access/",
            admin.site.admin_view(member_access),
            name=URL_NAME,
        )
    ]


@require_safe
def member_access(request: HttpRequest, organization_id: int, membership_id: int) -> HttpResponse:
    """Whether this member can get in, and which of holds, subscription and membership says so."""
    if not request.user.has_perms(["organizations.view_organization", "organizations.view_membership"]):
        raise PermissionDenied
    membership = (
        Membership.objects.filter(pk=membership_id, organization=organization_id)
        .select_related("organization", "user")
        .first()
    )
    if membership is None:
        raise Http404
    organization = membership.organization
    holds = list(organization.open_holds())
    access = decide(organization, membership, holds)
    states = (
        (holds_badge(holds), tuple(_hold_in_words(hold) for hold in holds)),
        (subscription_badge(organization), ()),
        (member_badge(membership), () if membership.user.is_active else (_("The account is disabled."),)),
    )
    person = person_name(membership.user)
    context = {
        **page_context(request, organization, _("Can they get in?")),
        "person": person,
        "membership": membership,
        "access": access,
        "answer": _answer(access.allowed),
        "rows": [
            Row(step.question, _answer(step.passed), state, further)
            for step, (state, further) in zip(access.steps, states, strict=True)
        ],
    }
    return TemplateResponse(request, "adminops/member_access.html", context)


def _answer(passed: bool) -> Badge:
    return Badge(_("Yes"), GREEN, "check_circle") if passed else Badge(_("No"), RED, "block")


def _hold_in_words(hold: Hold) -> str:
    return f"{hold.get_kind_display()}: {hold.reason}"
