"""Rows of customers, in the list and as a file: what both tell of an organization besides its own columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery, Value, prefetch_related_objects
from django.db.models.functions import Coalesce

from billing import mirror
from billing.models import Discrepancy
from billing.reconciliation.telling import checked_at
from organizations.models import Hold, Membership, Organization


def tell(rows: Sequence[Any], members_by: str = "") -> None:
    """Adds to each of these organizations `used` (seats), `differences` and `compared_at` (in how much it differs from
    Stripe, and when that was last looked at), `newest_invoice` (`mirror.newest_invoice`), `holds_open`, and
    `member_found`: the e-mail of a member that has `members_by` in it, where nothing of the organization's own has.

    Asked for by key once the rows are known: those that paging skips would be asked as well.
    """
    members = Membership.objects.filter(organization=OuterRef("pk"), status=Membership.Status.ACTIVE)
    told = Organization.objects.order_by().values_list(
        "pk",
        _number_of(members),
        _number_of(Discrepancy.objects.open().filter(organization=OuterRef("pk"))),
        checked_at(),
        mirror.newest_invoice(OuterRef("stripe_customer_id")),
        _member_found(members_by),
    )
    found = {key: rest for key, *rest in told.filter(pk__in=[row.pk for row in rows])}
    for row in rows:
        row.used, row.differences, row.compared_at, row.newest_invoice, member = found[row.pk]
        row.member_found = "" if _has(row, members_by) else member
    prefetch_related_objects(rows, Prefetch("holds", Hold.objects.open(), to_attr="holds_open"))


def _member_found(term: str) -> Coalesce | Value:
    """The e-mail of a member of each organization that has this in it."""
    term = " ".join(term.split())
    if not term:
        return Value("")
    theirs = Membership.objects.filter(organization=OuterRef("pk"), user__email__icontains=term)
    present = theirs.exclude(status=Membership.Status.REMOVED).order_by("pk")
    return Coalesce(Subquery(present.values("user__email")[:1]), Value(""))


def _has(row: Organization, term: str) -> bool:
    """Whether the organization itself is called so."""
    own = (row.name, row.slug, row.billing_email)
    term = " ".join(term.split()).casefold()
    return any(term in text.casefold() for text in own)


def _number_of(theirs: QuerySet[Any]) -> Coalesce:
    """How many rows each organization has among these."""
    counted = theirs.order_by().values("organization").annotate(count=Count("pk"))
    return Coalesce(Subquery(counted.values("count")), 0)
