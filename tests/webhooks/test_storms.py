"""What the door and the road behind it bear: everything at once, a flood, a database that goes away and comes back."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import stripe
from django.db import connection

from adminops.demo import postgres
from adminops.demo.postgres import EmbeddedPostgres
from adminops.demo.supervisor import Supervisor
from billing.models import CustomerSync, EventPayload, SubscriptionEvent
from billing.sync import sync_customer
from organizations.models import Organization
from tests import databases
from tests.conftest import Sandbox
from tests.environment import VAR
from tests.stripe_world import make_customer, make_organization
from tests.test_road import eventually, quiet
from tests.webhooks.serving import serving, together, working
from tests.webhooks.signing import make_event, signature

pytestmark = pytest.mark.django_db(transaction=True)


def as_sent(answer: stripe.StripeObject) -> dict[str, Any]:
    """An object as Stripe writes it into an event."""
    said: dict[str, Any] = json.loads(str(answer))
    return said


def test_a_hundred_copies_of_one_event_at_once_have_one_effect(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    make_organization(world)
    asked = CustomerSync.objects.get().wanted
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")
    subscription = as_sent(sandbox.client.v1.subscriptions.retrieve(world.subscription))
    event = make_event("customer.subscription.updated", subscription)

    with serving(databases.url(), name="copies") as server:
        statuses = together([lambda: server.post(event)] * 100)

    assert statuses == [200] * 100
    assert SubscriptionEvent.objects.filter(source="stripe").count() == EventPayload.objects.count() == 1
    assert CustomerSync.objects.get().wanted == asked + 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM procrastinate_jobs")
        assert cursor.fetchone() == (1,)
    sandbox.control("DELETE", "log")
    sync_customer(world.customer)
    assert SubscriptionEvent.objects.get(source="stripe").state == "done"
    assert len(sandbox.control("GET", "log")["calls"]) == 1


def test_a_flood_of_large_forgeries_leaves_nothing(transactional_db: None) -> None:
    forged = b'{"object": "event", "id": "evt_forged", "pad": "' + b"x" * 2_000_000 + b'"}'
    within_the_cap = forged[:200_000]
    good = make_event("customer.updated", {"id": "cus_1", "object": "customer"})

    with serving(databases.url(), name="flood") as server:
        acts = [lambda: server.post(forged, "t=1,v1=00")] * 40
        acts += [lambda: server.post(within_the_cap, signature(b"other"))] * 40
        statuses = together(acts)
        assert not SubscriptionEvent.objects.exists()
        assert server.post(good) == 200

    # 0: the connection was closed before a body that nobody wants had come whole.
    assert set(statuses) <= {0, 400, 413}
    assert statuses.count(400) == 40
    assert SubscriptionEvent.objects.count() == EventPayload.objects.count() == 1


# -- Order ------------------------------------------------------------------------------------------------

EVENTS = 5
# All their orders, each on a subscription of its own, so many at a time.
ORDERS = list(itertools.permutations(range(EVENTS)))
AT_A_TIME = 8


def test_five_events_of_a_second_in_every_order_end_in_stripes_state(sandbox: Sandbox) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # pytest shows it where this fails
    model = make_customer(sandbox)
    make_organization(model)
    sandbox.control("POST", "load", {"customers": len(ORDERS), "like": model.customer})
    subscriptions = [each for each in subscriptions_at(sandbox) if each["customer"] != model.customer]
    assert len(subscriptions) == len(ORDERS)
    Organization.objects.bulk_create(
        Organization(name=f"Company {n}", slug=f"company-{n}", stripe_customer_id=each["customer"])
        for n, each in enumerate(subscriptions)
    )
    sandbox.control(
        "POST",
        "faults",
        {"kind": "latency", "method": "GET", "times": -1, "seconds": 0.001, "jitter": 0.06, "seed": seed},
    )
    work = iter(list(zip(ORDERS, subscriptions, strict=True)))
    turn, refused = threading.Lock(), []

    with (
        serving(databases.url(), name="orders") as server,
        working(databases.url(), name="orders-work", processes=2, LOG_LEVEL="WARNING"),
    ):

        def go_on(number: int) -> None:
            chance = random.Random(f"{seed}-{number}")
            while True:
                with turn:
                    given = next(work, None)
                if given is None:
                    return
                refused.extend(_play(sandbox, server, *given, chance))

        threads = [threading.Thread(target=go_on, args=(number,)) for number in range(AT_A_TIME)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert refused == []
        assert SubscriptionEvent.objects.filter(source="stripe").count() == EVENTS * len(ORDERS)
        eventually(quiet, seconds=60)

    sandbox.control("DELETE", "faults")
    ours = {each.stripe_customer_id: each for each in Organization.objects.all()}
    for each in subscriptions_at(sandbox):
        organization = ours[each["customer"]]
        theirs = each["items"]["data"][0]["quantity"], each["cancel_at_period_end"]
        assert (organization.seats, organization.cancel_at_period_end) == theirs, each["customer"]
    assert not SubscriptionEvent.objects.exclude(state="done").exists()


def subscriptions_at(sandbox: Sandbox) -> list[dict[str, Any]]:
    """All subscriptions at Stripe."""
    return [as_sent(each) for each in sandbox.client.v1.subscriptions.list({"limit": 100}).auto_paging_iter()]


def _play(
    sandbox: Sandbox, server: Any, order: tuple[int, ...], subscription: dict[str, Any], chance: random.Random
) -> list[int]:
    """Change a subscription five times; its events go out in this order, each once it happened. The refused ones."""
    second, item = int(time.time()), subscription["items"]["data"][0]["id"]
    happened: dict[int, dict[str, Any]] = {}
    waiting, refused = list(order), []
    for number in range(EVENTS):
        change: Any = {"items": [{"id": item, "quantity": chance.randrange(1, 500)}]}
        if number in (2, 4):
            change = {"cancel_at_period_end": chance.random() < 0.5}
        changed = as_sent(sandbox.client.v1.subscriptions.update(subscription["id"], change))
        happened[number] = make_event("customer.subscription.updated", changed, created=second)
        while waiting and waiting[0] in happened and (number == EVENTS - 1 or chance.random() < 0.8):
            status = server.post(happened[waiting.pop(0)])
            refused += [status] if status != 200 else []
            time.sleep(chance.uniform(0, 0.02))
    return refused


# -- The database goes away -------------------------------------------------------------------------------


@contextmanager
def own_database() -> Iterator[tuple[EmbeddedPostgres, str]]:
    """A server that really writes to the disk, not running, with our tables in its data; and its address."""
    with tempfile.TemporaryDirectory(prefix="storm-") as place:
        Path(place).chmod(0o755)
        server = EmbeddedPostgres(Path(place) / "data")
        try:
            with running(server):
                with psycopg.connect(server.url("postgres"), autocommit=True) as link:
                    link.execute("CREATE DATABASE door")
                dump = subprocess.run(
                    [postgres._programs() / "pg_dump", "--no-owner", databases.url()],
                    capture_output=True,
                    check=True,
                )
                subprocess.run(
                    [postgres._programs() / "psql", "-q", "-v", "ON_ERROR_STOP=1", server.url("door")],
                    input=dump.stdout,
                    capture_output=True,
                    check=True,
                )
            yield server, server.url("door")
        finally:
            server.remove()


@contextmanager
def running(server: EmbeddedPostgres) -> Iterator[int]:
    """The server, for as long as the block runs; its process id."""
    log = VAR / "log" / "tests" / "storm-postgres.log"
    with Supervisor(take_signals=False) as supervisor:
        yield supervisor.start_ready(server.program(log)).process.pid


def test_every_acknowledged_event_is_there_after_the_database_was_stopped_under_load() -> None:
    acknowledged: list[str] = []
    statuses: list[int] = []
    over = threading.Event()

    def deliver_on(server: Any) -> None:
        while not over.is_set():
            event = make_event(
                "customer.updated", {"id": f"cus_{random.randrange(50)}", "object": "customer"}
            )
            status = server.post(event)
            statuses.append(status)
            if status == 200:
                acknowledged.append(event["id"])

    with own_database() as (postgres_server, address):
        with running(postgres_server):
            web = serving(address, name="stopped")
            server = web.__enter__()
            senders = [threading.Thread(target=deliver_on, args=(server,)) for _ in range(4)]
            for sender in senders:
                sender.start()
            time.sleep(1.5)
        before = len(acknowledged)
        time.sleep(1)
        try:
            with running(postgres_server):
                eventually(lambda: len(acknowledged) > before + 50)
                over.set()
                for sender in senders:
                    sender.join()
                with psycopg.connect(address) as link:
                    kept = {
                        id_
                        for (id_,) in link.execute("SELECT stripe_event_id FROM billing_subscriptionevent")
                    }
                    payloads = link.execute("SELECT count(*) FROM billing_eventpayload").fetchone()
        finally:
            over.set()
            web.__exit__(None, None, None)

    assert before > 0
    assert set(statuses) == {200, 503}
    assert set(acknowledged) <= kept
    assert payloads == (len(kept),)
