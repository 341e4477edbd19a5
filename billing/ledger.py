"""Writing the ledger: one statement for an event of Stripe's, one function for what our own jobs did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import psycopg
from django.db import connection
from django.utils import timezone

from billing.inbox import QUEUE_SQL, UPSERT_SQL
from billing.models import SubscriptionEvent
from organizations.models import Organization


@dataclass(frozen=True)
class StripeEvent:
    """What the ledger keeps of one event of Stripe's, before anything was fetched."""

    stripe_event_id: str
    type: str
    occurred_at: int
    """Unix seconds, by Stripe's clock."""
    livemode: bool | None
    body: str
    """The event as Stripe sent it."""
    handled: bool
    """Whether any handler wants this type; the others are kept as ignored."""
    sync_key: str | None = None
    """Whose sync reads the objects: the customer, or a charge whose customer we do not know yet."""
    objects: Sequence[str] = ()
    """What is to be read again because of this event."""
    stripe_object_id: str | None = None
    stripe_customer_id: str | None = None
    stripe_subscription_id: str | None = None
    stripe_invoice_id: str | None = None
    stripe_charge_id: str | None = None
    stripe_refund_id: str | None = None
    stripe_request_id: str | None = None
    idempotency_key: str | None = None
    amount: int | None = None
    currency: str | None = None
    status: str | None = None
    previous_status: str | None = None
    quantity: int | None = None
    previous_quantity: int | None = None

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError for what its column cannot hold; a signature promises no shape."""
        for name, value in vars(self).items():
            allowed = _ALLOWED.get(name)
            if allowed and type(value) not in allowed:
                raise TypeError(f"{name} is a {type(value).__name__}")
            if isinstance(value, str):
                check_storable(value)

    def for_logs(self) -> dict[str, Any]:
        """What a log line may say of it: ids and kinds, nothing of its body."""
        return {"event": self.stripe_event_id, "type": self.type, "customer": self.stripe_customer_id}


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "str | None": (str, type(None)),
    "int | None": (int, type(None)),
    "bool | None": (bool, type(None)),
}
_ALLOWED = {each.name: _TYPES[each.type] for each in fields(StripeEvent) if each.type in _TYPES}


def check_storable(text: str) -> None:
    """Raise ValueError for a NUL or half a surrogate pair, which PostgreSQL's text cannot hold."""
    if "\0" in text:
        raise ValueError("a NUL")
    text.encode()


_NOT_COLUMNS = {"body", "handled", "sync_key", "objects", "occurred_at"}
_COLUMNS = [field.name for field in fields(StripeEvent) if field.name not in _NOT_COLUMNS]

_INSERT_SQL = f"""
    WITH owner AS (
        SELECT id, name FROM organizations_organization WHERE stripe_customer_id = %(stripe_customer_id)s
    ),
    stored AS (
        INSERT INTO billing_subscriptionevent (
            uuid, source, created_at, occurred_at, recovered, organization_id, organization_label,
            objects_to_read, state, claim, attempts, processed_at, error, traceback, {", ".join(_COLUMNS)}
        )
        VALUES (
            gen_random_uuid(), 'stripe', now(), to_timestamp(%(occurred_at)s::double precision), %(recovered)s,
            (SELECT id FROM owner), (SELECT name FROM owner),
            %(objects)s::text[], %(state)s::text, 0, 0,
            CASE WHEN %(state)s::text <> 'pending' THEN now() END, '', '',
            {", ".join(f"%({name})s" for name in _COLUMNS)}
        )
        ON CONFLICT (stripe_event_id) DO NOTHING
        RETURNING id
    ),
    payload AS (
        INSERT INTO billing_eventpayload (event_id, body) SELECT id, %(body)s FROM stored
    ),
    asked AS (
        SELECT %(sync_key)s::text AS customer_id, %(objects)s::text[] AS object_ids
        FROM stored WHERE %(state)s::text = 'pending'
    ),
    upserted AS ({UPSERT_SQL}),
    queued AS ({QUEUE_SQL})
    SELECT id, (SELECT count(*) FROM queued) FROM stored
"""  # noqa: S608  (constants)


def record_stripe_event(event: StripeEvent, *, recovered: bool = False, settled: bool = False) -> bool:
    """Store an event, ask for the sync it calls for, and wake a worker, all in one statement.

    Returns False, and changes nothing, where the ledger has the event already: Stripe's id is unique.
    `recovered` says that it was read from Stripe's list instead of delivered; `settled`, that everything it could
    tell was read from Stripe since, so that nothing is left to do.
    """
    if not event.handled or not event.sync_key or not event.objects:
        state = SubscriptionEvent.State.IGNORED
    else:
        state = SubscriptionEvent.State.DONE if settled else SubscriptionEvent.State.PENDING
    # Of a type that nobody handles it is not known what is to be read; a later handler may say it, once.
    objects = list(event.objects) if event.handled else None
    values = vars(event) | {"state": state.value, "recovered": recovered, "objects": objects}
    connection.ensure_connection()
    # Not Django's cursor, which has PostgreSQL plan each time: of this statement that takes longer than doing it.
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(_INSERT_SQL, values)
        return cursor.fetchone() is not None


def kept_among(stripe_event_ids: Sequence[str]) -> set[str]:
    """Those of Stripe's events that the ledger has."""
    rows = SubscriptionEvent.objects.filter(stripe_event_id__in=stripe_event_ids)
    return {str(each) for each in rows.values_list("stripe_event_id", flat=True)}


def record_system_event(
    type_: str,
    organization: Organization | None,
    message: str,
    *,
    after: dict[str, Any] | None = None,
    **columns: Any,
) -> SubscriptionEvent:
    """Write down what one of our own jobs did. Runs inside the caller's transaction."""
    now = timezone.now()
    return SubscriptionEvent.objects.create(
        source=SubscriptionEvent.Source.SYSTEM,
        type=type_,
        organization=organization,
        organization_label=organization.name if organization else None,
        stripe_customer_id=organization.stripe_customer_id if organization else None,
        occurred_at=now,
        processed_at=now,
        state=SubscriptionEvent.State.DONE,
        message=message,
        after=after,
        **columns,
    )


def record_staff_act(
    type_: str, actor: Any, message: str, *, organization: Organization | None = None, **columns: Any
) -> SubscriptionEvent:
    """Write down what a colleague did that asks nothing of Stripe. Runs inside the caller's transaction."""
    now = timezone.now()
    return SubscriptionEvent.objects.create(
        source=SubscriptionEvent.Source.STAFF,
        type=type_,
        organization=organization,
        organization_label=organization.name if organization else None,
        stripe_customer_id=organization.stripe_customer_id if organization else None,
        actor=actor,
        actor_label=actor.get_username(),
        occurred_at=now,
        processed_at=now,
        state=SubscriptionEvent.State.DONE,
        message=message,
        **columns,
    )


def columns_of(event: StripeEvent) -> dict[str, Any]:
    """The columns of evidence that an event of Stripe's fills."""
    return {name: getattr(event, name) for name in _COLUMNS}


def payload_of(event: SubscriptionEvent) -> Any:
    """The decoded body of an event, or None where there is none any more."""
    payload = getattr(event, "payload", None)
    return json.loads(payload.body) if payload else None
