"""Columns that PostgreSQL keeps beside Stripe's documents, and the indexes by which lists find their rows.

A list that narrowed or added up the documents themselves would take each of them apart. dj-stripe's models do not know
of these columns; `billing.mirror` reads them. Nothing in a document makes one of them fail: what is no number, no date
or too long becomes NULL or is cut.

Adding them writes each table anew, under a lock: where tables have filled up, while nobody works. The indexes are made
while the tables are in use.
"""

from django.db import migrations

# As in billing.money when this was written: how many decimals a currency has decides what its amounts are in whole units.
ZERO_DECIMAL = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()
THREE_DECIMAL = "bhd jod kwd omr tnd".split()


def raw(path: str) -> str:
    return f"(stripe_data #>> '{{{path}}}')"


def text(path: str, most: int = 60) -> str:
    return f"left({raw(path)}, {most})"


def number(path: str) -> str:
    return f"(CASE WHEN {raw(path)} ~ '^-?[0-9]{{1,15}}$' THEN {raw(path)}::bigint END)"


def moment(path: str) -> str:
    return f"(CASE WHEN {raw(path)} ~ '^[0-9]{{1,11}}$' THEN to_timestamp({raw(path)}::bigint) END)"


def is_true(path: str) -> str:
    return f"(stripe_data #> '{{{path}}}' = 'true'::jsonb)"


CURRENCY = f"lower({text('currency', 10)})"


def whole_units(path: str) -> str:
    def among(codes: list[str]) -> str:
        return f"{CURRENCY} IN ({', '.join(repr(code) for code in codes)})"

    factor = f"CASE WHEN {among(ZERO_DECIMAL)} THEN 1 WHEN {among(THREE_DECIMAL)} THEN 0.001 ELSE 0.01 END"
    return f"{number(path)} * {factor}"


# Those that paid an invoice, whether Stripe named them or sent them along.
INTENT = "$.payments.data[*].payment.payment_intent"
INTENTS = (
    f"jsonb_path_query_array(stripe_data, '{INTENT} ? (@.type() == \"string\")')"
    f" || jsonb_path_query_array(stripe_data, '{INTENT}.id')"
)


def shared(amount: str) -> dict[str, str]:
    return {
        "bo_status text": text("status"),
        "bo_currency text": CURRENCY,
        "bo_amount bigint": number(amount),
        "bo_whole_units numeric": whole_units(amount),
    }


COLUMNS = {
    "djstripe_invoice": {
        **shared("total"),
        "bo_number text": text("number", 100),
        "bo_amount_paid bigint": number("amount_paid"),
        "bo_amount_remaining bigint": number("amount_remaining"),
        # As billing.projection has it: its due date, or that of an invoice whose payment was tried.
        "bo_due_at timestamptz": f"COALESCE({moment('due_date')},"
        f" CASE WHEN {is_true('attempted')} THEN {moment('created')} END)",
        "bo_intents jsonb": INTENTS,
    },
    "djstripe_charge": {
        **shared("amount"),
        "bo_amount_captured bigint": number("amount_captured"),
        "bo_amount_refunded bigint": number("amount_refunded"),
        "bo_disputed boolean": is_true("disputed"),
        "bo_failure text": text("failure_code"),
        "bo_card text": f"{text('payment_method_details,card,brand', 20)}"
        f" || ' ' || {text('payment_method_details,card,last4', 4)}",
        "bo_intent text": f"COALESCE({text('payment_intent,id', 255)}, {text('payment_intent', 255)})",
    },
    "djstripe_refund": {
        **shared("amount"),
        "bo_reason text": text("reason"),
        "bo_failure text": text("failure_reason"),
    },
    "djstripe_dispute": {
        **shared("amount"),
        "bo_reason text": text("reason"),
        "bo_due_by timestamptz": moment("evidence_details,due_by"),
    },
}

NEWEST = "created DESC NULLS LAST, djstripe_id DESC"
TO_ANSWER = "bo_status IN ('needs_response', 'warning_needs_response')"
INDEXES = {
    **{
        f"{table}_bo_{name}": f"{table} ({columns})"
        for table in COLUMNS
        for name, columns in (
            ("newest", NEWEST),
            ("status", f"bo_status, {NEWEST}"),
            ("currency", f"bo_currency, {NEWEST}"),
            ("status_currency", f"bo_status, bo_currency, {NEWEST}"),
            ("whole_units", "bo_whole_units"),
        )
    },
    "djstripe_invoice_bo_number": "djstripe_invoice (bo_number)",
    "djstripe_invoice_bo_due": "djstripe_invoice (bo_due_at) WHERE bo_status = 'open' AND bo_amount_remaining > 0",
    "djstripe_charge_bo_refunded": f"djstripe_charge ({NEWEST}) WHERE bo_amount_refunded > 0",
    "djstripe_charge_bo_disputed": f"djstripe_charge ({NEWEST}) WHERE bo_disputed",
    "djstripe_dispute_bo_due": f"djstripe_dispute (bo_due_by) WHERE {TO_ANSWER}",
}


def add(table: str) -> str:
    columns = (
        f"ADD COLUMN IF NOT EXISTS {column} GENERATED ALWAYS AS ({made}) STORED"
        for column, made in COLUMNS[table].items()
    )
    return f"ALTER TABLE {table} {', '.join(columns)}"


def drop(table: str) -> str:
    # With their indexes.
    return f"ALTER TABLE {table} {', '.join(f'DROP COLUMN IF EXISTS {column.split()[0]}' for column in COLUMNS[table])}"


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("djstripe", "0003_2_11"),
        ("billing", "0011_find_events_by_more"),
    ]

    operations = [
        *(migrations.RunSQL(add(table), drop(table)) for table in COLUMNS),
        *(
            migrations.RunSQL(
                f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {what}", f"DROP INDEX IF EXISTS {name}"
            )
            for name, what in INDEXES.items()
        ),
    ]
