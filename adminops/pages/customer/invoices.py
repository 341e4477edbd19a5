"""Invoices: what each came to, what was paid and went back, and how it stands, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from adminops.pages import words
from adminops.pages.badges import AMBER, GREY, RED, Badge, overdue_badge, stripe_badge
from billing.money import format_money, payable
from billing.operations.mirrored_account import MirroredAccount, left_in_words, mirrored_accounts
from billing.projection import overdue_invoices
from billing.stripe_api import StripeObject
from organizations.models import Organization


@dataclass(frozen=True)
class InvoiceRow:
    """An invoice as Stripe sent it, and what was paid for it and went back of it."""

    data: StripeObject
    account: MirroredAccount

    @property
    def number(self) -> str:
        return self.data.get("number") or str(self.data["id"])

    @property
    def refunded(self) -> int:
        """What goes back to a card, in minor units; what the bank has not confirmed too."""
        return self.account.refunded + self.account.pending

    @property
    def notes(self) -> list[str]:
        """What went back otherwise, or is on its way."""
        sums = [
            (self.account.pending, _("%(sum)s on its way")),
            (self.account.credited, _("%(sum)s credited")),
            (self.data.get("pre_payment_credit_notes_amount") or 0, _("%(sum)s taken off by credit note")),
            (self.account.lost, _("%(sum)s lost in a dispute")),
        ]
        told = [said % {"sum": format_money(n, self.data["currency"])} for n, said in sums if n]
        left = left_in_words(self.account, self.data["currency"]) if self.account.at_most else ""
        return [*told, left] if left else told

    @property
    def left(self) -> int:
        """What can still be given back, in minor units."""
        if self.data.get("status") != "paid":
            return 0
        return payable(self.account.remaining, self.data["currency"])

    @property
    def state(self) -> Badge | None:
        """How it stands."""
        if self.data.get("status") == "open":
            return _open(self.data)
        if self.data.get("status") != "paid":
            return stripe_badge(self.data)
        account = self.account
        if any(dispute.is_open for dispute in account.disputes):
            return Badge(_("Disputed"), RED, "gavel")
        if account.lost:
            return Badge(_("Lost in a dispute"), GREY, "gavel")
        back = self.refunded + account.credited
        if back:
            is_all = account.excess >= 0
            if not self.refunded:
                return (
                    Badge(_("Credited"), GREY, "undo")
                    if is_all
                    else Badge(_("Partly credited"), AMBER, "undo")
                )
            return (
                Badge(_("Refunded"), GREY, "undo") if is_all else Badge(_("Partly refunded"), AMBER, "undo")
            )
        return stripe_badge(self.data)


def invoice_rows(
    organization: Organization,
    invoices: Sequence[StripeObject],
    charges: Sequence[StripeObject] | None = None,
) -> list[InvoiceRow]:
    """A row for each invoice, in the order given; `charges` are all there are, where they were read already."""
    accounts = mirrored_accounts(organization, invoices, charges)
    return [InvoiceRow(invoice, accounts[invoice["id"]]) for invoice in invoices if invoice["id"] in accounts]


def _open(invoice: StripeObject) -> Badge:
    """ "Open · due 3 Nov", "Overdue 48 days · next try 24 Nov", "Open · not collected"."""
    due, retry = (
        words.from_unix(invoice.get("due_date")),
        words.from_unix(invoice.get("next_payment_attempt")),
    )
    is_left_alone = invoice.get("auto_advance") is False and not retry
    for since, _overdue in overdue_invoices([invoice], timezone.now()):
        if retry:
            return overdue_badge(since, _("next try %(date)s") % _date(retry))
        return overdue_badge(since, _("not collected") if is_left_alone else "")
    if is_left_alone:
        return Badge(_("Open · not collected"), AMBER, "schedule")
    if due:
        return Badge(_("Open · due %(date)s") % _date(due), AMBER, "schedule")
    if invoice.get("attempted"):
        return Badge(_("Unpaid · next try %(date)s") % _date(retry) if retry else _("Unpaid"), RED, "error")
    return Badge(_("Open"), AMBER, "schedule")


def _date(moment: datetime) -> dict[str, str]:
    return {"date": words.short_date(moment)}
