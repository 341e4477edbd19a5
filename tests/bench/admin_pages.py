"""The pages that support lives in, on large tables, beside the same tables under a plain ModelAdmin in the same run.

Each page is asked for many times, through every middleware, as different people with different things in mind would;
the first times do not count. Queries and bytes are those of the costliest answer. BENCH_SCALE=0.01 is quicker.
"""

from __future__ import annotations

import datetime
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from tests.bench import Row
from tests.bench.ground import grounded, make_database

TIMES = int(os.environ.get("BENCH_TIMES", "40"))
TIMES_OF_PLAIN = 3
WARM_UP = 3
GOAL_MS = 150
GOAL_QUERIES = 12


@dataclass(frozen=True)
class Page:
    """A page, as addresses to ask for in turn, and the plain one that shows the same where there is one."""

    name: str
    addresses: Sequence[str]
    plain: Sequence[str] = ()
    goal_of_ratio: float | None = None


@grounded
def measure(stack: ExitStack) -> Iterator[Row]:
    """Fill a database and ask for every page."""
    from django.test.utils import override_settings

    from tests.bench import large_tables

    make_database(stack)
    large_tables.fill(_like())
    with override_settings(ROOT_URLCONF="tests.bench.plain_admin", DEBUG=False):
        yield from _measure(large_tables.ORGANIZATIONS, large_tables.EVENTS)


def _like() -> dict[str, str]:
    """An object of each kind, written to the mirror as always, for the others to be made after."""
    from billing import mirror

    base = {"customer": "cus_like", "livemode": False, "created": 1_790_000_000, "currency": "usd"}
    line = {"id": "il_1", "description": "12 × Team", "amount": 34800, "currency": "usd", "quantity": 12}
    invoice = base | {
        "id": "in_like",
        "object": "invoice",
        "number": "NW-0001",
        "status": "paid",
        "total": 34800,
        "amount_paid": 34800,
        "amount_due": 34800,
        "amount_remaining": 0,
        "lines": {"data": [line, line]},
    }
    charge = base | {"id": "ch_like", "object": "charge", "status": "succeeded", "amount": 34800}
    refund = base | {
        "id": "re_like",
        "object": "refund",
        "charge": "ch_like",
        "status": "succeeded",
        "amount": 500,
    }
    due = {"due_by": 1_990_000_000}
    dispute = refund | {"id": "dp_like", "object": "dispute", "status": "lost", "evidence_details": due}
    mirror.upsert(
        [{"id": "cus_like", "object": "customer", "livemode": False}, invoice, charge, refund, dispute]
    )
    return {
        "djstripe_customer": "cus_like",
        "djstripe_invoice": "in_like",
        "djstripe_charge": "ch_like",
        "djstripe_refund": "re_like",
        "djstripe_dispute": "dp_like",
    }


def _pages(organizations: int, events: int) -> list[Page]:
    customers, ledger = "organizations/organization/", "billing/subscriptionevent/"
    some = [1 + number * organizations // 23 for number in range(20)]
    return [
        Page("home", ["/admin/"]),
        Page("customers", [f"/admin/{customers}"], [f"/plain/{customers}"]),
        Page(
            "customers, page 150",
            [f"/admin/{customers}?p={number}" for number in (150, 151, 152)],
            [f"/plain/{customers}?p={number}" for number in (150, 151)],
        ),
        Page("customers past due", [f"/admin/{customers}?overdue=0", f"/admin/{customers}?overdue=14"]),
        Page(
            "customers by MRR", [f"/admin/{customers}?o=-6", f"/admin/{customers}?mrr_from=500&currency=eur"]
        ),
        Page(
            "customers suspended",
            [f"/admin/{customers}?access=suspended", f"/admin/{customers}?access=legal"],
        ),
        Page(
            "search: name",
            [f"/admin/{customers}?q=contoso", f"/admin/{customers}?q=lucerne+a"],
            [f"/plain/{customers}?q=contoso"],
        ),
        Page("search: member's e-mail", [f"/admin/{customers}?q=user{number}@mail" for number in some]),
        Page("search: misspelt", [f"/admin/{customers}?q=contsoo+{number}" for number in some]),
        Page("search: Stripe id", [f"/admin/{customers}?q=in_bench{number}" for number in some]),
        Page("customer page", [f"/admin/{customers}{number}/change/" for number in some]),
        Page("events", [f"/admin/{ledger}"], [f"/plain/{ledger}"], goal_of_ratio=100),
        Page(
            "events, far down",
            [f"/admin/{ledger}?before={events // 2 + number}" for number in some],
            [f"/plain/{ledger}?p={events // 200}"],
            goal_of_ratio=100,
        ),
        Page("events of a kind", [f"/admin/{ledger}?kind=invoice.", f"/admin/{ledger}?kind=refund."]),
        Page("events, troubled", [f"/admin/{ledger}?state=troubled"]),
        Page(
            "events of a customer", [f"/admin/{ledger}?organization__id__exact={number}" for number in some]
        ),
        Page(
            "events of a day",
            [
                f"/admin/{ledger}?happened_from={day}&happened_to={day}&source__exact=stripe"
                for day in _days()
            ],
        ),
        Page(
            "events of two kinds of filter",
            [
                f"/admin/{ledger}?kind=charge.&amount_from=1000",
                f"/admin/{ledger}?type=invoice.paid&state=ignored",
                f"/admin/{ledger}?source__exact=staff&kind=refund.",
                f"/admin/{ledger}?amount_from=1000&currency=usd",
                f"/admin/{ledger}?type=invoice.paid&currency=jpy",
            ],
        ),
        Page(
            "events: search",
            [f"/admin/{ledger}?q=evt_bench{number}" for number in some],
            [f"/plain/{ledger}?q=evt_bench{some[3]}"],
            goal_of_ratio=100,
        ),
        Page("one event", [f"/admin/{ledger}{number * events // organizations}/change/" for number in some]),
        Page(
            "members: search",
            [f"/admin/organizations/membership/?q=user{number}@mail" for number in some],
            ["/plain/organizations/membership/?q=user5"],
        ),
        Page("notes of a customer", [f"/admin/{customers}{number}/notes/" for number in some]),
        Page("members", ["/admin/organizations/membership/"], ["/plain/organizations/membership/"]),
        Page("invoices", ["/admin/djstripe/invoice/"], ["/plain/djstripe/invoice/"]),
        Page(
            "invoices, narrowed",
            [
                f"/admin/djstripe/invoice/?{query}"
                for query in ("state=open", "amount_from=300", "q=contoso", "p=150")
            ],
        ),
        Page(
            "members: narrowed",
            [
                f"/admin/organizations/membership/?{query}"
                for query in ("status__exact=suspended", "role__exact=owner", "status__exact=invited")
            ],
        ),
        Page(
            "customers: other filters",
            [
                f"/admin/{customers}?{query}"
                for query in ("drift=yes", "role=ownerless", "plan=enterpri", "failed=yes", "currency=jpy")
            ],
        ),
        Page("payments", ["/admin/djstripe/charge/"]),
        Page("refunds", ["/admin/djstripe/refund/", "/admin/djstripe/refund/?state=failed"]),
        Page("disputes", ["/admin/djstripe/dispute/", "/admin/djstripe/dispute/?state=needs_response"]),
        Page("alerts", ["/admin/billing/alert/"]),
    ]


def _days() -> list[str]:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return [(today - datetime.timedelta(days=days)).isoformat() for days in (0, 3, 6, 9)]


def _measure(organizations: int, events: int) -> Iterator[Row]:
    from django.test import Client

    from tests.factories import AdministratorFactory

    client = Client()
    client.force_login(AdministratorFactory())
    for page in _pages(organizations, events):
        asked = [
            _ask(client, page.addresses[number % len(page.addresses)]) for number in range(WARM_UP + TIMES)
        ]
        times = [each.milliseconds for each in asked[WARM_UP:]]
        plain = [
            _ask(client, page.plain[number % len(page.plain)]).milliseconds
            for number in range(TIMES_OF_PLAIN if page.plain else 0)
        ]
        peer = statistics.median(plain) if plain else None
        p95 = statistics.quantiles(times, n=20)[-1]
        yield _row(f"{page.name}, p50", statistics.median(times), "ms", peer=peer)
        yield _row(f"{page.name}, p95", p95, "ms", goal=GOAL_MS)
        yield _row(f"{page.name}, queries", max(each.queries for each in asked), "", most=GOAL_QUERIES)
        yield _row(f"{page.name}, size", max(each.size for each in asked) / 1000, "kB")
        if page.goal_of_ratio and peer:
            yield _row(f"{page.name}, × plain", peer / statistics.median(times), "", goal=page.goal_of_ratio)


@dataclass(frozen=True)
class _Answer:
    milliseconds: float
    queries: int
    size: int


def _ask(client: Any, address: str) -> _Answer:
    from django.db import connection

    queries = 0

    def count(execute: Callable[..., Any], *args: Any) -> Any:
        nonlocal queries
        queries += 1
        return execute(*args)

    with connection.execute_wrapper(count):
        began = time.perf_counter()
        response = client.get(address)
        took = time.perf_counter() - began
    if response.status_code not in (200, 302):
        raise RuntimeError(f"{address} answered {response.status_code}")
    return _Answer(took * 1000, queries, len(response.content))


def _row(measure: str, ours: float, unit: str, *, most: float | None = None, **rest: Any) -> Row:
    return Row(name="admin_pages", measure=measure, ours=ours, unit=unit, most=most, **rest)
