"""Differences as the pages show them: in words, by organization, with what may be done about each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, F, Max, Window
from django.db.models.functions import RowNumber
from django.urls import reverse
from django.utils.translation import gettext as _

from adminops.pages import words
from adminops.pages.badges import AMBER, GREEN, GREY, Badge
from adminops.pages.reconciliation.explained import policy_badge
from billing.models import Discrepancy
from billing.money import format_money
from billing.reconciliation import telling
from billing.reconciliation.checks import CHECKS
from billing.reconciliation.telling import Sides, Told
from organizations.models import Organization

GROUPS_PER_PAGE = 20
# Of one organization; its others are in the list.
ROWS_PER_GROUP = 10

Closed = Discrepancy.Closed

_CLOSED = {
    Closed.GONE: (GREY, "check"),
    Closed.FIXED: (GREEN, "build_circle"),
    Closed.ACCEPTED: (GREY, "thumb_up"),
}


def state_badge(row: Discrepancy) -> Badge:
    """How it stands with a difference, in a word."""
    if row.closed_at is not None:
        tone, icon = _CLOSED[Closed(row.closed_how)]
        return Badge(row.get_closed_how_display(), tone, icon)
    if telling.is_ignored(row):
        until = words.short_date(row.ignored_until) if row.ignored_until else ""
        return Badge(_("Not shown until %(date)s") % {"date": until}, GREY, "visibility_off")
    return Badge(_("Open"), AMBER, "compare_arrows")


@dataclass(frozen=True)
class Shown:
    """One difference on a page."""

    told: Told
    sides: tuple[Sides, ...]
    policy: Badge
    state: Badge

    @property
    def row(self) -> Discrepancy:
        return self.told.row

    @property
    def said(self) -> str:
        """The sentence as it follows the label: "34 → 30 at Stripe.", and not the name a second time."""
        return self.told.sentence.removeprefix(f"{self.told.label} ")

    @property
    def url(self) -> str:
        """The page of this difference."""
        return reverse("admin:billing_discrepancy_change", args=[self.row.pk])


def shown(row: Discrepancy) -> Shown:
    """A difference in words."""
    return Shown(
        telling.told(row),
        tuple(telling.sides(row)),
        policy_badge(CHECKS[row.type].policy),
        state_badge(row),
    )


@dataclass(frozen=True)
class Group:
    """The open differences of one organization; or those at Stripe that nobody here owns."""

    organization: Organization | None
    differences: tuple[Shown, ...]
    more: int
    """Further ones, which the list has."""
    at_stake: str

    @property
    def name(self) -> str:
        return self.organization.name if self.organization else _("At Stripe, and of no organization here")

    @property
    def url(self) -> str:
        """The page of the organization; nothing where there is none."""
        if self.organization is None:
            return ""
        return reverse("admin:organizations_organization_change", args=[self.organization.pk])

    @property
    def list_url(self) -> str:
        """All of its open differences."""
        return open_url(organization=str(self.organization.pk) if self.organization else "none")


def open_url(**narrowed: str) -> str:
    """The list of open differences, narrowed."""
    query = "&".join(f"{name}={value}" for name, value in {"state": "open", **narrowed}.items())
    return f"{reverse('admin:billing_discrepancy_changelist')}?{query}"


def groups(number: Any) -> tuple[list[Group], Page[Any]]:
    """A page of the organizations that differ, those with the newest difference first, and where it stands."""
    whose = (
        Discrepancy.objects.open()
        .order_by()
        .values("organization_id")
        .annotate(n=Count("pk"), newest=Max("pk"))
        .order_by("-newest")
    )
    page: Page[Any] = Paginator(whose, GROUPS_PER_PAGE).get_page(number)
    counts = {each["organization_id"]: each["n"] for each in page.object_list}
    return [_group(key, counts[key], rows) for key, rows in _rows_of(counts).items()], page


def _rows_of(keys: Iterable[int | None]) -> dict[int | None, list[Discrepancy]]:
    """The newest open differences of each, in the order of the keys."""
    keys = list(keys)
    rows = Discrepancy.objects.open().order_by()
    whose = rows.filter(organization_id__in=[key for key in keys if key is not None])
    if None in keys:
        whose |= rows.filter(organization_id__isnull=True)
    numbered = whose.annotate(
        number=Window(RowNumber(), partition_by=F("organization_id"), order_by=F("id").desc())
    )
    found: dict[int | None, list[Discrepancy]] = {key: [] for key in keys}
    for row in numbered.filter(number__lte=ROWS_PER_GROUP).select_related("organization").order_by("-id"):
        found[row.organization_id].append(row)
    return {key: rows for key, rows in found.items() if rows}


def _group(key: int | None, count: int, rows: Sequence[Discrepancy]) -> Group:
    return Group(
        rows[0].organization,
        tuple(shown(row) for row in rows),
        count - len(rows),
        money_of(rows),
    )


def money_of(rows: Iterable[Discrepancy]) -> str:
    """What is at stake in all of these, in each currency; what several of them are about counts once."""
    about: dict[tuple[Any, ...], int] = {}
    for row in rows:
        if row.amount and row.currency:
            key = (row.currency, row.organization_id, row.stripe_customer_id, row.stripe_object_id)
            about[key] = max(about.get(key, 0), row.amount)
    sums: Counter[str] = Counter()
    for (currency, *_whose), amount in about.items():
        sums[currency] += amount
    return in_money(sorted(sums.items()))


def in_money(sums: Iterable[tuple[str, int]]) -> str:
    """Amounts of several currencies, one beside the other: never added up."""
    return " · ".join(format_money(amount, currency) for currency, amount in sums if amount)
