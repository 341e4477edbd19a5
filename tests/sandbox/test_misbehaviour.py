"""Faults by chance and by object, broken bodies, rate limits, and webhooks that go astray."""

import json
import time

import pytest
import stripe

from tests.sandbox.test_webhooks import Receiver


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def hooked(api, receiver):
    """An endpoint that wants to know of customers."""
    receiver.endpoint = api.webhook_endpoints.create(
        {"url": receiver.url, "enabled_events": ["customer.created"]}
    )
    return receiver


def statuses(api, count):
    found = ""
    for _ in range(count):
        try:
            api.customers.list()
            found += "."
        except stripe.StripeError:
            found += "x"
    return found


def test_a_percentage_fails_and_the_same_seed_fails_the_same_calls(sandbox, api):
    runs = []
    for seed in (7, 7, 8):
        sandbox.control.delete("/faults")
        sandbox.tell("/faults", kind="error_500", method="GET", times=-1, percent=30, seed=seed)
        runs.append(statuses(api, 40))
    assert runs[0] == runs[1] != runs[2]
    assert 4 <= runs[0].count("x") <= 20


def test_a_fault_can_follow_one_object_in_the_url_and_in_the_parameters(sandbox, api):
    one, other = api.customers.create({}), api.customers.create({})
    sandbox.tell("/faults", kind="error_429", object=one.id, times=-1)
    api.customers.retrieve(other.id)
    with pytest.raises(stripe.RateLimitError) as caught:
        api.customers.retrieve(one.id)
    assert "Retry-After" not in (caught.value.headers or {})
    with pytest.raises(stripe.RateLimitError):
        api.subscriptions.list({"customer": one.id})


@pytest.mark.parametrize("kind", ["truncated_body", "not_json"])
def test_a_body_that_cannot_be_read_hides_an_effect_that_the_key_tells(sandbox, api, kind):
    sandbox.tell("/faults", kind=kind, method="POST")
    with pytest.raises(stripe.APIError, match="Invalid response body"):
        api.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    made = api.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    assert [each.id for each in api.customers.list().data] == [made.id]


def test_a_connection_can_drop_after_the_effect(sandbox, api):
    sandbox.tell("/faults", kind="drop_connection_after", method="POST")
    with pytest.raises(stripe.APIConnectionError):
        api.customers.create({})
    assert len(api.customers.list().data) == 1


def test_latency_may_vary(sandbox, api):
    sandbox.tell("/faults", kind="latency", seconds=0, jitter=0.2, times=-1)
    times = []
    for _ in range(6):
        began = time.monotonic()
        api.customers.list()
        times.append(time.monotonic() - began)
    assert max(times) < 1
    assert max(times) - min(times) > 0.02


@pytest.mark.parametrize("fault", [{"percent": 0}, {"percent": 101}, {"colour": "red"}, {"path": "^("}])
def test_a_fault_that_makes_no_sense_is_refused(sandbox, fault):
    assert sandbox.control.post("/faults", json={"kind": "error_500", **fault}).status_code == 400


def test_rate_limits_are_stripes_when_switched_on(sandbox, api):
    assert "x" not in statuses(api, 40)
    sandbox.tell("/settings", rate_limits={"endpoint": 5, "all": 8})
    assert statuses(api, 8) == ".....xxx"
    for _ in range(3):
        api.products.list()
    with pytest.raises(stripe.RateLimitError) as caught:
        api.products.list()
    assert caught.value.error.code == "rate_limit"
    assert caught.value.headers["Stripe-Rate-Limited-Reason"] == "global-rate"
    assert sandbox.ask("/log")["calls"][-1]["outcome"] == "global-rate"
    time.sleep(1.05)
    assert statuses(api, 1) == "."
    assert sandbox.tell("/settings", rate_limits=True)["rate_limits"] == {"endpoint": 25, "all": 100}
    assert sandbox.control.post("/settings", json={"rate_limits": {"endpoint": 0}}).status_code == 400
    assert sandbox.tell("/settings", rate_limits=False)["rate_limits"] is None


def test_the_log_names_the_endpoint_so_that_calls_can_be_counted(sandbox, api):
    customer = api.customers.create({}, {"idempotency_key": "k"})
    api.customers.retrieve(customer.id)
    with pytest.raises(stripe.InvalidRequestError):
        api.customers.retrieve("cus_nobody")
    calls = sandbox.ask("/log")["calls"]
    assert [(call["method"], call["endpoint"], call["key"], call["status"]) for call in calls] == [
        ("POST", "/v1/customers", "k", 200),
        ("GET", "/v1/customers/{}", None, 200),
        ("GET", "/v1/customers/{}", None, 404),
    ]


# -- webhooks ---------------------------------------------------------------------------------------------


def test_a_webhook_can_get_lost_and_the_event_still_waits(sandbox, api, hooked):
    sandbox.tell("/faults", kind="webhook_drop", path="customer.*")
    api.customers.create({"name": "lost"})
    api.customers.create({"name": "found"})
    hooked.wait(1)
    assert names(hooked) == ["found"]
    for _ in range(100):  # the answer of the one that came has to be noted, too
        waiting = api.events.list({"delivery_success": False}).data
        if len(waiting) == 1:
            break
        time.sleep(0.05)
    assert [event.pending_webhooks for event in waiting] == [1]


def test_a_webhook_can_come_twice(sandbox, api, hooked):
    sandbox.tell("/faults", kind="webhook_duplicate")
    api.customers.create({"name": "Ada"})
    hooked.wait(2)
    assert len({json.loads(body)["id"] for body, _ in hooked.got}) == 1
    until = time.monotonic() + 5
    while sandbox.ask("/deliveries")["waiting"] and time.monotonic() < until:
        time.sleep(0.01)
    assert api.events.list({"type": "customer.created"}).data[0].pending_webhooks == 0


def test_a_webhook_can_come_late_and_out_of_order(sandbox, api, hooked):
    sandbox.tell("/faults", kind="webhook_delay", seconds=0.4)
    api.customers.create({"name": "first"})
    api.customers.create({"name": "second"})
    hooked.wait(2)
    assert names(hooked) == ["second", "first"]


def test_webhooks_can_be_shuffled(sandbox, api, hooked):
    sandbox.tell("/faults", kind="webhook_reorder", times=-1, seconds=0.6)
    made = [str(number) for number in range(10)]
    for name in made:
        api.customers.create({"name": name})
    hooked.wait(10)
    assert sorted(names(hooked)) == made != names(hooked)


def test_a_webhook_can_carry_a_wrong_signature(sandbox, api, hooked):
    sandbox.tell("/faults", kind="webhook_wrong_signature")
    api.customers.create({"name": "Ada"})
    hooked.wait(1)
    body, signature = hooked.got[0]
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, signature, hooked.endpoint.secret)


def test_webhooks_can_stop_altogether_and_come_in_order_when_asked(sandbox, api, hooked):
    sandbox.tell("/deliveries", paused=True, parallel=1)
    made = [str(number) for number in range(12)]
    for name in made:
        api.customers.create({"name": name})
    time.sleep(0.2)
    assert hooked.got == []
    assert sandbox.tell("/deliveries", paused=False)["parallel"] == 1
    hooked.wait(12)
    assert names(hooked) == made


def test_retries_can_wait_in_simulated_time(sandbox, api, hooked):
    sandbox.tell("/clock", advance=0)  # it stands still
    sandbox.tell("/deliveries", simulated=True)
    hooked.failures = 3
    api.customers.create({"name": "Ada"})
    for _ in range(3):
        time.sleep(0.2)
        assert hooked.got == []
        sandbox.tell("/clock", advance=60)
    hooked.wait(1)


def names(receiver):
    return [json.loads(body)["data"]["object"]["name"] for body, _ in receiver.got]
