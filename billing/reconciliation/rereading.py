"""Reading many organizations again, one by one: everything that Stripe has of each."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from billing import budget
from billing.models import CustomerSync
from billing.reconciliation.mending import columns_of, read_now
from billing.sync import request_sync
from billing.threads import in_threads
from organizations.models import Organization

READERS = 4


@dataclass(frozen=True)
class Reread:
    """What came of reading one organization."""

    slug: str
    corrected: tuple[str, ...] = ()
    """The columns that were otherwise."""
    problem: str = ""
    """Why it could not be read; a worker goes on trying."""


def reread(organization_ids: Sequence[int]) -> Generator[Reread, None, None]:
    """Read each again, several at a time. Yields each when it is done."""
    return in_threads(organization_ids, _reread, threads=READERS)


def _reread(key: int) -> Reread:
    organization = Organization.objects.filter(pk=key).first()
    if organization is None or organization.stripe_customer_id is None:
        return Reread(str(key), problem="It was deleted meanwhile.")
    before = columns_of(organization)
    try:
        request_sync(organization.stripe_customer_id)
        with budget.spending("bulk"):
            problem = read_now(organization.stripe_customer_id)
    except Exception as error:  # whatever it is, the others are not to wait for it
        return Reread(organization.slug, problem=f"{type(error).__name__}: {error}")
    left = CustomerSync.objects.filter(pk=organization.stripe_customer_id).values_list(
        "last_error", flat=True
    )
    after = columns_of(organization)
    return Reread(
        organization.slug,
        tuple(name for name, value in before.items() if after.get(name) != value),
        problem or next(iter(left), ""),
    )
