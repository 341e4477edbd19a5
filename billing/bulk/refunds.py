"""Refund many invoices in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.utils.translation import gettext as _

from billing import authority, mirror
from billing.bulk import cautions
from billing.bulk.base import BulkKind, Figure, PlannedRow, Selected, with_held
from billing.errors import NotPermitted, OperationRefused
from billing.money import format_money, payable
from billing.operations.mirrored_account import accounts_of, balance_credits_for
from billing.operations.refund_account import Account, dispute_of
from billing.operations.refund_preview import (
    RefundChoices,
    RefundPreview,
    lock_key_of,
    refuse_for_disputes,
)
from billing.stripe_api import StripeObject
from organizations.models import Organization


class RefundMany(BulkKind[Organization, RefundChoices, RefundPreview]):
    """All that is left of each invoice, back to the card that paid it. Ticked in the mirror's list of invoices."""

    type = "refund_invoice"
    ticked_in = "djstripe.invoice"
    # The invoice and its account before and after, the refund, and what it changed.
    calls = 13
    calls_of_one_endpoint = 3

    def selected(self, keys: Sequence[str]) -> list[Selected[Organization]]:
        """Whose invoice each is; one of a customer that no organization here has is left out."""
        invoices = mirror.invoices_by_key([int(key) for key in keys])
        owners = Organization.objects.in_bulk(
            {invoice["customer"] for invoice in invoices.values()}, field_name="stripe_customer_id"
        )
        charges = mirror.charges_of_invoices(invoices.values())
        ids = {charge["id"] for several in charges.values() for charge in several}
        refunds, disputes = mirror.refunds_of_charges(ids), mirror.disputes_of_charges(ids)
        credits_ = balance_credits_for(owners.values(), charges)
        accounts = accounts_of(invoices.values(), charges, refunds, disputes, credits_)
        read = [
            Selected(
                key,
                owners[invoice["customer"]],
                f"{owners[invoice['customer']].name} · {invoice.get('number') or invoice['id']}",
                (
                    invoice,
                    *(
                        thing
                        for charge in charges[invoice["id"]]
                        for thing in (
                            charge,
                            *refunds.get(charge["id"], ()),
                            *disputes.get(charge["id"], ()),
                        )
                    ),
                ),
                account=accounts[invoice["id"]],
            )
            for key in keys
            if (invoice := invoices.get(int(key))) is not None and invoice["customer"] in owners
        ]
        return with_held(read, lambda each: lock_key_of(each.objects[0]["id"]))

    def planned(self, selected: Selected[Organization], asked: dict[str, Any]) -> PlannedRow:
        invoice, *of_payments = selected.objects

        def all_of(kind: str) -> list[StripeObject]:
            return [each for each in of_payments if each["object"] == kind]

        choices = RefundChoices(invoice=invoice["id"], stripe_reason=asked["stripe_reason"])
        if selected.held:
            raise OperationRefused(selected.held)
        charge = _charge(invoice, all_of("charge"))
        refuse_for_disputes(dispute_of(each) for each in all_of("dispute"))
        currency = invoice["currency"]
        amount = _left(selected.account, currency)
        return PlannedRow(
            selected,
            choices,
            _("%(amount)s goes back to the card") % {"amount": format_money(amount, currency)},
            {"amount": amount},
            cautions.of_payment(invoice, charge, all_of("refund"), all_of("dispute")),
            {Figure("back", currency): amount},
        )

    def limit(self, actor: User) -> Callable[[PlannedRow], None]:
        """What their role may give back at once, and in a day with what is planned before."""
        allowance = authority.Allowance(actor, self.operation.permission, self.type)

        def hold_to_limit(row: PlannedRow) -> None:
            for back, amount in row.figures.items():
                if excess := allowance.refusal(amount, back.currency):
                    raise NotPermitted(excess.why)
                allowance.plan(amount, back.currency)

        return hold_to_limit

    def sums(self, figures: Counter[Figure]) -> list[str]:
        """What goes back in each currency."""
        return [
            _("%(amount)s goes back") % {"amount": format_money(figures[back], back.currency)}
            for back in sorted(figures)
        ]

    def hold(
        self, basis: dict[str, Any], subject: Organization, choices: RefundChoices, preview: RefundPreview
    ) -> None:
        """By what Stripe would give back now: our own rows may not know of a refund yet."""
        if preview.amount != basis["amount"]:
            raise OperationRefused(
                _("%(now)s is left of it now, and %(shown)s was shown. Nothing was changed.")
                % {
                    "now": format_money(preview.amount, preview.currency),
                    "shown": format_money(basis["amount"], preview.currency),
                }
            )


def _charge(invoice: StripeObject, paid: Sequence[StripeObject]) -> StripeObject:
    """The one payment of an invoice by card. Raises OperationRefused where there is none, or more than one."""
    if invoice["status"] != "paid":
        raise OperationRefused(_("It is not paid, so nothing of it can go back."))
    if invoice["total"] <= 0:
        raise OperationRefused(_("Nothing was paid on it."))
    if not paid:
        raise OperationRefused(_("It was not paid by card. Refund it on its organization's page."))
    if len(paid) > 1:
        raise OperationRefused(
            _("It was paid in %(n)d payments. Refund it on its organization's page, which asks which.")
            % {"n": len(paid)}
        )
    return paid[0]


def _left(account: Account | None, currency: str) -> int:
    """What would still go back of the one payment by card, in minor units, as the mirror has it.

    Raises OperationRefused where there is nothing.
    """
    left = (
        payable(min(account.payments[0].left, account.remaining), currency)
        if account and account.payments
        else 0
    )
    if left <= 0:
        raise OperationRefused(_("Nothing is left of it that could go back to the card."))
    return left
