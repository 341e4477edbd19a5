"""Reading Stripe's lists into the mirror: in slices that any number of workers share, a page at a time.

A page is read without a transaction, then written in one, together with how far the slice has come. So whatever dies
repeats at most a page. It lands only on customers whom nobody has read since the page's request began, and whom
nobody is reading; where it differs there, the sync is asked, and the newer answer stays.
"""

from __future__ import annotations

import datetime
import itertools
import logging
import random
import uuid
from collections.abc import Callable, Sequence

from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from billing import stripe_api
from billing.errors import (
    LeaseLost,
    ObjectMissing,
    StripeBusy,
    StripeError,
    StripeMisconfigured,
    StripeRefused,
)
from billing.inbox import request_sync
from billing.mirror import listing as mirrored
from billing.models import OrganizationCheck, ReconciliationRun, ReconciliationSlice
from billing.reading import catalogue_key, read_everything
from billing.reconciliation import recording
from billing.reconciliation.checks import invoice_changed
from billing.stripe_api import StripeObject
from organizations.models import Organization

log = logging.getLogger(__name__)

# So many objects make a slice: enough to be worth a task, few enough that workers end at the same time.
SLICE_OBJECTS = 2_500
# A page takes a call and a write; a lease outlasts both by far.
LEASE_SECONDS = 120
TRIES = 6
# How long to wait after Stripe asked to slow down: at first, and at most.
BUSY_SECONDS = (5.0, 60.0)
DEADLOCK_TRIES = 3
# More objects than these are not looked for one by one in one run: then it is rather the key or the account.
MISSED_AT_ONCE = 200


class RunFailed(Exception):
    """A run cannot go on; the message is a sentence."""


def plan_slices(run: ReconciliationRun) -> None:
    """Divide Stripe's lists by what the mirror has of them. Runs inside the caller's transaction."""
    slices = []
    for path in mirrored.LISTED:
        ends = [] if path == mirrored.CATALOGUE else mirrored.boundaries(path, SLICE_OBJECTS)
        edges = [None, *ends, None]
        slices += [
            ReconciliationSlice(run=run, path=path, since=since, until=until)
            for since, until in itertools.pairwise(edges)
        ]
    ReconciliationSlice.objects.bulk_create(slices)


def expected_calls() -> int:
    """How many calls reading all lists will take, as far as the mirror tells."""
    counts = mirrored.mirrored_counts().values()
    return sum(-(-count // 100) + count // SLICE_OBJECTS + 1 for count in counts)


def claim_slice(run: ReconciliationRun) -> ReconciliationSlice | None:
    """A slice that is due and that nobody reads, now ours; None where there is none. The catalogue comes first."""
    token = uuid.uuid4()
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE billing_reconciliationslice SET lease_token = %s, lease_until = now() + make_interval(secs => %s)
            WHERE id = (
                SELECT id FROM billing_reconciliationslice AS slice
                WHERE run_id = %s AND done_at IS NULL AND due_at <= now()
                    AND (lease_until IS NULL OR lease_until < now())
                    AND (path = %s OR NOT EXISTS (
                        SELECT FROM billing_reconciliationslice
                        WHERE run_id = slice.run_id AND path = %s AND done_at IS NULL
                    ))
                ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
            )
            RETURNING id
            """,
            [token, LEASE_SECONDS, run.pk, mirrored.CATALOGUE, mirrored.CATALOGUE],
        )
        row = cursor.fetchone()
    return ReconciliationSlice.objects.get(pk=row[0]) if row else None


def is_catalogue_in_hand(run: ReconciliationRun) -> bool:
    """Whether somebody reads the catalogue just now, for which all other slices wait."""
    return run.slices.filter(path=mirrored.CATALOGUE, done_at__isnull=True, lease_until__gt=Now()).exists()


def read_slice(run: ReconciliationRun, piece: ReconciliationSlice) -> None:
    """Read a slice that was claimed to its end, or until the run is stopped. Raises RunFailed."""
    try:
        while piece.done_at is None and is_running(run):
            _read_page(run, piece)
        _let_go(piece)
    except LeaseLost:
        log.warning("Slice %s was taken over; whoever has it now reads on", piece.pk)
    except (StripeMisconfigured, StripeRefused) as error:
        raise RunFailed(str(error.message)) from error
    except StripeBusy as error:
        # Being asked to slow down is no failure, however often; everybody waits for a different while.
        least, most = BUSY_SECONDS
        seconds = min(most, least * 2 ** min(piece.tries, 10)) * random.uniform(0.5, 1)  # noqa: S311  (jitter)
        _put_off(piece, seconds, str(error))
    except StripeError as error:
        if piece.tries + 1 >= TRIES:
            raise RunFailed(str(error.message)) from error
        _put_off(piece, 10 * (piece.tries + 1), f"{error} ({error.detail})")


def is_running(run: ReconciliationRun) -> bool:
    """Whether nobody stopped it meanwhile."""
    return ReconciliationRun.objects.filter(pk=run.pk, state=ReconciliationRun.State.RUNNING).exists()


def _put_off(piece: ReconciliationSlice, seconds: float, why: str) -> None:
    ReconciliationSlice.objects.filter(pk=piece.pk, lease_token=piece.lease_token).update(
        tries=F("tries") + 1,
        last_error=why,
        due_at=Now() + datetime.timedelta(seconds=seconds),
        lease_token=None,
        lease_until=None,
    )


def _let_go(piece: ReconciliationSlice) -> None:
    ReconciliationSlice.objects.filter(pk=piece.pk, lease_token=piece.lease_token).update(
        lease_token=None, lease_until=None
    )


def database_now() -> datetime.datetime:
    """The moment by the database's clock, which rules over leases."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        [moment] = cursor.fetchone()
    return moment  # type: ignore[no-any-return]


def _read_page(run: ReconciliationRun, piece: ReconciliationSlice) -> None:
    begun = database_now()
    created = {"gte": piece.since, "lt": piece.until}
    params = {
        "limit": 100,
        "created": {name: value for name, value in created.items() if value is not None},
        "starting_after": piece.cursor,
        "status": "all" if piece.path == "/v1/subscriptions" else None,
    }
    page = stripe_api.call(
        "GET",
        piece.path,
        {name: value for name, value in params.items() if value},
        expand=mirrored.EXPANDED[piece.path],
    )
    rows: list[StripeObject] = page["data"]
    for attempt in range(1, DEADLOCK_TRIES + 1):
        try:
            with transaction.atomic():
                changed = write_page(run, rows, begun)
                _advance(piece, rows, changed, has_more=page["has_more"])
        except OperationalError:
            if attempt == DEADLOCK_TRIES:
                raise
        else:
            return


def _advance(piece: ReconciliationSlice, rows: list[StripeObject], changed: int, *, has_more: bool) -> None:
    """Write down how far the slice has come. Raises LeaseLost, and then nothing of the page is written."""
    cursor = rows[-1]["id"] if rows else piece.cursor
    done = None if has_more and rows else timezone.now()
    kept = ReconciliationSlice.objects.filter(
        pk=piece.pk, lease_token=piece.lease_token, lease_until__gt=Now(), done_at__isnull=True
    ).update(
        cursor=cursor,
        pages=F("pages") + 1,
        objects_read=F("objects_read") + len(rows),
        changed=F("changed") + changed,
        done_at=done,
        tries=0,
        last_error="",
        lease_until=Now() + datetime.timedelta(seconds=LEASE_SECONDS),
    )
    if not kept:
        raise LeaseLost
    piece.cursor, piece.done_at, piece.tries = cursor, done, 0


def write_page(run: ReconciliationRun, rows: Sequence[StripeObject], begun: datetime.datetime) -> int:
    """Write what was asked for at `begun` (by the database's clock); returns how many objects had changed.

    Runs inside the caller's transaction.
    """
    objects = mirrored.taken_apart(rows)
    charges = {each["id"]: each for each in objects if each["object"] == "charge"}
    owners = {each["id"]: mirrored.owner_of(each, charges) for each in objects}
    held = _held_by_others({owner for owner in owners.values() if owner}, begun)
    changed = mirrored.differing(objects)
    free = [(before, after) for before, after in changed if owners[after["id"]] not in held]
    otherwise = mirrored.write_listed([after for _before, after in free])
    mirrored.mark_seen(objects)
    for _before, after in changed:
        owner = owners[after["id"]]
        if owner in held and stripe_api.path_of(after["id"]):
            request_sync(owner or "", [after["id"]])
    touched = {owner for _before, after in free if (owner := owners[after["id"]])}
    if touched:
        OrganizationCheck.objects.filter(stripe_customer_id__in=touched).update(is_stale=True)
    _record_paid_invoices(run, free, owners)
    for kind, stripe_id in sorted(otherwise):
        request_sync(catalogue_key(kind, stripe_id), [stripe_id])
    return len(changed)


def _held_by_others(customer_ids: set[str], begun: datetime.datetime) -> set[str]:
    """Those whom somebody reads now, or has read since. The rows of the others are ours until the transaction ends.

    A row that is locked is waited for: mostly by a page of another list, which names the same customers just then.
    """
    if not customer_ids:
        return set()
    with connection.cursor() as cursor:
        # A row for each, so that whoever comes now waits for us.
        cursor.execute(
            """
            INSERT INTO billing_customersync (customer_id, objects_wanted, wanted, done, last_error)
            SELECT id, '{}'::jsonb, 0, 0, '' FROM unnest(%s::varchar[]) AS id ORDER BY id ON CONFLICT DO NOTHING
            """,
            [list(customer_ids)],
        )
        cursor.execute(
            """
            SELECT customer_id FROM (
                SELECT customer_id, lease_until, synced_at FROM billing_customersync
                WHERE customer_id = ANY(%s) ORDER BY customer_id FOR UPDATE
            ) AS row
            WHERE (lease_until IS NULL OR lease_until < now()) AND (synced_at IS NULL OR synced_at < %s)
            """,
            [list(customer_ids), begun],
        )
        return customer_ids - {row[0] for row in cursor.fetchall()}


def _record_paid_invoices(
    run: ReconciliationRun,
    changed: list[tuple[StripeObject | None, StripeObject]],
    owners: dict[str, str | None],
) -> None:
    found = [
        (finding, owners[after["id"]])
        for before, after in changed
        if before is not None
        for finding in invoice_changed(before, after)
    ]
    if not found:
        return
    organizations = Organization.objects.in_bulk(
        {owner for _finding, owner in found}, field_name="stripe_customer_id"
    )
    for finding, owner in found:
        if organization := organizations.get(owner or ""):
            recording.record_mended(run, organization, finding)


# -- what no list named -----------------------------------------------------------------------------------------


def look_for_unseen(run: ReconciliationRun, go_on: Callable[[], None]) -> int:
    """Ask Stripe for each object that no list named, and note what is gone. Returns how many calls that took.

    Raises RunFailed where so many are missing that it is rather another account.
    """
    missed = mirrored.unseen(run.started_at, MISSED_AT_ONCE + 1)
    if len(missed) > MISSED_AT_ONCE:
        raise RunFailed(
            _(
                "Stripe's lists lack more than %(n)d of the customers and subscriptions that we know. Check that the"
                " key is of the right account."
            )
            % {"n": MISSED_AT_ONCE}
        )
    for known in missed:
        go_on()
        begun = database_now()
        is_customer = known["object"] == "customer"
        try:
            retrieve = stripe_api.retrieve_customer if is_customer else stripe_api.retrieve
            found = retrieve(known["id"])
        except ObjectMissing:
            found = mirrored.deleted(known)
        with transaction.atomic():
            write_page(run, [found], begun)
    return len(missed)


def read_customer(run: ReconciliationRun, customer_id: str) -> int:
    """Everything of one customer, written like a page. Returns how many calls it took. Raises StripeError."""
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    begun = database_now()
    try:
        found = read_everything(customer_id, count)
    except ObjectMissing:
        found = [mirrored.deleted({"id": customer_id, "object": "customer"})]
    with transaction.atomic():
        write_page(run, found, begun)
    return calls
