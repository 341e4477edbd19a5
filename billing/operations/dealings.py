"""What our ledger says of how things stand with one customer, in one query: for its page, which changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Max, Q

from billing.models import SubscriptionEvent
from billing.one_look import remember
from billing.operations.failed_refunds import (
    REFUNDS_READ,
    credits_of,
    failed,
    is_credit,
    rows_about,
    still_owed,
)
from billing.operations.intent import know_what_is_in_progress
from billing.operations.mirrored_account import balance_credits_of
from billing.operations.seats import ChangeSeats
from billing.stripe_api import StripeObject
from organizations.models import Organization

State, Source = SubscriptionEvent.State, SubscriptionEvent.Source
_OPEN, _UNUSED = (State.PENDING, State.PARKED), (State.FAILED, State.PARKED)

# Of what has not come to an end, no more is read: a person looks at these first.
UNSETTLED_READ = 100
# Among how many of the newest rows the colleagues are looked for who acted here, and their changes of seats.
_NEWEST_ROWS = 1_000
_SEAT_CHANGES_READ = 100
_SEATS_CHANGED = Q(type=ChangeSeats.type, state=State.DONE)


@dataclass(frozen=True)
class Dealings:
    """Rows of the ledger, the newest first."""

    unsettled: list[SubscriptionEvent]
    """Our own acts whose outcome is not known."""
    unused: list[SubscriptionEvent]
    """What Stripe told us and we could not use."""
    failed_refunds: list[StripeObject]
    """Refunds that the bank sent back, until as much has been given back again."""
    seat_changes: list[SubscriptionEvent]
    """Changes of seats that were made lately."""
    colleagues: list[User]
    """Who acted here lately, in the order of their keys."""


def dealings_of(organization: Organization, refunds: Sequence[StripeObject]) -> Dealings:
    """How things stand with an organization whose newest refunds are these.

    Within one look, the operations need not ask again whose act is in progress and what was credited.
    """
    events = SubscriptionEvent.objects.filter(organization=organization).order_by("-pk")
    stripes = Q(source=Source.STRIPE)
    newest = events.values("pk")[:_NEWEST_ROWS]
    acts = SubscriptionEvent.objects.filter(pk__in=newest, actor__isnull=False).order_by()
    keys = (
        events.filter(~stripes, state__in=_OPEN).values_list("pk")[:UNSETTLED_READ],
        events.filter(stripes, state__in=_UNUSED).values_list("pk")[:UNSETTLED_READ],
        credits_of(organization.pk).order_by("-pk").values_list("pk")[:REFUNDS_READ],
        rows_about(failed(refunds)).order_by("pk").values_list("pk")[:REFUNDS_READ],
        acts.filter(_SEATS_CHANGED).order_by("-pk").values_list("pk")[:_SEAT_CHANGES_READ],
    )
    rows = list(
        SubscriptionEvent.objects.filter(
            pk__in=acts.values("actor").annotate(newest=Max("pk")).values_list("newest").union(*keys)
        )
        .select_related("actor")
        .defer("traceback", "error", "before")
        .order_by("-pk")
    )
    unsettled = [row for row in rows if row.source != Source.STRIPE and row.state in _OPEN]
    if len(unsettled) < UNSETTLED_READ:
        know_what_is_in_progress(unsettled)
    of_it = [row for row in rows if row.organization_id == organization.pk and is_credit(row)]
    remember(of_it, balance_credits_of, organization.pk)
    colleagues = {row.actor.pk: row.actor for row in rows if row.actor is not None}
    return Dealings(
        unsettled=unsettled,
        unused=[row for row in rows if row.source == Source.STRIPE and row.state in _UNUSED],
        failed_refunds=still_owed(refunds, rows),
        seat_changes=[row for row in rows if row.type == ChangeSeats.type and row.state == State.DONE],
        colleagues=[colleagues[key] for key in sorted(colleagues)],
    )
