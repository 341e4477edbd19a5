"""What a check is, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from django.utils.functional import Promise

from billing.reconciliation.facts import Facts, Finding


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
