"""Portal link: whose it is, and the link, once. The doing is `billing.operations.portal`."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from adminops.pages.frame import page_context
from adminops.pages.operations.base import OperationPage, Row
from adminops.pages.operations.forms import OptionalReasonForm
from billing.operations import OPERATIONS
from billing.operations.base import Choices
from billing.operations.intent import Performed
from billing.operations.portal import PortalPreview
from organizations.models import Organization

TEMPLATE = "adminops/portal_link.html"


class PortalPage(OperationPage[Organization, Choices, PortalPreview]):
    """Make a link to Stripe's customer portal."""

    operation = OPERATIONS["create_portal_session"]
    form_class = OptionalReasonForm
    previews_at_once = True

    def choices(self, cleaned: dict[str, Any]) -> Choices:
        return Choices()

    def rows(self, preview: PortalPreview) -> list[Row]:
        rows = [
            Row(_("Customer at Stripe"), preview.name or preview.customer_id, below=preview.customer_id),
            Row(_("E-mail at Stripe"), preview.email or _("none")),
        ]
        if preview.return_url:
            rows.append(Row(_("Leads back to"), preview.return_url))
        return rows

    def sentences(self, preview: PortalPreview) -> list[str]:
        return [
            _(
                "The link is shown once and kept nowhere. Nothing is charged and nothing changes by making it."
            ),
        ]

    def warnings(self, preview: PortalPreview) -> list[str]:
        return [
            _(
                "Whoever opens the link is let in as this customer. Send it to the customer only, soon: it runs out."
            )
        ]

    def confirm_label(self, preview: PortalPreview) -> str:
        return _("Make a link")

    def done(self, request: HttpRequest, performed: Performed) -> HttpResponse:
        url = next((answer["url"] for answer in performed.answers if answer.get("url")), None)
        if performed.event.state != performed.event.State.DONE or url is None:
            return super().done(request, performed)
        # The admin's answers are not stored by browsers or proxies, so this one is gone on reload.
        return TemplateResponse(
            request,
            TEMPLATE,
            {**page_context(request, self.subject, str(self.operation.label)), "portal_url": url},
        )
