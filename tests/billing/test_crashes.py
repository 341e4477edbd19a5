"""Whatever dies, and wherever: one effect at Stripe, one settled line in the ledger.

A death is an exception that nothing catches, thrown at every point between the lines that matter, for every operation
of the registry. `tests/test_road.py` kills real processes.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from pytest_django import Settings

from billing import budget, stripe_api
from billing.errors import OutcomeUnknown, PreviewOutdated
from billing.models import Alert, CustomerSync, SubscriptionEvent
from billing.operations import OPERATIONS, intent, settlement
from billing.operations.seats import ChangeSeats
from billing.operations.sweeper import settle_pending
from billing.sync import sync_customer
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.operating import grow_older, make_due, show
from tests.situations import SITUATIONS, Situation
from tests.stripe_world import (
    World,
    make_customer,
    make_organization,
    plan_seats_at_stripe,
    read,
    seats_at_stripe,
)

pytestmark = pytest.mark.django_db(transaction=True)

every_operation = pytest.mark.parametrize("type_", list(OPERATIONS))


class Died(BaseException):
    """The process is gone: no handler runs."""


def clean_run(type_: str, sandbox: Sandbox) -> tuple[Situation, SubscriptionEvent]:
    """The operation as it goes when nothing goes wrong."""
    situation = SITUATIONS[type_](sandbox)
    event = show(type_, situation.subject, **situation.choices).apply()
    assert event.state == "done", event.error
    return situation, event


def settled() -> SubscriptionEvent:
    """What became of the one operation, once the sweeper and the readers had their turns."""
    for _ in range(6):
        make_due()
        settle_pending()
    for customer_id in CustomerSync.objects.values_list("pk", flat=True):
        sync_customer(customer_id)
    return SubscriptionEvent.objects.filter(source="staff").latest("pk")


def check_the_end(clean: Situation, situation: Situation) -> None:
    """Done and seen once; or, where nobody can know, said to be not done."""
    event = settled()
    if situation.is_final:
        assert event.state == "done", (event.message, event.error)
        assert situation.effect() == clean.effect()
    else:
        assert event.state in ("done", "failed"), (event.message, event.error)
    assert event.message
    keys = [step.idempotency_key for step in event.steps.all()]
    assert len(keys) == len(set(keys))


# -- deaths -----------------------------------------------------------------------------------------------


@every_operation
def test_dying_before_the_intent_is_written_leaves_nothing(
    type_: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    situation = SITUATIONS[type_](sandbox)
    shown = show(type_, situation.subject, **situation.choices)
    before = situation.effect()
    operation = type(OPERATIONS[type_])
    prepare = operation.prepare

    def prepare_and_die(*args: Any) -> Any:
        prepare(*args)
        raise Died

    monkeypatch.setattr(operation, "prepare", prepare_and_die)
    with pytest.raises(Died):
        shown.apply()

    assert not SubscriptionEvent.objects.filter(source="staff").exists()
    assert situation.effect() == before
    monkeypatch.undo()
    assert show(type_, situation.subject, **situation.choices).apply().state == "done"


@every_operation
def test_dying_after_the_intent_is_written_is_made_up_for(
    type_: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, _event = clean_run(type_, sandbox)
    situation = SITUATIONS[type_](sandbox)
    shown = show(type_, situation.subject, **situation.choices)

    def die(*_args: Any, **_more: Any) -> Any:
        raise Died

    monkeypatch.setattr(intent, "carry_out", die)
    with pytest.raises(Died):
        shown.apply()
    monkeypatch.undo()
    check_the_end(clean, situation)


@every_operation
@pytest.mark.parametrize("moment", ["before", "after"])
def test_dying_around_any_call_is_made_up_for(
    type_: str, moment: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, event = clean_run(type_, sandbox)
    send = settlement._send
    for dying_at in range(event.steps.count()):
        situation = SITUATIONS[type_](sandbox)
        shown = show(type_, situation.subject, **situation.choices)
        calls: list[int] = []

        def send_or_die(step: Any, event: Any, calls: list[int] = calls, dying_at: int = dying_at) -> Any:
            calls.append(step.position)
            if len(calls) - 1 != dying_at:
                return send(step, event)
            if moment == "after":
                send(step, event)
            raise Died

        monkeypatch.setattr(settlement, "_send", send_or_die)
        with pytest.raises(Died):
            shown.apply()
        monkeypatch.setattr(settlement, "_send", send)
        check_the_end(clean, situation)


@every_operation
def test_dying_before_the_settling_is_written_is_made_up_for(
    type_: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, _event = clean_run(type_, sandbox)
    situation = SITUATIONS[type_](sandbox)
    shown = show(type_, situation.subject, **situation.choices)
    operation = type(OPERATIONS[type_])
    settle = operation.settle

    def settle_and_die(*args: Any) -> Any:
        settle(*args)
        raise Died

    monkeypatch.setattr(operation, "settle", settle_and_die)
    with pytest.raises(Died):
        shown.apply()
    monkeypatch.undo()
    check_the_end(clean, situation)


# -- silences ---------------------------------------------------------------------------------------------


@every_operation
@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after", "error_500_after", "drop_connection"])
def test_any_call_without_a_clear_answer_ends_in_the_truth(
    type_: str, kind: str, sandbox: Sandbox, settings: Settings
) -> None:
    clean, event = clean_run(type_, sandbox)
    for step in event.steps.order_by("position"):
        situation = SITUATIONS[type_](sandbox)
        shown = show(type_, situation.subject, **situation.choices)
        # The same kind of call about any object: ids are another's in this situation.
        path = re.sub(r"/([a-z]+(?:_[a-z]+)*)_[A-Za-z0-9]{8,}", r"/\1_[A-Za-z0-9]+", step.path)
        settings.STRIPE_READ_TIMEOUT = 0.7
        sandbox.control("POST", "faults", {"kind": kind, "method": step.method, "path": f"^{path}$"})
        shown.apply()
        settings.STRIPE_READ_TIMEOUT = 10
        sandbox.control("DELETE", "faults")
        check_the_end(clean, situation)


# -- processes that were thought dead ---------------------------------------------------------------------


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


def test_a_change_that_settles_while_another_is_looked_at_is_not_overtaken(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, fast = (
        show("change_seats", organization, seats=seats, subscription=world.subscription) for seats in (9, 12)
    )

    def die(*_args: Any, **_more: Any) -> Any:
        raise Died

    monkeypatch.setattr(intent, "carry_out", die)
    with pytest.raises(Died):
        fast.apply()  # its row is written; its call is still to come
    monkeypatch.undo()
    preview = ChangeSeats.preview

    def preview_and_be_overtaken(*args: Any) -> Any:
        seen = preview(*args)
        make_due()
        settle_pending()
        return seen

    monkeypatch.setattr(ChangeSeats, "preview", preview_and_be_overtaken)
    with pytest.raises(PreviewOutdated, match="in progress"):
        slow.apply()
    settled()
    assert seats_at_stripe(sandbox, world) == 12
    assert SubscriptionEvent.objects.filter(source="staff").count() == 1


def test_a_process_that_wakes_up_after_its_operation_was_ended_sends_nothing(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = show("change_seats", organization, seats=12)
    take = budget.take

    def stall(method: str, path: str) -> None:
        take(method, path)
        if (method, path) == ("POST", f"/v1/subscriptions/{world.subscription}"):
            # Asleep for minutes: meanwhile somebody changes the seats at Stripe, and the sweeper ends the operation.
            monkeypatch.setattr(budget, "take", take)
            sandbox.client.v1.subscriptions.update(
                world.subscription, {"items": [{"id": world.item, "quantity": 20}]}
            )
            make_due()
            settle_pending()

    monkeypatch.setattr(budget, "take", stall)
    event = shown.apply()
    assert event.state == "failed"
    assert "was not done" in (event.message or "")
    assert seats_at_stripe(sandbox, world) == 20


def test_a_gateways_error_leaves_the_outcome_open_until_nothing_can_be_under_way(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = OutcomeUnknown("no answer", "504", raw={"status": 504, "error": {"message": "Gateway Timeout"}})
    call = stripe_api.call

    def time_out(method: str, path: str, *args: Any, **more: Any) -> Any:
        if method == "POST" and path == f"/v1/subscriptions/{world.subscription}":
            more["before_sending"]()
            raise gateway
        return call(method, path, *args, **more)

    monkeypatch.setattr(stripe_api, "call", time_out)
    event = show("change_seats", organization, seats=12).apply()
    for _ in range(4):
        make_due()
        settle_pending()
    event.refresh_from_db()
    assert event.state == "pending"

    grow_older(3600)
    make_due()
    settle_pending()
    event.refresh_from_db()
    assert event.state == "failed"


def test_a_later_step_that_was_never_sent_is_not_sent_long_after(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_seats_at_stripe(sandbox, world, 15, mark="ours")
    read(world)
    organization.refresh_from_db()
    shown = show("cancel_subscription", organization, when="now", prorate=True, invoice_now=True)
    send = settlement._send

    def send_the_first(step: Any, event: Any) -> Any:
        if step.position > 0:
            raise Died
        return send(step, event)

    monkeypatch.setattr(settlement, "_send", send_the_first)
    with pytest.raises(Died):
        shown.apply()
    monkeypatch.undo()
    grow_older(40 * 86_400)
    event = settled()
    assert event.state == "parked"
    assert sandbox.client.v1.subscriptions.retrieve(world.subscription).status == "active"
    assert Alert.objects.filter(event=event).exists()


def test_what_stripe_confirms_after_it_was_recorded_as_not_done_calls_a_person(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = show("change_seats", organization, seats=12)
    send = settlement._send

    def send_and_be_closed(step: Any, event: Any) -> Any:
        answer = send(step, event)
        SubscriptionEvent.objects.filter(pk=event.pk).update(state="failed", message="It was not done.")
        return answer

    monkeypatch.setattr(settlement, "_send", send_and_be_closed)
    event = shown.apply()
    assert event.state == "failed"
    assert Alert.objects.get().kind == "confirmed_late"
