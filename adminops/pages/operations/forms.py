"""What the forms of all operations ask: why, and which subscription is meant."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adminops.pages.ledger.event_words import status_in_words
from billing.metrics import seat_item
from billing.operations.subscription import live_subscriptions
from billing.projection import plan_name
from organizations.models import Organization


class ReasonForm(forms.Form):
    """Why, for every operation that asks for it; a subclass puts its own questions before."""

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

    only_when: ClassVar[dict[str, str]] = {}
    """Fields that are asked only after a certain answer to another: `{"prorate": "when=now"}`, `"when=now|later"`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, condition in self.only_when.items():
            self.fields[name].only_when = condition  # type: ignore[attr-defined]  # for the template
        asked = [name for name in self.fields if name not in {"reason", "ticket"}]
        self.order_fields([*asked, "reason", "ticket"])

    def clean(self) -> dict[str, Any]:
        """What stands in a field that is not asked is no mistake."""
        cleaned = super().clean() or self.cleaned_data
        for name, condition in self.only_when.items():
            question, answers = condition.split("=")
            if str(cleaned.get(question)) not in answers.split("|"):
                self.errors.pop(name, None)
        return cleaned


class OptionalReasonForm(ReasonForm):
    """A form that nobody need fill in."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = False


def ask_which_subscription(form: forms.Form, organization: Organization) -> None:
    """Where a customer has several live subscriptions, the form asks which one is meant."""
    live = live_subscriptions(organization)
    if len(live) < 2:
        return
    form.fields["subscription"] = forms.ChoiceField(
        label=_("Which subscription"),
        choices=[(each["id"], subscription_in_words(each)) for each in live],
        initial=organization.stripe_subscription_id,
        widget=forms.RadioSelect,
        error_messages={"required": _("This customer has several subscriptions. Choose the one you mean.")},
    )
    form.order_fields(["subscription"])


def subscription_in_words(subscription: dict[str, Any]) -> str:
    """What tells one subscription from another: "Team, 8 seats, past due (sub_…)"."""
    item = seat_item(subscription) or next(iter(subscription["items"]["data"]), None)
    parts = [plan_name(item["price"])] if item else []
    if item and item.get("quantity"):
        parts.append(ngettext("%(n)d seat", "%(n)d seats", item["quantity"]) % {"n": item["quantity"]})
    return "{} ({})".format(", ".join([*parts, status_in_words(subscription["status"])]), subscription["id"])
