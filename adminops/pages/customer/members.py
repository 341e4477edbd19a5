"""Members: who is in the organization, and how many seats they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, QuerySet, Subquery
from django.urls import reverse
from django.utils.functional import cached_property

from adminops.pages.badges import Badge, member_badge
from organizations.models import Membership, Organization

MAY_SEE = "organizations.view_membership"

MEMBERS_SHOWN = 50
MANY = 10
_LONGEST_SEARCH = 200


@dataclass(frozen=True)
class MemberRow:
    """A member with the badge of their own state."""

    membership: Membership
    badge: Badge


class Members:
    """The members of one organization: the first of them, or those whose name or e-mail holds what is searched for.

    Who may not see members is told only how many there are.
    """

    def __init__(self, organization: Organization, user: Any, search: str = "") -> None:
        self.organization = organization
        self.user = user
        self.is_shown: bool = user.has_perm(MAY_SEE)
        # Whether anybody is found would tell who is a member.
        self.search = search.replace("\0", "").strip()[:_LONGEST_SEARCH] if self.is_shown else ""

    @cached_property
    def _read(self) -> list[Any]:
        """Those that are shown, each with how many there are, so that one query tells both."""
        own = Membership.objects.filter(organization=self.organization).order_by()
        there = own.exclude(status=Membership.Status.REMOVED)
        counted = there.annotate(
            active_count=_count(own.filter(status=Membership.Status.ACTIVE)), count=_count(there)
        )
        for word in self.search.split():
            counted = counted.filter(
                Q(user__first_name__icontains=word)
                | Q(user__last_name__icontains=word)
                | Q(user__username__icontains=word)
                | Q(user__email__icontains=word)
            )
        return list(counted.select_related("user").order_by("status", "pk")[:MEMBERS_SHOWN])

    @cached_property
    def _first(self) -> Any:
        """Any member, with how many there are; None for no members."""
        found = self._read
        if not found and self.search:
            found = Members(self.organization, self.user)._read
        return next(iter(found), None)

    @property
    def seats_used(self) -> int:
        """Seats that active members occupy now."""
        return self._first.active_count or 0 if self._first else 0

    @property
    def count(self) -> int:
        """All but those that were removed."""
        return self._first.count if self._first else 0

    @property
    def are_many(self) -> bool:
        """Whether one would rather search than read."""
        return self.count > MANY

    @cached_property
    def rows(self) -> list[MemberRow]:
        """Those that are shown; none to who may not see them."""
        if not self.is_shown:
            return []
        return [MemberRow(membership, member_badge(membership)) for membership in self._read]

    @property
    def url(self) -> str:
        """Where all of them are listed."""
        listing = reverse("admin:organizations_membership_changelist")
        return f"{listing}?organization__id__exact={self.organization.pk}"


def _count(rows: QuerySet[Membership]) -> Subquery:
    """How many, asked once for a whole query; NULL for none."""
    return Subquery(rows.values("organization").annotate(n=Count("pk")).values("n"))
