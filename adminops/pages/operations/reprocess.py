"""Reprocess an event: what would change. The doing is `billing.operations.reprocess`."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from adminops.pages.ledger.event import SEE_TRACEBACKS
from adminops.pages.ledger.event_words import type_in_words
from adminops.pages.operations import differences
from adminops.pages.operations.base import OperationPage, Row
from adminops.pages.operations.forms import OptionalReasonForm
from billing.models import SubscriptionEvent
from billing.operations import OPERATIONS
from billing.operations.base import Choices
from billing.operations.reprocess import ReprocessPreview

State = SubscriptionEvent.State


class ReprocessPage(OperationPage[SubscriptionEvent, Choices, ReprocessPreview]):
    """Process an event of Stripe's again."""

    operation = OPERATIONS["reprocess_event"]
    form_class = OptionalReasonForm
    previews_at_once = True

    def facts(self) -> list[str]:
        event = self.subject
        facts = [f"{type_in_words(event.type)}, {event.get_state_display()}"]
        if event.attempts:
            facts.append(
                ngettext("Tried %(n)d time.", "Tried %(n)d times.", event.attempts) % {"n": event.attempts}
            )
        if event.error and self.user.has_perm(SEE_TRACEBACKS):
            facts.append(_("Last time: %(error)s") % {"error": event.error})
        return facts

    def choices(self, cleaned: dict[str, Any]) -> Choices:
        return Choices()

    def rows(self, preview: ReprocessPreview) -> list[Row]:
        read = ", ".join(each for each in preview.objects if each not in preview.missing)
        return [
            *([Row(_("Read from Stripe again"), read)] if read else []),
            *(Row(_("Not at Stripe, or not any more"), each) for each in preview.missing),
            *differences.rows(preview.differences),
        ]

    def sentences(self, preview: ReprocessPreview) -> list[str]:
        said = differences.sentences(preview.differences)
        if self.subject.state != State.DONE:
            said.append(_("Once it is read, the event is done."))
        return said

    def confirm_label(self, preview: ReprocessPreview) -> str:
        return _("Process again")
