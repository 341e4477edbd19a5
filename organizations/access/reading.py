"""What the decision needs, read anew each time: whoever loses access loses it with the next request.

Two queries at most: who the person is there, and which holds are open.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.db.models import Q

from organizations.access.decision import Access, decide
from organizations.models import Hold, Membership, Organization

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

_LARGEST_KEY = 2**63 - 1


class Ambiguous(Exception):
    """Several members of the organization have this e-mail address; its text says what to do."""


def access_of(membership: Membership) -> Access:
    """May this member come in now. One query, or three where the membership came without its organization and user."""
    holds = list(membership.organization.open_holds())
    return decide(membership.organization, membership, holds)


def access_of_user(user: User | AnonymousUser) -> list[Access]:
    """Where a person is, or was, a member and whether they may come in, by the organization's name. Two queries."""
    memberships = list(
        Membership.objects.filter(user_id=user.pk)
        .select_related("organization", "user")
        .order_by("organization__name", "pk")
    )
    return decide_all(memberships)


def decide_all(memberships: Iterable[Membership]) -> list[Access]:
    """May each of these come in now. One query, given that they came with their organizations and users."""
    memberships = list(memberships)
    holds: dict[int, list[Hold]] = {}
    for hold in Hold.objects.open().filter(organization__in=[each.organization_id for each in memberships]):
        holds.setdefault(hold.organization_id, []).append(hold)
    return [decide(each.organization, each, holds.get(each.organization_id, [])) for each in memberships]


def find_access(organization: str, user: str) -> Access | None:
    """May this person come in to this organization; None where there is no such organization.

    `organization` is its number, its slug, or its customer's id at Stripe (`cus_…`); `user` a person's number or
    e-mail address. A person nobody knows is no member. Two queries for a member. Raises Ambiguous.
    """
    which = _organization(organization)
    if which is None:
        return None
    membership = _member(which, user)
    if membership is not None:
        return access_of(membership)
    found = Organization.objects.filter(which).first()
    return None if found is None else decide(found, None, list(found.open_holds()))


def _organization(named: str) -> Q | None:
    if not named or "\0" in named:
        return None
    key = _key(named)
    if key is not None:
        return Q(pk=key)
    return Q(stripe_customer_id=named) if named.startswith("cus_") else Q(slug=named)


def _member(organization: Q, named: str) -> Membership | None:
    """The membership of a person, always looked for among the organization's own members."""
    if not named or "\0" in named:
        return None
    prefixed = Q(organization__in=Organization.objects.filter(organization))
    members = Membership.objects.filter(prefixed).select_related("organization", "user")
    key = _key(named)
    if key is not None:
        return members.filter(user_id=key).first()
    # The database's upper case takes a dotless ı for an i, which would be somebody else's address.
    found = [
        each
        for each in members.filter(user__email__iexact=named)[:10]
        if each.user.email.casefold() == named.casefold()
    ]
    if len(found) > 1:
        raise Ambiguous(
            "Several members of this organization have this e-mail address: ask with the person's number."
        )
    return found[0] if found else None


def _key(text: str) -> int | None:
    """A primary key, if the text is one."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > _LARGEST_KEY:
        return None
    return int(text)
