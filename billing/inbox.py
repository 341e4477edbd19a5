"""The inbox of the sync: who wants what read from Stripe, and who is reading it.

One row per customer (`CustomerSync`) is both. Asking is one upsert that also queues a job, unless one is queued
already; taking the lease is one compare-and-set. Neither waits for anybody, and the database's clock rules.
"""

from __future__ import annotations

import datetime
import json
import random
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection

# The name of everything a customer has at Stripe, among the objects of a request.
EVERYTHING = "*"
# What asks for no reading: only that an organization's columns be told anew from what the mirror has.
PROJECTION = "="

SYNC_QUEUE = "sync"
SYNC_TASK = "billing.tasks.sync_customer"

# A lease outlasts one call to Stripe by far; it is renewed before each.
LEASE_SECONDS = 90
# Behind whatever was just heard of: what is tried again, and behind that what only follows from the catalogue, which
# a renamed product asks of everybody who buys it.
RETRY_PRIORITY = -5
PROJECTION_PRIORITY = -15
# A queued job that nobody began within this time is taken for lost, and the next request queues another.
QUEUED_SECONDS = 30
# The same for a projection, of which there may be a hundred thousand to work off.
PROJECTION_SECONDS = 600

BACKOFF_SECONDS = (60, 5 * 60, 30 * 60, 2 * 3600, 8 * 3600, 24 * 3600)
# So many failures in a row, which takes three days and a half, and an object is given up until it is asked for anew.
TRIES = 9

# Used alone by `request_sync`, and inside the one statement that stores a webhook (billing/ledger.py). It expects
# a relation `asked(customer_id text, object_ids text[])` and yields the customers for whom a job must be queued.
UPSERT_SQL = f"""
    INSERT INTO billing_customersync AS sync
        (customer_id, objects_wanted, wanted, done, queued_at, next_attempt_at, last_error)
    SELECT asked.customer_id,
           (SELECT jsonb_object_agg(id, jsonb_build_object('version', 1)) FROM unnest(asked.object_ids) AS id),
           1, 0, now(), now(), ''
    FROM asked
    ON CONFLICT (customer_id) DO UPDATE SET
        wanted = sync.wanted + 1,
        objects_wanted = sync.objects_wanted || (
            SELECT jsonb_object_agg(id, jsonb_build_object('version', sync.wanted + 1))
            FROM jsonb_object_keys(excluded.objects_wanted) AS id
        ),
        queued_at = CASE WHEN sync.queued_at > now() - interval '{QUEUED_SECONDS} seconds'
                         THEN sync.queued_at ELSE now() END,
        next_attempt_at = now()
    RETURNING customer_id, queued_at = now() AS must_queue
"""  # noqa: S608  (constants)

# procrastinate's own function for deferring, so that job and row commit together in one round trip.
_QUEUE_SQL = f"""
    SELECT procrastinate_defer_jobs_v1(array_agg(
        ROW('{SYNC_QUEUE}', '{SYNC_TASK}', %s, NULL, NULL,
            jsonb_build_object('customer_id', upserted.customer_id), NULL)::procrastinate_job_to_defer_v1
    ))
    FROM upserted WHERE upserted.must_queue HAVING count(*) > 0
"""  # noqa: S608  (constants)
QUEUE_SQL = _QUEUE_SQL % 0
_QUEUE_RETRY_SQL = _QUEUE_SQL % RETRY_PRIORITY
_QUEUE_PROJECTION_SQL = _QUEUE_SQL % PROJECTION_PRIORITY


def request_sync(customer_id: str, object_ids: Iterable[str] = (EVERYTHING,)) -> None:
    """Ask that these objects of a customer be read from Stripe soon. Commits with the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH asked AS (SELECT %s::text AS customer_id, %s::text[] AS object_ids),
            upserted AS ({UPSERT_SQL})
            {QUEUE_SQL}
            """,
            [customer_id, list(object_ids) or [EVERYTHING]],
        )


def request_projections(customer_ids: Iterable[str]) -> None:
    """Ask that these customers be told anew of what the mirror has, by one statement, once nothing else waits.

    The row does not count as queued: what is heard of the customer meanwhile queues a job that goes first.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH upserted AS (
                INSERT INTO billing_customersync AS sync
                    (customer_id, objects_wanted, wanted, done, next_attempt_at, last_error)
                SELECT DISTINCT id, jsonb_build_object(%(projection)s, jsonb_build_object('version', 1)),
                       1, 0, now() + interval '{PROJECTION_SECONDS} seconds', ''
                FROM unnest(%(customer_ids)s::text[]) AS id ORDER BY id
                ON CONFLICT (customer_id) DO UPDATE SET
                    wanted = sync.wanted + 1,
                    objects_wanted = sync.objects_wanted || jsonb_build_object(
                        %(projection)s, jsonb_build_object('version', sync.wanted + 1)
                    ),
                    next_attempt_at = LEAST(sync.next_attempt_at, excluded.next_attempt_at)
                RETURNING customer_id, true AS must_queue
            )
            {_QUEUE_PROJECTION_SQL}
            """,  # noqa: S608  (constants)
            {"projection": PROJECTION, "customer_ids": list(customer_ids)},
        )


@dataclass(frozen=True)
class Lease:
    """The right to read one customer from Stripe and to write what was read, while `token` holds."""

    customer_id: str
    token: uuid.UUID
    objects: dict[str, dict[str, Any]]
    """The objects that are due, by id, as the row named them when the lease was taken."""


# The objects of a row that may be read now, as a map; NULL when there is none.
_DUE_SQL = """
    (SELECT jsonb_object_agg(object.key, object.value) FROM jsonb_each(objects_wanted) AS object
     WHERE COALESCE((object.value ->> 'due')::timestamptz <= now(), true))
"""


def take_lease(customer_id: str) -> Lease | None:
    """The lease, or None while another holds it or when nothing is due. Whoever holds it sees later requests."""
    token = uuid.uuid4()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE billing_customersync
            SET lease_token = %s, lease_until = now() + make_interval(secs => %s), queued_at = NULL
            WHERE customer_id = %s AND (lease_until IS NULL OR lease_until < now()) AND {_DUE_SQL} IS NOT NULL
            """,  # noqa: S608  (constants)
            [token, LEASE_SECONDS, customer_id],
        )
        return due_objects(customer_id, token) if cursor.rowcount == 1 else None


def due_objects(customer_id: str, token: uuid.UUID) -> Lease | None:
    """The lease, renewed, with what is due now. None when it was lost, or was let go because nothing is due."""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                UPDATE billing_customersync
                SET lease_until = now() + make_interval(secs => %s), queued_at = NULL
                WHERE customer_id = %s AND lease_token = %s AND lease_until > now()
                RETURNING {_DUE_SQL}
                """,  # noqa: S608  (constants)
                [LEASE_SECONDS, customer_id, token],
            )
            row = cursor.fetchone()
        if row is None:
            return None
        if row[0]:
            due = json.loads(row[0]) if isinstance(row[0], str) else row[0]
            return Lease(customer_id, token, due)
        if release(customer_id, token):
            return None


def renew(customer_id: str, token: uuid.UUID) -> bool:
    """Hold the lease for another `LEASE_SECONDS`; say whether it was still ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE billing_customersync SET lease_until = now() + make_interval(secs => %s)
            WHERE customer_id = %s AND lease_token = %s AND lease_until > now()
            """,
            [LEASE_SECONDS, customer_id, token],
        )
        return bool(cursor.rowcount == 1)


def release(customer_id: str, token: uuid.UUID) -> bool:
    """Let the lease go, unless something became due meanwhile; say whether it is no longer ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE billing_customersync SET lease_token = NULL, lease_until = NULL, queued_at = NULL
            WHERE customer_id = %s AND lease_token = %s AND {_DUE_SQL} IS NULL
            """,  # noqa: S608  (constants)
            [customer_id, token],
        )
        if cursor.rowcount == 1:
            return True
    return not renew(customer_id, token)


def backoff(attempts: int) -> datetime.timedelta:
    """How long to wait after the `attempts`-th failure: growing from a minute to a day, with jitter."""
    base = BACKOFF_SECONDS[min(attempts, len(BACKOFF_SECONDS)) - 1]
    return datetime.timedelta(seconds=base * random.uniform(0.8, 1.2))  # noqa: S311  (jitter, no secret)


# A row is overdue when something of it is due, nobody holds its lease, and no job for it is on its way.
_OVERDUE_SQL = f"""
    SELECT customer_id FROM billing_customersync
    WHERE wanted > done AND next_attempt_at <= now()
        AND (lease_until IS NULL OR lease_until < now())
        AND (queued_at IS NULL OR queued_at < now() - interval '{QUEUED_SECONDS} seconds')
    ORDER BY next_attempt_at LIMIT %s
"""  # noqa: S608  (constants)


def overdue_customers(limit: int = 500) -> list[str]:
    """Customers with something due whose job was lost or whose retry has come, longest waiting first."""
    with connection.cursor() as cursor:
        cursor.execute(_OVERDUE_SQL, [limit])
        return [row[0] for row in cursor.fetchall()]


def queue_overdue(limit: int = 500) -> None:
    """Queue a job for each overdue customer. Reading them is the jobs' work: one that hangs delays no other."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH upserted AS (
                UPDATE billing_customersync SET queued_at = now()
                WHERE customer_id IN ({_OVERDUE_SQL} FOR UPDATE SKIP LOCKED)
                RETURNING customer_id, true AS must_queue
            )
            {_QUEUE_RETRY_SQL}
            """,  # noqa: S608  (constants)
            [limit],
        )
