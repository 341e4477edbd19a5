"""What an owner needs to mend a bill that is not paid: Stripe's page of the open invoice, and the one for cards.

The actor is a member and not staff: what allows it is that they own the organization. The ledger has a row of either.
"""

from __future__ import annotations

import builtins
import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import stripe_api
from billing.actors import person_name
from billing.errors import OperationRefused
from billing.inbox import request_sync
from billing.ledger import record_system_event
from billing.models import SubscriptionEvent
from billing.money import format_money
from billing.operations.base import Choices, Intent, Settlement, Told
from billing.operations.intent import agree, perform
from billing.operations.portal import CreatePortalSession, PortalPreview
from billing.stripe_api import StripeObject
from organizations.models import Membership, Organization

PAYMENT_PAGE = "member.payment_page"


class MemberRefused(OperationRefused):
    """A refusal whose sentence is written for a member. Others may name a colleague, and why they did something."""


def payment_page(organization: Organization, owner: User) -> str:
    """The address of Stripe's page where the oldest open invoice is paid, as Stripe has it now.

    Raises MemberRefused where nothing is open, StripeError where Stripe cannot be asked.
    """
    customer_id = organization.stripe_customer_id
    if not customer_id:
        raise MemberRefused(_("We have no invoices of this organization at Stripe. Please write to us."))
    pages = stripe_api.list_pages("/v1/invoices", {"customer": customer_id, "status": "open"})
    due = [
        invoice
        for page in pages
        for invoice in page
        if invoice["amount_remaining"] > 0 and invoice.get("hosted_invoice_url")
    ]
    if not due:
        # Paid a moment ago, perhaps, and we have not heard of it.
        request_sync(customer_id)
        raise MemberRefused(
            _(
                "No invoice is open any more. If you have just paid, access opens by itself within a minute;"
                " otherwise please write to us."
            )
        )
    invoice = min(due, key=lambda each: each["created"])
    with transaction.atomic():
        record_system_event(
            PAYMENT_PAGE,
            organization,
            _("%(who)s, an owner, opened the page to pay invoice %(number)s, %(amount)s.")
            % {
                "who": person_name(owner),
                "number": invoice.get("number") or invoice["id"],
                "amount": format_money(invoice["amount_remaining"], invoice["currency"]),
            },
            actor=owner,
            actor_label=owner.get_username(),
            livemode=settings.STRIPE_LIVE_MODE,
            stripe_invoice_id=invoice["id"],
            amount=invoice["amount_remaining"],
            currency=invoice["currency"],
        )
    return str(invoice["hosted_invoice_url"])


def card_page(organization: Organization, owner: User, *, return_url: str) -> str:
    """The address of Stripe's page where cards are kept; it leads back to `return_url`, and lets in whoever has it.

    Raises MemberRefused, OperationRefused and StripeError where there is none; nothing was changed then.
    """
    choices = CardChoices(return_url=return_url)
    _preview, agreement = agree(UPDATE_CARD, organization, choices)
    performed = perform(UPDATE_CARD, organization, choices=choices, agreed=agreement, actor=owner)
    event = performed.event
    if event.state == SubscriptionEvent.State.DONE:
        for answer in performed.answers:
            return str(answer["url"])
    if event.state == SubscriptionEvent.State.PENDING:
        raise MemberRefused(UPDATE_CARD.while_pending(event))
    raise OperationRefused(event.message or "")


@dataclass(frozen=True)
class CardChoices(Choices):
    """Where the owner comes from, and is led back to."""

    return_url: str


class UpdateCard(CreatePortalSession):
    """Stripe's customer portal for an owner, who goes there at once."""

    type = "update_card"
    label = gettext_lazy("Page to update the card")
    choices_class: ClassVar[builtins.type[Choices]] = CardChoices

    def lock_key(self, subject: Organization, choices: Choices) -> str:
        """One of its own, so that an owner and staff are not in each other's way."""
        return f"owner-portal:{subject.stripe_customer_id}"

    def permits(self, actor: User, subject: Organization) -> bool:
        """An owner of this organization; no permission of staff's is asked for, or enough."""
        return actor.is_active and (
            subject.memberships.filter(
                user=actor, role=Membership.Role.OWNER, status=Membership.Status.ACTIVE
            ).exists()
        )

    def preview(self, subject: Organization, choices: Choices, at: int) -> PortalPreview:
        """As for staff, but that it leads back to where the owner was."""
        preview = super().preview(subject, choices, at)
        return dataclasses.replace(preview, return_url=choices.to_dict()["return_url"])

    def prepare(self, subject: Organization, choices: Choices, preview: PortalPreview, actor: User) -> Intent:
        """The same session; only that nobody of staff made it."""
        intent = super().prepare(subject, choices, preview, actor)
        return dataclasses.replace(intent, columns={"source": SubscriptionEvent.Source.SYSTEM})

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """That the owner went there; with which link is kept nowhere."""
        return Settlement(
            message=_("%(who)s, an owner, opened Stripe's page to update the card.")
            % {"who": person_name(event.actor) if event.actor else event.actor_label},
            after={"session": answers[0]["id"]},
        )

    def retell(self, event: SubscriptionEvent) -> Told:
        """That the owner went there."""
        return Told(_("opened Stripe's page to update the card"))


UPDATE_CARD = UpdateCard()
