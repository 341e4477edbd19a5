"""Which types of events the ledger has, read off an index however many events there are."""

from __future__ import annotations

from django.db import connection

from billing.one_look import read_once

# Stripe has some two hundred and fifty (https://docs.stripe.com/api/events/types), and we some twenty.
MOST_TYPES = 1_000

# From each type to the next: one probe of the index for each, where DISTINCT would read every row.
_TYPES = """
    WITH RECURSIVE found AS (
        (SELECT type FROM billing_subscriptionevent ORDER BY type LIMIT 1)
        UNION ALL
        SELECT (SELECT next.type FROM billing_subscriptionevent AS next
                 WHERE next.type > found.type ORDER BY next.type LIMIT 1)
          FROM found WHERE found.type IS NOT NULL)
    SELECT type FROM found WHERE type IS NOT NULL LIMIT %s
"""


@read_once
def types_recorded() -> tuple[str, ...]:
    """The types of all events there are, in order."""
    with connection.cursor() as cursor:
        cursor.execute(_TYPES, [MOST_TYPES])
        return tuple(type_ for (type_,) in cursor.fetchall())
