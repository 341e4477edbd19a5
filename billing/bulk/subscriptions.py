"""To the subscriptions of many: change seats, cancel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing import mirror
from billing.bulk import cautions
from billing.bulk.base import Figure, OrganizationsKind, PlannedRow, Selected, changed, with_held
from billing.errors import OperationRefused
from billing.metrics import recurring_amount, seat_item
from billing.money import format_money
from billing.operations.cancel_preview import (
    CancelChoices,
    CancelPreview,
    When,
    period_end,
    refuse_unless_cancellable,
)
from billing.operations.seat_preview import MAX_SEATS, SeatChoices, SeatPreview, ends_at
from billing.operations.subscription import (
    SubscriptionChoices,
    SubscriptionOperation,
    SubscriptionPreview,
    date_in_words,
    every,
    living,
    lock_key_of,
)
from billing.projection import from_unix
from billing.stripe_api import StripeObject
from organizations.models import Organization, seats_used_of


class SubscriptionsKind[ChoicesT: SubscriptionChoices, PreviewT: SubscriptionPreview](
    OrganizationsKind[ChoicesT, PreviewT]
):
    """An operation on the one live subscription of each."""

    def selected(self, keys: Sequence[str]) -> list[Selected[Organization]]:
        """With each one's subscriptions, and the seats that members occupy."""
        chosen = super().selected(keys)
        customers = [each.subject.stripe_customer_id for each in chosen if each.subject.stripe_customer_id]
        found = mirror.subscriptions_of_many(customers)
        used = seats_used_of([each.subject for each in chosen])
        read = [
            replace(
                each,
                objects=tuple(found.get(each.subject.stripe_customer_id or "", [])),
                seats_used=used.get(each.subject.pk, 0),
            )
            for each in chosen
        ]
        return with_held(read, lambda each: lock_key_of(each.subject.stripe_subscription_id or ""))

    def only_subscription(self, selected: Selected[Organization]) -> StripeObject:
        """The one that is meant. Raises OperationRefused where that is not clear, or it cannot be done to it."""
        live, own = living(selected.objects), selected.subject.stripe_subscription_id
        if len(live) > 1:
            raise OperationRefused(
                _("It has %(count)d live subscriptions. Do it on its own page, which asks which is meant.")
                % {"count": len(live)}
            )
        operation = cast("SubscriptionOperation[ChoicesT, PreviewT]", self.operation)
        subscription = next((each for each in selected.objects if each["id"] == own), None)
        if reason := operation.unfit_of(selected.subject, subscription) or selected.held:
            raise OperationRefused(reason)
        if subscription is None or subscription not in live:
            raise OperationRefused(_("It has no live subscription."))
        return subscription


class ChangeSeatsOfMany(SubscriptionsKind[SeatChoices, SeatPreview]):
    """To one number of seats, or by so many more or fewer."""

    type = "change_seats"
    # The subscription and the invoice it leads to, the change, and the subscription again.
    calls = 4
    calls_of_one_endpoint = 2

    def planned(self, selected: Selected[Organization], asked: dict[str, Any]) -> PlannedRow:
        organization, subscription = selected.subject, self.only_subscription(selected)
        now = organization.seats or 0
        seats = asked["seats"] if asked["how"] == "to" else now + asked["seats"]
        if seats == now:
            raise OperationRefused(
                ngettext("It has %(seats)s seat already.", "It has %(seats)s seats already.", now)
                % {"seats": _number(now)}
            )
        if not 1 <= seats <= MAX_SEATS:
            raise OperationRefused(
                _("It has %(now)s seats, and would have %(then)s; from 1 to %(most)s can be set.")
                % {"now": _number(now), "then": _number(seats), "most": _number(MAX_SEATS)}
            )
        choices = SeatChoices(subscription=subscription["id"], seats=seats, proration=asked["proration"])
        before, after = recurring_amount(subscription), recurring_amount(subscription, seats)
        recurring = _recurring("before", subscription)
        words = [_seats_in_words(now, seats), _recurring_in_words(before, after, recurring)]
        if seats < now and seats < (used := selected.seats_used):
            words.append(ngettext("%(n)d member is active", "%(n)d members are active", used) % {"n": used})
        basis = {
            "seats": now,
            "price": (seat_item(subscription) or {})["price"]["id"],
            "currency": subscription["currency"],
            "recurring": before,
            "ends_at": ends_at(subscription),
            "paused": (subscription.get("pause_collection") or {}).get("behavior") or "",
        }
        return PlannedRow(
            selected,
            choices,
            " · ".join(words),
            basis,
            cautions.of_subscription(subscription),
            {
                Figure("seats_before"): now,
                Figure("seats_after"): seats,
                recurring: before,
                replace(recurring, name="after"): after,
            },
        )

    def sums(self, figures: Counter[Figure]) -> list[str]:
        """Seats, and what is billed for each length of time in each currency."""
        return [
            _seats_in_words(figures[Figure("seats_before")], figures[Figure("seats_after")]),
            *(
                _recurring_in_words(figures[before], figures[replace(before, name="after")], before)
                for before in sorted(figures)
                if before.name == "before"
            ),
        ]

    def hold(
        self, basis: dict[str, Any], subject: Organization, choices: SeatChoices, preview: SeatPreview
    ) -> None:
        """By Stripe's own present number and price: our rows may be seconds behind."""
        if preview.seats_before != basis["seats"]:
            raise OperationRefused(
                ngettext(
                    "It has %(now)s seat now, and %(shown)s were shown. Nothing was changed.",
                    "It has %(now)s seats now, and %(shown)s were shown. Nothing was changed.",
                    preview.seats_before,
                )
                % {"now": _number(preview.seats_before), "shown": _number(basis["seats"])}
            )
        present = {
            "seats": preview.seats_before,
            "price": preview.price_id,
            "currency": preview.currency,
            "recurring": preview.recurring_before,
            "ends_at": int(preview.ends_at.timestamp()) if preview.ends_at else None,
            "paused": preview.paused,
        }
        if present != basis:
            raise OperationRefused(changed())


class CancelMany(SubscriptionsKind[CancelChoices, CancelPreview]):
    """At the end of each one's period, or now."""

    type = "cancel_subscription"
    # The subscription and its next invoice, as both are now and as they would be; the change; what is left then.
    calls = 10
    calls_of_one_endpoint = 2

    def planned(self, selected: Selected[Organization], asked: dict[str, Any]) -> PlannedRow:
        subscription, is_now = self.only_subscription(selected), asked["when"] == When.NOW
        choices = CancelChoices(
            subscription=subscription["id"],
            when=asked["when"],
            prorate=is_now and bool(asked["prorate"]),
            invoice_now=is_now and bool(asked["invoice_now"]),
            feedback=asked["feedback"],
            comment=asked["comment"],
        )
        refuse_unless_cancellable(subscription, choices, int(timezone.now().timestamp()))
        end = period_end(subscription)
        basis = _cancelling(subscription["status"], end, subscription.get("cancel_at"), choices)
        return PlannedRow(
            selected,
            choices,
            _end_in_words(subscription, choices),
            basis,
            cautions.of_subscription(subscription),
            {_recurring("ended", subscription): recurring_amount(subscription)},
        )

    def sums(self, figures: Counter[Figure]) -> list[str]:
        """What is not billed any more, for each length of time in each currency."""
        return [
            _("%(amount)s %(every)s is not billed any more")
            % {
                "amount": format_money(figures[ended], ended.currency),
                "every": every(ended.interval, ended.interval_count),
            }
            for ended in sorted(figures)
        ]

    def hold(
        self, basis: dict[str, Any], subject: Organization, choices: CancelChoices, preview: CancelPreview
    ) -> None:
        """By what Stripe has now, whatever our own rows say."""
        ends, scheduled = preview.ends_at, preview.scheduled_end
        present = _cancelling(
            preview.status,
            int(ends.timestamp()) if ends else None,
            int(scheduled.timestamp()) if scheduled else None,
            choices,
        )
        if present != basis:
            raise OperationRefused(changed())


def _recurring(name: str, subscription: StripeObject) -> Figure:
    recurring = subscription["items"]["data"][0]["price"].get("recurring") or {}
    return Figure(
        name, subscription["currency"], recurring.get("interval", ""), recurring.get("interval_count", 1)
    )


def _number(value: int) -> str:
    return formats.number_format(value, force_grouping=True)


def _seats_in_words(before: int, after: int) -> str:
    return _("Seats %(before)s → %(after)s") % {"before": _number(before), "after": _number(after)}


def _recurring_in_words(before: int, after: int, recurring: Figure) -> str:
    return _("%(before)s → %(after)s %(every)s") % {
        "before": format_money(before, recurring.currency),
        "after": format_money(after, recurring.currency),
        "every": every(recurring.interval, recurring.interval_count),
    }


def _cancelling(
    status: str, ends: int | None, scheduled: int | None, choices: CancelChoices
) -> dict[str, Any]:
    """What of a subscription a cancellation is agreed to by; "now" has no date of its own."""
    return {
        "status": status,
        "ends_at": ends if choices.when == When.PERIOD_END else None,
        "cancel_at": scheduled,
    }


def _end_in_words(subscription: StripeObject, choices: CancelChoices) -> str:
    amount = format_money(recurring_amount(subscription), subscription["currency"])
    if choices.when == When.PERIOD_END:
        end = from_unix(period_end(subscription))
        return _("Ends on %(date)s; %(amount)s is not billed any more") % {
            "date": date_in_words(end) if end else "",
            "amount": amount,
        }
    return " · ".join(
        [
            _("Ends now; %(amount)s is not billed any more") % {"amount": amount},
            _("unused time is credited") if choices.prorate else _("nothing is credited"),
            _("a final invoice is made") if choices.invoice_now else _("no final invoice"),
        ]
    )
