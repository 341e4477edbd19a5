"""Fixtures every test may use: a database, a sandbox Stripe over a real socket, a browser."""

import importlib
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest
import stripe
from django.apps import apps
from django.conf import settings as django_settings
from pytest_django import DjangoDbBlocker, Settings
from pytest_django.live_server_helper import LiveServer
from pytest_django.plugin import blocking_manager_key

from adminops.demo.supervisor import Program, Supervisor, http_answers
from tests import databases, environment

# -- The database -----------------------------------------------------------------------------------------


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have the template ready, once, before the first test or the first process of pytest-xdist."""
    if not hasattr(session.config, "workerinput") and not session.config.option.collectonly:
        with session.config.stash[blocking_manager_key].unblock():
            databases.prepare_template(say=partial(print, flush=True))


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest, django_test_environment: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """A copy of the migrated template for this process; see tests/databases.py."""
    worker = getattr(request.config, "workerinput", {}).get("workerid", "main")
    name = f"test_{os.getpid()}_{worker}"
    with django_db_blocker.unblock():
        databases.create(name)
        databases.flush_everything()
    yield
    with django_db_blocker.unblock():
        databases.drop(name)


# -- The network ------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True, scope="session")
def only_this_machine() -> Iterator[None]:
    """Refuse connections to anything but this machine: no test may depend on the network, or reach a real Stripe."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
        yield


def _guarded(connect: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            pytest.fail(f"A test tried to connect to {address[0]}: only this machine is allowed.")
        return connect(self, address)

    return guarded


# -- Stripe -----------------------------------------------------------------------------------------------


class Sandbox:
    """The sandbox Stripe of this test process: the API at `url`, and its control API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = stripe.StripeClient(
            environment.STRIPE_KEY,
            base_addresses={"api": url},
            stripe_version=django_settings.STRIPE_API_VERSION,
            max_network_retries=0,
        )
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def control(self, method: str, path: str, json: Any = None) -> Any:
        """Call the control API (`/_sandbox/…`): `control("POST", "clock", {"advance": 86400})`."""
        answer = self._http.request(method, f"/_sandbox/{path.removeprefix('/_sandbox/')}", json=json)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[Sandbox]:
    """The running sandbox of this process, with whatever is in it. Tests ask for `sandbox`, which empties it first."""
    url = str(django_settings.STRIPE_API_BASE)
    port = url.rpartition(":")[2]
    where = os.environ.get("SANDBOX_RECORD")  # for the contract: see tests/contract
    record = ["--record", f"{where}/application-{os.getpid()}.jsonl"] if where else []
    program = Program(
        name="the sandbox Stripe",
        command=[sys.executable, "-m", "billing.sandbox", "--port", port, *record],
        log=environment.VAR
        / "log"
        / "tests"
        / f"sandbox-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}.log",
        ready=lambda: http_answers(f"{url}/_sandbox/health"),
    )
    program.log.unlink(missing_ok=True)
    with Supervisor(take_signals=False) as supervisor:
        supervisor.start_ready(program)
        sandbox = Sandbox(url)
        yield sandbox
        sandbox.close()


@pytest.fixture
def sandbox(sandbox_server: Sandbox) -> Sandbox:
    """An empty sandbox Stripe; the settings already point to it."""
    sandbox_server.control("POST", "reset")
    return sandbox_server


@pytest.fixture
def arriving_webhooks(sandbox: Sandbox, live_server: LiveServer, settings: Settings) -> str:
    """The sandbox sends its webhooks to the live server, really signed; the endpoint's address."""
    url = f"{live_server.url}/webhooks/stripe/"
    endpoint = sandbox.client.v1.webhook_endpoints.create({"url": url, "enabled_events": ["*"]})
    settings.STRIPE_WEBHOOK_SECRETS = [endpoint.secret]
    return url


# -- The browser ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """Start the machine's own Chromium, quietly; skip where there is none, but never in CI."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        reason = "no Chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get("CI") == "true":
            pytest.fail(f"A browser test cannot run: {reason}")
        pytest.skip(reason)
    # Playwright's event loop runs in this thread, which makes Django think that its ORM is called from async code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    return {
        "executable_path": chromium,
        "args": [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ],
    }


@pytest.fixture
def roles(transactional_db: None) -> None:
    """The groups that the migration makes; tests that commit clear all tables behind them."""
    migration = importlib.import_module("adminops.migrations.0002_roles")
    migration.make_roles(apps, None)
