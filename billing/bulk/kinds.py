"""How an operation is done to many: what each row would be, told from our own rows, and what must still be so then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.errors import OperationRefused
from billing.metrics import recurring_amount
from billing.money import format_money
from billing.operations import OPERATIONS
from billing.operations.base import Choices, Preview, Subject
from billing.operations.seat_preview import MAX_SEATS, SeatChoices, SeatPreview
from billing.operations.settlement import AnyOperation
from billing.operations.subscription import live_subscriptions
from billing.stripe_api import StripeObject
from organizations.models import Organization


@dataclass(frozen=True)
class Selected[SubjectT: Subject]:
    """What somebody ticked in a list."""

    key: str
    """Its key in that list."""
    subject: SubjectT
    """What the operation is done to."""
    label: str


class BulkKind[SubjectT: Subject, ChoicesT: Choices, PreviewT: Preview](ABC):
    """How one operation is done to many. Has no state of its own, and asks Stripe nothing."""

    type: ClassVar[str]
    """The operation's, in `OPERATIONS`."""
    ticked_in: ClassVar[str]
    """Of which model's list, as `app_label.model_name`."""

    @property
    def operation(self) -> AnyOperation:
        """What is done to each."""
        return OPERATIONS[self.type]

    @abstractmethod
    def selected(self, keys: Sequence[str]) -> list[Selected[SubjectT]]:
        """What was ticked, in that order; what is no longer there is left out."""

    @abstractmethod
    def choices_for(self, selected: Selected[SubjectT], asked: dict[str, Any]) -> ChoicesT:
        """What is chosen for this one. Raises OperationRefused with why it cannot be done to it."""

    @abstractmethod
    def outlook(self, selected: Selected[SubjectT], choices: ChoicesT) -> str:
        """What will happen to this one, in a few words."""

    @abstractmethod
    def basis(self, subject: SubjectT, choices: ChoicesT) -> dict[str, Any]:
        """What it is like now, as far as the outlook depends on it; of JSON's own types."""

    def hold(self, basis: dict[str, Any], subject: SubjectT, choices: ChoicesT, preview: PreviewT) -> None:
        """Hold what the person saw against the present. Raises OperationRefused where it is something else now."""
        if self.basis(subject, choices) != basis:
            raise OperationRefused(
                _("It changed since this was shown. Nothing was changed; look and try again.")
            )


class OrganizationsKind[ChoicesT: Choices, PreviewT: Preview](BulkKind[Organization, ChoicesT, PreviewT]):
    """An operation on many organizations, ticked in their list."""

    ticked_in = "organizations.organization"

    def selected(self, keys: Sequence[str]) -> list[Selected[Organization]]:
        found = Organization.objects.in_bulk([int(key) for key in keys])
        return [Selected(key, found[int(key)], found[int(key)].name) for key in keys if int(key) in found]


def only_subscription(organization: Organization) -> StripeObject:
    """The one live subscription, as the mirror has it. Raises OperationRefused where it is not clear which is meant."""
    live = live_subscriptions(organization)
    if len(live) > 1:
        raise OperationRefused(
            _("It has %(count)d live subscriptions. Do it on its own page, which asks which is meant.")
            % {"count": len(live)}
        )
    if not live:
        raise OperationRefused(_("It has no live subscription."))
    return live[0]


class ChangeSeatsOfMany(OrganizationsKind[SeatChoices, SeatPreview]):
    """To one number of seats, or by so many more or fewer."""

    type = "change_seats"

    def choices_for(self, selected: Selected[Organization], asked: dict[str, Any]) -> SeatChoices:
        subscription, now = only_subscription(selected.subject), selected.subject.seats or 0
        seats = asked["seats"] if asked["how"] == "to" else now + asked["seats"]
        if seats == now:
            raise OperationRefused(_("It has %(seats)s seats already.") % {"seats": now})
        if not 1 <= seats <= MAX_SEATS:
            raise OperationRefused(
                _("It has %(now)s seats, and would have %(then)s; from 1 to %(most)s can be set.")
                % {"now": now, "then": seats, "most": formats.number_format(MAX_SEATS)}
            )
        return SeatChoices(subscription=subscription["id"], seats=seats, proration=asked["proration"])

    def outlook(self, selected: Selected[Organization], choices: SeatChoices) -> str:
        organization, subscription = selected.subject, only_subscription(selected.subject)
        words = [
            _("Seats %(before)s → %(after)s") % {"before": organization.seats, "after": choices.seats},
            _("%(before)s → %(after)s %(every)s")
            % {
                "before": format_money(recurring_amount(subscription), subscription["currency"]),
                "after": format_money(
                    recurring_amount(subscription, choices.seats), subscription["currency"]
                ),
                "every": organization.get_interval_display() if organization.interval_count == 1 else "",
            },
        ]
        if choices.seats < (organization.seats or 0) and choices.seats < (used := organization.seats_used()):
            words.append(ngettext("%(n)d member is active", "%(n)d members are active", used) % {"n": used})
        return " · ".join(word.strip() for word in words)

    def basis(self, subject: Organization, choices: SeatChoices) -> dict[str, Any]:
        return {"subscription": choices.subscription, "seats": subject.seats}

    def hold(
        self, basis: dict[str, Any], subject: Organization, choices: SeatChoices, preview: SeatPreview
    ) -> None:
        """By Stripe's own present number: our rows may be seconds behind."""
        if preview.seats_before != basis["seats"]:
            raise OperationRefused(
                ngettext(
                    "It has %(now)d seat now, and %(shown)d were shown. Nothing was changed.",
                    "It has %(now)d seats now, and %(shown)d were shown. Nothing was changed.",
                    preview.seats_before,
                )
                % {"now": preview.seats_before, "shown": basis["seats"]}
            )


# By the operation's name, so that whoever does a row later knows how.
KINDS: dict[str, BulkKind[Any, Any, Any]] = {kind.type: kind for kind in (ChangeSeatsOfMany(),)}
