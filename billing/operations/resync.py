"""Resync: show where we hold something else than Stripe says, and read it all again."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing import stripe_api
from billing.difference_words import told_differences
from billing.differences import Differences, compare
from billing.errors import ObjectMissing, OperationRefused
from billing.models import SubscriptionEvent
from billing.operations.base import Choices, Intent, Operation, Preview, Settlement, Told
from billing.operations.intent import in_progress
from billing.reading import read_everything
from billing.stripe_api import StripeObject
from billing.sync import EVERYTHING
from organizations.models import Organization


@dataclass(frozen=True)
class ResyncPreview(Preview):
    """What reading everything again would correct."""

    differences: Differences


class _Resync[PreviewT: Preview](Operation[Organization, Choices, PreviewT]):
    """Read all that Stripe has of a customer. Asks nothing of Stripe but to tell, so it has no step."""

    type = "resync_organization"
    label = gettext_lazy("Read from Stripe again")
    attempt = gettext_lazy("read a customer from Stripe again")
    permission = "organizations.resync_organization"
    choices_class = Choices

    def refuse_reason(self, subject: Organization) -> str | None:
        """Without a customer at Stripe there is nothing to read."""
        return unconnected(subject) or in_progress(lock_key_of(subject.stripe_customer_id or ""))

    def told[ReadT](self, subject: Organization, read: Callable[[str], ReadT]) -> ReadT:
        """What Stripe says of the customer. Raises OperationRefused where it cannot be asked or knows none."""
        reason = self.refuse_reason(subject)
        customer_id = subject.stripe_customer_id
        if reason or not customer_id:
            raise OperationRefused(reason or "")
        try:
            return read(customer_id)
        except ObjectMissing as error:
            raise OperationRefused(
                _("Stripe knows no customer %(id)s, so there is nothing to read. Nothing was changed.")
                % {"id": customer_id},
                error.detail,
            ) from error

    def lock_key(self, subject: Organization, choices: Choices) -> str:
        """One customer, one reading at a time."""
        return lock_key_of(subject.stripe_customer_id or "")

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """That it is read again, and how much differed when the person looked."""
        return Settlement(message=read_again((event.plan or {}).get("number")))

    def retell(self, event: SubscriptionEvent) -> Told:
        """What differed and was corrected, where somebody looked before."""
        return Told(
            _("read everything from Stripe again"), told_differences((event.plan or {}).get("differences"))
        )

    def sync_objects(self, event: SubscriptionEvent) -> list[str]:
        """All there is."""
        return [EVERYTHING]


class ResyncOrganization(_Resync[ResyncPreview]):
    """Show first where we hold something else."""

    def preview(self, subject: Organization, choices: Choices, at: int) -> ResyncPreview:
        """Everything of the customer, read from Stripe and held against our own."""
        read = self.told(subject, read_everything)
        now = datetime.datetime.fromtimestamp(at, datetime.UTC)
        differences = compare(subject, subject.stripe_customer_id or "", read, now, everything=True)
        return ResyncPreview(differences)

    def prepare(self, subject: Organization, choices: Choices, preview: ResyncPreview, actor: User) -> Intent:
        """Nothing is asked of Stripe; the settling asks for the reading."""
        return Intent(plan={"number": preview.differences.number})


class ResyncUnseen(_Resync[Preview]):
    """Where many are read again nobody looks before, so nothing is read but what the settling asks for."""

    def preview(self, subject: Organization, choices: Choices, at: int) -> Preview:
        """Only that Stripe knows the customer."""
        self.told(subject, stripe_api.retrieve_customer)
        return Preview()

    def prepare(self, subject: Organization, choices: Choices, preview: Preview, actor: User) -> Intent:
        """Nothing is asked of Stripe; the settling asks for the reading."""
        return Intent()


def unconnected(organization: Organization) -> str | None:
    """That there is no customer at Stripe to read, in a sentence; None where there is one."""
    if organization.stripe_customer_id:
        return None
    return _("This organization is not connected to a Stripe customer.")


def lock_key_of(customer_id: str) -> str:
    """What reading this customer again holds while it is pending."""
    return f"sync:{customer_id}"


def read_again(number: int | None) -> str:
    """That something is read again, in a sentence, and how many differences were seen before; None if nobody looked."""
    if number is None:
        return _("Asked for. Everything is read from Stripe again soon, and what differs is corrected.")
    if not number:
        return _("No difference found; it is being read from Stripe again now all the same.")
    return ngettext(
        "%(n)d difference found; it is being read from Stripe again now.",
        "%(n)d differences found; it is being read from Stripe again now.",
        number,
    ) % {"n": number}
