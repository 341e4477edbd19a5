"""Our door beside dj-stripe's stock view: the same payload, the same gunicorn with sync workers, 16 connections.

Everything is on this machine: load, server, PostgreSQL, sandbox. BENCH_SECONDS=3 is quicker.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from tests.bench import Row
from tests.bench.ground import grounded, make_database, start_gunicorn, start_sandbox, take_in_customers
from tests.environment import WEBHOOK_SECRET
from tests.webhooks.signing import DOOR, make_event, signature

SECONDS = float(os.environ.get("BENCH_SECONDS", "8"))
CONNECTIONS = 16
WORKERS = 3
CUSTOMERS = 200
# More than any server here answers. Made and signed before the clock starts: who sends is not what is measured.
MOST_PER_SECOND = 4_000


@grounded
def measure(stack: ExitStack) -> Iterator[Row]:
    """Start everything, and send the same events to each view in turn."""
    # Only now that the settings are there.

    make_database(stack)
    sandbox = start_sandbox(stack)
    take_in_customers(sandbox, CUSTOMERS)
    subscriptions = sandbox.client.v1.subscriptions.list({"limit": 100}).auto_paging_iter()
    bodies = _bodies([json.loads(str(each)) for each in subscriptions])
    stock = stock_address()
    port = start_door(stack)

    told = {}
    for what, path in (("hello", "/hello/"), ("verify", "/verify/"), ("ours", DOOR), ("stock", stock)):
        _load(port, _requests(path, bodies, 1.0), seconds=1.0)
        told[what] = _load(port, _requests(path, bodies, SECONDS), seconds=SECONDS)
    rates = {what: len(times) / SECONDS for what, times in told.items()}
    p50 = {what: statistics.median(times) for what, times in told.items()}
    p99 = {what: statistics.quantiles(times, n=100)[98] for what, times in told.items()}
    yield _row("an empty view, requests", rates["hello"], "/s")
    yield _row("verify and parse only, requests", rates["verify"], "/s")
    yield _row("requests", rates["ours"], "/s", peer=rates["stock"], goal=15 * rates["stock"])
    yield _row("p50", p50["ours"], "ms", peer=p50["stock"])
    yield _row("p99", p99["ours"], "ms", peer=p99["stock"], goal=50)
    yield _row("share of verify and parse", 100 * rates["ours"] / rates["verify"], "%")


def stock_address(secret: str = WEBHOOK_SECRET) -> str:
    from djstripe.models import WebhookEndpoint

    endpoint = WebhookEndpoint.objects.create(
        id="we_bench",
        livemode=False,
        secret=secret,
        url="http://127.0.0.1/",
        enabled_events=["*"],
        status="enabled",
    )
    return f"/stripe/webhook/{endpoint.djstripe_uuid}/"


def _bodies(subscriptions: list[dict[str, Any]]) -> Callable[[], bytes]:
    """Each call a new event of one of these, by turns."""
    documents = [
        json.dumps(make_event("customer.subscription.updated", each, id="evt_NUMBER"), indent=2)
        for each in subscriptions
    ]
    turns, numbers = itertools.cycle(documents), itertools.count(1)
    print(f"Events of {len(documents[0]):,} bytes", flush=True)
    return lambda: next(turns).replace("evt_NUMBER", f"evt_bench{next(numbers):08}").encode()


def start_door(stack: ExitStack, **environment: str) -> int:
    """Both views behind one server; returns its port."""
    arguments = ["tests.bench.doors", "--workers", str(WORKERS), "--worker-class", "sync"]
    return start_gunicorn(stack, *arguments, ready="/hello/", **environment)


def _requests(path: str, bodies: Callable[[], bytes], seconds: float) -> Iterator[bytes]:
    """Signed requests, ready to be sent: more than can be answered within so many seconds."""
    ready = []
    for _number in range(int(MOST_PER_SECOND * seconds)):
        body = bodies()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Stripe-Signature: {signature(body)}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        ready.append(head.encode() + body)
    return iter(ready)


def _load(port: int, requests: Iterator[bytes], *, seconds: float) -> list[float]:
    """Deliver for so long; how many milliseconds each answer took. A new connection each, as sync workers want it."""
    until = time.monotonic() + seconds

    def go_on(_number: int) -> list[float]:
        times = []
        while time.monotonic() < until:
            request = next(requests)
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                connection.sendall(request)
                answer = b""
                while received := connection.recv(4096):
                    answer += received
            times.append((time.monotonic() - began) * 1000)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{request[:80]!r}: {answer[:300]!r}")
        return times

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return [each for times in pool.map(go_on, range(CONNECTIONS)) for each in times]


def _row(
    measure: str, ours: float, unit: str, *, peer: float | None = None, goal: float | None = None
) -> Row:
    return Row(name="webhook_door", measure=measure, ours=ours, unit=unit, peer=peer, goal=goal)
