"""Refund: what is asked and what is shown. The doing is `billing.operations.refund`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.functional import cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adminops.pages import words
from adminops.pages.operations.base import OperationPage, Row
from adminops.pages.operations.forms import ReasonForm
from billing import authority, mirror
from billing.models import SubscriptionEvent
from billing.money import format_money, parse_amount
from billing.operations import OPERATIONS
from billing.operations.mirrored_account import MirroredAccount, left_in_words, mirrored_accounts
from billing.operations.refund_account import Payment
from billing.operations.refund_preview import (
    Destination,
    RefundChoices,
    RefundPreview,
    StripeReason,
)
from organizations.models import Organization

INVOICES_OFFERED = 100


class RefundForm(ReasonForm):
    """Which invoice, how much of it, to where, and why."""

    invoice = forms.ChoiceField(
        label=gettext_lazy("Invoice"),
        error_messages={
            "required": gettext_lazy("Choose which invoice goes back."),
            "invalid_choice": gettext_lazy(
                "This invoice is not one that this organization paid. Choose another."
            ),
        },
    )
    destination = forms.ChoiceField(
        label=gettext_lazy("Where the money goes"),
        choices=Destination.choices,
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose where the money goes."),
            "invalid_choice": gettext_lazy("Choose where the money goes."),
        },
    )
    payment = forms.ChoiceField(
        label=gettext_lazy("Which payment"),
        required=False,
        error_messages={"invalid_choice": gettext_lazy("Choose one of this invoice's payments.")},
    )
    amount = forms.CharField(
        label=gettext_lazy("Amount"),
        required=False,
        max_length=60,
        help_text=gettext_lazy("Empty gives back all that is left."),
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autofocus": True, "autocomplete": "off"}),
    )
    stripe_reason = forms.ChoiceField(
        label=gettext_lazy("Reason for Stripe"),
        required=False,
        choices=[("", gettext_lazy("None")), *StripeReason.choices],
        error_messages={"invalid_choice": gettext_lazy("Choose one of Stripe's reasons, or none.")},
    )


class RefundPage(OperationPage[Organization, RefundChoices, RefundPreview]):
    """Give back part or all of an invoice."""

    operation = OPERATIONS["refund_invoice"]
    form_class = RefundForm
    previews_at_once = True
    previewed_fields = ("invoice", "destination", "payment", "amount", "stripe_reason")

    @cached_property
    def invoices(self) -> dict[str, dict[str, Any]]:
        """The paid invoices that can be chosen, newest first; one that a link names is there however old it is."""
        customer_id = self.subject.stripe_customer_id
        if not customer_id:
            return {}
        found = {each["id"]: each for each in mirror.paid_invoices_of(customer_id, INVOICES_OFFERED)}
        asked = mirror.paid_invoice(customer_id, self.asked) if self.asked not in found else None
        return {**found, asked["id"]: asked} if asked else found

    @property
    def asked(self) -> str:
        """The invoice that the link to this page names."""
        return self.query.get("invoice", "").replace("\0", "")

    def facts(self) -> list[str]:
        said = []
        if self.asked and self.asked not in self.invoices:
            said.append(
                _("Invoice %(id)s is not one that this organization paid; choose another.")
                % {"id": self.asked}
            )
        return said + [_in_flight(event) for event in self._pending()]

    def _pending(self) -> list[SubscriptionEvent]:
        return list(
            SubscriptionEvent.objects.filter(
                organization=self.subject, type=self.operation.type, state=SubscriptionEvent.State.PENDING
            )
        )

    @cached_property
    def accounts(self) -> dict[str, MirroredAccount]:
        """What was paid and went back of each, as far as our own database tells."""
        return mirrored_accounts(self.subject, list(self.invoices.values()))

    def initial(self) -> dict[str, Any]:
        left = (id_ for id_, account in self.accounts.items() if account.remaining)
        return {
            "invoice": self.asked
            if self.asked in self.invoices
            else next(left, next(iter(self.invoices), "")),
            "destination": Destination.CARD,
        }

    def form(self, data: Any = None) -> forms.Form:
        form = super().form(data)
        form.fields["invoice"].choices = [  # type: ignore[attr-defined]
            (id_, _in_words(each, self.accounts[id_])) for id_, each in self.invoices.items()
        ]
        form.fields["amount"].help_text = _help(each["currency"] for each in self.invoices.values())
        several = {id_: paid for id_, each in self.invoices.items() if len(paid := _payments(each)) > 1}
        if several:
            which = [("", _("Choose one"))] + [
                (payment, f"{self.invoices[id_].get('number') or id_}: {label}")
                for id_, paid in several.items()
                for payment, label in paid
            ]
            form.fields["payment"].choices = which  # type: ignore[attr-defined]
            form.fields["payment"].only_when = f"invoice={'|'.join(several)}"  # type: ignore[attr-defined]
        else:
            del form.fields["payment"]
        return form

    def choices(self, cleaned: dict[str, Any]) -> RefundChoices:
        text = cleaned["amount"]
        currency = self.invoices[cleaned["invoice"]]["currency"]
        return RefundChoices(
            invoice=cleaned["invoice"],
            amount=parse_amount(text, currency) if text else None,
            destination=cleaned["destination"],
            payment=cleaned.get("payment", ""),
            stripe_reason=cleaned["stripe_reason"],
        )

    def rows(self, preview: RefundPreview) -> list[Row]:
        def money(amount: int) -> str:
            return format_money(amount, preview.currency)

        account = preview.account
        taken = [
            (_("Lost in a dispute"), account.lost),
            (_("Disputed by the bank, not decided yet"), account.disputed),
        ]
        return [
            Row(
                _("Paid for %(number)s") % {"number": preview.number},
                money(account.paid),
                _how(preview),
            ),
            Row(_("Refunded already"), money(account.refunded)),
            Row(_("Refunds that the bank has not confirmed"), money(account.pending)),
            Row(_("Credited already"), money(account.credited)),
            *(Row(label, money(amount)) for label, amount in taken if amount),
            Row(_("Remaining"), money(account.remaining), is_sum=True),
        ]

    def sentences(self, preview: RefundPreview) -> list[str]:
        amount = format_money(preview.amount, preview.currency)
        left = preview.account.remaining - preview.amount
        told = {"amount": amount, "left": format_money(left, preview.currency)}
        if preview.payment is None:
            said = [
                _(
                    "%(amount)s is credited to the customer's balance and taken off the next invoices; no money goes to"
                    " a card."
                )
                % told
            ]
        else:
            said = [
                _("%(amount)s goes back to %(card)s.") % {**told, "card": card_in_words(preview.payment)},
                _("The customer sees it in 5 to 10 days."),
            ]
        said.append(
            _("%(left)s is left then.") % told if left else _("That is all that is left of this invoice.")
        )
        if left and preview.payment and preview.account.from_balance:
            said.append(
                _("%(sum)s was paid from the balance, and can only go back there.")
                % {"sum": format_money(preview.account.from_balance, preview.currency)}
            )
        return said

    def warnings(self, preview: RefundPreview) -> list[str]:
        said = [
            _(
                "The customer's bank disputes %(amount)s of this invoice; whoever loses a dispute after a refund pays"
                " twice."
            )
            % {"amount": format_money(dispute.amount, preview.currency)}
            for dispute in preview.account.disputes
            if dispute.is_open
        ]
        if preview.payment and preview.stripe_reason == StripeReason.FRAUDULENT:
            said.append(
                _("With this reason Stripe also blocks the card and the mail address for further payments.")
            )
        over = self.over_limit(preview)
        return [*said, over] if over else said

    def over_limit(self, preview: RefundPreview) -> str | None:
        """That it is more than this person may give back, in a sentence; None where it is not."""
        return authority.refusal(
            self.user, preview.amount, preview.currency, self.operation.permission, self.operation.type
        )

    def confirm_label(self, preview: RefundPreview) -> str:
        if self.over_limit(preview):
            return ""  # no button for what would be refused
        amount = format_money(preview.amount, preview.currency)
        if preview.payment is None:
            return _("Credit %(amount)s to the balance") % {"amount": amount}
        return _("Refund %(amount)s") % {"amount": amount}


def card_in_words(payment: Payment) -> str:
    """ "Visa •••• 4242", or what else it was paid with."""
    return f"{capfirst(payment.card)} •••• {payment.last4}" if payment.last4 else payment.card


def _in_words(invoice: dict[str, Any], account: MirroredAccount) -> str:
    """ "NW-0018, 12 Nov, $348.00: $29.00 refunded, $319.00 left"."""
    created = words.from_unix(invoice["created"])
    name = ", ".join(
        [
            invoice.get("number") or invoice["id"],
            *([words.short_date(created)] if created else []),
            format_money(invoice["total"], invoice["currency"]),
        ]
    )
    sums = [
        (account.refunded + account.pending, _("%(sum)s refunded")),
        (account.credited, _("%(sum)s credited")),
        (account.disputed, _("%(sum)s disputed")),
        (account.lost, _("%(sum)s lost in a dispute")),
    ]
    gone = [said % {"sum": format_money(n, invoice["currency"])} for n, said in sums if n]
    if not gone:
        return name
    gone.append(left_in_words(account, invoice["currency"]) or _("nothing left"))
    return f"{name}: {', '.join(gone)}"


def _help(currencies: Iterable[str]) -> str:
    """In which currency the amount is, where the invoices are all in one."""
    named = {currency.upper() for currency in currencies}
    everything = _("Empty gives back all that is left.")
    if len(named) == 1:
        return _("In %(currency)s.") % {"currency": named.pop()} + " " + everything
    return _("In the currency of the invoice.") + " " + everything


def _payments(invoice: dict[str, Any]) -> list[tuple[str, str]]:
    """The payments of an invoice that went through, and what to call each."""
    found = []
    for each in (invoice.get("payments") or {}).get("data") or []:
        reference = each["payment"].get(each["payment"]["type"])
        if each["status"] == "paid" and reference:
            id_ = reference["id"] if isinstance(reference, dict) else reference
            paid_at = words.from_unix((each.get("status_transitions") or {}).get("paid_at"))
            parts = [format_money(each["amount_paid"], each["currency"])]
            found.append((id_, ", ".join(parts + ([words.short_date(paid_at)] if paid_at else []))))
    return found


def _how(preview: RefundPreview) -> str:
    """By what an invoice was paid, where it is more than one card or something else than a card."""
    account = preview.account
    parts = [
        _("%(sum)s by %(card)s")
        % {"sum": format_money(payment.amount, preview.currency), "card": card_in_words(payment)}
        for payment in account.payments
    ]
    if account.from_balance:
        parts.append(
            _("%(sum)s from the customer's balance")
            % {"sum": format_money(account.from_balance, preview.currency)}
        )
    if account.outside:
        parts.append(_("%(sum)s outside Stripe") % {"sum": format_money(account.outside, preview.currency)})
    return ", ".join(parts)


def _in_flight(event: SubscriptionEvent) -> str:
    return _("A refund of %(amount)s of %(number)s by %(who)s is still in progress (“%(reason)s”).") % {
        "amount": format_money(event.amount or 0, event.currency or ""),
        "number": (event.plan or {}).get("number", ""),
        "who": event.actor_label,
        "reason": event.reason or "",
    }
