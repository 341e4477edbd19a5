"""Misbehaviour on request, as the application has to live through it."""

import time

import pytest
import stripe


def test_a_429_says_when_to_come_back_and_changes_nothing(sandbox, api):
    sandbox.tell("/faults", kind="error_429", method="POST", path="/v1/customers", retry_after=3)
    with pytest.raises(stripe.RateLimitError) as caught:
        api.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    assert caught.value.headers["Retry-After"] == "3"
    assert api.customers.list().data == []
    assert api.customers.create({"name": "Ada"}, {"idempotency_key": "k"}).name == "Ada"


def test_a_400_changes_nothing_and_is_not_remembered(sandbox, api):
    sandbox.tell("/faults", kind="error_400", method="POST", path="/v1/customers")
    with pytest.raises(stripe.InvalidRequestError):
        api.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    assert api.customers.list().data == []
    assert api.customers.create({"name": "Ada"}, {"idempotency_key": "k"}).name == "Ada"


@pytest.mark.parametrize(("kind", "made"), [("error_500", 0), ("error_500_after", 1)])
def test_a_500_is_remembered_by_its_key_whether_or_not_it_had_an_effect(sandbox, api, kind, made):
    sandbox.tell("/faults", kind=kind, method="POST")
    for _ in range(2):
        with pytest.raises(stripe.APIError) as caught:
            api.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
        assert caught.value.http_status == 500
    assert len(api.customers.list().data) == made


@pytest.mark.parametrize(("kind", "made"), [("timeout_before", 0), ("timeout_after", 1)])
def test_a_timeout_happens_before_or_after_the_effect_and_the_key_settles_it(sandbox, api, kind, made):
    sandbox.tell("/faults", kind=kind, method="POST", path="/v1/customers")
    impatient = sandbox.client(timeout=0.3).v1
    with pytest.raises(stripe.APIConnectionError):
        impatient.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    assert len(api.customers.list().data) == made
    api.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    assert len(api.customers.list().data) == 1


def test_a_connection_can_drop(sandbox, api):
    sandbox.tell("/faults", kind="drop_connection", path="/v1/customers*")
    with pytest.raises(stripe.APIConnectionError):
        api.customers.list()
    assert api.customers.list().data == []


def test_a_fault_hits_only_what_it_names_and_only_so_often(sandbox, api):
    sandbox.tell("/faults", kind="error_500", method="POST", path="^/v1/(products|prices)$", times=2)
    api.customers.create({})
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            api.products.create({"name": "Team"})
    api.products.create({"name": "Team"})
    sandbox.tell("/faults", kind="error_500", times=-1)
    sandbox.control.delete("/faults")
    assert sandbox.ask("/faults") == {"faults": []}
    api.products.list()


def test_latency_delays_and_the_log_counts(sandbox, api):
    sandbox.control.delete("/log")
    sandbox.tell("/faults", kind="latency", seconds=0.2)
    began = time.monotonic()
    api.customers.create({}, {"idempotency_key": "k"})
    api.customers.create({}, {"idempotency_key": "k"})
    assert time.monotonic() - began >= 0.2
    calls = sandbox.ask("/log")["calls"]
    assert [
        (call["method"], call["path"], call["key"], call["status"], call["outcome"]) for call in calls
    ] == [
        ("POST", "/v1/customers", "k", 200, "latency"),
        ("POST", "/v1/customers", "k", 200, "replayed"),
    ]


def test_a_fault_that_does_not_exist_is_refused(sandbox):
    answer = sandbox.control.post("/faults", json={"kind": "earthquake"})
    assert answer.status_code == 400
