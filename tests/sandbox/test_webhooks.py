"""Events, and their signed delivery to a server of our own."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import stripe

DAY = 86_400


class Receiver:
    """A webhook door that keeps what it was sent, and can be told to fail."""

    def __init__(self) -> None:
        receiver = self
        self.got: list[tuple[bytes, str]] = []
        self.failures = 0

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                failing = receiver.failures > 0
                receiver.failures -= failing
                if not failing:
                    receiver.got.append((body, self.headers["Stripe-Signature"]))
                self.send_response(500 if failing else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for body, _ in self.got]

    def wait(self, count: int, seconds: float = 6) -> None:
        until = time.monotonic() + seconds
        while len(self.got) < count and time.monotonic() < until:
            time.sleep(0.01)
        assert len(self.got) >= count, self.types()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def test_stripes_own_code_accepts_the_signature(api, receiver):
    endpoint = api.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["customer.created"]})
    customer = api.customers.create({"name": "Ådå"}, {"idempotency_key": "k1"})
    receiver.wait(1)
    body, signature = receiver.got[0]
    event = stripe.Webhook.construct_event(body, signature, endpoint.secret)
    assert (event.type, event.data.object.id, event.data.object.name) == (
        "customer.created",
        customer.id,
        "Ådå",
    )
    assert event["request"].idempotency_key == "k1"
    assert event["request"].id.startswith("req_")
    assert event.pending_webhooks == 1
    until = time.monotonic() + 5
    while api.events.retrieve(event.id).pending_webhooks and time.monotonic() < until:
        time.sleep(0.01)  # our answer is still on its way
    assert api.events.retrieve(event.id).pending_webhooks == 0
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, signature, "whsec_other")


def test_the_secret_is_shown_once_and_only_wanted_events_come(api, receiver):
    api.customers.create({})
    endpoint = api.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["product.created"]})
    assert endpoint.secret.startswith("whsec_")
    assert "secret" not in api.webhook_endpoints.retrieve(endpoint.id)
    api.customers.create({})
    api.products.create({"name": "Team"})
    receiver.wait(1)
    api.webhook_endpoints.update(endpoint.id, {"disabled": True})
    api.products.create({"name": "Silent"})
    api.webhook_endpoints.update(endpoint.id, {"disabled": False, "enabled_events": ["*"]})
    api.customers.create({})
    receiver.wait(2)
    assert receiver.types() == ["product.created", "customer.created"]


def test_a_failed_delivery_is_tried_again_and_seen_as_undelivered_until_then(sandbox, api, receiver):
    api.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["*"]})
    receiver.failures = 1
    customer = api.customers.create({})
    time.sleep(0.3)
    [undelivered] = api.events.list({"delivery_success": False}).data
    assert undelivered.data.object.id == customer.id
    receiver.wait(1)
    time.sleep(0.1)
    assert api.events.list({"delivery_success": False}).data == []
    recent = sandbox.ask("/deliveries")["recent"]
    assert [(each["attempt"], each["status"]) for each in recent] == [(1, 500), (2, 200)]


def test_deliveries_can_be_held_and_released(sandbox, api, receiver):
    api.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["*"]})
    sandbox.tell("/deliveries", paused=True)
    api.customers.create({})
    time.sleep(0.2)
    assert receiver.got == []
    assert sandbox.ask("/deliveries")["waiting"] == 1
    sandbox.tell("/deliveries", paused=False)
    receiver.wait(1)


def test_signing_up_tells_what_stripe_tells(api, shop):
    subscription = shop.subscription()
    last = api.events.list({"limit": 100}).data
    types = {event.type for event in last if event["request"].id == last[0]["request"].id}
    assert types >= {
        "charge.succeeded",
        "customer.subscription.created",
        "customer.updated",
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
        "payment_intent.created",
        "payment_intent.succeeded",
    }
    assert "customer.subscription.updated" not in types
    [created] = api.events.list({"type": "customer.subscription.created"}).data
    assert created.data.object.id == subscription.id
    assert created.data.object.status == "active"
    assert created.id.startswith("evt_1")
    [charged] = api.events.list({"types": ["charge.succeeded"]}).data
    assert charged.id.startswith("evt_3")


def test_an_update_tells_what_was_there_before(api, shop):
    subscription = shop.subscription(8, metadata={"team": "red"})
    items = [{"id": subscription["items"].data[0].id, "quantity": 9}]
    api.subscriptions.update(subscription.id, {"items": items, "metadata": {"team": "blue"}})
    [event] = api.events.list({"type": "customer.subscription.updated"}).data
    previous = event.data.previous_attributes.to_dict()
    assert previous["metadata"] == {"team": "red"}
    assert previous["items"]["data"][0]["quantity"] == 8
    assert event.data.object["items"].data[0].quantity == 9
    api.subscriptions.update(subscription.id, {"metadata": {"team": "blue"}})
    assert len(api.events.list({"type": "customer.subscription.updated"}).data) == 1


def test_events_are_listed_for_thirty_days(sandbox, api):
    sandbox.clock(1_767_225_600)
    api.customers.create({})
    sandbox.tell("/clock", advance=29 * DAY)
    assert len(api.events.list().data) == 1
    sandbox.tell("/clock", advance=2 * DAY)
    assert api.events.list().data == []
