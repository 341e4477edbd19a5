"""The ledger's triggers: evidence stays, whoever asks and with whatever tool."""

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from billing.models import EventPayload, OperationStep, SubscriptionEvent
from tests.factories import (
    EventPayloadFactory,
    OperationStepFactory,
    StaffEventFactory,
    SubscriptionEventFactory,
)

pytestmark = pytest.mark.django_db


def refused(sql: str, parameters: list[Any] | None = None) -> bool:
    with pytest.raises(IntegrityError, match=r"append-only|retention") as refusal:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, parameters)
    return "refused" in str(refusal.value)


def columns_of_evidence() -> list[str]:
    return [
        field.attname
        for field in SubscriptionEvent._meta.concrete_fields
        if field.name not in SubscriptionEvent.PROCESSING_COLUMNS
    ]


def test_no_written_evidence_can_be_changed_or_taken_back() -> None:
    event = StaffEventFactory(
        ticket="4711", plan={"seats": 12}, before={"seats": 8}, amount=100, stripe_event_id="evt_1"
    )
    row = SubscriptionEvent.objects.get(pk=event.pk)
    written = [column for column in columns_of_evidence() if getattr(row, column) is not None]
    assert len(written) >= 20
    for column in written:
        assert refused(f'UPDATE billing_subscriptionevent SET "{column}" = NULL WHERE id = %s', [event.pk]), (
            column
        )
    assert refused("UPDATE billing_subscriptionevent SET reason = 'other' WHERE id = %s", [event.pk])


def test_evidence_that_was_not_known_can_be_added_once() -> None:
    event = SubscriptionEventFactory(message=None)
    SubscriptionEvent.objects.filter(pk=event.pk).update(message="It worked.")
    assert refused("UPDATE billing_subscriptionevent SET message = 'It did not.' WHERE id = %s", [event.pk])


def test_processing_columns_move() -> None:
    event = SubscriptionEventFactory(state="pending")
    for state in ("failed", "pending", "done"):
        SubscriptionEvent.objects.filter(pk=event.pk).update(
            state=state, attempts=3, error=state, traceback="…"
        )


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "table", ["billing_subscriptionevent", "billing_operationstep", "billing_eventpayload"]
)
def test_nothing_is_deleted_or_truncated(table: str) -> None:
    OperationStepFactory()
    EventPayloadFactory()
    assert refused(f"DELETE FROM {table}")
    assert refused(f"TRUNCATE {table} CASCADE")


def test_an_answered_step_stays_as_it_was_answered() -> None:
    step = OperationStepFactory(answer={"id": "sub_1"})
    assert refused("UPDATE billing_operationstep SET answer = '{}' WHERE id = %s", [step.pk])
    assert OperationStep.objects.get(pk=step.pk).answer == {"id": "sub_1"}


def test_a_payload_goes_only_when_retention_says_so() -> None:
    payload = EventPayloadFactory()
    assert refused("UPDATE billing_eventpayload SET body = '{}'")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL billing.retention = 'on'")
        cursor.execute("DELETE FROM billing_eventpayload WHERE event_id = %s", [payload.pk])
    assert not EventPayload.objects.exists()
