"""Change seats: what is asked and what is shown. The doing is `billing.operations.seats`."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adminops.pages import words
from adminops.pages.operation import OperationPage, ReasonForm, Row
from billing.money import format_money
from billing.operations import OPERATIONS
from billing.operations.seat_preview import MAX_SEATS, Proration, SeatChoices, SeatPreview
from organizations.models import Organization


class SeatsForm(ReasonForm):
    """How many seats, how the rest of this period is charged, and why."""

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
    proration = forms.ChoiceField(
        label=gettext_lazy("Charge for the rest of this period"),
        choices=Proration.choices,
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose how the rest of this period is charged."),
            "invalid_choice": gettext_lazy("Choose how the rest of this period is charged."),
        },
    )


class ChangeSeatsPage(OperationPage[Organization, SeatChoices, SeatPreview]):
    """More or fewer seats on the subscription."""

    operation = OPERATIONS["change_seats"]
    form_class = SeatsForm
    previewed_fields = ("seats", "proration")

    @cached_property
    def seats_used(self) -> int:
        return self.subject.seats_used()

    def facts(self) -> list[str]:
        return [
            _("Seats now %(seats)s, used %(used)s.") % {"seats": self.subject.seats, "used": self.seats_used}
        ]

    def initial(self) -> dict[str, Any]:
        return {"seats": self.subject.seats, "proration": Proration.NEXT_INVOICE}

    def choices(self, cleaned: dict[str, Any]) -> SeatChoices:
        return SeatChoices(
            subscription=cleaned.get("subscription", ""),
            seats=cleaned["seats"],
            proration=cleaned["proration"],
        )

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
        if preview.seats_after >= preview.seats_used:
            return []
        return [
            ngettext(
                "%(used)d members are active, more than %(seats)d seat. Nobody is locked out by this change.",
                "%(used)d members are active, more than %(seats)d seats. Nobody is locked out by this change.",
                preview.seats_after,
            )
            % {"used": preview.seats_used, "seats": preview.seats_after}
        ]

    def confirm_label(self, preview: SeatPreview) -> str:
        return ngettext("Change to %(seats)d seat", "Change to %(seats)d seats", preview.seats_after) % {
            "seats": preview.seats_after
        }


def every(interval: str, count: int) -> str:
    """ "each month", "every 3 months"."""
    each = {"day": _("each day"), "week": _("each week"), "month": _("each month"), "year": _("each year")}
    if count == 1:
        return each.get(interval, interval)
    return {
        "day": ngettext("every %(n)d day", "every %(n)d days", count),
        "week": ngettext("every %(n)d week", "every %(n)d weeks", count),
        "month": ngettext("every %(n)d month", "every %(n)d months", count),
        "year": ngettext("every %(n)d year", "every %(n)d years", count),
    }[interval] % {"n": count}
