"""Reprocess: read again what an event of Stripe's was about, whatever became of it the last time."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.difference_words import in_words, shortened, told_differences
from billing.differences import Differences, compare
from billing.errors import ObjectMissing, OperationRefused
from billing.late_meaning import with_meaning
from billing.models import SubscriptionEvent
from billing.operations.base import Choices, Intent, Operation, Preview, Settlement, Told
from billing.operations.intent import in_progress, record_intent
from billing.operations.resync import read_again
from billing.operations.settlement import carry_out
from billing.reading import ReadObject, catalogue_key, kind_of_catalogue, read_object
from billing.stripe_api import CATALOGUE, StripeObject
from billing.sync import request_sync
from organizations.models import Organization

State = SubscriptionEvent.State


@dataclass(frozen=True)
class ReprocessPreview(Preview):
    """What reading an event's objects again would correct."""

    customer_id: str
    objects: tuple[str, ...]
    missing: tuple[str, ...]
    """Those of the objects that Stripe does not know, or not any more."""
    differences: Differences

    @property
    def words(self) -> str:
        """What would change, in a line, for where many are looked at."""
        said = shortened(in_words(self.differences))
        if self.differences.lifts_hold:
            said.append(_("the hold for non-payment is lifted"))
        if self.missing:
            said.append(_("not at Stripe, or not any more: %(ids)s") % {"ids": ", ".join(self.missing)})
        return "; ".join(said) or _("nothing differs")


class ReprocessEvent(Operation[SubscriptionEvent, Choices, ReprocessPreview]):
    """Let an event wait for its objects to be read once more. Asks nothing of Stripe but to tell, so it has no step."""

    type = "reprocess_event"
    label = gettext_lazy("Processed again")
    attempt = gettext_lazy("process an event again")
    permission = "billing.reprocess_event"
    choices_class = Choices

    def refuse_reason(self, subject: SubscriptionEvent) -> str | None:
        """Only what Stripe told us can be processed, and only where something is to be read because of it."""
        return unprocessable(with_meaning(subject)) or in_progress(self.lock_key(subject, Choices()))

    def preview(self, subject: SubscriptionEvent, choices: Choices, at: int) -> ReprocessPreview:
        """The event's objects, read from Stripe and held against our own."""
        return self.foreseen(subject, at, read_object)

    def foreseen(self, subject: SubscriptionEvent, at: int, read_one: ReadObject) -> ReprocessPreview:
        """The preview, with another way to read an object: `ReadOnce` where many are looked at."""
        reason = self.refuse_reason(subject)
        if reason:
            raise OperationRefused(reason)
        read: list[StripeObject] = []
        missing = []
        for object_id in subject.objects_to_read or ():
            try:
                read += read_one(_sync_key(subject), object_id)
            except ObjectMissing:
                missing.append(object_id)
        customer_id = subject.stripe_customer_id or _customer_in(read) or ""
        differences = Differences((), (), detached=0, lifts_hold=False)
        if not kind_of_catalogue(_sync_key(subject)):
            organization = Organization.objects.filter(stripe_customer_id=customer_id).first()
            if organization is None or not customer_id:
                raise OperationRefused(
                    _("No organization here has the Stripe customer of this event, so nothing would change.")
                )
            now = datetime.datetime.fromtimestamp(at, datetime.UTC)
            differences = compare(organization, customer_id, read, now, everything=False)
        return ReprocessPreview(
            customer_id=customer_id,
            objects=tuple(subject.objects_to_read or ()),
            missing=tuple(missing),
            differences=differences,
        )

    def lock_key(self, subject: SubscriptionEvent, choices: Choices) -> str:
        """One event, one reprocessing at a time."""
        return f"event:{subject.pk}"

    def prepare(
        self, subject: SubscriptionEvent, choices: Choices, preview: ReprocessPreview, actor: User | None
    ) -> Intent:
        """Nothing is asked of Stripe; the settling lets the event wait and asks for the reading."""
        subject = with_meaning(subject)
        organization = Organization.objects.filter(stripe_customer_id=preview.customer_id or None).first()
        return Intent(
            before={"state": subject.state, "attempts": subject.attempts, "error": subject.error},
            plan={
                "event": subject.pk,
                "sync_key": _sync_key(subject),
                "number": preview.differences.number,
            },
            columns={
                "organization": organization,
                "organization_label": organization.name if organization else None,
                "stripe_customer_id": preview.customer_id or None,
                "stripe_object_id": subject.stripe_object_id,
                "stripe_subscription_id": subject.stripe_subscription_id,
                "stripe_invoice_id": subject.stripe_invoice_id,
                "stripe_charge_id": subject.stripe_charge_id,
                "stripe_refund_id": subject.stripe_refund_id,
            },
        )

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """The event waits again, unless it was done; what it is about is read, and that closes it."""
        plan = event.plan or {}
        again = SubscriptionEvent.objects.filter(pk=plan["event"])
        told = again.get()
        if told.objects_to_read is None:
            with_meaning(told).save()
        # Taken in from Stripe since the event came: now we know whose it is.
        again.filter(organization__isnull=True, stripe_customer_id=event.stripe_customer_id).update(
            organization=event.organization, organization_label=event.organization_label
        )
        again.exclude(state=State.DONE).update(
            state=State.PENDING, attempts=0, next_attempt_at=Now(), processed_at=None
        )
        if plan["sync_key"] != event.stripe_customer_id:
            # Nobody knew whose charge it is; the sync of the charge hands the event over to its customer's.
            request_sync(plan["sync_key"], plan["objects"])
        return Settlement(message=read_again(plan["number"]))

    def retell(self, event: SubscriptionEvent) -> Told:
        """Which objects were read again, what of them Stripe did not know, and what differed."""
        plan = event.plan or {}
        missing = (
            [_("Stripe does not know %(ids)s any more") % {"ids": ", ".join(plan["missing"])}]
            if plan["missing"]
            else []
        )
        return Told(
            _("processed an event of Stripe's again (%(ids)s)") % {"ids": ", ".join(plan["objects"])},
            (*missing, *told_differences(plan["differences"])),
        )

    def sync_objects(self, event: SubscriptionEvent) -> list[str]:
        """What the event is about."""
        objects: list[str] = (event.plan or {})["objects"]
        return objects


def unprocessable(event: SubscriptionEvent) -> str | None:
    """Why nothing is to be read because of this event, in a sentence; None where something is."""
    if event.source != SubscriptionEvent.Source.STRIPE:
        return _("This did not come from Stripe, so there is nothing to process again.")
    if not event.objects_to_read:
        return _("Events of this type call for nothing to be read from Stripe, so there is nothing to do.")
    if not _sync_key(event):
        return _("This event names no customer and no charge, so we cannot tell whose it is.")
    return None


def process_unasked(event: SubscriptionEvent, reason: str) -> SubscriptionEvent:
    """Process an event again without a person who agrees to it, as the command line does. Returns our own act.

    Raises OperationRefused and StripeError; then nothing was changed.
    """
    operation, choices = ReprocessEvent(), Choices()
    preview = operation.preview(event, choices, int(timezone.now().timestamp()))
    lock_key = operation.lock_key(event, choices)
    intent = operation.prepare(event, choices, preview, None)
    try:
        with transaction.atomic():
            act = record_intent(
                operation,
                None,
                intent,
                lock_key=lock_key,
                actor=None,
                reason=reason,
                plan={**preview.to_dict(), "choices": choices.to_dict(), **intent.plan},
            )
    except IntegrityError as error:
        raise OperationRefused(in_progress(lock_key) or _("It is being processed just now.")) from error
    carry_out(act, operation, resend=False)
    act.refresh_from_db()
    return act


def _sync_key(event: SubscriptionEvent) -> str:
    """Whose sync reads the event's objects: the customer, or what has none that is known; else empty."""
    kind = event.type.partition(".")[0]
    if kind in CATALOGUE:
        return catalogue_key(kind, event.stripe_object_id or "")
    return event.stripe_customer_id or event.stripe_charge_id or event.stripe_invoice_id or ""


def _customer_in(read: list[StripeObject]) -> str | None:
    """The customer that these objects name, None where they name none."""
    return next((each["customer"] for each in read if isinstance(each.get("customer"), str)), None)
