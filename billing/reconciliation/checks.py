"""The checks: what is compared, who is right where it differs, and what is then done.

To add one, write a pure function from `Facts` to findings under `@check(…)`; a test that walks `CHECKS` wants a drift
that it finds.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from billing.metrics import monthly_recurring
from billing.projection import from_unix
from billing.reconciliation.facts import Facts, Finding
from billing.stripe_api import StripeObject
from organizations.models import Hold, Organization
from organizations.querysets import ENDED_STATUSES


class Policy(StrEnum):
    """What a run does about a difference."""

    REPORT = "report"
    """It is shown: only a person can tell what is right, and sets it right at Stripe or with an action here."""
    PROPOSE = "propose"
    """It is shown with a button that mends it."""
    FIX = "fix"
    """It is mended at once."""


class Mending(StrEnum):
    """How a difference is mended here. Nothing is ever changed at Stripe."""

    READ = "read"
    """The customer is read from Stripe again, and the organization's columns follow."""
    RECORD = "record"
    """The ledger is told what it missed."""
    END = "end"
    """The subscription that Stripe no longer has counts as canceled."""
    DONE = "done"
    """The reading that found it has mended it already."""


class Wins(StrEnum):
    """Who is right where we differ."""

    STRIPE = "stripe"
    OURS = "ours"
    PERSON = "person"


type Find = Callable[[Facts], Iterable[Finding]]


@dataclass(frozen=True)
class Check:
    """One thing that is compared."""

    type: str
    label: str | Promise
    explanation: str | Promise
    """What a difference means, in a sentence."""
    what_to_do: str | Promise
    wins: Wins
    policy: Policy
    mending: Mending | None
    find: Find


CHECKS: dict[str, Check] = {}


def check(
    type_: str,
    label: str | Promise,
    explanation: str | Promise,
    what_to_do: str | Promise,
    *,
    wins: Wins,
    policy: Policy,
    mending: Mending | None = None,
) -> Callable[[Find], Find]:
    """Put a function into `CHECKS`."""

    def register(find: Find) -> Find:
        CHECKS[type_] = Check(type_, label, explanation, what_to_do, wins, policy, mending, find)
        return find

    return register


def findings_of(facts: Facts) -> list[Finding]:
    """All that the checks find."""
    return [finding for each in CHECKS.values() for finding in each.find(facts)]


# -- columns of ours that follow Stripe -----------------------------------------------------------------------

# Every projected column is in one of these, so that no drift of any goes unseen.
COLUMNS: dict[str, tuple[str, ...]] = {
    "subscription": ("stripe_subscription_id", "subscription_status"),
    "seats": ("seats", "scheduled_seats", "scheduled_at"),
    "price": ("price_id", "plan", "unit_amount", "interval", "interval_count"),
    "period": ("current_period_start", "current_period_end"),
    "cancellation": ("cancel_at_period_end", "cancel_at"),
    "trial": ("trial_end",),
    "currency": ("currency",),
    "discount": ("mrr",),
    "card": ("card_brand", "card_last4", "card_exp_month", "card_exp_year"),
    "billing_issue": ("billing_issue_since", "amount_overdue"),
}
# Where one of these differs, the revenue differs for that reason.
_MAKE_REVENUE = ("subscription", "seats", "price", "currency")
_OF_CUSTOMER = ("card", "billing_issue", "currency")


def _differing(organization: Organization, columns: dict[str, Any], type_: str) -> list[str]:
    names = []
    for name in COLUMNS[type_]:
        ours, theirs = getattr(organization, name), columns[name]
        if name == "billing_issue_since":
            # Only whether there is one: one that is found now begins at another moment each time.
            ours, theirs = ours is not None, theirs is not None
        if ours != theirs:
            names.append(name)
    return names


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.datetime) else value


def _compare_columns(facts: Facts, type_: str) -> Iterator[Finding]:
    organization, columns = facts.organization, facts.columns
    if organization is None or not columns or _has_lost_subscription(facts):
        return
    if type_ == "discount" and any(_differing(organization, columns, each) for each in _MAKE_REVENUE):
        return
    names = _differing(organization, columns, type_)
    if not names:
        return
    subscription_id = columns["stripe_subscription_id"] or organization.stripe_subscription_id
    customer_id = organization.stripe_customer_id or ""
    of_money = "amount_overdue" if type_ == "billing_issue" else "mrr"
    yield Finding(
        type_,
        customer_id if type_ in _OF_CUSTOMER else subscription_id or customer_id,
        {name: _json(getattr(organization, name)) for name in names},
        {name: _json(columns[name]) for name in names},
        abs(columns[of_money] - getattr(organization, of_money)) or None,
        columns["currency"] or organization.currency,
    )


_STRIPE_KNOWS = _("It is read again and corrected; Stripe's word counts.")
for _type, _label, _explanation in (
    ("subscription", _("Subscription"), _("The subscription, or its state, is not what Stripe says.")),
    ("seats", _("Seats"), _("The seats paid for, or planned, are not what Stripe bills.")),
    ("price", _("Price or plan"), _("The price or the plan is not what Stripe bills.")),
    ("period", _("Billing period"), _("The present period is not Stripe's.")),
    ("cancellation", _("Cancellation"), _("Whether and when it ends is not what Stripe says.")),
    ("trial", _("End of trial"), _("The trial ends at another moment at Stripe.")),
    ("currency", _("Currency"), _("The currency is not Stripe's.")),
    (
        "discount",
        _("Discount"),
        _("The revenue differs while seats and price do not: a discount or a pause does."),
    ),
    ("card", _("Card"), _("The card that the next invoice is charged to is another one.")),
    (
        "billing_issue",
        _("Billing issue"),
        _("Whether anything is overdue is not what Stripe's invoices say."),
    ),
):
    check(
        _type,
        _label,
        _explanation,
        _STRIPE_KNOWS,
        wins=Wins.STRIPE,
        policy=Policy.FIX,
        mending=Mending.READ,
    )(lambda facts, type_=_type: _compare_columns(facts, type_))  # type: ignore[misc]


# -- subscriptions and customers ------------------------------------------------------------------------------


def _live(facts: Facts) -> list[StripeObject]:
    return [
        each for each in facts.subscriptions if each["status"] not in ENDED_STATUSES and not _is_gone(each)
    ]


def _is_gone(found: StripeObject | None) -> bool:
    return bool(found and found.get("deleted"))


def _has_lost_subscription(facts: Facts) -> bool:
    """Whether our row names a subscription that lives, and Stripe has neither it nor another."""
    ours = facts.organization
    if ours is None or not ours.has_live_subscription:
        return False
    named = next((each for each in facts.subscriptions if each["id"] == ours.stripe_subscription_id), None)
    return _is_gone(named) if named else all(_is_gone(each) for each in facts.subscriptions)


def monthly_worth(subscription: StripeObject) -> int | None:
    """What a subscription is worth a month, in minor units; None where its tiers were never read."""
    try:
        return monthly_recurring(subscription)
    except ValueError:
        return None


@check(
    "subscription_missing",
    _("Subscription missing at Stripe"),
    _("Our row names a subscription that lives, and Stripe has none of that id."),
    _("Look at the customer at Stripe. If it is truly gone, let it count as canceled here."),
    wins=Wins.PERSON,
    policy=Policy.PROPOSE,
    mending=Mending.END,
)
def subscription_missing(facts: Facts) -> Iterator[Finding]:
    """A live subscription of ours that Stripe does not have, though it has the customer."""
    ours = facts.organization
    if ours is None or not facts.columns or not _has_lost_subscription(facts):
        return
    yield Finding(
        "subscription_missing",
        ours.stripe_subscription_id or "",
        ours.subscription_status,
        None,
        ours.mrr,
        ours.currency,
    )


@check(
    "subscription_of_nobody",
    _("Subscription of nobody"),
    _("Stripe bills a customer that no organization here is."),
    _("Connect the customer to its organization, or take it in: manage.py import_organizations."),
    wins=Wins.PERSON,
    policy=Policy.REPORT,
)
def subscription_of_nobody(facts: Facts) -> Iterator[Finding]:
    """Live subscriptions of a customer without an organization."""
    if facts.organization is None:
        for each in _live(facts):
            yield Finding(
                "subscription_of_nobody",
                each["id"],
                None,
                each["status"],
                monthly_worth(each),
                each.get("currency") or "",
            )


@check(
    "several_subscriptions",
    _("Several live subscriptions"),
    _("Stripe bills this customer for more than one subscription."),
    _("Find out which one is meant, and cancel the other."),
    wins=Wins.PERSON,
    policy=Policy.REPORT,
)
def several_subscriptions(facts: Facts) -> Iterator[Finding]:
    """More than one live subscription of an organization's customer."""
    live = _live(facts)
    if facts.organization is None or len(live) < 2:
        return
    others = sum(monthly_worth(each) or 0 for each in live) - facts.organization.mrr
    yield Finding(
        "several_subscriptions",
        facts.organization.stripe_customer_id or "",
        1,
        len(live),
        max(others, 0),
        facts.organization.currency,
    )


@check(
    "customer_gone",
    _("Customer missing at Stripe"),
    _("The customer was deleted at Stripe, or was never there: nothing can be billed."),
    _("Look at Stripe. A deleted customer cannot come back; a new one can be connected."),
    wins=Wins.PERSON,
    policy=Policy.REPORT,
)
def customer_gone(facts: Facts) -> Iterator[Finding]:
    """An organization whose customer Stripe no longer has."""
    ours = facts.organization
    if ours is None:
        return
    if ours.stripe_customer_id is None:
        if ours.has_live_subscription:
            yield Finding("customer_gone", "", None, None, ours.mrr, ours.currency)
    elif facts.customer is None or _is_gone(facts.customer):
        yield Finding("customer_gone", ours.stripe_customer_id, "", None, ours.mrr, ours.currency)


@check(
    "customer_of_two",
    _("Customer of two organizations"),
    _("The customer is connected to one organization, and its metadata name another."),
    _("Find out whose customer it is, and correct the metadata at Stripe."),
    wins=Wins.PERSON,
    policy=Policy.REPORT,
)
def customer_of_two(facts: Facts) -> Iterator[Finding]:
    """A customer that two organizations may call theirs."""
    ours = facts.organization
    if ours is not None and facts.claimed_by:
        yield Finding(
            "customer_of_two",
            ours.stripe_customer_id or "",
            ours.slug,
            facts.claimed_by,
            ours.mrr,
            ours.currency,
        )


# -- seats, holds and money -----------------------------------------------------------------------------------


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
    if ours and is_settled and _held_for_non_payment(facts) and not _is_gone(facts.customer):
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
    for each in _live(facts):
        if not each.get("pause_collection"):
            yield Finding(
                "suspended_but_billed",
                each["id"],
                "stopped",
                "billed",
                monthly_worth(each),
                each.get("currency") or "",
            )


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
    there = {refund["id"] for refund in facts.refunds if not _is_gone(refund)}
    for refund in facts.refunds_of_ours:
        if refund.id not in there:
            yield Finding("refund_missing", refund.id, "done", None, refund.amount, refund.currency)


# -- what is noticed while reading ----------------------------------------------------------------------------


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
