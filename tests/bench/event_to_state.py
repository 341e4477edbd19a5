"""From the door to the settled state: how long an event takes at a steady pace, and what a burst does.

A sandbox that refuses what Stripe would refuse (25 calls a second to an endpoint, 100 over all), a web server, and a
worker as the README starts it. A colleague changes seats throughout the burst. BENCH_EVENTS=500 is quicker.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from tests.bench import Row
from tests.bench.bulk_seats import colleague
from tests.bench.ground import grounded, make_database, start_sandbox, take_in_customers
from tests.webhooks.signing import make_event

EVENTS = int(os.environ.get("BENCH_EVENTS", "5000"))
# What a renewal tells of one customer.
TYPES = (
    "invoice.created",
    "invoice.finalized",
    "charge.succeeded",
    "invoice.paid",
    "customer.subscription.updated",
)
CUSTOMERS = max(EVENTS // len(TYPES), 1)
STEADY_PER_SECOND = 20
STEADY_SECONDS = 30
ALONE = 10
CALLS_PER_SECOND = 100


@grounded
def measure(stack: ExitStack) -> Iterator[Row]:
    """Fill a sandbox and a database, deliver at a steady pace, then all at once."""
    # Only now that the settings are there.
    from django.conf import settings
    from django.db.models import F

    from billing.models import CustomerSync, SubscriptionEvent
    from organizations.models import Organization
    from tests import databases
    from tests.webhooks.serving import serving, working

    make_database(stack)
    sandbox = start_sandbox(stack)
    model = take_in_customers(sandbox, CUSTOMERS)
    objects = _objects(sandbox)
    settings.STRIPE_CALLS_PER_SECOND = CALLS_PER_SECOND
    sandbox.control("POST", "settings", {"rate_limits": {"endpoint": 25, "all": CALLS_PER_SECOND}})
    limits: dict[str, Any] = {"STRIPE_CALLS_PER_SECOND": str(CALLS_PER_SECOND), "LOG_LEVEL": "WARNING"}
    server = stack.enter_context(serving(databases.url(), name="bench-door", **limits))
    stack.enter_context(working(databases.url(), name="bench-work", processes=2, **limits))
    time.sleep(5)  # they take a moment to come up
    # Taking customers in has their plans told anew, which is none of what is measured here.
    while CustomerSync.objects.filter(wanted__gt=F("done")).exists():
        time.sleep(0.2)

    def wait() -> None:
        while SubscriptionEvent.objects.filter(source="stripe", state="pending").exists():
            time.sleep(0.2)

    chance = random.Random(1)
    began = time.monotonic()
    for number in range(STEADY_PER_SECOND * STEADY_SECONDS):
        item = chance.choice(objects["customer.subscription.updated"])
        _deliver(server.post, "customer.subscription.updated", item)
        time.sleep(max(0, began + (number + 1) / STEADY_PER_SECOND - time.monotonic()))
    wait()
    took = _seconds_of(SubscriptionEvent.objects.filter(source="stripe"))
    yield _row(f"at {STEADY_PER_SECOND} events a second, p50", statistics.median(took), "s")
    yield _row(
        f"at {STEADY_PER_SECOND} events a second, p99", statistics.quantiles(took, n=100)[98], "s", goal=2
    )

    single = Organization.objects.get(stripe_customer_id=model.customer)
    act = colleague(single)
    alone = [act() for _ in range(ALONE)]
    last = SubscriptionEvent.objects.latest("id").pk
    sandbox.control("DELETE", "log")
    began = time.monotonic()
    for type_ in TYPES:
        for item in objects[type_][:CUSTOMERS]:
            _deliver(server.post, type_, item)
    taken_in = time.monotonic() - began
    burst = SubscriptionEvent.objects.filter(pk__gt=last, source="stripe")
    meanwhile = []
    while burst.filter(state="pending").exists():
        meanwhile.append(act())
        time.sleep(0.5)
    drained = time.monotonic() - began
    calls = sandbox.control("GET", "log")["calls"]
    yield _row(f"{burst.count():,} events taken in", taken_in, "s")
    yield _row("all of them settled", drained, "s")
    yield _row("of them done", burst.filter(state="done").count(), "", goal=CUSTOMERS * len(TYPES))
    yield _row("calls to Stripe for them", len(calls), "")
    yield Row(
        name="event_to_state",
        measure="calls refused as too many",
        ours=sum(call["status"] == 429 for call in calls),
        unit="",
        most=0,
    )
    yield _row("a colleague's change, alone", statistics.median(alone) * 1000, "ms")
    if meanwhile:
        yield _row("a colleague's change, meanwhile", statistics.median(meanwhile) * 1000, "ms")
        yield _row("the longest of them", max(meanwhile) * 1000, "ms")


def _objects(sandbox: Any) -> dict[str, list[dict[str, Any]]]:
    """What events of each type are about."""
    lists = {
        "invoice": sandbox.client.v1.invoices,
        "charge": sandbox.client.v1.charges,
        "customer": sandbox.client.v1.subscriptions,
    }
    found = {
        family: [json.loads(str(each)) for each in service.list({"limit": 100}).auto_paging_iter()]
        for family, service in lists.items()
    }
    return {type_: found[type_.partition(".")[0]] for type_ in TYPES}


def _deliver(post: Callable[[Any], int], type_: str, item: dict[str, Any]) -> None:
    status = post(make_event(type_, item))
    if status != 200:
        raise RuntimeError(f"The door answered {status}.")


def _seconds_of(events: Any) -> list[float]:
    """From each event's row to its settled state, by one clock and the other of the same machine."""
    return [
        (settled - created).total_seconds()
        for created, settled in events.values_list("created_at", "processed_at")
        if settled
    ]


def _row(measure: str, ours: float, unit: str, goal: float | None = None) -> Row:
    return Row(name="event_to_state", measure=measure, ours=ours, unit=unit, goal=goal)
