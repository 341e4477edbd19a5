"""Between which keys the ledger's rows of some days stand, read off an index whatever their number."""

from __future__ import annotations

from datetime import datetime

from django.db import connection

# Stripe tries a delivery again for three days (https://docs.stripe.com/webhooks#retries), so what happens meanwhile
# stands before it in the ledger. As many keys as this are few to read off an index.
MOST_OUT_OF_ORDER = 50_000

_KEYS = """
    WITH days AS (SELECT COALESCE(%(begin)s::timestamptz, '-infinity') AS begin,
                         COALESCE(%(end)s::timestamptz, 'infinity') AS end)
    SELECT (SELECT min(id) FROM (
                SELECT event.id FROM days, LATERAL (
                    SELECT id FROM billing_subscriptionevent
                     WHERE COALESCE(occurred_at, created_at) >= days.begin
                       AND COALESCE(occurred_at, created_at) < days.end
                     ORDER BY COALESCE(occurred_at, created_at) LIMIT %(most)s) AS event) AS first),
           (SELECT max(id) FROM (
                SELECT event.id FROM days, LATERAL (
                    SELECT id FROM billing_subscriptionevent
                     WHERE COALESCE(occurred_at, created_at) >= days.begin
                       AND COALESCE(occurred_at, created_at) < days.end
                     ORDER BY COALESCE(occurred_at, created_at) DESC LIMIT %(most)s) AS event) AS last),
           (SELECT max(id) FROM billing_subscriptionevent, days
             WHERE recovered
               AND COALESCE(occurred_at, created_at) >= days.begin
               AND COALESCE(occurred_at, created_at) < days.end)
"""


def keys_between(begin: datetime | None, end: datetime | None) -> tuple[int, int] | None:
    """The first and the last key among which all rows are that happened since `begin` and before `end`, None if none.

    Keys are given as we learn of things, which is nearly the order in which they happen; what Stripe was asked for
    only later is looked for apart. Rows of other days may stand between these keys as well.
    """
    with connection.cursor() as cursor:
        cursor.execute(_KEYS, {"begin": begin, "end": end, "most": MOST_OUT_OF_ORDER})
        first, last, recovered = cursor.fetchone()
    return None if first is None else (first, max(last, recovered or 0))
