"""Rows of customers, in the list and as a file: what both tell of an organization besides its own columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery, prefetch_related_objects
from django.db.models.functions import Coalesce

from billing import mirror
from billing.models import Discrepancy
from billing.reconciliation.telling import checked_at
from organizations.models import Hold, Membership, Organization


def tell(rows: Sequence[Any]) -> None:
    """Adds to each of these organizations `used` (seats), `differences` and `compared_at` (in how much it differs from
    Stripe, and when that was last looked at), `newest_invoice` (`mirror.newest_invoice`), and `holds_open`.

    Asked for by key once the rows are known: those that paging skips would be asked as well.
    """
    members = Membership.objects.filter(organization=OuterRef("pk"), status=Membership.Status.ACTIVE)
    told = Organization.objects.order_by().values_list(
        "pk",
        _number_of(members),
        _number_of(Discrepancy.objects.open().filter(organization=OuterRef("pk"))),
        checked_at(),
        mirror.newest_invoice(OuterRef("stripe_customer_id")),
    )
    found = {key: rest for key, *rest in told.filter(pk__in=[row.pk for row in rows])}
    for row in rows:
        row.used, row.differences, row.compared_at, row.newest_invoice = found[row.pk]
    prefetch_related_objects(rows, Prefetch("holds", Hold.objects.open(), to_attr="holds_open"))


def _number_of(theirs: QuerySet[Any]) -> Coalesce:
    """How many rows each organization has among these."""
    counted = theirs.order_by().values("organization").annotate(count=Count("pk"))
    return Coalesce(Subquery(counted.values("count")), 0)
