"""A sandbox with a state file takes up where it stopped."""

import json

import pytest

from tests.sandbox.conftest import Server, Shop, free_port

START = 1_767_225_600
DAY = 86_400


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state.json"


def test_everything_survives_and_what_fell_due_meanwhile_happens(state):
    port = free_port()
    server = Server(port, "--state", str(state))
    server.clock(START)
    api = server.client().v1
    shop = Shop(api)
    subscription = shop.subscription(8)
    first = api.customers.create({"name": "Bob"}, {"idempotency_key": "k"})
    server.tell("/settings", final_outcome="unpaid")
    api.webhook_endpoints.create({"url": "http://127.0.0.1:1/", "enabled_events": ["product.created"]})
    api.products.create({"name": "Undelivered"})
    server.stop()

    kept = json.loads(state.read_text())
    kept["frozen"] = START + 40 * DAY
    state.write_text(json.dumps(kept))
    server = Server(port, "--state", str(state))
    try:
        api = server.client().v1
        invoices = api.invoices.list({"subscription": subscription.id}).data
        assert [invoice.billing_reason for invoice in invoices] == [
            "subscription_cycle",
            "subscription_create",
        ]
        assert api.subscriptions.retrieve(subscription.id)["items"].data[0].quantity == 8
        assert api.customers.create({"name": "New"}).id != first.id
        assert server.ask("/deliveries")["waiting"] == 1
        assert server.ask("/settings")["final_outcome"] == "unpaid"
        price = subscription["items"].data[0].price.id
        api.prices.update(price, {"nickname": "Seats"})
        assert api.subscriptions.retrieve(subscription.id)["items"].data[0].price.nickname == "Seats"
    finally:
        server.stop()


def test_a_key_is_remembered_and_the_file_is_written_soon_after_a_change(state):
    import time

    port = free_port()
    server = Server(port, "--state", str(state))
    first = server.client().v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    for _ in range(100):
        if state.exists() and first.id in state.read_text():
            break
        time.sleep(0.05)
    server.process.kill()
    server.process.wait()
    server.close()
    server = Server(port, "--state", str(state))
    try:
        again = server.client().v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
        assert again.id == first.id
    finally:
        server.stop()
