"""To what was read from Stripe: read many customers again, process many events again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _

from billing.bulk.base import BulkKind, OrganizationsKind, PlannedRow, Selected, changed
from billing.errors import OperationRefused
from billing.models import SubscriptionEvent
from billing.operations.base import Choices, Preview
from billing.operations.reprocess import ReprocessPreview
from billing.operations.resync import ResyncUnseen
from billing.operations.settlement import AnyOperation
from organizations.models import Organization


class ResyncMany(OrganizationsKind[Choices, Preview]):
    """All that Stripe has of each."""

    type = "resync_organization"

    @property
    def operation(self) -> AnyOperation:
        """Without the look beforehand, which would read everything twice."""
        return ResyncUnseen()

    def planned(self, selected: Selected[Organization], asked: dict[str, Any]) -> PlannedRow:
        self.refuse_if_unfit(selected.subject)
        outlook = _("Everything is read from Stripe again, and what differs is corrected")
        return PlannedRow(selected, Choices(), outlook, {"customer": selected.subject.stripe_customer_id})

    def hold(self, basis: dict[str, Any], subject: Organization, choices: Choices, preview: Preview) -> None:
        if subject.stripe_customer_id != basis["customer"]:
            raise OperationRefused(changed())


class ReprocessMany(BulkKind[SubscriptionEvent, Choices, ReprocessPreview]):
    """Events of Stripe's, ticked in the ledger."""

    type = "reprocess_event"
    ticked_in = "billing.subscriptionevent"

    def selected(self, keys: Sequence[str]) -> list[Selected[SubscriptionEvent]]:
        found = SubscriptionEvent.objects.select_related("organization").in_bulk([int(key) for key in keys])
        return [
            Selected(key, event, " · ".join(filter(None, [event.organization_label, event.type, f"#{key}"])))
            for key in keys
            if (event := found.get(int(key))) is not None
        ]

    def planned(self, selected: Selected[SubscriptionEvent], asked: dict[str, Any]) -> PlannedRow:
        self.refuse_if_unfit(selected.subject)
        objects = selected.subject.objects_to_read or []
        outlook = _("Read from Stripe again: %(objects)s") % {"objects": ", ".join(objects)}
        return PlannedRow(selected, Choices(), outlook, {"objects": objects})

    def hold(
        self, basis: dict[str, Any], subject: SubscriptionEvent, choices: Choices, preview: ReprocessPreview
    ) -> None:
        if list(preview.objects) != basis["objects"]:
            raise OperationRefused(changed())
