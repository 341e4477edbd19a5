"""Portal link: a link by which a customer enters Stripe's own pages for cards, invoices and addresses."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import User
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import stripe_api
from billing.errors import ObjectMissing, OperationRefused, StripeRefused
from billing.models import OperationStep, SubscriptionEvent
from billing.operations.base import Choices, Intent, Operation, Preview, Settlement, Step, Told, Trace
from billing.operations.intent import in_progress
from billing.stripe_api import StripeObject
from organizations.models import Organization


@dataclass(frozen=True)
class PortalPreview(Preview):
    """Whose link it will be, as Stripe knows them."""

    customer_id: str
    name: str
    email: str
    return_url: str
    """Where the portal leads back to; empty for the address that is configured at Stripe."""


class CreatePortalSession(Operation[Organization, Choices, PortalPreview]):
    """Make a link to the customer portal. It is shown to whoever asked, and kept nowhere."""

    type = "create_portal_session"
    label = gettext_lazy("Portal link")
    attempt = gettext_lazy("make a link to the customer portal")
    permission = "organizations.create_portal_session"
    choices_class = Choices
    shows_at_once = False

    def refuse_reason(self, subject: Organization) -> str | None:
        """Without a customer at Stripe there is no portal."""
        if not subject.stripe_customer_id:
            return _("This organization is not connected to a Stripe customer.")
        return in_progress(self.lock_key(subject, Choices()))

    def preview(self, subject: Organization, choices: Choices, at: int) -> PortalPreview:
        """The customer as Stripe has it now."""
        reason = self.refuse_reason(subject)
        if reason:
            raise OperationRefused(reason)
        try:
            customer = stripe_api.retrieve_customer(subject.stripe_customer_id or "")
        except ObjectMissing as error:
            raise OperationRefused(_gone(), error.detail) from error
        if customer.get("deleted"):
            raise OperationRefused(_gone())
        return PortalPreview(
            customer_id=customer["id"],
            name=customer.get("name") or "",
            email=customer.get("email") or "",
            return_url=settings.PORTAL_RETURN_URL,
        )

    def lock_key(self, subject: Organization, choices: Choices) -> str:
        """One customer, one link at a time."""
        return f"portal:{subject.stripe_customer_id}"

    def prepare(self, subject: Organization, choices: Choices, preview: PortalPreview, actor: User) -> Intent:
        """One session; Stripe takes no metadata for it."""
        params = {"customer": preview.customer_id}
        if preview.return_url:
            params["return_url"] = preview.return_url
        return Intent(steps=(Step("session", "POST", "/v1/billing_portal/sessions", params, signed=False),))

    def while_pending(self, event: SubscriptionEvent) -> str:
        """There is no link to wait for."""
        return _(
            "Stripe gave no clear answer, so there is no link to show. Nothing was changed; ask for a new link in a"
            " minute."
        )

    def find_outcome(self, event: SubscriptionEvent, step: OperationStep) -> Trace:
        """A session cannot be looked up, and a link that nobody has opens nothing: it is given up."""
        raise StripeRefused(
            _(
                "Stripe gave no clear answer, so there is no link to show. Nothing was changed; ask for a new link."
            ),
            "not looked up: a session can neither be found nor moves money",
        )

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """That a link was made; which, only the person who asked was told."""
        return Settlement(
            message=_("A link to Stripe's customer portal was made, and shown once to %(who)s.")
            % {"who": event.actor_label},
            after={"session": answers[0]["id"]},
        )

    def retell(self, event: SubscriptionEvent) -> Told:
        """That it was made; where it led is kept nowhere."""
        return Told(_("made a link to Stripe's customer portal"))

    def remember(self, answer: StripeObject) -> StripeObject:
        """Whoever has the link is let in as the customer, so the ledger does not keep it."""
        return {key: value for key, value in answer.items() if key != "url"}


def _gone() -> str:
    return _("This customer was deleted at Stripe, so there is no portal for it. Nothing was changed.")
