"""Tables as large as years make them: 100,000 organizations, 1,000,000 members, 10,000,000 events.

They are filled inside PostgreSQL; BENCH_SCALE=0.01 makes a hundredth of it. Indexes are dropped for the filling and
made again after it, by their own definitions, so what is measured stands on what the migrations made.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
ORGANIZATIONS = round(100_000 * SCALE)
MEMBERS = round(1_000_000 * SCALE)
EVENTS = round(10_000_000 * SCALE)
INVOICES_OF_EACH = 4

_FILL = {
    "auth_user": """
        INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active,
                               date_joined)
        SELECT 1000 + n, '', false, 'user' || n, 'First' || n % 997, 'Last' || n, 'user' || n || '@mail' || n % 5000
               || '.example', false, true, now() - n % 2000 * interval '1 day'
        FROM generate_series(1, %(members)s) AS n
    """,
    "organizations_organization": """
        INSERT INTO organizations_organization
            (id, name, slug, billing_email, created_at, last_activity_at, stripe_customer_id,
             stripe_subscription_id, subscription_status, plan, price_id, unit_amount, interval, interval_count,
             currency, seats, mrr, current_period_start, current_period_end, cancel_at_period_end, cancel_at,
             trial_end, card_brand, card_last4, card_exp_month, card_exp_year, billing_issue_since, amount_overdue,
             synced_at)
        SELECT n,
               initcap((array['northwind','contoso','fabrikam','tailspin','wingtip','proseware','litware','adatum',
                       'humongous','lucerne','trey','margie'])[1 + n % 12])
                   || ' ' || initcap(substr(md5(n::text), 1, 6)) || ' ' || n,
               'org-' || n, 'billing' || n || '@company' || n || '.example', now() - n % 2000 * interval '1 day',
               now() - n % 300 * interval '1 hour', 'cus_bench' || n, 'sub_bench' || n,
               (array['active','active','active','active','active','active','trialing','past_due','canceled','active'])
                   [1 + n % 10],
               (array['Team','Business','Enterprise'])[1 + n % 3], 'price_bench', 2900, 'month', 1,
               (array['usd','usd','eur','jpy'])[1 + n % 4], n % 100 + 1, 2900 * (n % 100 + 1),
               now() - n % 30 * interval '1 day', now() + n % 30 * interval '1 day', n % 50 = 0, NULL,
               CASE WHEN n % 10 = 6 THEN now() + n % 40 * interval '1 day' END, 'visa', '4242', 12, 2030,
               CASE WHEN n % 10 = 7 AND n % 5 = 2 THEN now() - n % 40 * interval '1 day' END,
               CASE WHEN n % 10 = 7 AND n % 5 = 2 THEN 2900 * (n % 100 + 1) ELSE 0 END, now()
        FROM generate_series(1, %(organizations)s) AS n
    """,
    "organizations_membership": """
        INSERT INTO organizations_membership (organization_id, user_id, role, status, joined_at, last_activity_at)
        SELECT 1 + n % %(organizations)s, 1000 + n,
               -- All but one in a hundred have an owner.
               CASE WHEN n < %(organizations)s AND n % 100 > 0 THEN 'owner'
                    ELSE (array['admin','member','member','viewer'])[1 + n % 4] END,
               (array['active','active','active','invited','removed'])[1 + n / %(organizations)s % 5], now(),
               now() - n % 500 * interval '1 hour'
        FROM generate_series(1, %(members)s) AS n
    """,
    "organizations_hold": """
        INSERT INTO organizations_hold (organization_id, kind, reason, placed_at, stops_billing, lifted_at)
        SELECT n, (array['non_payment','abuse','legal','manual'])[1 + n % 4], 'bench', now(), false,
               CASE WHEN n % 3 = 0 THEN now() END
        FROM generate_series(1, %(organizations)s, 100) AS n
    """,
    "organizations_note": """
        INSERT INTO organizations_note (organization_id, text, pinned, created_at)
        SELECT n, 'They renew in spring; write to the owner first.', n % 7 = 0, now() - n * interval '1 minute'
        FROM generate_series(1, %(organizations)s, 3) AS n
    """,
    "billing_subscriptionevent": """
        INSERT INTO billing_subscriptionevent
            (uuid, source, type, created_at, occurred_at, recovered, organization_id, organization_label, livemode,
             stripe_event_id, stripe_object_id, stripe_customer_id, stripe_subscription_id, stripe_invoice_id,
             stripe_charge_id, amount, currency, status, message, state, claim, attempts, error, traceback)
        SELECT gen_random_uuid(), 'stripe',
               (array['customer.subscription.updated','invoice.paid','invoice.created','charge.succeeded',
                      'payment_intent.succeeded','invoice.finalized','charge.refunded','customer.updated'])
                   [1 + n % 8],
               now() - (%(events)s - n) * interval '10 seconds',
               now() - (%(events)s - n) * interval '10 seconds', false, o, NULL, false,
               'evt_bench' || n, 'in_bench' || n, 'cus_bench' || o, 'sub_bench' || o,
               CASE WHEN n % 8 IN (1, 2, 5) THEN 'in_bench' || n END,
               CASE WHEN n % 8 IN (3, 6) THEN 'ch_bench' || n END, 2900, 'usd', 'active', NULL,
               CASE WHEN n % 100000 = 1 THEN 'failed' ELSE 'done' END, 0, 1, '', ''
        FROM (SELECT n, 1 + n % %(organizations)s AS o FROM generate_series(1, %(events)s) AS n) AS numbered
    """,
}

# Rows of the mirror are made after one that was written as always, with what tells them apart replaced.
_CLONED = {
    "djstripe_customer": (
        "organizations",
        "jsonb_build_object('id', 'cus_bench' || n, 'stripe_data', like_this.stripe_data"
        " || jsonb_build_object('id', 'cus_bench' || n))",
    ),
    "djstripe_invoice": (
        "invoices",
        "jsonb_build_object('id', 'in_bench' || n, 'customer_id', 'cus_bench' || 1 + n % %(organizations)s,"
        " 'created', now() - n * interval '1 minute', 'stripe_data', like_this.stripe_data"
        " || jsonb_build_object('id', 'in_bench' || n, 'customer', 'cus_bench' || 1 + n % %(organizations)s,"
        " 'status', (array['paid','paid','paid','open'])[1 + n % 4]))",
    ),
    "djstripe_charge": (
        "invoices",
        "jsonb_build_object('id', 'ch_bench' || n, 'customer_id', 'cus_bench' || 1 + n % %(organizations)s,"
        " 'created', now() - n * interval '1 minute', 'stripe_data', like_this.stripe_data"
        " || jsonb_build_object('id', 'ch_bench' || n, 'customer', 'cus_bench' || 1 + n % %(organizations)s))",
    ),
    "djstripe_refund": (
        "organizations",
        "jsonb_build_object('id', 're_bench' || n, 'charge_id', 'ch_bench' || n,"
        " 'created', now() - n * interval '3 minutes', 'stripe_data', like_this.stripe_data"
        " || jsonb_build_object('id', 're_bench' || n, 'charge', 'ch_bench' || n,"
        " 'status', (array['succeeded','succeeded','succeeded','failed','pending'])[1 + n % 5]))",
    ),
    "djstripe_dispute": (
        "disputes",
        "jsonb_build_object('id', 'dp_bench' || n, 'charge_id', 'ch_bench' || n,"
        " 'created', now() - n * interval '20 minutes', 'stripe_data', like_this.stripe_data"
        " || jsonb_build_object('id', 'dp_bench' || n, 'charge', 'ch_bench' || n,"
        " 'status', (array['won','lost','lost','needs_response'])[1 + n % 4]))",
    ),
}


def fill(like: dict[str, str]) -> None:
    """Fill every table. `like` names, for each table of the mirror, the object its rows are made after.

    Takes minutes at full scale, of which most is making the indexes again.
    """
    began = time.monotonic()
    numbers = {
        "organizations": ORGANIZATIONS,
        "members": MEMBERS,
        "events": EVENTS,
        "invoices": INVOICES_OF_EACH * ORGANIZATIONS,
        "disputes": ORGANIZATIONS // 10,
    }
    statements = dict(_FILL) | {
        table: _cloning(table, number, values, like[table]) for table, (number, values) in _CLONED.items()
    }
    for table, statement in statements.items():
        with _without_indexes(table), connection.cursor() as cursor:
            cursor.execute(_with(statement, numbers))
        print(f"{table} filled after {time.monotonic() - began:,.0f} s", flush=True)
    with connection.cursor() as cursor:
        for table in ("auth_user", "organizations_organization"):
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
            )
        cursor.execute("VACUUM ANALYZE")
    print(f"Filled after {time.monotonic() - began:,.0f} s", flush=True)


def _with(statement: str, numbers: dict[str, int]) -> str:
    """The statement with our own numbers in it, which are no stranger's."""
    for name, number in numbers.items():
        statement = statement.replace(f"%({name})s", str(number))
    return statement


def _cloning(table: str, number: str, values: str, id_: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns"
            " WHERE table_name = %s AND is_generated = 'NEVER' AND column_name <> 'djstripe_id'",
            [table],
        )
        (columns,) = cursor.fetchone()
    row = f"jsonb_populate_record(like_this, {values})"
    return (
        f"INSERT INTO {table} ({columns})"
        f" SELECT {', '.join(f'made.{column}' for column in columns.split(', '))}"
        f" FROM {table} AS like_this, generate_series(1, %({number})s) AS n, LATERAL {row} AS made"
        f" WHERE like_this.id = '{id_}'"
    )


@contextmanager
def _without_indexes(table: str) -> Iterator[None]:
    """Without the indexes that no constraint needs, and made again afterwards as they were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
            " WHERE indrelid = %s::regclass AND NOT indisprimary"
            " AND indexrelid NOT IN (SELECT conindid FROM pg_constraint)",
            [table],
        )
        indexes = cursor.fetchall()
        for name, _definition in indexes:
            cursor.execute(f"DROP INDEX {name}")
    yield
    with connection.cursor() as cursor:
        cursor.execute("SET maintenance_work_mem = '1GB'")
        for _name, definition in indexes:
            cursor.execute(definition)
