"""Whatever dies, and wherever: one effect at Stripe, one settled line in the ledger.

A death is an exception that nothing catches, thrown at every point between the lines that matter, for every operation
of the registry. `tests/test_road.py` kills real processes.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from pytest_django import Settings

from billing.models import CustomerSync, SubscriptionEvent
from billing.operations import OPERATIONS, intent, settlement
from billing.operations.sweeper import settle_pending
from billing.sync import sync_customer
from tests.conftest import Sandbox
from tests.operating import make_due, show
from tests.situations import SITUATIONS, Situation

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

        def send_or_die(step: Any, calls: list[int] = calls, dying_at: int = dying_at) -> Any:
            calls.append(step.position)
            if len(calls) - 1 != dying_at:
                return send(step)
            if moment == "after":
                send(step)
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
