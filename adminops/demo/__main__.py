"""`make demo`: the whole back office on this machine, with a Stripe and a PostgreSQL of its own.

One supervisor owns every process it starts: PostgreSQL (unless DATABASE_URL names another), the sandbox Stripe, the web
server and the worker. The web server and the worker are started again after a crash, three times; PostgreSQL and the
sandbox are not, since without them nothing else makes sense. What is kept between starts lies in `var/`.

`python -m adminops.demo reset` is `make demo-reset`.
"""

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import psycopg

from adminops.demo import database
from adminops.demo.postgres import EmbeddedPostgres, PostgresUnavailable
from adminops.demo.staff import MEMBERS, STAFF
from adminops.demo.state import DemoState, port_is_free, write_privately
from adminops.demo.supervisor import Program, ProgramFailed, StopRequested, Supervisor, http_answers

ROOT = Path(__file__).resolve().parents[2]
VAR = ROOT / "var"
LOGS = VAR / "log"
HOST = "127.0.0.1"
# Shaped as a key must be, and plainly nobody's.
STRIPE_KEY = "sk_test_TheDemoHasNoRealKeyAtAll00"
STRIPE_API_VERSION = "2026-05-27.dahlia"
CRASHES_FORGIVEN = 3
# What the demo's support may give back: per refund and per day, in minor units.
REFUNDS_OF_SUPPORT = {
    "usd": [10_000, 50_000],
    "eur": [10_000, 50_000],
    "gbp": [10_000, 50_000],
    "jpy": [15_000, 75_000],
}
LIVE_KEY = re.compile(r"\b[sr]k_live_")


class Refused(Exception):
    """The demo does not start; the message is one line that says why."""


class Demo:
    """One run of the demo."""

    def __init__(self, supervisor: Supervisor, port: int) -> None:
        self.supervisor = supervisor
        self.port = port
        self.state = DemoState.load(VAR / "demo" / "demo.json")
        self.sandbox_url = f"http://{HOST}:{self.state.choose_sandbox_port()}"
        self.database_url = os.environ.get("DATABASE_URL", "")

    def run(self) -> None:
        """Start everything, say where it is, and keep it running until asked to stop."""
        began = time.monotonic()
        if not self.database_url:
            with _step("Starting PostgreSQL"):
                server = EmbeddedPostgres(VAR / "postgres")
                self.supervisor.start_ready(server.program(LOGS / "postgres.log"))
                self.database_url = database.create(server)
        self._recall_database()
        with _step("Starting the sandbox Stripe"):
            self.supervisor.start_ready(self._sandbox())
            if not self.state.history_made:
                self._control("reset")
        self._prepare()
        self._point_webhooks_here()
        with _step("Starting the web server and the worker"):
            web = self.supervisor.start(self._web())
            self.supervisor.start(self._worker())
            self.supervisor.wait_ready(web)
        self._write_environment()
        self._welcome(time.monotonic() - began)
        self.supervisor.keep()

    # -- Data ---------------------------------------------------------------------------------------------

    def _recall_database(self) -> None:
        """Forget what was done to a database other than this one, or to this one before somebody emptied it."""
        migrated = database.claim(self.database_url)
        if not migrated or self.state.database != self.database_url:
            self.state.database, self.state.migrations, self.state.filled = self.database_url, "", False
        if self.state.filled and not self._sandbox_file.exists():
            raise Refused(
                "The sandbox Stripe's data are gone, the database's are not: `make demo-reset` starts over."
            )
        if not self._sandbox_file.exists():
            self.state.history_made, self.state.webhook_endpoint = False, ""
        self.state.save()

    def _prepare(self) -> None:
        """Migrate and, on the first start, live through the history meanwhile; then fill the database."""
        state = self.state
        digest = database.migrations_digest(ROOT)
        todo = []
        if state.migrations != digest:
            todo.append(self._once("migrate", "manage.py", "migrate", "--verbosity", "1", "--no-input"))
        if not state.history_made:
            todo.append(
                self._once(
                    "history", "-m", "adminops.demo.history", "--api", self.sandbox_url, "--until", "now"
                )
            )
        if todo:
            both = "Migrating the database, and living through 18 months of billing"
            one = "Migrating the database" if state.history_made else "Living through 18 months of billing"
            with _step(both if len(todo) == 2 else one):
                self.supervisor.wait(*[self.supervisor.start(program) for program in todo])
            state.migrations, state.history_made = digest, True
            state.save()
        if not state.filled:
            with _step("Taking it all in from Stripe"):
                # Its own Stripe has no limits, and nobody else calls yet.
                filling = self._once("fill", "manage.py", "fill_demo", STRIPE_CALLS_PER_SECOND="0")
                self.supervisor.wait(self.supervisor.start(filling))
            state.filled = True
            state.save()

    def _point_webhooks_here(self) -> None:
        """Make the sandbox send its webhooks to this web server, and remember what it signs them with."""
        url = f"http://{HOST}:{self.port}/webhooks/stripe/"
        with self._api() as api:
            endpoint = api.get(f"/v1/webhook_endpoints/{self.state.webhook_endpoint or 'none'}")
            if endpoint.status_code == httpx.codes.NOT_FOUND:
                wanted = {"url": url, "enabled_events[]": "*", "api_version": STRIPE_API_VERSION}
                made = api.post("/v1/webhook_endpoints", data=wanted).raise_for_status().json()
                self.state.webhook_endpoint, self.state.webhook_secret = made["id"], made["secret"]
                self.state.save()
            elif endpoint.raise_for_status().json()["url"] != url:
                api.post(
                    f"/v1/webhook_endpoints/{self.state.webhook_endpoint}", data={"url": url}
                ).raise_for_status()

    def _api(self) -> httpx.Client:
        return httpx.Client(base_url=self.sandbox_url, auth=(STRIPE_KEY, ""), timeout=30, trust_env=False)

    def _control(self, path: str) -> None:
        with self._api() as api:
            api.post(f"/_sandbox/{path}").raise_for_status()

    # -- Programs -----------------------------------------------------------------------------------------

    @property
    def _sandbox_file(self) -> Path:
        return VAR / "demo" / "sandbox.json"

    def _environment(self) -> Mapping[str, str]:
        """Every setting, said outright: the developer's own environment and `.env` have no say in the demo."""
        return {
            "ALLOWED_HOSTS": f"localhost,{HOST},[::1]",
            "BEHIND_PROXY": "off",
            "CSRF_TRUSTED_ORIGINS": "",
            "DATABASE_URL": self.database_url,
            "DEBUG": "off",
            "DEFAULT_FROM_EMAIL": "billing@example.com",
            "DJANGO_SETTINGS_MODULE": "adminops.settings",
            "EMAIL_URL": "consolemail://",
            "HTTPS": "off",
            "LOG_LEVEL": "INFO",
            "PYTHONUNBUFFERED": "1",
            "REFUND_LIMITS": json.dumps({"Support": REFUNDS_OF_SUPPORT}),
            "SECRET_KEY": self.state.secret_key,
            "SECURE_HSTS_SECONDS": "0",
            "STATIC_FROM_FINDERS": "on",
            "STRIPE_API_BASE": self.sandbox_url,
            "STRIPE_CALLS_PER_SECOND": "25",
            "STRIPE_SECRET_KEY": STRIPE_KEY,
            "STRIPE_WEBHOOK_SECRETS": self.state.webhook_secret,
        }

    def _write_environment(self) -> None:
        """The same as a file that a shell can read, for whoever types a command at the demo."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in self._environment().items()]
        write_privately(VAR / "demo" / "env", "".join(lines))

    def _once(self, name: str, *arguments: str, **environment: str) -> Program:
        return Program(
            name=f"`{' '.join(arguments[:2])}`",
            command=[sys.executable, *arguments],
            environment={**self._environment(), **environment},
            log=LOGS / f"{name}.log",
        )

    def _sandbox(self) -> Program:
        arguments = ["--port", str(self.state.sandbox_port), "--state", str(self._sandbox_file)]
        return Program(
            name="the sandbox Stripe",
            command=[sys.executable, "-m", "billing.sandbox", *arguments],
            log=LOGS / "sandbox.log",
            ready=lambda: http_answers(f"{self.sandbox_url}/_sandbox/health"),
        )

    def _web(self) -> Program:
        # One import of the application for both workers, which is quicker; nothing at import opens a connection.
        shape = ["--workers", "2", "--threads", "4", "--preload", "--no-control-socket"]
        return Program(
            name="the web server",
            command=[
                *[sys.executable, "-m", "gunicorn", "adminops.wsgi", "--bind", f"{HOST}:{self.port}", *shape],
                *["--access-logfile", "-", "--graceful-timeout", "5"],
            ],
            environment=self._environment(),
            log=LOGS / "web.log",
            ready=lambda: http_answers(f"http://{HOST}:{self.port}/admin/login/"),
            restarts=CRASHES_FORGIVEN,
        )

    def _worker(self) -> Program:
        return Program(
            name="the worker",
            command=[sys.executable, "manage.py", "work"],
            environment=self._environment(),
            log=LOGS / "worker.log",
            restarts=CRASHES_FORGIVEN,
        )

    # -- Words --------------------------------------------------------------------------------------------

    def _welcome(self, seconds: float) -> None:
        _say(f"\nThe back office is at http://{HOST}:{self.port}/admin/ (after {seconds:.0f} s). Log in as\n")
        for login in STAFF:
            _say(f"    {login.role:<15}{login.username:<10}{login.password}")
        _say(f"\nMembers of customers log in at http://{HOST}:{self.port}/ as\n")
        for member in MEMBERS:
            _say(f"    {member.username:<15}{member.password:<20}{member.words}")
        _say(
            "\nTry this: open Northwind Labs, change its seats from 8 to 12,"
            " and watch Stripe's webhook arrive in its timeline."
            f"\nIts Stripe is at {self.sandbox_url}, the logs are in var/log/."
            "\nCommands are for it after `. var/demo/env`, for instance: .venv/bin/python manage.py reconcile"
            "\nCtrl-C stops everything and keeps the data."
        )


def start() -> int:
    """Run the demo until it is stopped; its exit status."""
    port = _port()
    _refuse_live_keys()
    with _only_one():
        if not port_is_free(port):
            raise Refused(
                f"Port {port} is in use: stop what listens there, or choose another: PORT=9000 make demo"
            )
        for log in LOGS.glob("*.log"):
            log.unlink()
        with Supervisor(follow_parent="MAKELEVEL" in os.environ, say=_say) as supervisor:
            try:
                Demo(supervisor, port).run()
            except StopRequested:
                with _step("\nStopping"):
                    supervisor.stop()
    return 0


def reset() -> int:
    """Forget the demo's data: its own directory and its database, nothing else."""
    with _only_one():
        if url := os.environ.get("DATABASE_URL"):
            database.empty(url)
        else:
            EmbeddedPostgres(VAR / "postgres").remove()
        shutil.rmtree(VAR / "demo", ignore_errors=True)
    _say("The demo's data are gone; `make demo` starts over.")
    return 0


def main(arguments: list[str]) -> int:
    """The command line."""
    os.chdir(ROOT)
    try:
        match arguments:
            case []:
                return start()
            case ["reset"]:
                return reset()
            case _:
                _say("Usage: python -m adminops.demo [reset]")
                return 2
    except (Refused, PostgresUnavailable, database.NotTheDemos) as refusal:
        _say(str(refusal))
    except (psycopg.OperationalError, httpx.HTTPError) as error:
        _say(f"The demo cannot go on: {str(error).strip()}")
    except ProgramFailed as failure:
        _say(f"\nThe demo has stopped: {failure}." + (" The end of its log:" if failure.tail else ""))
        _say("\n".join(f"    {line}" for line in failure.tail.splitlines()))
    return 1


def _port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise Refused(f"PORT must be a number from 1 to 65535, not {text!r}.")
    return int(text)


def _refuse_live_keys() -> None:
    """The demo uses a Stripe of its own and would not touch a live key, but whoever has one here is elsewhere."""
    found = ""
    if any(LIVE_KEY.search(value) for name, value in os.environ.items() if name.startswith("STRIPE_")):
        found = "in the environment"
    with contextlib.suppress(OSError):
        lines = (ROOT / ".env").read_text().splitlines()
        if any(LIVE_KEY.search(line) for line in lines if not line.lstrip().startswith("#")):
            found = "in .env"
    if found:
        raise Refused(
            f"There is a live Stripe key {found}. The demo does not run beside one: take it away first."
        )


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    VAR.mkdir(exist_ok=True)
    with (VAR / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("The demo is running already in this checkout: stop it first.") from None
        yield


@contextlib.contextmanager
def _step(words: str) -> Iterator[None]:
    """Say what is being done, and a tick when it is."""
    began = time.monotonic()
    _say(f"{words} … ", end="")
    try:
        yield
    except BaseException:
        _say("")
        raise
    seconds = time.monotonic() - began
    _say("✓" if seconds < 1 else f"✓ {seconds:.0f} s")


def _say(line: str, end: str = "\n") -> None:
    # The terminal may be gone (SIGHUP); that must not keep us from stopping what we started.
    with contextlib.suppress(OSError):
        print(line, end=end, flush=True)


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    sys.exit(main(sys.argv[1:]))
