"""Seats, holds, refunds, and access that is not paid for, or paid for and closed."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from django.utils.translation import gettext_lazy as _

from billing.projection import from_unix
from billing.reconciliation.checks.registry import Mending, Policy, Wins, check
from billing.reconciliation.facts import Facts, Finding, is_gone, live, of_subscription
from organizations.models import Hold


@check(
    "seats_below_members",
    _("More members than seats"),
    _("More members are active than seats are paid for."),
    _("Talk to the customer: add seats, or let members go."),
    wins=Wins.PERSON,
    policy=Policy.REPORT,
)
def seats_below_members(facts: Facts) -> Iterator[Finding]:
    """Seats paid for below the members who use them."""
    ours = facts.organization
    if ours is None or not ours.has_live_subscription or ours.seats is None or ours.seats >= facts.members:
        return
    missing = (facts.members - ours.seats) * (ours.unit_amount or 0)
    yield Finding(
        "seats_below_members",
        ours.stripe_subscription_id or "",
        facts.members,
        ours.seats,
        missing or None,
        ours.currency,
    )


def _held_for_non_payment(facts: Facts) -> bool:
    return any(hold.kind == Hold.Kind.NON_PAYMENT for hold in facts.holds)


@check(
    "paid_but_suspended",
    _("Paid, and suspended for non-payment"),
    _("Nothing is overdue any more, and members are still kept out for non-payment."),
    _("It is read again, and the hold is lifted if nothing is overdue indeed."),
    wins=Wins.STRIPE,
    policy=Policy.FIX,
    mending=Mending.READ,
)
def paid_but_suspended(facts: Facts) -> Iterator[Finding]:
    """A hold for non-payment while nothing is owed."""
    ours = facts.organization
    is_settled = bool(facts.columns) and facts.columns["billing_issue_since"] is None
    if ours and is_settled and _held_for_non_payment(facts) and not is_gone(facts.customer):
        yield Finding("paid_but_suspended", ours.stripe_customer_id or "", "suspended", "paid")


# How long an organization may owe something before it is strange that its members still come in.
LONG_UNPAID = datetime.timedelta(days=60)


@check(
    "unpaid_but_active",
    _("Unpaid for months, and active"),
    _("Something has been overdue for more than two months, and members still come in."),
    _("Talk to the customer, suspend it, or write the invoice off at Stripe."),
    wins=Wins.PERSON,
    policy=Policy.REPORT,
)
def unpaid_but_active(facts: Facts) -> Iterator[Finding]:
    """Access that is long unpaid for."""
    ours = facts.organization
    since = facts.columns.get("billing_issue_since")
    if ours and since and since < facts.now - LONG_UNPAID and not facts.holds:
        yield Finding(
            "unpaid_but_active",
            ours.stripe_customer_id or "",
            "active",
            since.date().isoformat(),
            facts.columns["amount_overdue"] or None,
            ours.currency,
        )


@check(
    "suspended_but_billed",
    _("Suspended, and still billed"),
    _("The organization was suspended with its billing stopped, and Stripe bills it."),
    _("Pause the collection of its invoices, or lift the hold."),
    wins=Wins.OURS,
    policy=Policy.REPORT,
)
def suspended_but_billed(facts: Facts) -> Iterator[Finding]:
    """A hold that was to stop billing, beside a subscription whose collection goes on."""
    ours = facts.organization
    if ours is None or not any(hold.stops_billing for hold in facts.holds):
        return
    for each in live(facts):
        if not each.get("pause_collection"):
            yield of_subscription("suspended_but_billed", each, "stopped", "billed")


@check(
    "refund_unknown",
    _("Refund made elsewhere"),
    _("Stripe gave money back, and no line of our ledger says so: it was made in Stripe's dashboard."),
    _("A line is added to the ledger."),
    wins=Wins.STRIPE,
    policy=Policy.FIX,
    mending=Mending.RECORD,
)
def refund_unknown(facts: Facts) -> Iterator[Finding]:
    """Refunds at Stripe, made since the customer was taken in, that the ledger does not name."""
    if facts.organization is None:
        return
    for refund in facts.refunds:
        made_at = from_unix(refund["created"])
        is_history = facts.known_since is not None and made_at is not None and made_at < facts.known_since
        if refund["id"] not in facts.refunds_in_ledger and not is_history:
            yield Finding(
                "refund_unknown",
                refund["id"],
                None,
                refund["status"],
                refund["amount"],
                refund["currency"],
            )


@check(
    "refund_missing",
    _("Refund missing at Stripe"),
    _("Our ledger says that money was given back, and Stripe knows no such refund."),
    _("Look at the payment at Stripe: the customer may still wait for the money."),
    wins=Wins.PERSON,
    policy=Policy.REPORT,
)
def refund_missing(facts: Facts) -> Iterator[Finding]:
    """Refunds of ours that Stripe does not have."""
    there = {refund["id"] for refund in facts.refunds if not is_gone(refund)}
    for refund in facts.refunds_of_ours:
        if refund.id not in there:
            yield Finding("refund_missing", refund.id, "done", None, refund.amount, refund.currency)
