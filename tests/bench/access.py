"""How long a product waits for `/api/access/`: under gunicorn, over kept connections.

A database of its own with many organizations and members. BENCH_ORGANIZATIONS=1000 is quicker.
"""

from __future__ import annotations

import http.client
import os
import random
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlencode

from tests.bench import Row
from tests.bench.ground import grounded, make_database, start_gunicorn

ORGANIZATIONS = int(os.environ.get("BENCH_ORGANIZATIONS", "20000"))
MEMBERS = 3
CONNECTIONS = 4
SECONDS = 10.0


@grounded
def measure(stack: ExitStack) -> Iterator[Row]:
    """Fill a database, start gunicorn, and ask about members by chance; a tenth of them are locked out."""
    # Only now that the settings are there.
    from organizations.access.tokens import create_token

    make_database(stack)
    print(f"Making {ORGANIZATIONS:,} organizations with {MEMBERS} members each …", flush=True)
    _fill()
    _row, token = create_token("benchmark")
    arguments = ["adminops.wsgi", "--workers", "2", "--threads", "4", "--preload"]
    port = start_gunicorn(stack, *arguments, ready="/login/")
    _ask_for(port, token, seconds=1.0, connections=CONNECTIONS)  # connections and plans come up
    for what, connections, active in (
        ("one after the other", 1, ""),
        ("seen", 1, "1"),
        (f"{CONNECTIONS} at once, without a pause", CONNECTIONS, ""),
    ):
        times = _ask_for(port, token, seconds=SECONDS, connections=connections, active=active)
        p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
        # What is asked without a pause measures the queue in front of the server, and so how many it can answer.
        goal = 50.0 if connections == 1 else None
        yield Row(name="access", measure=f"{what}, p50", ours=p50, unit="ms")
        yield Row(name="access", measure=f"{what}, p99", ours=p99, unit="ms", goal=goal)
        yield Row(name="access", measure=f"{what}, answers", ours=len(times) / SECONDS, unit="/s")


def _fill() -> None:
    from django.contrib.auth.models import User
    from django.db import connection

    from organizations.models import Hold, Membership, Organization

    organizations = Organization.objects.bulk_create(
        [
            Organization(name=f"Company {n}", slug=f"company-{n}", subscription_status="active")
            for n in range(ORGANIZATIONS)
        ],
        batch_size=5000,
    )
    users = User.objects.bulk_create(
        [User(username=f"person{n}", email=f"person{n}@example.com") for n in range(ORGANIZATIONS * MEMBERS)],
        batch_size=5000,
    )
    Membership.objects.bulk_create(
        [Membership(organization=organizations[n // MEMBERS], user=user) for n, user in enumerate(users)],
        batch_size=5000,
    )
    Hold.objects.bulk_create([Hold(organization=each, kind="manual") for each in organizations[::10]])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _ask_for(port: int, token: str, *, seconds: float, connections: int, active: str = "") -> list[float]:
    """Ask for so long; how many milliseconds each answer took."""
    until = time.monotonic() + seconds

    def go_on(seed: int) -> list[float]:
        chance, times = random.Random(seed), []
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while time.monotonic() < until:
            n = chance.randrange(ORGANIZATIONS * MEMBERS)
            query = {"organization": f"company-{n // MEMBERS}", "user": f"person{n}@example.com"}
            path = f"/api/access/?{urlencode(query | ({'active': active} if active else {}))}"
            began = time.monotonic()
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            body = answer.read()
            times.append((time.monotonic() - began) * 1000)
            if answer.status != http.client.OK:
                raise RuntimeError(f"{answer.status}: {body.decode()}")
        connection.close()
        return times

    with ThreadPoolExecutor(connections) as pool:
        return [each for times in pool.map(go_on, range(connections)) for each in times]
