"""To what was read from Stripe: read many customers again, process many events again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _

from billing.bulk.base import BulkKind, OrganizationsKind, PlannedRow, Selected, changed, with_held
from billing.errors import OperationRefused
from billing.late_meaning import with_meaning
from billing.models import SubscriptionEvent
from billing.operations.base import Choices, Preview
from billing.operations.reprocess import ReprocessPreview, unprocessable
from billing.operations.resync import ResyncUnseen, lock_key_of, unconnected
from billing.operations.settlement import AnyOperation
from organizations.models import Organization


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

    def hold(
        self, basis: dict[str, Any], subject: SubscriptionEvent, choices: Choices, preview: ReprocessPreview
    ) -> None:
        if list(preview.objects) != basis["objects"]:
            raise OperationRefused(changed())
