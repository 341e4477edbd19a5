"""Members: who is in the organization, and how many seats they take."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count
from django.urls import reverse
from django.utils.functional import cached_property

from adminops.pages.badges import Badge, member_badge
from organizations.models import Membership, Organization

MEMBERS_SHOWN = 50


@dataclass(frozen=True)
class MemberRow:
    """A member with the badge of their own state."""

    membership: Membership
    badge: Badge


class Members:
    """The members of one organization."""

    def __init__(self, organization: Organization) -> None:
        self.organization = organization

    @cached_property
    def _counts(self) -> dict[str, int]:
        rows = self.organization.memberships.order_by().values_list("status").annotate(count=Count("pk"))
        return dict(rows)

    @property
    def seats_used(self) -> int:
        """Seats that active members occupy now."""
        return self._counts.get(Membership.Status.ACTIVE, 0)

    @property
    def count(self) -> int:
        """All but those that were removed."""
        return sum(n for status, n in self._counts.items() if status != Membership.Status.REMOVED)

    @cached_property
    def rows(self) -> list[MemberRow]:
        memberships = (
            self.organization.memberships.exclude(status=Membership.Status.REMOVED)
            .select_related("user")
            .order_by("status", "pk")[:MEMBERS_SHOWN]
        )
        return [MemberRow(membership, member_badge(membership)) for membership in memberships]

    @property
    def url(self) -> str:
        """Where all of them are listed."""
        listing = reverse("admin:organizations_membership_changelist")
        return f"{listing}?organization__id__exact={self.organization.pk}"
