"""How organizations stand, told from our own rows and the mirror: which holds they have, who comes in, what is billed.

It is read for many at once, so that a plan for a thousand of them costs no thousand queries.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils import timezone

from billing import mirror
from billing.models import SubscriptionEvent
from billing.operations.base import Choices, Operation, Preview
from billing.operations.collection import access_lock, is_paused_by, pausing_events
from billing.operations.subscription import living
from billing.stripe_api import StripeObject
from organizations.models import Hold, Organization, seats_used_of


@dataclass(frozen=True)
class Standing:
    """How one organization stands."""

    holds: tuple[Hold, ...]
    """Those that are not lifted, oldest first; one may have come to its end a moment ago."""
    members: int
    """Active members."""
    subscriptions: tuple[StripeObject, ...]
    """Those that have not ended, newest first."""
    open_invoices: tuple[StripeObject, ...]
    pauses: dict[str, SubscriptionEvent]
    """Which of our acts paused the collection of a subscription, by its id."""

    @property
    def open_holds(self) -> list[Hold]:
        """The holds that keep members out now, oldest first."""
        now = timezone.now()
        return [hold for hold in self.holds if hold.ends_at is None or hold.ends_at > now]

    def is_paused_by_suspension(self, subscription: StripeObject) -> bool:
        """Whether collection of one of the subscriptions is paused, and it was a suspension of ours that paused it."""
        return is_paused_by(self.pauses.get(subscription["id"]), subscription)


class StandingOperation[ChoicesT: Choices, PreviewT: Preview](Operation[Organization, ChoicesT, PreviewT]):
    """An operation on access, whose preview asks nobody but our own rows."""

    def lock_key(self, subject: Organization, choices: ChoicesT) -> str:
        """Whoever places or lifts holds, pauses or resumes is alone."""
        return access_lock(subject)

    def preview(self, subject: Organization, choices: ChoicesT, at: int) -> PreviewT:
        """What it would do, as our own rows and the mirror tell."""
        return self.preview_of(subject, standings_of([subject])[subject.pk], choices, at)

    @abstractmethod
    def preview_of(self, subject: Organization, standing: Standing, choices: ChoicesT, at: int) -> PreviewT:
        """The same for a standing that was read already. Raises OperationRefused."""


def standings_of(organizations: Sequence[Organization]) -> dict[int, Standing]:
    """How each stands, by its key, in as many queries for a thousand as for one."""
    holds: dict[int, list[Hold]] = {}
    unlifted = Hold.objects.filter(organization__in=organizations, lifted_at=None)
    for hold in unlifted.select_related("placed_by").order_by("pk"):
        holds.setdefault(hold.organization_id, []).append(hold)
    members = seats_used_of(organizations)
    customers = [each.stripe_customer_id for each in organizations if each.stripe_customer_id]
    subscriptions = {id_: living(found) for id_, found in mirror.subscriptions_of_many(customers).items()}
    invoices = mirror.open_invoices_of_many(customers)
    pauses = pausing_events(_paused(subscriptions.values()))
    return {
        each.pk: Standing(
            holds=tuple(holds.get(each.pk, ())),
            members=members.get(each.pk, 0),
            subscriptions=tuple(subscriptions.get(each.stripe_customer_id or "", ())),
            open_invoices=tuple(invoices.get(each.stripe_customer_id or "", ())),
            pauses=pauses,
        )
        for each in organizations
    }


def _paused(subscriptions: Iterable[Sequence[StripeObject]]) -> list[StripeObject]:
    return [each for several in subscriptions for each in several if each.get("pause_collection")]
