"""The reconciliation in words and figures, for the pages and the commands: no call to Stripe, few queries."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, Max, Min, OuterRef, Q, Subquery, Sum, When
from django.db.models.functions import Greatest
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import budget
from billing.difference_words import change_of, name_of, values_of
from billing.differences import ORGANIZATION, Difference
from billing.models import Discrepancy, OrganizationCheck, ReconciliationRun
from billing.money import format_money
from billing.reconciliation import listing
from billing.reconciliation.checks import CHECKS, COLUMNS, Mending, Policy
from organizations.models import Organization

# A full run that is older is late, whatever the timetable: everything is compared each night.
STALE = datetime.timedelta(hours=26)

# What a person can have mended here.
MENDED_HERE = (Mending.READ, Mending.RECORD, Mending.END)

# What each check says of one difference, but for those of columns, which name the columns.
_SENTENCES: dict[str, str | Promise] = {
    "subscription_missing": gettext_lazy("%(object)s is %(ours)s here, and Stripe has no such subscription."),
    "subscription_of_nobody": gettext_lazy(
        "%(object)s is %(theirs)s at Stripe, for a customer nobody here is."
    ),
    "several_subscriptions": gettext_lazy("Stripe bills %(theirs)s live subscriptions; we show the newest."),
    "customer_gone": gettext_lazy("Stripe has no customer %(object)s any more."),
    "customer_of_two": gettext_lazy(
        "The metadata of %(object)s name “%(theirs)s”; it is connected to “%(ours)s”."
    ),
    "seats_below_members": gettext_lazy("Active members: %(ours)s. Seats paid for: %(theirs)s."),
    "paid_but_suspended": gettext_lazy("Nothing is overdue, and members are kept out for non-payment."),
    "unpaid_but_active": gettext_lazy("Something is overdue since %(theirs)s, and members come in."),
    "suspended_but_billed": gettext_lazy("%(object)s is billed, though the suspension was to stop that."),
    "refund_unknown": gettext_lazy("%(amount)s went back with %(object)s, which nobody here made."),
    "refund_missing": gettext_lazy(
        "%(amount)s went back with %(object)s, we say; Stripe has no such refund."
    ),
    "invoice_paid": gettext_lazy(
        "%(object)s is %(theirs)s at Stripe; we held it as open, with %(amount)s to pay."
    ),
    "event_missing": gettext_lazy("The webhook %(theirs)s (%(object)s) never reached us."),
}


def sentence(row: Discrepancy) -> str:
    """What differs, in a sentence."""
    if row.type == "subscription_of_nobody" and row.ours:
        said = _("%(object)s is %(theirs)s at Stripe, for “%(customer)s”, whom nobody here is.")
        told = {"object": row.stripe_object_id, "theirs": _plain(row.theirs), "customer": row.ours}
        return said % told
    if row.type in COLUMNS:
        differences = _of_columns(row)
        # Of a price its id says least; the page of the difference has it.
        telling = [each for each in differences if each.field != "price_id"] or differences
        changes = "; ".join(f"{name_of(each)} {change_of(each)}" for each in telling)
        return _("%(changes)s at Stripe.") % {"changes": changes}
    return str(_SENTENCES[row.type]) % {
        "object": row.stripe_object_id or row.stripe_customer_id,
        "ours": _plain(row.ours),
        "theirs": _plain(row.theirs),
        "amount": at_stake(row) or _("an amount"),
    }


def _of_columns(row: Discrepancy) -> list[Difference]:
    return [
        Difference(ORGANIZATION, "", name, ours, (row.theirs or {}).get(name), row.currency)
        for name, ours in (row.ours or {}).items()
    ]


@dataclass(frozen=True)
class Sides:
    """One thing as we have it, and as Stripe does."""

    name: str
    ours: str
    theirs: str


def sides(row: Discrepancy) -> list[Sides]:
    """Both sides of a difference, one below the other."""
    if row.type == "subscription_of_nobody":
        return [Sides(str(CHECKS[row.type].label), _("none"), _plain(row.theirs))]
    if row.type in COLUMNS:
        return [Sides(name_of(each), *values_of(each)) for each in _of_columns(row)]
    return [Sides(str(CHECKS[row.type].label), _plain(row.ours), _plain(row.theirs))]


def _plain(value: Any) -> str:
    return str(value).replace("_", " ") if value is not None else _("none")


def at_stake(row: Discrepancy) -> str:
    """The money involved, as people write it; nothing where there is none."""
    return format_money(row.amount, row.currency) if row.amount and row.currency else ""


@dataclass(frozen=True)
class Told:
    """One difference in words."""

    row: Discrepancy
    label: str
    sentence: str
    meaning: str
    what_to_do: str
    at_stake: str
    can_be_mended: bool


def told(row: Discrepancy) -> Told:
    """A difference as a page shows it."""
    check = CHECKS[row.type]
    return Told(
        row,
        str(check.label),
        sentence(row),
        str(check.explanation),
        str(check.what_to_do),
        at_stake(row),
        check.mending in MENDED_HERE and row.organization_id is not None,
    )


def is_ignored(row: Discrepancy) -> bool:
    """Whether somebody does not want to see it for now."""
    return row.closed_at is None and row.ignored_until is not None and row.ignored_until > timezone.now()


def open_of(organization: Organization) -> list[Told]:
    """The open differences of an organization, newest first."""
    return [told(row) for row in Discrepancy.objects.open().filter(organization=organization)]


def checked_at() -> Subquery:
    """When an organization was last compared, to annotate organizations with; NULL if never.

    What did not change since needs no comparing, so the last full run vouches for it too.
    """
    last = ReconciliationRun.objects.filter(
        kind=ReconciliationRun.Kind.FULL, state=ReconciliationRun.State.DONE
    )
    vouched = Case(When(is_stale=False, then=Subquery(last.values("started_at")[:1])))
    # Of both the later; one that is NULL is left out.
    rows = OrganizationCheck.objects.filter(organization=OuterRef("pk"))
    return Subquery(rows.values_list(Greatest("checked_at", vouched)))


def last_run(*, kind: str = ReconciliationRun.Kind.FULL, done: bool = False) -> ReconciliationRun | None:
    """The newest run of a kind; with `done`, the newest that came to its end."""
    rows = ReconciliationRun.objects.filter(kind=kind)
    return (rows.filter(state=ReconciliationRun.State.DONE) if done else rows).first()


def was_seen_in(run: ReconciliationRun) -> Q:
    """Which differences a run saw, found or closed.

    Of one over everything these are all that were open then: later runs saw most of them again.
    """
    touched = Q(first_run=run) | Q(last_run=run) | Q(closed_in=run)
    if run.kind != ReconciliationRun.Kind.FULL:
        return touched
    return touched | Q(first_run_id__lte=run.pk, last_run_id__gte=run.pk)


def seconds_of(run: ReconciliationRun) -> int | None:
    """How long a run took; None where it has not ended."""
    return round((run.finished_at - run.started_at).total_seconds()) if run.finished_at else None


@dataclass(frozen=True)
class OfType:
    """The open differences of one type."""

    type: str
    label: str
    explanation: str
    n: int
    since: datetime.datetime
    policy: Policy
    at_stake: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Overview:
    """Where we stand: what the last finished run over everything compared, and what is open now."""

    run: ReconciliationRun | None
    """The last one over everything that came to its end; what was stopped or failed says nothing of the whole."""
    total: int = 0
    in_sync: int = 0
    differing: int = 0
    hidden: int = 0
    """Organizations of which everything that differs is hidden for now."""
    errors: int = 0
    left_alone: int = 0
    at_stake: tuple[tuple[str, int], ...] = ()
    """By currency, in minor units: never added up across currencies. What several differences are about counts once."""
    types: tuple[OfType, ...] = field(default=())

    @property
    def is_clean(self) -> bool:
        """Whether everything was compared and nothing differs. Never of a run that did not come to its end."""
        return self.run is not None and not self.types and not self.errors


def overview() -> Overview:
    """Where we stand, in a few queries."""
    rows = Discrepancy.objects.open().order_by()
    run = last_run(done=True)
    counted = rows.values("type", "currency").annotate(
        n=Count("pk"), since=Min("first_seen_at"), total=Sum("amount", filter=Q(amount__gt=0))
    )
    by_type: dict[str, list[Any]] = {}
    for each in counted:
        if each["type"] in CHECKS:
            by_type.setdefault(each["type"], []).append(each)
    types = tuple(
        sorted((_of_type(*each) for each in by_type.items()), key=lambda each: (-each.n, each.type))
    )
    about = rows.filter(amount__gt=0).values(
        "organization", "stripe_customer_id", "stripe_object_id", "currency"
    )
    stakes = _stakes(dict(each) for each in about.annotate(total=Max("amount")))
    differing = rows.filter(organization__isnull=False).values("organization").distinct().count()
    ignored = Discrepancy.objects.ignored().filter(organization__isnull=False)
    hidden = ignored.exclude(organization__in=rows.filter(organization__isnull=False).values("organization"))
    number_hidden = hidden.order_by().values("organization").distinct().count()
    if run is None:
        return Overview(None, differing=differing, at_stake=stakes, types=types)
    return Overview(
        run,
        total=run.organizations + run.left_alone + run.errors,
        in_sync=max(run.organizations - differing - number_hidden, 0),
        differing=differing,
        hidden=number_hidden,
        errors=run.errors,
        left_alone=run.left_alone,
        at_stake=stakes,
        types=types,
    )


def _of_type(name: str, parts: list[dict[str, Any]]) -> OfType:
    check = CHECKS[name]
    return OfType(
        name,
        str(check.label),
        str(check.explanation),
        sum(each["n"] for each in parts),
        min(each["since"] for each in parts),
        check.policy,
        _stakes(parts),
    )


def _stakes(parts: Iterable[dict[str, Any]]) -> tuple[tuple[str, int], ...]:
    sums: Counter[str] = Counter()
    for each in parts:
        if each["currency"] and each["total"]:
            sums[each["currency"]] += each["total"]
    return tuple(sorted(sums.items()))


@dataclass(frozen=True)
class Estimate:
    """What a run over everything would cost."""

    calls: int
    seconds: int
    """At the pace that is granted while nobody else calls Stripe; 0 where no count is kept."""


def estimate() -> Estimate:
    """What a run over everything would cost, as far as the mirror tells."""
    calls = listing.expected_calls()
    # Five lists are five endpoints, read by so many tasks; a call takes about a third of a second.
    pace = min(budget.granted() or settings.RECONCILE_WORKERS * 3.0, settings.RECONCILE_WORKERS * 3.0)
    return Estimate(calls, round(calls / pace) if pace else 0)
