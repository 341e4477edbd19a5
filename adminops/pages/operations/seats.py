"""Change seats: what is asked and what is shown. The doing is `billing.operations.seats` and `seat_schedule`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, cast

from django import forms
from django.utils import formats
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adminops.pages import words
from adminops.pages.operations.base import OperationPage, Row
from adminops.pages.operations.forms import ReasonForm
from billing.money import format_money
from billing.operations import OPERATIONS
from billing.operations.base import Preview
from billing.operations.seat_plan import SeatPlanPreview, SeatWithdrawalPreview, plan_in_words, planner
from billing.operations.seat_preview import MAX_SEATS, Proration, SeatChoices, SeatPreview, When
from billing.operations.subscription import every, live_subscriptions
from billing.schedules import planned_seats, schedule_of
from billing.stripe_api import StripeObject
from organizations.models import Organization

_PAUSED = {
    "keep_as_draft": gettext_lazy("Collection is paused: an invoice that is made meanwhile stays a draft."),
    "void": gettext_lazy(
        "Collection is paused: an invoice that is made meanwhile is voided, so nobody pays it."
    ),
    "mark_uncollectible": gettext_lazy(
        "Collection is paused: an invoice that is made meanwhile is written off, so nobody pays it."
    ),
}


class SeatsForm(ReasonForm):
    """How many seats, when, how the rest of the period they change in is charged, and why."""

    only_when: ClassVar = {
        "seats": "when=now|renewal|date",
        "on": "when=date",
        "proration": "when=now|date",
    }

    seats = forms.IntegerField(
        label=gettext_lazy("New seats"),
        min_value=1,
        max_value=MAX_SEATS,
        error_messages={
            "required": gettext_lazy("Say how many seats it shall be."),
            "invalid": gettext_lazy("Seats are a whole number, such as 12."),
            "min_value": gettext_lazy("There must be at least 1 seat. To end a subscription, cancel it."),
            "max_value": gettext_lazy("More than 1,000,000 seats cannot be set from here."),
        },
        widget=forms.NumberInput(
            attrs={"inputmode": "numeric", "autofocus": True, "autocomplete": "off", "step": 1}
        ),
    )
    when = forms.ChoiceField(
        label=gettext_lazy("When"),
        choices=When.choices,
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose when the seats change."),
            "invalid_choice": gettext_lazy("Choose when the seats change."),
        },
    )
    on = forms.DateField(
        label=gettext_lazy("Day of the change"),
        error_messages={
            "required": gettext_lazy("Say on which day the seats change."),
            "invalid": gettext_lazy("That is no day. Write it as 2026-12-31."),
        },
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )
    proration = forms.ChoiceField(
        label=gettext_lazy("Charge for the rest of the period"),
        choices=Proration.choices,
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose how the rest of this period is charged."),
            "invalid_choice": gettext_lazy("Choose how the rest of this period is charged."),
        },
    )


class SeatsPage[PreviewT: Preview](OperationPage[Organization, SeatChoices, PreviewT]):
    """What the page asks, whichever operation its answers choose."""

    form_class = SeatsForm
    previewed_fields = ("seats", "when", "on", "proration")

    @cached_property
    def seats_used(self) -> int:
        return self.subject.seats_used()

    @cached_property
    def subscriptions(self) -> list[StripeObject]:
        return live_subscriptions(self.subject)

    def facts(self) -> list[str]:
        known = [
            _("Seats now %(seats)s, used %(used)s.") % {"seats": self.subject.seats, "used": self.seats_used}
        ]
        for subscription in self.subscriptions:
            planned, schedule = planned_seats(subscription), schedule_of(subscription)
            if planned and schedule:
                known.append(plan_in_words(planned, planner(schedule)))
        return known

    def initial(self) -> dict[str, Any]:
        return {
            "seats": self.subject.seats,
            "when": self.query.get("when") or When.NOW,
            "proration": Proration.NEXT_INVOICE,
        }

    def form(self, data: Any = None) -> forms.Form:
        form = super().form(data)
        if not any(schedule_of(each) for each in self.subscriptions):
            # Nothing is planned, so there is nothing to withdraw.
            offered = [each for each in When.choices if each[0] != When.WITHDRAW]
            cast("forms.ChoiceField", form.fields["when"]).choices = offered
        return form

    def choices(self, cleaned: dict[str, Any]) -> SeatChoices:
        subscription, when = cleaned.get("subscription", ""), When(cleaned["when"])
        # What is not asked is left at its default, so that it makes no difference.
        chosen = SeatChoices(subscription=subscription, when=when.value)
        if when == When.WITHDRAW:
            return chosen
        chosen = replace(chosen, seats=cleaned["seats"])
        if when == When.RENEWAL:
            return chosen
        return replace(
            chosen,
            proration=cleaned["proration"],
            on=cleaned["on"].isoformat() if when == When.DATE else "",
        )


class PlanSeatsPage(SeatsPage[SeatPlanPreview]):
    """More or fewer seats from the renewal, or from a day on."""

    operation = OPERATIONS["schedule_seats"]

    def rows(self, preview: SeatPlanPreview) -> list[Row]:
        rows, day = [], words.short_date(preview.moment)
        if preview.prorated:
            label = (
                _("Charged for the rest of the period from %(day)s on")
                if preview.prorated > 0
                else _("Credited for the rest of the period from %(day)s on")
            )
            sum_ = format_money(preview.prorated, preview.currency)
            rows.append(
                Row(
                    label % {"day": day},
                    _("about %(sum)s") % {"sum": sum_} if preview.is_estimate else sum_,
                    below=_("an estimate; Stripe reckons it on that day") if preview.is_estimate else "",
                )
            )
        rows.append(
            Row(
                _("From %(day)s on, %(every)s")
                % {
                    "day": day,
                    "every": every(preview.interval, preview.interval_count),
                },
                format_money(preview.recurring_after, preview.currency),
                below=_("until then %(before)s")
                % {"before": format_money(preview.recurring_before, preview.currency)},
                is_sum=True,
            )
        )
        return rows

    def sentences(self, preview: SeatPlanPreview) -> list[str]:
        said = [_("Nothing is charged today, and the seats stay as they are until that day.")]
        if preview.is_renewal:
            said.append(_("The change comes with the renewal, so nothing is prorated."))
        elif preview.proration == Proration.NONE:
            said.append(_("The rest of that period is neither charged nor credited."))
        elif preview.proration == Proration.INVOICE_NOW:
            said.append(_("What is prorated is invoiced on that day."))
        else:
            said.append(_("What is prorated goes on the first invoice after that day."))
        return said

    def warnings(self, preview: SeatPlanPreview) -> list[str]:
        warned = too_few(preview.seats_used, preview.seats_after)
        if preview.replaced:
            warned.append(
                _("%(what)s This takes its place.")
                % {"what": plan_in_words(preview.replaced, preview.replaced_by_whom)}
            )
        return warned

    def confirm_label(self, preview: SeatPlanPreview) -> str:
        return ngettext(
            "Plan %(seats)d seat for %(day)s", "Plan %(seats)d seats for %(day)s", preview.seats_after
        ) % {"seats": preview.seats_after, "day": words.short_date(preview.moment)}


class WithdrawSeatsPage(SeatsPage[SeatWithdrawalPreview]):
    """No change, as if none had been planned."""

    operation = OPERATIONS["withdraw_scheduled_seats"]

    def rows(self, preview: SeatWithdrawalPreview) -> list[Row]:
        was = (
            plan_in_words(preview.planned, preview.by_whom)
            if preview.planned
            else _("The change that was planned has been made; only its schedule is left.")
        )
        return [Row(_("Seats stay"), formats.number_format(preview.seats), below=was, is_sum=True)]

    def sentences(self, preview: SeatWithdrawalPreview) -> list[str]:
        return [_("Nothing is charged or credited, and the subscription renews as it is.")]

    def confirm_label(self, preview: SeatWithdrawalPreview) -> str:
        return _("Withdraw what is planned")


class ChangeSeatsPage(SeatsPage[SeatPreview]):
    """More or fewer seats on the subscription."""

    operation = OPERATIONS["change_seats"]
    variants = (PlanSeatsPage, WithdrawSeatsPage)

    def variant_for(self, choices: SeatChoices) -> SeatsPage[Any]:
        if choices.when == When.NOW:
            return self
        page = WithdrawSeatsPage if choices.when == When.WITHDRAW else PlanSeatsPage
        return page(self.subject, self.user, self.query)

    def rows(self, preview: SeatPreview) -> list[Row]:
        def money(amount: int) -> str:
            return format_money(amount, preview.currency)

        rows = []
        if preview.credited or preview.charged:
            rows += [
                Row(
                    ngettext(
                        "Credit for unused time on %(n)d seat",
                        "Credit for unused time on %(n)d seats",
                        preview.seats_before,
                    )
                    % {"n": preview.seats_before},
                    money(preview.credited),
                ),
                Row(
                    ngettext(
                        "Charge for remaining time on %(n)d seat",
                        "Charge for remaining time on %(n)d seats",
                        preview.seats_after,
                    )
                    % {"n": preview.seats_after},
                    money(preview.charged),
                ),
            ]
            if preview.is_invoiced_now:
                if preview.waiting:
                    rows.append(
                        Row(_("From earlier changes, waiting for an invoice"), money(preview.waiting))
                    )
                label = (
                    _("Credited today, to the customer's balance")
                    if preview.invoice_total < 0
                    else _("Invoiced today")
                )
                rows.append(Row(label, money(preview.invoice_total), is_sum=True))
            else:
                label = (
                    _("Taken off the invoice of %(day)s")
                    if preview.prorated < 0
                    else _("Added to the invoice of %(day)s")
                )
                date = words.short_date(preview.invoice_date) if preview.invoice_date else ""
                rows.append(Row(label % {"day": date}, money(preview.prorated), is_sum=True))
        rows.append(
            Row(
                _("From then on, %(every)s") % {"every": every(preview.interval, preview.interval_count)},
                money(preview.recurring_after),
                below=_("now %(before)s") % {"before": money(preview.recurring_before)},
                is_sum=True,
            )
        )
        return rows

    def sentences(self, preview: SeatPreview) -> list[str]:
        if preview.is_mailed and preview.is_invoiced_now:
            said = [_("No card is charged: Stripe sends the customer an invoice to pay.")]
        elif preview.due_now > 0:
            sum_ = format_money(preview.due_now, preview.currency)
            said = [_("%(sum)s is charged today.") % {"sum": sum_}]
        else:
            said = [_("Nothing is charged today.")]
        if preview.proration == Proration.NONE:
            said.append(_("The rest of this period is neither charged nor credited."))
        return said

    def warnings(self, preview: SeatPreview) -> list[str]:
        warned = too_few(preview.seats_used, preview.seats_after)
        if preview.paused:
            warned.append(str(_PAUSED[preview.paused]))
        if preview.ends_at:
            warned.append(
                _("The subscription ends on %(day)s. This changes its seats until then.")
                % {"day": words.short_date(preview.ends_at)}
            )
        return warned

    def confirm_label(self, preview: SeatPreview) -> str:
        return ngettext("Change to %(seats)d seat", "Change to %(seats)d seats", preview.seats_after) % {
            "seats": preview.seats_after
        }


def too_few(used: int, seats: int) -> list[str]:
    """The warning that there will be fewer seats than members who use them."""
    if seats >= used:
        return []
    return [
        ngettext(
            "%(used)d members are active, more than %(seats)d seat. Nobody is locked out by this change.",
            "%(used)d members are active, more than %(seats)d seats. Nobody is locked out by this change.",
            seats,
        )
        % {"used": used, "seats": seats}
    ]
