"""What is noticed while Stripe's lists are read, and mended by that alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.utils.translation import gettext_lazy as _

from billing.reconciliation.checks.registry import Mending, Policy, Wins, check
from billing.reconciliation.facts import Facts, Finding
from billing.stripe_api import StripeObject


@check(
    "invoice_paid",
    _("Invoice paid, and open here"),
    _("The invoice was settled at Stripe, and we still held it as open."),
    _("The reading corrected it."),
    wins=Wins.STRIPE,
    policy=Policy.FIX,
    mending=Mending.DONE,
)
def nothing_of_invoices(facts: Facts) -> Iterable[Finding]:
    """The mirror has been corrected by the time organizations are compared; see `invoice_changed`."""
    return ()


def invoice_changed(before: StripeObject, after: StripeObject) -> Iterator[Finding]:
    """An invoice as the mirror held it, and as it was just read."""
    if before.get("object") != "invoice" or before.get("status") != "open":
        return
    if after["status"] in {"paid", "void", "uncollectible"}:
        yield Finding(
            "invoice_paid",
            after["id"],
            "open",
            after["status"],
            before.get("amount_remaining"),
            after["currency"],
        )


@check(
    "event_missing",
    _("Event never received"),
    _("Stripe tells of something whose webhook never reached us."),
    _("It is taken in from Stripe's list. If there are many, look at the webhook endpoint at Stripe."),
    wins=Wins.STRIPE,
    policy=Policy.FIX,
    mending=Mending.DONE,
)
def nothing_of_events(facts: Facts) -> Iterable[Finding]:
    """Events are compared with the ledger as they are listed; see `billing.reconciliation.replay`."""
    return ()
