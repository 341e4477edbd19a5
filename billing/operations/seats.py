"""Change seats: exactly what was previewed, once."""

from __future__ import annotations

import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Max
from django.utils import formats, timezone
from django.utils.translation import gettext as _

from billing import stripe_api
from billing.errors import OperationRefused, PreviewOutdated
from billing.models import OperationStep, SubscriptionEvent
from billing.operations.base import Intent, Operation, Settlement, Step, Trace, perform, performed
from billing.operations.seat_preview import (
    MAX_SEATS,
    PreviewLine,
    Proration,
    SeatPreview,
    fingerprint,
    lock_key_of,
    preview_at,
    preview_seats,
    refuse_reason,
)
from billing.stripe_api import StripeObject
from organizations.models import Organization

__all__ = [
    "MAX_SEATS",
    "ChangeSeats",
    "PreviewLine",
    "Proration",
    "SeatPreview",
    "change_seats",
    "preview_at",
    "preview_seats",
    "refuse_reason",
]


class ChangeSeats(Operation):
    """Set the quantity of the seat item, prorated exactly as previewed."""

    type = "change_seats"
    # The figures that the person agreed to are worth no longer than their preview.
    resend_within = datetime.timedelta(seconds=settings.PREVIEW_MAX_AGE_SECONDS)

    def __init__(self, preview: SeatPreview, newest_seen: int) -> None:
        super().__init__(UUID(preview.uuid))
        self.preview = preview
        self.newest_seen = newest_seen

    def prepare(self, organization: Organization) -> Intent:
        """Our row must still mean the subscription that was previewed."""
        preview = self.preview
        if organization.stripe_subscription_id != preview.subscription_id:
            raise PreviewOutdated(
                _("This organization has another subscription now. Look at what will happen anew.")
            )
        lock_key = lock_key_of(preview.subscription_id)
        if _newest_change(lock_key) > self.newest_seen:
            raise PreviewOutdated(
                _("A colleague changed this subscription just now. Nothing was changed by you.")
            )
        params: dict[str, Any] = {
            "items": [{"id": preview.item_id, "quantity": preview.seats_after}],
            "proration_behavior": preview.proration,
        }
        if preview.proration != Proration.NONE:
            params["proration_date"] = preview.proration_date
        if preview.proration == Proration.INVOICE_NOW:
            # A declined card must leave the seats as they were, not the subscription past due.
            params["payment_behavior"] = "error_if_incomplete"
        return Intent(
            lock_key=lock_key,
            steps=(Step("update", "POST", f"/v1/subscriptions/{preview.subscription_id}", params),),
            before={"seats": preview.seats_before, "recurring": preview.recurring_before},
            plan=preview.to_dict(),
            columns={
                "stripe_subscription_id": preview.subscription_id,
                "stripe_object_id": preview.subscription_id,
                "previous_quantity": preview.seats_before,
                "quantity": preview.seats_after,
                "amount": preview.prorated,
                "currency": preview.currency,
            },
        )

    @staticmethod
    def settle(event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """Stripe's answer is the changed subscription."""
        plan = event.plan or {}
        items = {item["id"]: item["quantity"] for item in answers[0]["items"]["data"]}
        seats = items.get(plan["item_id"], plan["seats_after"])
        return Settlement(
            message=_("Seats changed from %(before)s to %(after)s. Stripe confirmed at %(time)s.")
            % {
                "before": plan["seats_before"],
                "after": seats,
                "time": formats.time_format(timezone.localtime(), "H:i:s"),
            },
            after={"seats": seats, "latest_invoice": answers[0].get("latest_invoice")},
            columns={"status": answers[0]["status"]},
        )

    @staticmethod
    def find_outcome(event: SubscriptionEvent, step: OperationStep) -> Trace:
        """The update leaves our mark in the subscription's metadata, together with the seats."""
        subscription = stripe_api.retrieve(event.stripe_subscription_id or "")
        is_ours = (subscription.get("metadata") or {}).get("operation") == str(event.uuid)
        return Trace(
            answer=subscription if is_ours else None,
            still_agreed=fingerprint(subscription) == (event.plan or {}).get("fingerprint"),
        )


def _newest_change(lock_key: str) -> int:
    """The newest of our own changes of a subscription, in the ledger's order; 0 where there is none."""
    newest = SubscriptionEvent.objects.filter(lock_key=lock_key).aggregate(newest=Max("pk"))["newest"]
    return newest or 0


def change_seats(
    organization: Organization,
    *,
    preview: SeatPreview,
    actor: User,
    reason: str,
    ticket: str = "",
) -> SubscriptionEvent:
    """Apply exactly what was previewed. Returns the ledger row: done, failed, or pending while the outcome is unknown.

    The same preview applied again (a second click) is the same change: it returns the first one's row.
    Raises PreviewOutdated when the preview is older than `PREVIEW_MAX_AGE_SECONDS`, or when Stripe would now do
    anything else than it says; OperationRefused and StripeError when nothing was attempted.
    """
    try:
        return _change_seats(organization, preview, actor=actor, reason=reason, ticket=ticket)
    except PreviewOutdated:
        # Outdated by its own first click, perhaps, which was a moment faster.
        first = performed(UUID(preview.uuid))
        if first is None:
            raise
        return first


def _change_seats(
    organization: Organization, preview: SeatPreview, *, actor: User, reason: str, ticket: str
) -> SubscriptionEvent:
    first = performed(UUID(preview.uuid))
    if first is not None:
        return first
    newest_seen = _newest_change(lock_key_of(preview.subscription_id))
    age = timezone.now() - preview.previewed_at
    if age > datetime.timedelta(seconds=settings.PREVIEW_MAX_AGE_SECONDS):
        raise PreviewOutdated(
            _("These figures are more than ten minutes old. Nothing was changed; here are new ones.")
        )
    if preview.organization_id != organization.pk:
        raise OperationRefused(_("This preview belongs to another organization. Nothing was changed."))
    try:
        present = preview_at(
            organization, preview.seats_after, Proration(preview.proration), preview.proration_date
        )
    except OperationRefused as refusal:
        raise PreviewOutdated(refusal.message) from refusal
    if present.fingerprint != preview.fingerprint or present.figures != preview.figures:
        raise PreviewOutdated(
            _(
                "The subscription was changed since these figures were made. Nothing was changed; here are new ones."
            )
        )
    return perform(ChangeSeats(preview, newest_seen), organization, actor=actor, reason=reason, ticket=ticket)
