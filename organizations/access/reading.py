"""What the decision needs, read anew each time: whoever loses access loses it with the next request.

Two queries at most: who the person is there, and which holds are open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from organizations.access.decision import Access, decide
from organizations.models import Hold, Membership, Organization

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

_LARGEST_KEY = 2**63 - 1


class Ambiguous(Exception):
    """Several members of the organization have this e-mail address."""


def access_of(membership: Membership) -> Access:
    """May this member come in now. One query, given that the membership came with its organization and user."""
    return decide(membership.organization, membership, list(membership.organization.open_holds()))


def accesses_of(user: User | AnonymousUser, **which: Any) -> list[Access]:
    """Where a person is, or was, a member and whether they may come in, by the organization's name. Two queries.

    `which` narrows the memberships: `organization__slug="northwind-labs"`.
    """
    memberships = list(
        Membership.objects.filter(user_id=user.pk or 0, **which)
        .select_related("organization", "user")
        .order_by("organization__name", "pk")
    )
    holds: dict[int, list[Hold]] = {}
    for hold in Hold.objects.open().filter(organization__in=[each.organization_id for each in memberships]):
        holds.setdefault(hold.organization_id, []).append(hold)
    return [decide(each.organization, each, holds.get(each.organization_id, [])) for each in memberships]


def find_access(organization: str, user: str) -> Access | None:
    """May this person come in to this organization; None where there is no such organization.

    `organization` is its number, its slug, or its customer's id at Stripe (`cus_…`); `user` a person's number or
    e-mail address. A person nobody knows is no member. Two queries for a member. Raises Ambiguous.
    """
    column = _column(organization)
    if column is None:
        return None
    membership = _member({f"organization__{name}": value for name, value in column.items()}, user)
    if membership is not None:
        return access_of(membership)
    found = Organization.objects.filter(**column).first()
    return None if found is None else decide(found, None, list(found.open_holds()))


def _column(organization: str) -> dict[str, str | int] | None:
    """How an organization is named: which column, and its value; None for what none could be named.

    No slug can be taken for the other two (`organizations.models.KEY_LIKE`).
    """
    if not organization or "\0" in organization:
        return None
    if organization.isdigit():
        key = _key(organization)
        return None if key is None else {"pk": key}
    return {"stripe_customer_id" if organization.startswith("cus_") else "slug": organization}


def _member(organization: dict[str, str | int], user: str) -> Membership | None:
    """The membership of a person, always looked for among the organization's own members."""
    if "\0" in user:
        return None
    members = Membership.objects.filter(**organization).select_related("organization", "user")
    key = _key(user)
    if key is not None:
        return members.filter(user_id=key).first()
    # The database's upper case takes a dotless ı for an i, which would be somebody else's address.
    found = [
        each
        for each in members.filter(user__email__iexact=user)[:10]
        if each.user.email.casefold() == user.casefold()
    ]
    if len(found) > 1:
        raise Ambiguous
    return found[0] if found else None


def _key(text: str) -> int | None:
    """A primary key, if the text is one."""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > _LARGEST_KEY:
        return None
    return int(text)
