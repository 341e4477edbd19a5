"""Change seats: what is asked and what is shown. The doing is `billing.operations.seats`."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adminops.pages.operation import Operation
from billing.models import SubscriptionEvent
from billing.operations.seats import Proration, SeatPreview, change_seats, preview_seats

MAX_SEATS = 1_000_000


class SeatsForm(forms.Form):
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
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=1000,
        help_text=gettext_lazy("For whoever reads the timeline a year from now."),
        error_messages={"required": gettext_lazy("Say why, for whoever reads the timeline later.")},
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    ticket = forms.CharField(
        label=gettext_lazy("Ticket"),
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class ChangeSeats(Operation[SeatPreview]):
    """More or fewer seats on the subscription."""

    form_class = SeatsForm
    preview_template = "adminops/seats_preview.html"
    previewed_fields = ("seats", "proration")

    @cached_property
    def seats_used(self) -> int:
        return self.organization.seats_used()

    def facts(self) -> list[str]:
        return [
            _("Seats now %(seats)s, used %(used)s.")
            % {"seats": self.organization.seats, "used": self.seats_used}
        ]

    def initial(self) -> dict[str, Any]:
        return {"seats": self.organization.seats, "proration": Proration.NEXT_INVOICE}

    def preview(self, data: dict[str, Any]) -> SeatPreview:
        return preview_seats(self.organization, seats=data["seats"], proration=Proration(data["proration"]))

    def preview_context(self, preview: SeatPreview) -> dict[str, Any]:
        return {
            "too_few": preview.seats_after < preview.seats_used,
            "every": every(preview.interval, preview.interval_count),
        }

    def confirm_label(self, preview: SeatPreview) -> str:
        return ngettext("Change to %(seats)d seat", "Change to %(seats)d seats", preview.seats_after) % {
            "seats": preview.seats_after
        }

    def dump(self, preview: SeatPreview) -> dict[str, Any]:
        return preview.to_dict()

    def load(self, dumped: dict[str, Any]) -> SeatPreview:
        return SeatPreview.from_dict(dumped)

    def is_about(self, preview: SeatPreview, data: dict[str, Any]) -> bool:
        return preview.seats_after == data["seats"] and preview.proration == Proration(data["proration"])

    def perform(self, preview: SeatPreview, data: dict[str, Any]) -> SubscriptionEvent:
        return change_seats(
            self.organization,
            preview=preview,
            actor=self.user,
            reason=data["reason"],
            ticket=data["ticket"],
        )


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
