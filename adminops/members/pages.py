"""Where a member stands (`/`), and what an owner can do about a bill that is not paid."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from adminops import limits
from billing import mirror
from billing.actors import person_name
from billing.errors import BillingError, StripeBusy, StripeUnreachable
from billing.money import format_money
from billing.operations.owner_pages import MemberRefused, card_page, payment_page
from billing.stripe_api import StripeObject
from organizations.access.activity import note_activity
from organizations.access.decision import Access
from organizations.access.reading import accesses_of
from organizations.models import Membership, Organization

log = logging.getLogger(__name__)

# How often an owner may ask Stripe for a page.
RATE = "10/m"


@dataclass(frozen=True)
class Place:
    """An organization on a member's page."""

    access: Access
    owners: tuple[str, ...]
    """Who could pay, where this member cannot."""
    due: str
    """What is open, as far as the mirror knows: "NW-0018, $232.00"; empty where nothing is, or who cannot pay."""

    @property
    def organization(self) -> Organization:
        return self.access.organization


@never_cache
@login_required(login_url="login")
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The member's organizations, each with whether they have access, and why not."""
    accesses = accesses_of(request.user)
    for access in accesses:
        if access.allowed and access.membership is not None:
            note_activity(access.membership)
    owners = _owners([access for access in accesses if access.asks_an_owner])
    due = _due([access for access in accesses if access.owner_can_pay])
    places = [
        Place(access, owners.get(access.organization.pk, ()), due.get(access.organization.pk, ""))
        for access in accesses
    ]
    return TemplateResponse(request, "members/home.html", {"places": places})


@never_cache
@login_required(login_url="login")
@require_POST
def pay(request: HttpRequest, organization_id: int) -> HttpResponse:
    """On to Stripe's page of the oldest open invoice."""
    return _to_stripe(request, organization_id, payment_page)


@never_cache
@login_required(login_url="login")
@require_POST
def update_card(request: HttpRequest, organization_id: int) -> HttpResponse:
    """On to Stripe's portal, where cards are kept."""
    back = settings.PORTAL_RETURN_URL or request.build_absolute_uri(reverse("members"))

    def page(organization: Organization, owner: User) -> str:
        return card_page(organization, owner, return_url=back)

    return _to_stripe(request, organization_id, page)


def _to_stripe(
    request: HttpRequest, organization_id: int, page: Callable[[Organization, User], str]
) -> HttpResponse:
    """A page that leads on to one of Stripe's; or back, with why not.

    A page and not a redirect: a form may only lead to this site (`form-action`), and whoever takes payments under
    their own domain has Stripe's pages at an address we do not know.
    """
    access = next(iter(accesses_of(request.user, organization_id=organization_id)), None)
    if access is None:
        raise Http404
    if not access.owner_can_pay:
        messages.error(request, _("There is nothing for you to pay here. Nothing was changed."))
        return redirect("members")
    usage = limits.count(request, group="members.stripe", rate=RATE)
    if usage.exceeded:
        messages.error(
            request,
            ngettext(
                "That was often. Try again in %(n)d second.",
                "That was often. Try again in %(n)d seconds.",
                usage.seconds_left,
            )
            % {"n": usage.seconds_left},
        )
        return redirect("members")
    try:
        url = page(access.organization, cast(User, request.user))
    except BillingError as error:
        log.warning("An owner of organization %s got no page of Stripe's: %s", access.organization.pk, error)
        messages.error(request, _in_members_words(error))
        return redirect("members")
    return TemplateResponse(request, "members/on_the_way.html", {"url": url, "place": access.organization})


def _in_members_words(error: BillingError) -> str:
    """Why there is no page. What is written for staff, and may name them and their reasons, is not told here."""
    if isinstance(error, MemberRefused | StripeUnreachable | StripeBusy):
        return str(error)
    return _(
        "We cannot lead you to Stripe's page just now. Nothing was changed. Try again in a minute; if it stays so,"
        " please write to us."
    )


def _owners(accesses: list[Access]) -> dict[int, tuple[str, ...]]:
    """The names of the owners of these organizations, by its key; nothing is asked where there are none."""
    if not accesses:
        return {}
    owners: dict[int, tuple[str, ...]] = {}
    for owner in Membership.objects.filter(
        organization__in=[access.organization for access in accesses],
        role=Membership.Role.OWNER,
        status=Membership.Status.ACTIVE,
    ).select_related("user"):
        name = person_name(owner.user)
        owners[owner.organization_id] = (*owners.get(owner.organization_id, ()), name)
    return owners


def _due(accesses: list[Access]) -> dict[int, str]:
    """What is open of these organizations, by its key; nothing is asked where there are none."""
    customers = {access.organization.stripe_customer_id: access.organization.pk for access in accesses}
    ids = [customer for customer in customers if customer]
    found = mirror.open_invoices_of_many(ids) if ids else {}
    return {
        customers[customer]: " · ".join(
            f"{invoice.get('number') or invoice['id']}, {_left(invoice)}"
            for invoice in reversed(invoices)
            if invoice.get("amount_remaining")
        )
        for customer, invoices in found.items()
    }


def _left(invoice: StripeObject) -> str:
    return format_money(invoice["amount_remaining"], invoice["currency"])
