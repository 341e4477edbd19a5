"""What a benchmark stands on: Django set up, a database of its own, a sandbox Stripe, a web server.

Whatever is started here goes away with the stack that it is given. Nothing of Django is imported before it is set up.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import wraps
from typing import TYPE_CHECKING

from adminops.demo.supervisor import Program, Supervisor, http_answers
from tests.bench import Row
from tests.environment import VAR, free_port, prepare

if TYPE_CHECKING:
    from tests.conftest import Sandbox
    from tests.stripe_world import World

type Benchmark = Callable[[ExitStack], Iterator[Row]]


def grounded(measure: Benchmark) -> Callable[[], Iterator[Row]]:
    """A benchmark that may use Django, and whose stack is unwound at its end."""

    @wraps(measure)
    def run() -> Iterator[Row]:
        prepare()
        import django

        django.setup()
        with ExitStack() as stack:
            yield from measure(stack)

    return run


def make_database(stack: ExitStack, what: str = "") -> str:
    """A database with every migration applied, which Django uses from here on; returns its name."""
    from tests import databases

    databases.prepare_template(say=print)
    databases.create(name := "_".join(filter(None, ("bench", what, str(os.getpid())))))
    stack.callback(databases.drop, name)
    return name


def start_sandbox(stack: ExitStack) -> Sandbox:
    """A sandbox Stripe, where the settings expect it."""
    from django.conf import settings

    from tests.conftest import Sandbox

    sandbox = Sandbox(settings.STRIPE_API_BASE)
    stack.callback(sandbox.close)
    supervisor = stack.enter_context(Supervisor(take_signals=False))
    supervisor.start_ready(
        Program(
            name="the sandbox Stripe",
            command=[sys.executable, "-m", "billing.sandbox", "--port", sandbox.url.rpartition(":")[2]],
            log=VAR / "log" / "bench-sandbox.log",
            ready=lambda: http_answers(f"{sandbox.url}/_sandbox/health"),
        )
    )
    return sandbox


def take_in_customers(sandbox: Sandbox, number: int) -> World:
    """So many customers and one more, all alike, at Stripe and as organizations of ours; returns that one."""
    from billing.importing import import_organizations
    from tests.stripe_world import make_customer

    model = make_customer(sandbox)
    sandbox.control("POST", "load", {"customers": number, "like": model.customer})
    print(f"Taking in {number + 1:,} customers …", flush=True)
    for _each in import_organizations():
        pass
    return model


def start_gunicorn(stack: ExitStack, *arguments: str, ready: str, **environment: str) -> int:
    """A web server over the present database, up once its path `ready` answers; returns its port."""
    from tests import databases

    port = free_port()
    supervisor = stack.enter_context(Supervisor(take_signals=False))
    supervisor.start_ready(
        Program(
            name="the web server",
            command=[
                *[sys.executable, "-m", "gunicorn", *arguments],
                *["--bind", f"127.0.0.1:{port}", "--no-control-socket"],
            ],
            environment={**os.environ, "DATABASE_URL": databases.url(), "CONN_MAX_AGE": "60", **environment},
            log=VAR / "log" / "bench-web.log",
            ready=lambda: http_answers(f"http://127.0.0.1:{port}{ready}"),
            ready_within=90,
        )
    )
    return port
