"""How fast the sandbox Stripe is: the tests and the demo wait for it thousands of times.

Plain HTTP over kept connections, so that the server is measured and not a client library; a few at a time, as a worker
and a web server would.
"""

import http.client
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import urlencode

from adminops.demo.supervisor import Program, Supervisor, http_answers
from tests.bench import Row
from tests.environment import STRIPE_KEY, VAR, free_port

CONNECTIONS = 4
SECONDS = 3.0
SUBSCRIPTIONS = 100
PAGES = 30
# A hundred thousand in a minute and 2 GB is the goal; BENCH_CUSTOMERS=100000 measures just that.
CUSTOMERS = int(os.environ.get("BENCH_CUSTOMERS", "10000"))


def measure() -> Iterator[Row]:
    """Start a sandbox, fill it, and measure creates, reads, pages and bulk."""
    port = free_port()
    program = Program(
        name="the sandbox Stripe",
        command=[sys.executable, "-m", "billing.sandbox", "--port", str(port)],
        log=VAR / "log" / "bench-sandbox.log",
        ready=lambda: http_answers(f"http://127.0.0.1:{port}/_sandbox/health"),
    )
    with Supervisor(take_signals=False) as supervisor:
        began = time.monotonic()
        supervisor.start_ready(program)
        yield Row(name="sandbox", measure="start", ours=time.monotonic() - began, unit="s", goal=1)

        call = partial(_call, _connection(port))
        product = call("POST", "/v1/products", {"name": "Team"})["id"]
        price = call(
            "POST",
            "/v1/prices",
            {"product": product, "currency": "usd", "unit_amount": 1200, "recurring[interval]": "month"},
        )["id"]
        for number in range(SUBSCRIPTIONS):
            customer = call("POST", "/v1/customers", {"email": f"billing@company{number}.example"})["id"]
            card = call("POST", "/v1/payment_methods/pm_card_visa/attach", {"customer": customer})["id"]
            subscription = {"customer": customer, "default_payment_method": card}
            call(
                "POST",
                "/v1/subscriptions",
                subscription | {"items[0][price]": price, "items[0][quantity]": 8},
            )

        email = {"email": "billing@example.com", "metadata[organization]": "1"}
        creates = _calls_a_second(port, "POST", "/v1/customers", email)
        yield Row(name="sandbox", measure="customers created", ours=creates, unit="/s", goal=200)
        reads = _calls_a_second(port, "GET", f"/v1/customers/{customer}", {})
        yield Row(name="sandbox", measure="customers read", ours=reads, unit="/s", goal=400)

        # A connection that has been idle meanwhile may have been closed.
        call = partial(_call, _connection(port))
        pages = []
        for _ in range(PAGES):
            began = time.monotonic()
            page = call("GET", f"/v1/subscriptions?limit={SUBSCRIPTIONS}")
            pages.append((time.monotonic() - began) * 1000)
            if len(page["data"]) != SUBSCRIPTIONS:
                raise RuntimeError(f"A page of {len(page['data'])} subscriptions, not {SUBSCRIPTIONS}.")
        page_time = statistics.median(pages)
        yield Row(
            name="sandbox",
            measure=f"page of {SUBSCRIPTIONS} subscriptions",
            ours=page_time,
            unit="ms",
            goal=40,
        )

        empty = _control(port, "load", {"customers": 1, "like": customer})["peak_kb"]
        loaded = _control(port, "load", {"customers": CUSTOMERS, "like": customer})
        yield Row(
            name="sandbox",
            measure=f"{CUSTOMERS:,} customers loaded",
            ours=loaded["seconds"],
            unit="s",
            goal=60 * CUSTOMERS / 100_000,
        )
        memory = (loaded["peak_kb"] - empty) / CUSTOMERS
        yield Row(name="sandbox", measure="memory of a loaded customer", ours=memory, unit="kB", goal=20)


def _connection(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=30)


def _call(
    connection: http.client.HTTPConnection, method: str, path: str, fields: dict[str, Any] | None = None
) -> Any:
    headers = {"Authorization": f"Bearer {STRIPE_KEY}", "Content-Type": "application/x-www-form-urlencoded"}
    connection.request(method, path, urlencode(fields) if fields else None, headers)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    if answer.status != http.client.OK:
        raise RuntimeError(f"{method} {path}: {body}")
    return body


def _control(port: int, path: str, body: dict[str, Any]) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST", f"/_sandbox/{path}", json.dumps(body))
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def _calls_a_second(port: int, method: str, path: str, fields: dict[str, Any]) -> float:
    began = time.monotonic()

    def go_on() -> int:
        connection = _connection(port)
        calls = 0
        while time.monotonic() - began < SECONDS:
            _call(connection, method, path, fields)
            calls += 1
        connection.close()
        return calls

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        calls = sum(future.result() for future in [pool.submit(go_on) for _ in range(CONNECTIONS)])
    return calls / (time.monotonic() - began)
