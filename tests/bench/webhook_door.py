"""Our door beside dj-stripe's stock view: the same payload, the same gunicorn with sync workers, 16 connections.

Everything is on this machine: load, server, PostgreSQL, sandbox. BENCH_SECONDS=3 is quicker.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from adminops.demo.supervisor import Program, Supervisor, http_answers
from tests.bench import Row
from tests.bench.bulk_seats import _start_sandbox
from tests.environment import VAR, WEBHOOK_SECRET, free_port, prepare
from tests.webhooks.signing import DOOR, make_event, signature

SECONDS = float(os.environ.get("BENCH_SECONDS", "8"))
CONNECTIONS = 16
WORKERS = 3
CUSTOMERS = 200
# More than any server here answers. Made and signed before the clock starts: who sends is not what is measured.
MOST_PER_SECOND = 4_000


def measure() -> Iterator[Row]:
    """Start everything, and send the same events to each view in turn."""
    prepare()
    import django

    django.setup()
    with ExitStack() as stack:
        yield from _measure(stack)


def _measure(stack: ExitStack) -> Iterator[Row]:
    # Only now that the settings are there.
    from django.conf import settings

    from billing.importing import import_organizations
    from tests import databases
    from tests.conftest import Sandbox
    from tests.stripe_world import make_customer

    databases.prepare_template(say=print)
    databases.create(name := f"bench_{os.getpid()}")
    stack.callback(databases.drop, name)
    sandbox = Sandbox(settings.STRIPE_API_BASE)
    stack.callback(sandbox.close)
    _start_sandbox(stack, sandbox.url)
    model = make_customer(sandbox)
    sandbox.control("POST", "load", {"customers": CUSTOMERS, "like": model.customer})
    for _each in import_organizations():
        pass
    subscriptions = sandbox.client.v1.subscriptions.list({"limit": 100}).auto_paging_iter()
    bodies = _bodies([json.loads(str(each)) for each in subscriptions])
    stock = _stock_address()
    port = _start_server(stack, databases.url())

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


def _stock_address(secret: str = WEBHOOK_SECRET) -> str:
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


def _start_server(stack: ExitStack, database_url: str, **environment: str) -> int:
    port = free_port()
    supervisor = stack.enter_context(Supervisor(take_signals=False))
    supervisor.start_ready(
        Program(
            name="the web server",
            command=[
                *[sys.executable, "-m", "gunicorn", "tests.bench.doors", "--bind", f"127.0.0.1:{port}"],
                *["--workers", str(WORKERS), "--worker-class", "sync", "--no-control-socket"],
            ],
            environment={"DATABASE_URL": database_url, "CONN_MAX_AGE": "60", **environment},
            log=VAR / "log" / "bench-web.log",
            ready=lambda: http_answers(f"http://127.0.0.1:{port}/hello/"),
            ready_within=90,
        )
    )
    return port


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
