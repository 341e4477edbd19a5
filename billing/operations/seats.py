"""Change seats: exactly what was previewed, once."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.errors import OperationRefused
from billing.models import SubscriptionEvent
from billing.money import format_money
from billing.operations.base import Intent, Settlement, Step, Told
from billing.operations.seat_plan import plan_in_the_way
from billing.operations.seat_preview import Proration, SeatChoices, SeatPreview, preview_seats, unfit
from billing.operations.subscription import SubscriptionOperation, SubscriptionPreview, confirmed
from billing.stripe_api import StripeObject
from organizations.models import Organization


class SeatOperation[PreviewT: SubscriptionPreview](SubscriptionOperation[SeatChoices, PreviewT]):
    """What is done about the seats of a subscription, now or later."""

    permission = "organizations.change_seats"
    choices_class = SeatChoices

    def unfit(self, subscription: StripeObject) -> str | None:
        """Ended, unpaid from the start, managed by somebody else's schedule, or without seats."""
        return unfit(subscription)


class ChangeSeats(SeatOperation[SeatPreview]):
    """Set the quantity of the seat item, prorated exactly as previewed."""

    type = "change_seats"
    label = gettext_lazy("Change of seats")
    attempt = gettext_lazy("change seats")
    # The figures that the person agreed to are worth no longer than their preview.
    resend_within = datetime.timedelta(seconds=settings.PREVIEW_MAX_AGE_SECONDS)

    def preview(self, subject: Organization, choices: SeatChoices, at: int) -> SeatPreview:
        """To the cent, by Stripe's own preview of the invoice."""
        subscription = self.read(subject, choices)
        # What a schedule has planned would undo this change later, or be undone by it, and nobody had chosen which.
        planned = plan_in_the_way(subscription)
        if planned:
            raise OperationRefused(planned)
        return preview_seats(subject, subscription, choices, at)

    def prepare(
        self, subject: Organization, choices: SeatChoices, preview: SeatPreview, actor: User
    ) -> Intent:
        """One update of the one item."""
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
            steps=(Step("update", "POST", f"/v1/subscriptions/{preview.subscription_id}", params),),
            before={"seats": preview.seats_before, "recurring": preview.recurring_before},
            columns={
                "stripe_subscription_id": preview.subscription_id,
                "stripe_object_id": preview.subscription_id,
                "previous_quantity": preview.seats_before,
                "quantity": preview.seats_after,
                "amount": preview.prorated,
                "currency": preview.currency,
            },
        )

    def attempted(self, event: SubscriptionEvent) -> str:
        """To how many."""
        return _("change seats to %(seats)s") % {"seats": event.quantity}

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """Stripe's answer is the changed subscription."""
        plan = event.plan or {}
        items = {item["id"]: item["quantity"] for item in answers[0]["items"]["data"]}
        seats = items.get(plan["item_id"], plan["seats_after"])
        return Settlement(
            message=_("Seats changed from %(before)s to %(after)s. %(confirmed)s")
            % {"before": plan["seats_before"], "after": seats, "confirmed": confirmed()},
            after={"seats": seats, "latest_invoice": answers[0].get("latest_invoice")},
            columns={"status": answers[0]["status"]},
        )

    def retell(self, event: SubscriptionEvent) -> Told:
        """The seats, and what the change added to an invoice or took from it."""
        plan, after = event.plan or {}, event.after or {}
        return Told(
            _("changed seats %(before)s → %(after)s")
            % {"before": plan["seats_before"], "after": after["seats"]},
            (prorated_in_words(plan["proration"], event.amount or 0, plan["currency"]),),
        )


def prorations_waiting(
    changes: Iterable[SubscriptionEvent], subscription_id: str, invoices: Iterable[StripeObject]
) -> int:
    """What these changes of a subscription's seats add to its next invoice, in minor units; negative for a credit.

    Any invoice that Stripe makes for a subscription takes along what waits, so what is older than the newest of
    `invoices` was invoiced.
    """
    invoiced_at = max(
        (each["created"] for each in invoices if _subscription_of(each) == subscription_id), default=0
    )
    waiting = 0
    for change in changes:
        plan = change.plan or {}
        is_to_wait = plan.get("proration") == Proration.NEXT_INVOICE
        if (
            is_to_wait
            and plan["subscription_id"] == subscription_id
            and plan["proration_date"] >= invoiced_at
        ):
            waiting += change.amount or 0
    return waiting


def _subscription_of(invoice: StripeObject) -> str | None:
    parent = invoice.get("parent") or {}
    return (parent.get("subscription_details") or {}).get("subscription")


def prorated_in_words(proration: str, amount: int, currency: str) -> str:
    """What of the period's price was settled with a change, `amount` in minor units: "prorated $31.20"."""
    if proration == Proration.NONE or not amount:
        return _("nothing prorated")
    words = {"sum": format_money(amount, currency)}
    if proration == Proration.INVOICE_NOW:
        return _("prorated %(sum)s, invoiced at once") % words
    return _("prorated %(sum)s") % words
