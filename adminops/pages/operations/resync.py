"""Resync: what differs from Stripe. The doing is `billing.operations.resync`."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from adminops.pages import words
from adminops.pages.operations import differences
from adminops.pages.operations.base import OperationPage, Row
from adminops.pages.operations.forms import OptionalReasonForm
from billing.operations import OPERATIONS
from billing.operations.base import Choices
from billing.operations.resync import ResyncPreview
from organizations.models import Organization


class ResyncPage(OperationPage[Organization, Choices, ResyncPreview]):
    """Read all of a customer from Stripe again."""

    operation = OPERATIONS["resync_organization"]
    form_class = OptionalReasonForm
    previews_at_once = True

    def facts(self) -> list[str]:
        if self.subject.synced_at is None:
            return [_("Not read from Stripe yet.")]
        return [_("Last read from Stripe %(when)s.") % {"when": words.short_moment(self.subject.synced_at)}]

    def choices(self, cleaned: dict[str, Any]) -> Choices:
        return Choices()

    def rows(self, preview: ResyncPreview) -> list[Row]:
        return differences.rows(preview.differences)

    def sentences(self, preview: ResyncPreview) -> list[str]:
        return differences.sentences(preview.differences)

    def confirm_label(self, preview: ResyncPreview) -> str:
        return _("Read from Stripe again")
