"""The budget of calls to Stripe: shared by all processes, never exceeded, and staff first."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from billing import budget, stripe_api
from billing.errors import StripeBusy
from billing.models import CallBudget
from tests import databases
from tests.conftest import Sandbox

pytestmark = pytest.mark.django_db(transaction=True)

# A process that calls Stripe as often as it may, and tells when it asked and how long each call took.
CALLER = """
import json, sys, time
import django; django.setup()
from billing import budget, stripe_api
kind, seconds, pause = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
end, took = time.monotonic() + seconds, []
with budget.spending(kind):
    while time.monotonic() < end:
        began = time.monotonic()
        stripe_api.account()
        took.append(time.monotonic() - began)
        time.sleep(pause)
print(json.dumps(took))
"""


def start(kind: str, seconds: float, pause: float = 0) -> subprocess.Popen[str]:
    """A process that calls Stripe for so long, as that kind of work."""
    return subprocess.Popen(
        [sys.executable, "-c", CALLER, kind, str(seconds), str(pause)],
        env={**os.environ, "DATABASE_URL": databases.url(), "STRIPE_CALLS_PER_SECOND": "25"},
        stdout=subprocess.PIPE,
        text=True,
    )


def waits(process: subprocess.Popen[str]) -> list[float]:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    found: list[float] = json.loads(out)
    return found


def calls_of(sandbox: Sandbox) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = sandbox.control("GET", "log")["calls"]
    return calls


def budget_of(name: str) -> float:
    """The next free slot, in unix seconds."""
    return CallBudget.objects.get(name=name).free_at.timestamp()


def test_processes_together_stay_within_the_limit_use_what_they_are_granted_and_let_staff_go_first(
    sandbox: Sandbox,
) -> None:
    sandbox.control("POST", "settings", {"rate_limits": {"endpoint": 25, "all": 25}})
    bulk = [start("bulk", 8) for _ in range(3)]
    staff = start("staff", 8, pause=0.3)
    took, background = waits(staff), [waits(each) for each in bulk]

    calls = calls_of(sandbox)
    # On a busy machine a call may come so late that it falls into the next ones' second.
    assert sum(call["status"] == 429 for call in calls) <= len(calls) * 0.01
    # While bulk work takes whatever it gets, a colleague waits for a few slots at most.
    assert len(took) > 10
    assert sorted(took)[len(took) // 2] < 0.45
    times = sorted(call["real"] for call in calls)
    middle = [each for each in times if times[0] + 3 < each < times[0] + 7]
    assert 0.85 * 22.5 * 4 <= len(middle) <= 25 * 4
    assert sum(map(len, background)) > len(took)


def test_the_more_urgent_work_starves_the_other(sandbox: Sandbox) -> None:
    urgent, other = [start("webhooks", 6) for _ in range(3)], start("reconciliation", 6)
    done = sum(len(waits(each)) for each in urgent)
    assert len(waits(other)) < done / 5  # a third, if nobody went first


def test_an_endpoint_is_a_method_and_a_path_whatever_the_id() -> None:
    for method, path, endpoint in (
        ("GET", "/v1/subscriptions/sub_1", "GET /v1/subscriptions/{}"),
        ("POST", "/v1/subscriptions/sub_1", "POST /v1/subscriptions/{}"),
        ("GET", "/v1/subscriptions", "GET /v1/subscriptions"),
        ("GET", "/v1/customers/acme-gmbh", "GET /v1/customers/{}"),
        ("DELETE", "/v1/customers/cus_1/discount", "DELETE /v1/customers/{}/discount"),
        (
            "GET",
            "/v1/customers/cus_1/balance_transactions/cbtxn_1",
            "GET /v1/customers/{}/balance_transactions/{}",
        ),
        ("GET", "/v1/coupons/SUMMER", "GET /v1/coupons/{}"),
        ("POST", "/v1/invoices/create_preview", "POST /v1/invoices/create_preview"),
        ("POST", "/v1/billing_portal/sessions", "POST /v1/billing_portal/sessions"),
        ("GET", "/v1/account", "GET /v1/account"),
    ):
        assert budget.endpoint_of(method, path) == endpoint


def test_background_work_that_gets_no_turn_learns_that_stripe_is_busy_and_sends_nothing(
    sandbox: Sandbox, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STRIPE_CALLS_PER_SECOND = 1
    monkeypatch.setitem(budget.SPENDERS, "bulk", budget.Spender(horizon=0.1, patience=0.5))
    with budget.spending("bulk"):
        stripe_api.account()
        with pytest.raises(StripeBusy, match="Nothing was changed"):
            stripe_api.account()
    assert len(calls_of(sandbox)) == 1


def test_staff_wait_for_a_slot_some_seconds_away_and_are_told_at_once_of_a_queue_that_is_longer(
    sandbox: Sandbox, settings: Settings
) -> None:
    settings.STRIPE_CALLS_PER_SECOND = 1
    stripe_api.account()
    began = time.monotonic()
    stripe_api.account()
    assert 0.7 < time.monotonic() - began < 2
    for _ in range(6):
        budget._take_slot(
            budget.endpoint_of("GET", "/v1/account"), 1, replace(budget.SPENDERS["staff"], horizon=60)
        )
    began = time.monotonic()
    with pytest.raises(StripeBusy):
        stripe_api.account()
    assert time.monotonic() - began < 0.5


def test_staff_go_past_what_the_background_took_now_and_then_and_the_background_waits_for_it() -> None:
    staff, bulk = budget.SPENDERS["staff"], budget.SPENDERS["bulk"]
    waits = []
    while (taken := budget._take_slot("GET /v1/a", 25, bulk))[0]:
        waits.append(taken[1])
    assert waits == sorted(waits)
    full = budget_of("all")
    past = [budget._take_slot("GET /v1/b", 25, staff) for _ in range(4)]
    assert past[:2] == [(True, 0.0), (True, 0.0)]
    # The third comes after all that was taken before, its own two predecessors included.
    assert all(is_ours for is_ours, _wait in past)
    assert past[3][1] > past[2][1] > 0
    assert budget_of("all") - full == pytest.approx(4 / 22.5, abs=0.01)


def test_in_the_calls_of_any_second_a_burst_has_its_place() -> None:
    """Slots of a second and one burst are what Stripe allows, at every rate."""
    for allowed in (1, 9, 10, 25, 40, 100):
        slots = math.ceil(allowed * budget.SHARE_OF_SLOTS)
        there = min(allowed, budget.ENDPOINT_CALLS_PER_SECOND)
        assert slots + int(there * budget.SHARE_OF_LANE) <= allowed


def test_no_turn_is_taken_by_a_call_that_is_not_allowed_to_be_sent(settings: Settings) -> None:
    settings.STRIPE_CALLS_PER_SECOND = 25
    with pytest.raises(RuntimeError, match="transaction"), transaction.atomic():
        stripe_api.account()
    assert not CallBudget.objects.exists()


def test_a_kind_of_work_nobody_knows_is_a_mistake() -> None:
    with pytest.raises(KeyError), budget.spending("holidays"):
        pass
    assert budget.longest_wait() == budget.SPENDERS["staff"].horizon
