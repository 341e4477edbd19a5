"""Everything staff can do to an organization, one row each.

A row here is all an operation needs from the face: its button on the customer page, its address, its permission and
its limit follow from it. What it does is its function in `billing/operations/`; what it asks and shows, its
`Operation` in `adminops/pages/`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from adminops.pages.operation import Operation
from adminops.pages.seats import ChangeSeats
from billing.operations import seats
from billing.stripe_api import configuration_problem
from organizations.models import Organization


@dataclass(frozen=True)
class StaffAction:
    """One thing staff can do to an organization."""

    name: str
    """Names the address (`admin:organizations_organization_<name>`) and the counter of the limit."""
    label: str | Promise
    icon: str
    permission: str
    rate: str
    """How often one person may apply it, as django-ratelimit writes it."""
    path: str
    operation: type[Operation[Any]]
    refuse_reason: Callable[[Organization], str | None]
    """Why it cannot be done to this organization now, in a sentence, from our own rows; None when it can."""
    calls_stripe: bool = True

    @property
    def url_name(self) -> str:
        return f"organizations_organization_{self.name}"

    def url(self, organization: Organization) -> str:
        """The page of this action for an organization."""
        return reverse(f"admin:{self.url_name}", args=[organization.pk])

    def refusal(self, organization: Organization) -> str | None:
        """Why it cannot be done now: the connection to Stripe first, then the organization's own state."""
        return (configuration_problem() if self.calls_stripe else None) or self.refuse_reason(organization)


ACTIONS: tuple[StaffAction, ...] = (
    StaffAction(
        name="change_seats",
        label=_("Change seats"),
        icon="airline_seat_recline_normal",
        permission="organizations.change_seats",
        rate="10/m",
        path="seats",
        operation=ChangeSeats,
        refuse_reason=seats.refuse_reason,
    ),
)


@dataclass(frozen=True)
class Offer:
    """An action that a person may take on an organization; `refusal` says why not just now."""

    action: StaffAction
    url: str
    refusal: str | None


def offered(user: Any, organization: Organization) -> list[Offer]:
    """The actions this person may take. Those they have no permission for are not even named."""
    return [
        Offer(action, action.url(organization), action.refusal(organization))
        for action in ACTIONS
        if user.has_perm(action.permission)
    ]


def action_named(name: str) -> StaffAction:
    """The action of that name. Raises KeyError."""
    return {action.name: action for action in ACTIONS}[name]
