"""What is asked once for many: a form for each operation that can be done to many, by the operation's name."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adminops.pages.operation import ReasonForm
from billing.operations.seat_preview import MAX_SEATS, Proration


class BulkForm(ReasonForm):
    """Why, for all of them; a subclass puts its own questions before."""

    def asked(self) -> dict[str, Any]:
        """The answers as JSON holds them, without the reason and the ticket."""
        return {name: value for name, value in self.cleaned_data.items() if name not in {"reason", "ticket"}}


class SeatsOfManyForm(BulkForm):
    """To a number, or by so many."""

    how = forms.ChoiceField(
        label=gettext_lazy("Change seats"),
        choices=[("to", gettext_lazy("To one number")), ("by", gettext_lazy("By so many more or fewer"))],
        initial="to",
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose whether the number is the new one or the difference.")
        },
    )
    seats = forms.IntegerField(
        label=gettext_lazy("Seats"),
        min_value=-MAX_SEATS,
        max_value=MAX_SEATS,
        help_text=gettext_lazy("12 for twelve seats or twelve more; −2 for two fewer."),
        error_messages={
            "required": gettext_lazy("Say how many seats."),
            "invalid": gettext_lazy("Seats are a whole number, such as 12 or -2."),
            "min_value": gettext_lazy("No more than 1,000,000 seats can be taken away from here."),
            "max_value": gettext_lazy("More than 1,000,000 seats cannot be set from here."),
        },
        widget=forms.NumberInput(attrs={"autocomplete": "off", "step": 1}),
    )
    proration = forms.ChoiceField(
        label=gettext_lazy("Charge for the rest of this period"),
        choices=Proration.choices,
        initial=Proration.NEXT_INVOICE,
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose how the rest of this period is charged.")},
    )

    def clean_seats(self) -> int:
        seats: int = self.cleaned_data["seats"]
        if self.cleaned_data.get("how") == "to" and seats < 1:
            raise forms.ValidationError(_("There must be at least 1 seat. To end a subscription, cancel it."))
        if self.cleaned_data.get("how") == "by" and seats == 0:
            raise forms.ValidationError(
                _("By 0 seats changes nothing. Say how many more, or how many fewer.")
            )
        return seats


FORMS: dict[str, type[BulkForm]] = {
    "change_seats": SeatsOfManyForm,
}
