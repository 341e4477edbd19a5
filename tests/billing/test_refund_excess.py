"""More went back of an invoice than was paid, by an act in Stripe's dashboard: a person learns of it."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob
from pytest_django import Settings

from billing import alerts, mirror, refund_news, tasks
from billing.errors import OutcomeUnknown
from billing.models import Alert
from billing.operations.refund import RefundInvoice
from billing.operations.refund_excess import tell_of_excess
from billing.refund_news import EXCESS_TASK, look_for_excess
from billing.sync import request_sync, sync_customer
from organizations.models import Organization
from tests.billing.test_refund import (
    PAID,
    asked,
    credited,
    decide,
    dispute,
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
from tests.factories import SubscriptionEventFactory
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


def charge_of(sandbox: Sandbox, world: World) -> str:
    intent = sandbox.client.v1.payment_intents.retrieve(intent_of(sandbox, world))
    return str(intent.latest_charge)


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


def test_a_dispute_lost_months_after_it_was_opened_calls_a_person_too(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refund_news, "STILL_NEWS", datetime.timedelta(days=-1))  # whatever was made is old
    note: Any = {"invoice": invoice_of(sandbox, world).id, "amount": PAID, "credit_amount": PAID}
    sandbox.client.v1.credit_notes.create(note)
    opened = dispute(sandbox, world)
    assert told_at_last(world, "*") == []
    decide(sandbox, opened, won=False)
    (message,) = told_at_last(world, opened, charge_of(sandbox, world))
    assert "$232.00 more went back than was paid" in message


def test_an_old_dispute_of_a_customer_who_is_taken_in_is_history(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refund_news, "STILL_NEWS", datetime.timedelta(days=-1))
    pay_back_in_the_dashboard(sandbox, world, 20_000)
    decide(sandbox, dispute(sandbox, world), won=False)
    told_at_last(world, "*")
    assert not ProcrastinateJob.objects.filter(task_name=EXCESS_TASK).exists()


def test_how_many_refunds_were_read_does_not_count_in_queries(
    organization: Organization, django_assert_num_queries: Any
) -> None:
    customer, now = str(organization.stripe_customer_id), int(time.time())
    common = {"customer": customer, "currency": "usd", "livemode": False, "created": now - 90 * 86400}
    charges = [
        {"id": f"ch_{n}", "object": "charge", "status": "succeeded", "amount": 100, "amount_captured": 100,
         "amount_refunded": 100, "payment_intent": f"pi_{n}", "paid": True, "refunded": True, "captured": True,
         "disputed": False, **common}
        for n in range(25)
    ]  # fmt: skip
    invoices = [
        {"id": f"in_{n}", "object": "invoice", "status": "paid", "number": f"N{n}", "amount_paid": 100,
         "amount_due": 100, "amount_remaining": 0, "total": 100,
         "payments": {"data": [{"payment": {"payment_intent": f"pi_{n}"}}]}, **common}
        for n in range(25)
    ]  # fmt: skip
    mirror.upsert(charges + invoices)
    read: list[Any] = [
        {"id": f"re_{n}", "object": "refund", "charge": f"ch_{n}", "amount": 100, "created": now}
        for n in range(25)
    ]
    with django_assert_num_queries(2):
        look_for_excess(customer, {"*": read})
    with django_assert_num_queries(0):
        look_for_excess(customer, {"sub_1": [{"id": "sub_1", "object": "subscription", "created": now}]})


def test_an_alert_is_never_there_without_its_email(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.ALERT_EMAILS = ["ops@example.com"]
    note: Any = {"invoice": invoice_of(sandbox, world).id, "amount": PAID, "credit_amount": PAID}
    sandbox.client.v1.credit_notes.create(note)
    pay_back_in_the_dashboard(sandbox, world, 100)

    def break_off(*_args: Any, **_how: Any) -> Any:
        raise RuntimeError("the connection was lost")

    monkeypatch.setattr("billing.alerts.app.configure_task", break_off)
    with pytest.raises(RuntimeError):
        tell_of_excess(invoice_of(sandbox, world).id)
    monkeypatch.undo()
    assert not Alert.objects.exists()
    tell_of_excess(invoice_of(sandbox, world).id)
    assert ProcrastinateJob.objects.filter(task_name=alerts.MAIL_TASK).count() == Alert.objects.count() == 1


def test_while_a_refund_may_be_pending_it_is_looked_at_again_and_not_for_ever() -> None:
    SubscriptionEventFactory(
        source="staff", state="pending", type="refund_invoice", stripe_event_id=None, lock_key="invoice:in_1",
        next_attempt_at=timezone.now(),
    )  # fmt: skip
    before = int(time.time())
    tasks.tell_of_excess("in_1")
    job = ProcrastinateJob.objects.get(task_name=EXCESS_TASK)
    assert job.args["invoice_id"] == "in_1"
    assert before <= job.args["since"] <= time.time()
    assert 500 < (job.scheduled_at - timezone.now()).total_seconds() < 700
    ProcrastinateJob.objects.all().delete()

    yesterday = before - 86400
    tasks.tell_of_excess("in_1", since=yesterday)
    assert ProcrastinateJob.objects.get(task_name=EXCESS_TASK).args["since"] == yesterday
    with pytest.raises(OutcomeUnknown):
        tasks.tell_of_excess("in_1", since=before - 3 * 86400)


def test_news_that_cannot_be_told_hold_up_no_reading(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    def misread(*_args: Any) -> None:
        Alert.objects.create(key="half", kind="refund_failed", severity="today", message="half")
        raise KeyError("created")

    monkeypatch.setattr(refund_news, "tell_of_failed_refunds", misread)
    sandbox.client.v1.customers.update(world.customer, {"email": "new@northwind.example"})
    note: Any = {"invoice": invoice_of(sandbox, world).id, "amount": PAID, "credit_amount": PAID}
    sandbox.client.v1.credit_notes.create(note)
    refund = pay_back_in_the_dashboard(sandbox, world, 100)
    request_sync(
        world.customer, [world.customer, refund.id, str(refund.charge), invoice_of(sandbox, world).id]
    )
    assert sync_customer(world.customer)
    known = mirror.customer(world.customer)
    assert known
    assert known["email"] == "new@northwind.example"
    assert not Alert.objects.exists()
    assert ProcrastinateJob.objects.filter(task_name=EXCESS_TASK).exists()


def test_a_credit_note_that_only_speaks_of_a_refund_is_not_counted_twice(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    note: Any = {"invoice": invoice_of(sandbox, world).id, "amount": 15_000, "refund_amount": 15_000}
    sandbox.client.v1.credit_notes.create(note)
    (refund,) = sandbox.client.v1.refunds.list({"payment_intent": intent_of(sandbox, world)}).data
    assert told_at_last(world, refund.id, str(refund.charge), invoice_of(sandbox, world).id) == []
    assert ProcrastinateJob.objects.filter(task_name=EXCESS_TASK).exists()
