"""Comparing: which organizations there is anything to compare of, and what the checks find.

SQL tells who could differ at all: whoever changed, here or in the mirror, since it was last compared, and whoever
differed then. The pure checks see only those, a few hundred at a time, each time as everything was at one moment.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import IntegrityError, OperationalError, connection, transaction

from billing.mirror import listing as mirrored
from billing.models import OrganizationCheck, ReconciliationRun
from billing.reconciliation import recording
from billing.reconciliation.checks import COLUMNS, findings_of
from billing.reconciliation.gathering import gather, gather_unowned, refunds_made_here
from billing.reconciliation.recording import Recorded
from billing.sync import is_behind, sync_customer
from organizations.models import Organization

CHUNK = 500
# The database breaks a comparison off whose rows changed under it; the next one sees them as they are then.
TRIES = 5

_ORGANIZATIONS = Organization._meta.db_table
_DIGESTED = ", ".join(f"organization.{name}" for names in COLUMNS.values() for name in names)
_DIGEST = f"md5(ROW({_DIGESTED}, organization.stripe_customer_id, organization.slug)::text)"

# A sync that was being written while somebody was compared is dated a little earlier than it was seen.
_OVERLAP = "interval '2 minutes'"

_CANDIDATES = f"""
    SELECT organization.id
    FROM {_ORGANIZATIONS} AS organization
    LEFT JOIN billing_organizationcheck AS checked ON checked.organization_id = organization.id
    LEFT JOIN billing_customersync AS sync ON sync.customer_id = organization.stripe_customer_id
    LEFT JOIN (
        SELECT organization_id, count(*) AS active FROM organizations_membership
        WHERE status = 'active' GROUP BY organization_id
    ) AS members ON members.organization_id = organization.id
    WHERE (organization.stripe_customer_id IS NOT NULL OR organization.stripe_subscription_id IS NOT NULL) AND (
        checked.organization_id IS NULL OR checked.is_stale OR checked.digest <> {_DIGEST}
        OR sync.synced_at > checked.checked_at - {_OVERLAP}
        OR organization.billing_issue_since IS NOT NULL
        OR members.active > organization.seats
        OR organization.id = ANY(%s)
        OR organization.id IN (
            SELECT organization_id FROM billing_discrepancy WHERE closed_at IS NULL AND organization_id IS NOT NULL
        )
        OR organization.id IN (SELECT organization_id FROM organizations_hold WHERE lifted_at IS NULL)
    )
    ORDER BY organization.id
"""  # noqa: S608  (names of columns)

_REMEMBER = f"""
    INSERT INTO billing_organizationcheck (organization_id, stripe_customer_id, checked_at, is_stale, digest)
    SELECT organization.id, coalesce(organization.stripe_customer_id, ''), now(), false, {_DIGEST}
    FROM {_ORGANIZATIONS} AS organization WHERE organization.id = ANY(%s)
    ON CONFLICT (organization_id) DO UPDATE SET
        stripe_customer_id = excluded.stripe_customer_id, checked_at = excluded.checked_at,
        is_stale = false, digest = excluded.digest
"""  # noqa: S608  (names of columns)


@dataclass
class Compared:
    """What came of comparing."""

    recorded: Recorded = field(default_factory=Recorded)
    organizations: int = 0
    """How many were compared, those that could not differ among them."""
    busy: set[int] = field(default_factory=set)
    """Keys of those that were being changed or read."""
    broken: dict[int, str] = field(default_factory=dict)
    """Why an organization could not be compared, by its key."""


def compare_all(run: ReconciliationRun, go_on: Callable[[], None]) -> Compared:
    """Compare every organization, and every customer that nobody owns. `go_on` may raise."""
    billed = Organization.objects.exclude(stripe_customer_id=None, stripe_subscription_id=None).count()
    keys = candidates()
    compared = Compared(organizations=billed - len(keys))
    for chunk in _chunks(keys):
        go_on()
        _add(compared, compare_chunk(run, chunk))
    after = ""
    while unowned := mirrored.owners_of_live_subscriptions(
        after, CHUNK, f"{_ORGANIZATIONS}.stripe_customer_id"
    ):
        go_on()
        facts = gather_unowned(unowned)
        with transaction.atomic():
            found = {each: findings_of(facts[each]) for each in unowned}
            compared.recorded.add(recording.record_of_nobody(run, found))
        after = unowned[-1]
    compared.recorded.gone += recording.close_rest_of_nobody(run)
    return compared


def compare_some(run: ReconciliationRun, organization_ids: Iterable[int]) -> Compared:
    """Compare these organizations."""
    compared = Compared()
    for chunk in _chunks(array("q", sorted(set(organization_ids)))):
        _add(compared, compare_chunk(run, chunk))
    return compared


def look_again(run: ReconciliationRun, compared: Compared, go_on: Callable[[], None]) -> None:
    """Read what is still to be read of those that were left alone, and compare them after all."""
    waiting, compared.busy = compared.busy, set()
    organizations = Organization.objects.filter(pk__in=waiting, stripe_customer_id__isnull=False)
    for customer_id in organizations.values_list("stripe_customer_id", flat=True):
        if customer_id and is_behind(customer_id):
            go_on()
            sync_customer(customer_id)
    _add(compared, compare_some(run, waiting))
    # Their events are not listed again once this run has ended: whoever runs next compares them all the same.
    OrganizationCheck.objects.filter(organization__in=compared.busy).update(digest="")


def left_alone() -> set[int]:
    """Keys of organizations that the last run that met them could not compare, because they were being changed."""
    return set(OrganizationCheck.objects.filter(digest="").values_list("organization_id", flat=True))


def _add(compared: Compared, more: Compared) -> None:
    compared.recorded.add(more.recorded)
    compared.organizations += more.organizations
    compared.busy |= more.busy
    compared.broken |= more.broken


def _chunks(keys: array[int]) -> Iterator[list[int]]:
    for begin in range(0, len(keys), CHUNK):
        yield list(keys[begin : begin + CHUNK])


def candidates() -> array[int]:
    """Keys of the organizations that may differ from what the mirror has."""
    made_here = dict(refunds_made_here().values_list("stripe_refund_id", "organization_id"))
    missing = mirrored.unknown_refunds(made_here)
    with connection.cursor() as cursor:
        cursor.execute(_CANDIDATES, [[made_here[each] for each in missing if made_here[each]]])
        keys = array("q")
        while rows := cursor.fetchmany(10_000):
            keys.extend(row[0] for row in rows)
    return keys


@contextmanager
def one_moment() -> Iterator[None]:
    """A transaction that sees everything as it was when it began."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def compare_chunk(run: ReconciliationRun, organization_ids: Sequence[int]) -> Compared:
    """Compare a few hundred organizations and write down what was found. Again, where they change meanwhile."""
    for attempt in range(1, TRIES + 1):
        try:
            with one_moment():
                return _compare(run, organization_ids)
        except (OperationalError, IntegrityError):
            # Changed, or deleted, by somebody who was faster.
            if attempt == TRIES:
                raise
    raise AssertionError("unreachable")


def _compare(run: ReconciliationRun, organization_ids: Sequence[int]) -> Compared:
    gathered = gather(organization_ids)
    compared = Compared(busy=gathered.busy, broken=gathered.broken)
    found = {}
    for facts in gathered.facts:
        if facts.organization is not None:
            found[facts.organization.pk] = (facts.organization, findings_of(facts))
    compared.recorded = recording.record(run, found)
    compared.organizations = len(found)
    with connection.cursor() as cursor:
        cursor.execute(_REMEMBER, [list(found)])
    return compared
