"""What is compared, when, who is right where it differs, and what is then done: told from the checks themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from adminops.pages.badges import AMBER, BLUE, GREY, Badge
from billing.reconciliation.checks import CHECKS, Check, Policy, Wins

_WINS: dict[Wins, str | Promise] = {
    Wins.STRIPE: gettext_lazy("Stripe"),
    Wins.OURS: gettext_lazy("The back office"),
    Wins.PERSON: gettext_lazy("A person decides"),
}

_POLICIES = {
    Policy.FIX: Badge(gettext_lazy("Mends itself"), BLUE, "build_circle"),
    Policy.PROPOSE: Badge(gettext_lazy("Mended on your word"), AMBER, "front_hand"),
    Policy.REPORT: Badge(gettext_lazy("Only shown"), GREY, "visibility"),
}


@dataclass(frozen=True)
class Compared:
    """One thing that is compared."""

    label: str
    explanation: str
    wins: str
    policy: Badge
    what_to_do: str


@dataclass(frozen=True)
class Explained:
    """The panel that explains reconciliation."""

    when: tuple[str, ...]
    breaker: str
    checks: tuple[Compared, ...]


def policy_badge(policy: Policy) -> Badge:
    """What is done about a difference, in a word."""
    return _POLICIES[policy]


def explained() -> Explained:
    """All of it, as the checks and the settings have it today."""
    return Explained(
        (
            _("Everything is compared %(when)s.") % {"when": timetable(settings.RECONCILE_CRONS["full"])},
            _("What Stripe's events tell of is compared %(when)s.")
            % {"when": timetable(settings.RECONCILE_CRONS["incremental"])},
        ),
        _(
            "A run that would change more than %(percent)d%% of all organizations stops and asks, because then it is"
            " rather us, or the account, that is wrong."
        )
        % {"percent": settings.RECONCILE_MAX_CHANGE_PERCENT},
        tuple(_compared(check) for check in CHECKS.values()),
    )


def _compared(check: Check) -> Compared:
    return Compared(
        str(check.label),
        str(check.explanation),
        str(_WINS[check.wins]),
        policy_badge(check.policy),
        str(check.what_to_do),
    )


def timetable(cron: str) -> str:
    """A crontab line in words, for the lines people write; any other is told as it stands."""
    if not cron:
        return _("only when somebody asks")
    if found := re.fullmatch(r"\*(?:/(\d+))? \* \* \* \*", cron):
        minutes = int(found[1] or 1)
        return ngettext("every minute", "every %(n)d minutes", minutes) % {"n": minutes}
    if found := re.fullmatch(r"(\d+) (\d+) \* \* \*", cron):
        # The workers read it by the world's clock, whatever zone the pages are in.
        return _("every day at %(hour)02d:%(minute)02d UTC") % {
            "hour": int(found[2]),
            "minute": int(found[1]),
        }
    return _("by the timetable “%(cron)s”") % {"cron": cron}
