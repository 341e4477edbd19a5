"""More went back of an invoice than was paid, by an act in Stripe's dashboard: a person learns of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from procrastinate.contrib.django.models import ProcrastinateJob
from pytest_django import Settings

from billing.errors import OutcomeUnknown
from billing.models import Alert
from billing.operations.refund import RefundInvoice
from billing.operations.refund_excess import tell_of_excess
from billing.refund_news import EXCESS_TASK
from billing.sync import request_sync, sync_customer
from organizations.models import Organization
from tests.billing.test_refund import (
    PAID,
    asked,
    credited,
    fault,
    in_the_last_moment,
    intent_of,
    invoice_of,
    organization,
    pay_back_in_the_dashboard,
    refunded,
    sweep,
    world,
)
from tests.conftest import Sandbox
from tests.stripe_world import World
from tests.webhooks.signing import deliver, make_event

__all__ = ["organization", "world"]

pytestmark = pytest.mark.django_db(transaction=True)


def after_our_last_look(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Let something happen at Stripe after the last look of an operation of ours, before it settles."""
    following = RefundInvoice.following

    def be_followed(*args: Any) -> Any:
        step = following(*args)
        if step is None:
            act()
        return step

    monkeypatch.setattr(RefundInvoice, "following", be_followed)


def told_at_last(world: World, *objects: str) -> list[str]:
    """Read these objects, as Stripe's events of them have us do, and do the jobs that this queues; the alerts then."""
    request_sync(world.customer, objects)
    assert sync_customer(world.customer)
    for job in ProcrastinateJob.objects.filter(task_name=EXCESS_TASK):
        tell_of_excess(**job.args)
    return list(Alert.objects.values_list("message", flat=True))


def test_a_refund_in_the_dashboard_after_our_last_look_calls_a_person(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    shown = asked(sandbox, world, organization, 10_000, destination="balance")
    after_our_last_look(monkeypatch, lambda: made.append(pay_back_in_the_dashboard(sandbox, world, 20_000)))
    event = shown.apply()
    monkeypatch.undo()
    assert (event.state, refunded(sandbox, world), credited(sandbox, world)) == ("done", 20_000, 10_000)

    for _ in range(2):
        (message,) = told_at_last(world, made[0].id, made[0].charge)
    number = invoice_of(sandbox, world).number
    assert message == (
        f"Of invoice {number} $68.00 more went back than was paid:"
        " $232.00 was paid, and $200.00 refunded, $100.00 credited."
    )
    alert = Alert.objects.get()
    assert (alert.kind, alert.severity, alert.organization) == ("given_back_too_much", "today", organization)
    assert told_at_last(world, "*") == [message]


def test_a_credit_in_the_dashboard_after_our_last_look_calls_a_person(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    monkeypatch: pytest.MonkeyPatch,
    client: Client,
) -> None:
    note: Any = {"invoice": invoice_of(sandbox, world).id, "amount": PAID, "credit_amount": PAID}
    made: list[Any] = []
    shown = asked(sandbox, world, organization, 10_000)
    after_our_last_look(monkeypatch, lambda: made.append(sandbox.client.v1.credit_notes.create(note)))
    assert shown.apply().state == "done"
    monkeypatch.undo()
    assert deliver(client, make_event("credit_note.created", json.loads(str(made[0])))).status_code == 200
    (message,) = told_at_last(world, invoice_of(sandbox, world).id)
    assert "$100.00 more went back than was paid" in message


def test_what_a_refund_in_progress_may_yet_take_back_calls_nobody(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    shown = asked(sandbox, world, organization, 10_000, destination="balance")
    made: list[Any] = []
    in_the_last_moment(monkeypatch, lambda: made.append(pay_back_in_the_dashboard(sandbox, world, 20_000)))
    fault(sandbox, "timeout_before", f"/v1/customers/{world.customer}/balance_transactions")
    assert shown.apply().state == "pending"
    monkeypatch.undo()
    changed = (made[0].id, made[0].charge, invoice_of(sandbox, world).id)
    with pytest.raises(OutcomeUnknown):
        told_at_last(world, *changed)
    sweep(3)
    assert told_at_last(world, *changed) == []


def test_a_credit_note_that_only_speaks_of_a_refund_is_not_counted_twice(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    note: Any = {"invoice": invoice_of(sandbox, world).id, "amount": 15_000, "refund_amount": 15_000}
    sandbox.client.v1.credit_notes.create(note)
    (refund,) = sandbox.client.v1.refunds.list({"payment_intent": intent_of(sandbox, world)}).data
    assert told_at_last(world, refund.id, str(refund.charge), invoice_of(sandbox, world).id) == []
    assert ProcrastinateJob.objects.filter(task_name=EXCESS_TASK).exists()
