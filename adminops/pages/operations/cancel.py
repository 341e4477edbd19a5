"""Cancel: what is asked and what is shown. The doing is `billing.operations.cancel`."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adminops.pages import words
from adminops.pages.operations.base import OperationPage, Row
from adminops.pages.operations.forms import ReasonForm
from billing.money import format_money
from billing.operations import OPERATIONS
from billing.operations.cancel_preview import (
    MAX_COMMENT,
    CancelChoices,
    CancelPreview,
    Feedback,
    UnpaidInvoice,
    When,
)
from billing.operations.subscription import date_in_words, every, live_subscriptions
from organizations.models import Organization

YES = "yes"


class CancelForm(ReasonForm):
    """When it ends, what of its money if that is now, what the customer said, and why we do it."""

    only_when: ClassVar = {"prorate": "when=now", "invoice_now": "when=now"}

    when = forms.ChoiceField(
        label=gettext_lazy("When"),
        choices=When.choices,
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose when the subscription ends."),
            "invalid_choice": gettext_lazy("Choose when the subscription ends."),
        },
    )
    prorate = forms.ChoiceField(
        label=gettext_lazy("Time that is paid for and not used"),
        choices=[("", gettext_lazy("Credit nothing")), (YES, gettext_lazy("Credit it"))],
        widget=forms.RadioSelect,
        required=False,
    )
    invoice_now = forms.ChoiceField(
        label=gettext_lazy("Final invoice"),
        choices=[
            ("", gettext_lazy("Make none")),
            (YES, gettext_lazy("Make one now, with all that was not invoiced yet")),
        ],
        widget=forms.RadioSelect,
        required=False,
    )
    feedback = forms.ChoiceField(
        label=gettext_lazy("Why the customer leaves"),
        choices=[("", gettext_lazy("Not said")), *Feedback.choices],
        required=False,
    )
    comment = forms.CharField(
        label=gettext_lazy("In the customer's words"),
        max_length=MAX_COMMENT,
        required=False,
        help_text=gettext_lazy("Kept at Stripe with the subscription, with the reason the customer gave."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class CancelPage(OperationPage[Organization, CancelChoices, CancelPreview]):
    """The end of the subscription, at the end of the period or now."""

    operation = OPERATIONS["cancel_subscription"]
    form_class = CancelForm
    previewed_fields = ("when", "prorate", "invoice_now", "feedback", "comment")
    previews_at_once = True

    def form(self, data: Any = None) -> forms.Form:
        form = super().form(data)
        live = live_subscriptions(self.subject)
        if live and all(each["status"] == "trialing" for each in live):
            # Nothing was paid for a trial, so there is no unused time to credit.
            del form.fields["prorate"]
        return form

    def initial(self) -> dict[str, Any]:
        return {"when": When.PERIOD_END, "prorate": "", "invoice_now": "", "feedback": ""}

    def choices(self, cleaned: dict[str, Any]) -> CancelChoices:
        # What was chosen for "now" before the person chose otherwise is hidden by then, and counts no more.
        is_now = cleaned["when"] == When.NOW
        return CancelChoices(
            subscription=cleaned.get("subscription", ""),
            when=cleaned["when"],
            prorate=is_now and cleaned.get("prorate") == YES,
            invoice_now=is_now and cleaned["invoice_now"] == YES,
            feedback=cleaned["feedback"],
            comment=cleaned["comment"],
        )

    def rows(self, preview: CancelPreview) -> list[Row]:
        def money(amount: int) -> str:
            return format_money(amount, preview.currency)

        end = words.short_date(preview.ends_at) if preview.ends_at else ""
        rows = [Row(_("The subscription ends"), _("now") if preview.is_now else end)]
        if preview.credited:
            rows.append(Row(_("Credit for unused time"), money(preview.credited)))
        if preview.waiting:
            rows.append(Row(_("From earlier changes, not invoiced yet"), money(preview.waiting)))
        if preview.is_invoiced:
            if preview.total < 0:
                rows.append(Row(_("Credited to the customer's balance"), money(-preview.total), is_sum=True))
            else:
                rows.append(Row(_("Final invoice"), money(preview.total), is_sum=True))
        elif preview.waiting and not preview.is_now:
            label = _("Still owed on %(day)s") if preview.waiting > 0 else _("Credited on %(day)s")
            rows.append(Row(label % {"day": end}, money(abs(preview.waiting)), is_sum=True))
        rows += [_unpaid_row(each, preview) for each in preview.unpaid]
        rows.append(
            Row(
                _("From then on, %(every)s") % {"every": every(preview.interval, preview.interval_count)},
                money(0),
                below=_("now %(before)s") % {"before": money(preview.recurring)},
                is_sum=True,
            )
        )
        return rows

    def sentences(self, preview: CancelPreview) -> list[str]:
        if not preview.is_now:
            return [
                _("Until then nothing changes, and the cancellation can be undone."),
                _("From then on members have no access, since no subscription lets them in."),
            ]
        said = [_("Members lose their access at once, since no subscription lets them in any more.")]
        if preview.is_invoiced and preview.total < 0:
            said.append(
                _(
                    "The credit goes to the customer's balance, for later invoices; nothing goes back to a card."
                    " For that, refund an invoice."
                )
            )
        elif preview.due > 0 and preview.is_mailed:
            said.append(_("No card is charged: Stripe sends the customer an invoice to pay."))
        elif preview.due > 0:
            said.append(_("%(sum)s is charged today.") % {"sum": format_money(preview.due, preview.currency)})
        else:
            said.append(_("Nothing is charged today."))
        if not preview.credited:
            said.append(_("Unused time is not credited."))
        elif preview.credit_shrinks_by:
            said.append(
                _(
                    "Stripe counts unused time to the second it ends, so the credit may be up to %(sum)s less by then."
                )
                % {"sum": format_money(preview.credit_shrinks_by, preview.currency)}
            )
        said.append(_("This cannot be undone."))
        return said

    def warnings(self, preview: CancelPreview) -> list[str]:
        said = []
        if preview.scheduled_end:
            sentence = (
                _("This subscription is set to end on %(date)s already; it would end now instead.")
                if preview.is_now
                else _("This subscription is set to end on %(date)s already; it would end earlier.")
            )
            said.append(sentence % {"date": date_in_words(preview.scheduled_end)})
        if preview.planned_seats and preview.planned_at:
            said.append(
                _("The change to %(seats)s seats that is planned for %(date)s is withdrawn.")
                % {"seats": preview.planned_seats, "date": date_in_words(preview.planned_at)}
            )
        if preview.is_now and preview.waiting and not preview.is_invoiced:
            said.append(
                _(
                    "What earlier changes left to be invoiced (%(sum)s) is not: only a final invoice would settle it."
                )
                % {"sum": format_money(preview.waiting, preview.currency)}
            )
        if preview.credited and not preview.is_invoiced:
            said.append(
                _(
                    "Without a final invoice the credit only waits at Stripe: the customer has nothing of it until"
                    " somebody invoices it there."
                )
            )
        if preview.credited and any(each.amount and not each.is_draft for each in preview.unpaid):
            said.append(_("An invoice is not paid, and Stripe credits unused time that was never paid for."))
        return said

    def confirm_label(self, preview: CancelPreview) -> str:
        if preview.is_now or preview.ends_at is None:
            return _("Cancel now")
        return _("Cancel on %(date)s") % {"date": words.short_date(preview.ends_at)}


def _unpaid_row(invoice: UnpaidInvoice, preview: CancelPreview) -> Row:
    """An invoice that is not paid, and whether Stripe goes on collecting it."""
    name = invoice.number or _("a draft")
    label = _("Draft invoice %(number)s") if invoice.is_draft else _("Open invoice %(number)s")
    if invoice.is_draft and not invoice.number:
        label, name = _("Draft invoice"), ""
    below = (
        _("Stripe stops collecting it by itself; it stays as it is")
        if preview.is_now
        else _("Stripe goes on collecting it")
    )
    return Row(label % {"number": name}, format_money(invoice.amount, invoice.currency), below=below)
