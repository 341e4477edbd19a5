"""Refund many invoices in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext as _

from billing import mirror
from billing.bulk.base import BulkKind, PlannedRow, Selected, with_held
from billing.errors import OperationRefused
from billing.money import format_money
from billing.operations.refund_preview import RefundChoices, RefundPreview, lock_key_of
from billing.stripe_api import StripeObject
from organizations.models import Organization


class RefundMany(BulkKind[Organization, RefundChoices, RefundPreview]):
    """All that is left of each invoice, back to the card that paid it. Ticked in the mirror's list of invoices."""

    type = "refund_invoice"
    ticked_in = "djstripe.invoice"

    def selected(self, keys: Sequence[str]) -> list[Selected[Organization]]:
        """Whose invoice each is; one of a customer that no organization here has is left out."""
        invoices = mirror.invoices_by_key([int(key) for key in keys])
        owners = Organization.objects.in_bulk(
            {invoice["customer"] for invoice in invoices.values()}, field_name="stripe_customer_id"
        )
        charges = mirror.charges_of_invoices(invoices.values())
        read = [
            Selected(
                key,
                owners[invoice["customer"]],
                f"{owners[invoice['customer']].name} · {invoice.get('number') or invoice['id']}",
                (invoice, *charges[invoice["id"]]),
            )
            for key in keys
            if (invoice := invoices.get(int(key))) is not None and invoice["customer"] in owners
        ]
        return with_held(read, lambda each: lock_key_of(each.objects[0]["id"]))

    def planned(self, selected: Selected[Organization], asked: dict[str, Any]) -> PlannedRow:
        invoice, *paid = selected.objects
        choices = RefundChoices(invoice=invoice["id"], stripe_reason=asked["stripe_reason"])
        if selected.held:
            raise OperationRefused(selected.held)
        amount, currency = _left(invoice, paid), invoice["currency"]
        outlook = _("%(amount)s goes back to the card") % {"amount": format_money(amount, currency)}
        return PlannedRow(selected, choices, outlook, {"amount": amount})

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


def _left(invoice: StripeObject, paid: Sequence[StripeObject]) -> int:
    """What Stripe would still send back of its one payment by card, in minor units, as the mirror has it.

    Raises OperationRefused where there is nothing, or more than one payment.
    """
    if invoice["status"] != "paid":
        raise OperationRefused(_("It is not paid, so nothing of it can go back."))
    if not paid:
        raise OperationRefused(_("It was not paid by card. Refund it on its organization's page."))
    if len(paid) > 1:
        raise OperationRefused(
            _("It was paid in %(n)d payments. Refund it on its organization's page, which asks which.")
            % {"n": len(paid)}
        )
    left: int = paid[0]["amount"] - (paid[0].get("amount_refunded") or 0)
    if left <= 0:
        raise OperationRefused(_("All that was paid for it has gone back already."))
    return left
