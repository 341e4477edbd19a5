"""What is asked once for many: a form for each operation that can be done to many, by the operation's name."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adminops.pages.operations.cancel import CancelForm
from adminops.pages.operations.forms import OptionalReasonForm, ReasonForm
from adminops.pages.operations.suspend import SuspendForm
from billing.operations.cancel_preview import When
from billing.operations.refund_preview import StripeReason
from billing.operations.seat_preview import MAX_SEATS, Proration
from billing.operations.suspend import LEGAL_PERMISSION, Billing, Invoices
from organizations.models import Hold


class BulkForm(ReasonForm):
    """Why, for all of them; a subclass puts its own questions before."""

    def __init__(self, user: Any, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.user = user

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


class CancelManyForm(CancelForm, BulkForm):
    """When each ends, what of its money if that is now, and why."""

    def __init__(self, user: Any, data: Any = None, **options: Any) -> None:
        super().__init__(user, data, initial={"when": When.PERIOD_END}, **options)


class SuspendManyForm(SuspendForm, BulkForm):
    """Which hold on each, until when, and what it means for billing."""

    def __init__(self, user: Any, data: Any = None, **options: Any) -> None:
        initial = {"billing": Billing.CONTINUES, "invoices": Invoices.LEAVE}
        super().__init__(user, data, initial=initial, **options)
        cast("forms.ChoiceField", self.fields["kind"]).choices = kinds_of_hold(user)


class ActivateManyForm(BulkForm):
    """Which holds of each are lifted."""

    kinds = forms.MultipleChoiceField(
        label=gettext_lazy("Lift the holds of these kinds"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={
            "required": gettext_lazy("Choose at least one kind of hold to lift."),
            "invalid_choice": gettext_lazy("Choose kinds of hold that you may lift."),
        },
    )

    def __init__(self, user: Any, data: Any = None, **options: Any) -> None:
        super().__init__(user, data, **options)
        cast("forms.MultipleChoiceField", self.fields["kinds"]).choices = kinds_of_hold(user)


class RefundManyForm(BulkForm):
    """Why each invoice goes back, in Stripe's words and in ours."""

    stripe_reason = forms.ChoiceField(
        label=gettext_lazy("Reason for Stripe"),
        required=False,
        choices=[("", gettext_lazy("None")), *StripeReason.choices],
        error_messages={"invalid_choice": gettext_lazy("Choose one of Stripe's reasons, or none.")},
    )


class ReadingManyForm(OptionalReasonForm, BulkForm):
    """Nothing need be said."""


def kinds_of_hold(user: Any) -> list[tuple[str, Any]]:
    """The kinds of hold that this person may place and lift."""
    if user.has_perm(LEGAL_PERMISSION):
        return list(Hold.Kind.choices)
    return [each for each in Hold.Kind.choices if each[0] != Hold.Kind.LEGAL]


FORMS: dict[str, type[BulkForm]] = {
    "change_seats": SeatsOfManyForm,
    "cancel_subscription": CancelManyForm,
    "suspend_organization": SuspendManyForm,
    "activate_organization": ActivateManyForm,
    "resync_organization": ReadingManyForm,
    "refund_invoice": RefundManyForm,
    "reprocess_event": ReadingManyForm,
}
