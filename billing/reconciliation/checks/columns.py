"""Columns of ours that follow Stripe: one check for each kind of them."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext_lazy as _

from billing.reconciliation.checks.registry import Mending, Policy, Wins, check
from billing.reconciliation.facts import Facts, Finding, has_lost_subscription
from organizations.models import Organization

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
    if organization is None or not columns or has_lost_subscription(facts):
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
