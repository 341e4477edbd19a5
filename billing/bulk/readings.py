"""To what was read from Stripe: read many customers again, process many events again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from billing.bulk.base import BulkKind, OrganizationsKind, PlannedRow, Selected, changed, with_held
from billing.errors import OperationRefused, StripeBusy, StripeError, StripeRefused
from billing.late_meaning import with_meaning
from billing.models import SubscriptionEvent
from billing.operations.base import Choices, Preview
from billing.operations.reprocess import ReprocessEvent, ReprocessPreview, unprocessable
from billing.operations.resync import ResyncUnseen, lock_key_of, unconnected
from billing.operations.settlement import AnyOperation
from billing.reading import ReadOnce
from organizations.models import Organization

# Somebody waits while Stripe is asked: so many rows are looked at, and none begun after so many seconds.
ROWS_LOOKED_AT = 25
LOOKING_SECONDS = 8


class ResyncMany(OrganizationsKind[Choices, Preview]):
    """All that Stripe has of each."""

    type = "resync_organization"
    # The customer, its cards, subscriptions, products, payments, refunds and invoices.
    calls = 10
    calls_of_one_endpoint = 2

    @property
    def operation(self) -> AnyOperation:
        """Without the look beforehand, which would read everything twice."""
        return ResyncUnseen()

    def selected(self, keys: Sequence[str]) -> list[Selected[Organization]]:
        """With who reads it already."""
        return with_held(
            super().selected(keys), lambda each: lock_key_of(each.subject.stripe_customer_id or "")
        )

    def planned(self, selected: Selected[Organization], asked: dict[str, Any]) -> PlannedRow:
        if reason := unconnected(selected.subject) or selected.held:
            raise OperationRefused(reason)
        outlook = _("Everything is read from Stripe again, and what differs is corrected")
        return PlannedRow(selected, Choices(), outlook, {"customer": selected.subject.stripe_customer_id})

    def hold(self, basis: dict[str, Any], subject: Organization, choices: Choices, preview: Preview) -> None:
        if subject.stripe_customer_id != basis["customer"]:
            raise OperationRefused(changed())


class ReprocessMany(BulkKind[SubscriptionEvent, Choices, ReprocessPreview]):
    """Events of Stripe's, ticked in the ledger."""

    type = "reprocess_event"
    # What there is before, and once more when it is read.
    calls = 3
    calls_of_one_endpoint = 2
    ticked_in = "billing.subscriptionevent"

    def selected(self, keys: Sequence[str]) -> list[Selected[SubscriptionEvent]]:
        found = SubscriptionEvent.objects.select_related("organization").in_bulk([int(key) for key in keys])
        read = [
            Selected(key, event, " · ".join(filter(None, [event.organization_label, event.type, f"#{key}"])))
            for key in keys
            if (event := found.get(int(key))) is not None
        ]
        return with_held(read, lambda each: self.operation.lock_key(each.subject, Choices()))

    def planned(self, selected: Selected[SubscriptionEvent], asked: dict[str, Any]) -> PlannedRow:
        if reason := unprocessable(with_meaning(selected.subject)) or selected.held:
            raise OperationRefused(reason)
        objects = selected.subject.objects_to_read or []
        outlook = _("Read from Stripe again: %(objects)s") % {"objects": ", ".join(objects)}
        return PlannedRow(selected, Choices(), outlook, {"objects": objects})

    def looked_at(self, rows: Sequence[PlannedRow]) -> list[PlannedRow]:
        """The first rows with what reading them again would change; of the others, that nobody looked, and why."""
        read, at = ReadOnce(), int(timezone.now().timestamp())
        until = time.monotonic() + LOOKING_SECONDS
        shown: list[PlannedRow] = []
        stopped = ""
        for row in rows[:ROWS_LOOKED_AT]:
            if not stopped and time.monotonic() > until:
                stopped = _("Not looked at beforehand: Stripe is slow to answer just now.")
            seen = stopped
            if not stopped:
                try:
                    seen = capfirst(ReprocessEvent().foreseen(row.selected.subject, at, read).words)
                except (OperationRefused, StripeRefused) as refusal:
                    seen = str(refusal.message)
                except StripeError as failure:
                    # Asking for the next would only take longer to be told the same.
                    seen = stopped = _unseen(failure)
            shown.append(replace(row, seen=seen))
        unseen = _("Not looked at beforehand: only the first %(n)d are.") % {"n": ROWS_LOOKED_AT}
        return [*shown, *(replace(row, seen=unseen) for row in rows[ROWS_LOOKED_AT:])]

    @property
    def source(self) -> str:
        return _(
            "What would change is what Stripe says now. Each is read from Stripe once more when its turn comes, and"
            " what it says then replaces what we hold."
        )

    def hold(
        self, basis: dict[str, Any], subject: SubscriptionEvent, choices: Choices, preview: ReprocessPreview
    ) -> None:
        if list(preview.objects) != basis["objects"]:
            raise OperationRefused(changed())


def _unseen(failure: StripeError) -> str:
    """Why what would change is not shown, in a sentence."""
    if isinstance(failure, StripeBusy):
        return _("Not looked at beforehand: Stripe is busy just now.")
    return _("Not looked at beforehand: Stripe gave no answer just now.")
