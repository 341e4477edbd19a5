"""Reactivate: what is asked and what is shown. The doing is `billing.operations.reactivate`."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adminops.pages import words
from adminops.pages.operations.base import OperationPage, Row
from adminops.pages.operations.forms import OptionalReasonForm
from billing import mirror
from billing.attempts import decline_in_words, has_expired
from billing.money import format_money
from billing.operations import OPERATIONS
from billing.operations.reactivate_preview import (
    How,
    ReactivateChoices,
    ReactivatePreview,
    not_restored,
)
from billing.operations.subscription import date_in_words, every, live_subscriptions
from organizations.models import Organization


class ReactivateForm(OptionalReasonForm):
    """Where the subscription has ended, that a new one shall be made: this is asked, never assumed."""

    how = forms.ChoiceField(
        label=gettext_lazy("The subscription has ended"),
        choices=[(How.NEW.value, How.NEW.label)],
        widget=forms.RadioSelect,
        help_text=gettext_lazy(
            "The old one stays as it is. The new one begins today and is charged, or invoiced, at once."
        ),
        error_messages={
            "required": gettext_lazy(
                "The subscription has ended. To go on, choose that a new one shall be made."
            ),
            "invalid_choice": gettext_lazy("Choose that a new subscription shall be made."),
        },
    )


class ReactivatePage(OperationPage[Organization, ReactivateChoices, ReactivatePreview]):
    """The subscription goes on, or a new one begins."""

    operation = OPERATIONS["reactivate_subscription"]
    form_class = ReactivateForm
    previewed_fields = ("how",)
    previews_at_once = True

    def form(self, data: Any = None) -> forms.Form:
        form = super().form(data)
        if live_subscriptions(self.subject):
            # What lives can only go on, so there is nothing to ask.
            del form.fields["how"]
        return form

    def choices(self, cleaned: dict[str, Any]) -> ReactivateChoices:
        return ReactivateChoices(
            subscription=cleaned.get("subscription", ""), how=cleaned.get("how", How.UNDO.value)
        )

    def rows(self, preview: ReactivatePreview) -> list[Row]:
        def money(amount: int) -> str:
            return format_money(amount, preview.currency)

        seats = (
            ngettext("%(n)d seat", "%(n)d seats", preview.seats) % {"n": preview.seats}
            if preview.seats is not None
            else ""
        )
        rows = [Row(preview.plan, seats)]
        if preview.is_new:
            rows.append(Row(_("Invoiced today"), money(preview.total)))
            if preview.total < 0:
                rows.append(Row(_("Credited to the customer's balance"), money(-preview.total)))
            elif preview.due < preview.total:
                rows.append(Row(_("From the customer's balance"), money(preview.due - preview.total)))
            elif preview.due > preview.total:
                rows.append(Row(_("Owed on the customer's balance"), money(preview.due - preview.total)))
            label = _("To be paid") if preview.is_mailed else _("Charged today")
            rows.append(Row(label, money(preview.due), is_sum=True))
        elif preview.invoice_date:
            label = _("Next invoice, on %(day)s") % {"day": words.short_date(preview.invoice_date)}
            paid = _("%(due)s of it to be paid, after the customer's balance") % {"due": money(preview.due)}
            below = paid if preview.due != preview.total else ""
            rows.append(Row(label, money(preview.total), below=below, is_sum=True))
        rows.append(
            Row(
                _("From then on, %(every)s") % {"every": every(preview.interval, preview.interval_count)},
                money(preview.recurring),
                below=_("before discounts and tax") if preview.is_new else "",
                is_sum=True,
            )
        )
        return rows

    def sentences(self, preview: ReactivatePreview) -> list[str]:
        if not preview.is_new:
            said = [_("Nothing is charged today.")]
            if preview.ends_at:
                said.insert(
                    0,
                    _("The subscription does not end on %(date)s but renews.")
                    % {"date": date_in_words(preview.ends_at)},
                )
            return said
        said = [_("A new subscription is made.")]
        sum_ = format_money(preview.due, preview.currency)
        if preview.is_mailed:
            said.append(
                ngettext(
                    "No card is charged: Stripe sends the customer an invoice over %(sum)s, due within %(n)d day.",
                    "No card is charged: Stripe sends the customer an invoice over %(sum)s, due within %(n)d days.",
                    preview.days_until_due or 0,
                )
                % {"sum": sum_, "n": preview.days_until_due or 0}
            )
        elif preview.due > 0:
            said.append(_("%(sum)s is charged today to %(card)s.") % {"sum": sum_, "card": preview.card})
        else:
            said.append(_("Nothing is charged today."))
        said.append(_("Coupons, a trial and tax settings of the old subscription are not taken over."))
        return said

    def warnings(self, preview: ReactivatePreview) -> list[str]:
        return [
            *not_restored(preview.withdrawn_seats),
            *self._owed(),
            *self._card(preview),
            *self._credit(preview),
        ]

    def _owed(self) -> list[str]:
        """Invoices that are not paid, which stay owed whatever is done here."""
        owed: dict[str, list[int]] = {}
        for invoice in mirror.open_invoices_of(self.subject.stripe_customer_id or ""):
            if invoice.get("amount_remaining"):
                owed.setdefault(invoice["currency"], []).append(invoice["amount_remaining"])
        return [
            ngettext(
                "%(n)d earlier invoice is not paid: %(sum)s. It stays owed.",
                "%(n)d earlier invoices are not paid: %(sum)s. They stay owed.",
                len(amounts),
            )
            % {"n": len(amounts), "sum": format_money(sum(amounts), currency)}
            for currency, amounts in owed.items()
        ]

    def _card(self, preview: ReactivatePreview) -> list[str]:
        """That the card will hardly pay."""
        organization = self.subject
        if preview.is_mailed or not organization.card_last4:
            return []
        told = {"last4": organization.card_last4}
        if has_expired(organization.card_exp_month, organization.card_exp_year):
            return [
                _("The card •••• %(last4)s has expired, so a charge will fail unless it is replaced.") % told
            ]
        charges = mirror.charges_of(organization.stripe_customer_id or "", limit=1)
        if charges and charges[0].get("status") == "failed":
            return [
                _("The last charge failed: %(why)s. The next one may fail as well.")
                % {"why": decline_in_words(charges[0]).rstrip(".")}
            ]
        return []

    def _credit(self, preview: ReactivatePreview) -> list[str]:
        """Credit that waits, where the invoice shown here does not tell of it already."""
        customer = mirror.customer(self.subject.stripe_customer_id or "") or {}
        balance, currency = customer.get("balance") or 0, customer.get("currency")
        if balance >= 0 or not currency or preview.due != preview.total:
            return []
        return [
            _("The customer has a credit of %(sum)s, which pays the next invoices first.")
            % {"sum": format_money(-balance, currency)}
        ]

    def confirm_label(self, preview: ReactivatePreview) -> str:
        if not preview.is_new:
            return _("Keep the subscription")
        if preview.is_mailed or preview.due <= 0:
            return _("Make a new subscription")
        return _("Make a new subscription and charge %(sum)s") % {
            "sum": format_money(preview.due, preview.currency)
        }
