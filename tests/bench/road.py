"""What is lost and what is stale once it is quiet: our door, and dj-stripe's stock view beside it.

The same stories happen to both at the same time (tests/webhooks/stories.py): one sandbox Stripe tells both, each with
a server and a database of its own, and sends again for hours what was not taken. Ours are read by workers, who are
killed; the stock view does its work in the request. Then ours looks through Stripe's list of events, for which the
stock view has no job. BENCH_SEEDS=5 is quicker.
"""

from __future__ import annotations

import datetime
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from tests.bench import Row
from tests.bench.ground import grounded, make_database, start_sandbox
from tests.bench.webhook_door import start_door, stock_address
from tests.webhooks.signing import DOOR

SEEDS = int(os.environ.get("BENCH_SEEDS", "30"))
# Stripe sends again after these, in seconds; the sum of them lies behind it in the end.
SENT_AGAIN = (3, 10, 60, 300, 1800, 3600, 10_800, 10_800)

type Told = dict[str, Any]
# What a row must say as Stripe does, by kind. Of a card only that it is there.
COMPARED: dict[str, Callable[[Told], Any]] = {
    "customer": lambda each: each.get("name"),
    "product": lambda each: each["name"],
    "subscription": lambda each: (
        each["status"],
        each["cancel_at_period_end"],
        each["items"]["data"][0]["quantity"],
    ),
    "invoice": lambda each: (each["status"], each["total"], each["amount_remaining"]),
    "charge": lambda each: (each["status"], each["amount_refunded"]),
    "refund": lambda each: (each["status"], each["amount"]),
    "payment_method": lambda each: each["id"],
}


@grounded
def measure(stack: ExitStack) -> Iterator[Row]:
    """Play the stories before both, and count."""
    # Only now that the settings are there.
    import pytest
    from django.conf import settings
    from django.db import connection

    from billing import stripe_api
    from billing.reading import read_everything
    from tests import databases
    from tests.webhooks.stories import Story, grow_quiet, play
    from webhooks import backfill

    sandbox = start_sandbox(stack)
    endpoints = [
        sandbox.client.v1.webhook_endpoints.create({"url": "http://127.0.0.1/", "enabled_events": ["*"]})
        for _ in range(2)
    ]
    names = {}
    for who, endpoint in zip(("stock", "ours"), endpoints, strict=True):
        names[who] = make_database(stack, who)
        path = stock_address(str(endpoint.secret)) if who == "stock" else DOOR
        port = start_door(stack, STRIPE_WEBHOOK_SECRETS=str(endpoint.secret))
        sandbox.client.v1.webhook_endpoints.update(endpoint.id, {"url": f"http://127.0.0.1:{port}{path}"})

    patch = stack.enter_context(pytest.MonkeyPatch.context())
    # Stripe's clock goes ahead of ours in the end.
    patch.setattr(backfill, "ON_ITS_WAY", -datetime.timedelta(days=1))
    patch.setattr(backfill, "AT_FIRST", datetime.timedelta(days=2))
    settings.STRIPE_READ_TIMEOUT = 0.3
    customers = []
    for seed in range(SEEDS):
        sandbox.control("DELETE", "faults")
        story = Story(sandbox, seed)
        play(story, patch)
        customers += [world.customer for world in story.worlds]
        print(f"Seed {seed} is played", flush=True)
    sandbox.control("DELETE", "faults")
    sandbox.control("POST", "deliveries", {"simulated": True})
    for seconds in SENT_AGAIN:
        sandbox.control("POST", "clock", {"advance": seconds})
        _wait_for_deliveries(sandbox)
    grow_quiet(sandbox, settings)

    present = [each for customer in customers for each in read_everything(customer)]
    # The sandbox refuses to expand what a deleted customer has no more, and the stock view fails with that. Whether
    # Stripe itself would is not known, so nothing that is told of these customers counts as lost.
    deleted = {each["id"] for each in present if each.get("deleted")}
    listed = {
        event["id"]
        for page in stripe_api.list_pages("/v1/events")
        for event in page
        if event["data"]["object"].get("id") not in deleted
    }
    present += [each for page in stripe_api.list_pages("/v1/products") for each in page]
    lost, stale = {}, {}
    for who, column in (
        ("ours", "billing_subscriptionevent.stripe_event_id"),
        ("stock", "djstripe_event.id"),
    ):
        table, _, name = column.partition(".")
        databases._use(names[who])
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {name} FROM {table}")
            lost[who] = len(listed - {row[0] for row in cursor.fetchall()})
        stale[who] = _stale(present)
        print(f"Stale or missing, {who}: {dict(stale[who]) or 'none'}", flush=True)
    of = f"of {SEEDS} seeds"
    yield Row(name="road", measure="events at Stripe", ours=len(listed), unit="")
    yield Row(
        name="road", measure=f"events lost, {of}", ours=lost["ours"], unit="", peer=lost["stock"], most=0
    )
    yield Row(name="road", measure="rows compared", ours=len(present), unit="")
    yield Row(
        name="road",
        measure=f"rows stale or missing, {of}",
        ours=stale["ours"].total(),
        unit="",
        peer=stale["stock"].total(),
        most=0,
    )


def _wait_for_deliveries(sandbox: Any) -> None:
    """Until what is due now was sent; what is due later goes on waiting."""
    until, before = time.monotonic() + 60, -1
    while (waiting := sandbox.control("GET", "deliveries")["waiting"]) != before:
        if time.monotonic() > until:
            return
        before = waiting
        time.sleep(1)


def _stale(present: list[Told]) -> Counter[str]:
    """How many rows of the present database, by kind, are missing or say otherwise than Stripe."""
    from django.db import connection

    found: Counter[str] = Counter()
    with connection.cursor() as cursor:
        for kind, say in COMPARED.items():
            truth = {each["id"]: each for each in present if each["object"] == kind}
            extra = ", date_purged IS NOT NULL" if kind == "customer" else ", false"
            cursor.execute(
                f"SELECT id, stripe_data::text{extra} FROM djstripe_{kind.replace('_', '')}"
                " WHERE id = ANY(%s)",
                [list(truth)],
            )
            rows = {id_: (json.loads(data), is_purged) for id_, data, is_purged in cursor.fetchall()}
            for id_, each in truth.items():
                row, is_purged = rows.get(id_, (None, False))
                if each.get("deleted"):
                    is_right = row is None or is_purged or row.get("deleted")
                else:
                    is_right = row is not None and say(row) == say(each)
                found[kind] += not is_right
    return +found
