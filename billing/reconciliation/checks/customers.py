"""Subscriptions and customers that are missing at Stripe, too many, or somebody else's."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext_lazy as _

from billing.reconciliation.checks.registry import Mending, Policy, Wins, check
from billing.reconciliation.facts import (
    Facts,
    Finding,
    has_lost_subscription,
    is_gone,
    live,
    monthly_worth,
    of_customer,
    of_subscription,
)


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
    if ours is None or not facts.columns or not has_lost_subscription(facts):
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
    """Live subscriptions of a customer without an organization; as ours stands what the customer is called."""
    if facts.organization is None:
        customer = facts.customer or {}
        called = customer.get("name") or customer.get("email")
        for each in live(facts):
            yield of_subscription("subscription_of_nobody", each, called, each["status"])


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
    billed = live(facts)
    if facts.organization is None or len(billed) < 2:
        return
    others = sum(monthly_worth(each) or 0 for each in billed) - facts.organization.mrr
    yield Finding(
        "several_subscriptions",
        facts.organization.stripe_customer_id or "",
        1,
        len(billed),
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
            yield of_customer("customer_gone", ours, None, None)
    elif facts.customer is None or is_gone(facts.customer):
        yield of_customer("customer_gone", ours, "", None)


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
        yield of_customer("customer_of_two", ours, ours.slug, facts.claimed_by)
