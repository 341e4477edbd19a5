"""How much a role may give back: per refund and per day, in each currency (the setting REFUND_LIMITS).

    {"Support": {"usd": [10000, 50000], "eur": [10000, 50000]}, "Finance": null, "*": {"usd": [0, 0]}}

A person has the highest limit among their groups. `null` is no limit, and a superuser has none either. In a currency
that is not named for a limited role, that role gives nothing back.

`"*"` is the limit of every group that is not named and may refund, and of whoever is in no named group, their
permission being personal. Without it those have no limit: a group's new name, or a permission of one's own, lifts one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from billing.errors import Attempt, NotPermitted
from billing.models import SubscriptionEvent
from billing.money import format_money

State = SubscriptionEvent.State

ANYONE_ELSE = "*"
"""Stands in the setting for the groups that it does not name, and for those in none."""

# What may have left: an outcome that is not known yet, or that a person must find out, counts as if it had.
COUNTED = (State.PENDING, State.DONE, State.PARKED)


@dataclass(frozen=True)
class Limit:
    """What somebody may give back in one currency, in minor units."""

    per_refund: int
    per_day: int


def limit_of(user: User, currency: str, permission: str) -> Limit | None:
    """The limit of this person in this currency; None where there is none to hold them to."""
    if user.is_superuser:
        return None
    limits = {name: limit for name, limit in settings.REFUND_LIMITS.items() if name != ANYONE_ELSE}
    groups = user.groups.all()
    held_to = [limits[group.name] for group in groups if group.name in limits]
    codename = permission.split(".")[1]
    # A group that has nothing to do with refunds does not lift the limit of one that has.
    others = groups.exclude(name__in=list(limits)).filter(permissions__codename=codename)
    if not held_to or others.exists():
        held_to.append(settings.REFUND_LIMITS.get(ANYONE_ELSE))
    pairs = []
    for by_currency in held_to:
        if by_currency is None:
            return None
        if currency.lower() in by_currency:
            pairs.append(by_currency[currency.lower()])
    return Limit(
        per_refund=max((pair[0] for pair in pairs), default=0),
        per_day=max((pair[1] for pair in pairs), default=0),
    )


@dataclass(frozen=True)
class Excess:
    """That an amount is more than somebody may give back."""

    why: str
    """For whoever wanted it, in a sentence."""
    limit: str
    """For the ledger, as it follows what they tried: "over the limit of $100.00"."""


class Allowance:
    """What one person may give back today, counted down as refunds are planned. Asks the database once a currency."""

    def __init__(self, user: User, permission: str, type_: str) -> None:
        """`type_` is the ledger's name of what is counted: this person's acts of the present day."""
        self._user, self._permission, self._type = user, permission, type_
        self._limits: dict[str, Limit | None] = {}
        self._given: dict[str, int] = {}
        self._planned: Counter[str] = Counter()

    def refusal(self, amount: int, currency: str) -> Excess | None:
        """Why `amount` minor units more may not go back; None where they may."""
        if currency not in self._limits:
            self._limits[currency] = limit_of(self._user, currency, self._permission)
        limit = self._limits[currency]
        if limit is None:
            return None
        if limit.per_refund == 0:
            why = _("Your role may not give back %(currency)s. Ask a colleague in finance.")
            return Excess(why % {"currency": currency.upper()}, _("which their role may not"))
        if amount > limit.per_refund:
            told = {
                "amount": format_money(amount, currency),
                "limit": format_money(limit.per_refund, currency),
            }
            why = _(
                "%(amount)s is more than you may give back at once (%(limit)s). Ask a colleague in finance."
            )
            return Excess(why % told, _("over the limit of %(limit)s") % told)
        if currency not in self._given:
            self._given[currency] = _given_today(self._user, currency, self._type)
        given, planned = self._given[currency], self._planned[currency]
        if given + planned + amount <= limit.per_day:
            return None
        told = {
            "given": format_money(given, currency),
            "planned": format_money(planned, currency),
            "amount": format_money(amount, currency),
            "limit": format_money(limit.per_day, currency),
        }
        why = (
            _(
                "You gave back %(given)s today, %(planned)s is planned before it, and %(amount)s more would be"
                " over what you may in a day (%(limit)s). Ask a colleague in finance."
            )
            if planned
            else _(
                "You gave back %(given)s today, and %(amount)s more would be over what you may in a day (%(limit)s)."
                " Ask a colleague in finance."
            )
        )
        return Excess(why % told, _("over the limit of %(limit)s a day") % told)

    def plan(self, amount: int, currency: str) -> None:
        """Count `amount` among what goes back before the next."""
        self._planned[currency] += amount


def refusal(user: User, amount: int, currency: str, permission: str, type_: str) -> str | None:
    """Why this person may not give back `amount` minor units now, in a sentence; None where they may."""
    excess = Allowance(user, permission, type_).refusal(amount, currency)
    return excess.why if excess else None


def hold_to_limit(
    user: User, amount: int, currency: str, permission: str, type_: str, attempt: Attempt
) -> None:
    """Refuse what is over this person's limit, inside the transaction that writes the act down.

    Their row stays locked until then, so that two acts at the same moment cannot both be the last that fits.
    Raises NotPermitted.
    """
    locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    excess = Allowance(locked, permission, type_).refusal(amount, currency)
    if excess:
        raise NotPermitted(
            _("%(why)s Nothing was changed.") % {"why": excess.why},
            "over the limit in REFUND_LIMITS",
            attempt=replace(attempt, words=f"{attempt.words}, {excess.limit}"),
        )


def _given_today(user: User, currency: str, type_: str) -> int:
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    rows = SubscriptionEvent.objects.filter(
        actor=user, type=type_, currency=currency, state__in=COUNTED, created_at__gte=midnight
    )
    return rows.aggregate(given=Sum("amount"))["given"] or 0
