"""What machines ask: whether we are well, whether we are ready, and what was counted."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import Settings

from adminops import probes
from billing import telemetry
from billing.models import MetricSample
from billing.telemetry import Counter
from tests import databases
from tests.webhooks.signing import deliver, make_event

pytestmark = pytest.mark.django_db(transaction=True)

LINE = re.compile(r'^[a-z_]+(\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\})? [0-9.e+-]+$')


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    telemetry._counted.clear()


def samples(client: Client, **headers: str) -> dict[str, float]:
    """What /metrics tells, each line held against the format."""
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.content
    lines = answer.content.decode().splitlines()
    told = [line for line in lines if not line.startswith("#")]
    assert all(LINE.match(line) for line in told), told
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {re.sub(r"(_bucket|_sum|_count)?(\{.*)? .*$", "", line) for line in told} <= typed | {
        re.sub("_(sum|count)$", "", name) for name in typed
    }
    return {sample: float(value) for sample, value in (line.rsplit(" ", 1) for line in told)}


def test_a_whole_house_says_so(client: Client) -> None:
    health, ready = client.get("/healthz"), client.get("/readyz")

    assert (health.status_code, health.json()) == (200, {"database": "ok", "migrations": "ok"})
    assert ready.status_code == 200
    assert ready.json()["stripe_key"] == ready.json()["webhook_secrets"] == "ok"


def test_a_database_that_is_gone_is_said(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(connection, "cursor", refuse)
    answers = {path: client.get(path) for path in ("/healthz", "/readyz", "/metrics")}
    monkeypatch.undo()

    assert {answer.status_code for answer in answers.values()} == {503}
    assert answers["/healthz"].json()["database"] == "unreachable"


def test_a_missing_migration_is_said_until_it_is_there(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "_is_migrated", False)
    call_command("migrate", "adminops", "0003", fake=True, verbosity=0)
    try:
        answer = client.get("/healthz")
    finally:
        call_command("migrate", "adminops", fake=True, verbosity=0)

    assert (answer.status_code, answer.json()["migrations"]) == (503, "missing")
    assert client.get("/healthz").status_code == 200


def test_without_a_webhook_secret_we_are_well_and_not_ready(client: Client, settings: Settings) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = []
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").json()["webhook_secrets"] == "missing"


def test_probes_come_in_without_https(client: Client, settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert client.get("/healthz").status_code == 200
    assert client.get("/login/").status_code == 301


def test_metrics_are_for_the_token_or_else_for_this_machine(client: Client, settings: Settings) -> None:
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="192.0.2.1").status_code == 403
    assert client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 403

    settings.METRICS_TOKEN = "a-long-token"
    assert client.get("/metrics").status_code == 403
    for header in ("Bearer wrong", "Bearer ü", "a-long-token", ""):
        assert client.get("/metrics", headers={"Authorization": header}).status_code == 403
    answer = client.get("/metrics", headers={"Authorization": "Bearer a-long-token"}, REMOTE_ADDR="192.0.2.1")
    assert answer.status_code == 200


def test_what_comes_to_the_door_is_counted_by_what_became_of_it(client: Client) -> None:
    event = make_event("customer.updated", {"id": "cus_1", "object": "customer"})
    deliver(client, event)
    deliver(client, event)
    deliver(client, event, **{"Stripe-Signature": "t=1,v1=00"})
    deliver(client, b"x" * (256 * 1024 + 1))

    told = samples(client)

    assert told['backoffice_webhooks_accepted_total{outcome="stored"}'] == 1
    assert told['backoffice_webhooks_accepted_total{outcome="known"}'] == 1
    assert told['backoffice_webhooks_refused_total{reason="forged"}'] == 1
    assert told['backoffice_webhooks_refused_total{reason="too_large"}'] == 1
    assert told['backoffice_webhooks_waiting{state="pending"}'] == 1
    assert 0 <= told["backoffice_webhooks_oldest_waiting_seconds"] < 60
    assert told["backoffice_syncs_waiting"] == told['backoffice_jobs_waiting{queue="sync"}'] == 1


def test_seconds_are_told_as_prometheus_wants_them(client: Client) -> None:
    for seconds in (0.01, 0.2, 0.2, 99):
        telemetry.SYNC_SECONDS.observe(seconds)

    told = samples(client)

    buckets = {
        bound: told[f'backoffice_sync_seconds_bucket{{le="{bound}"}}'] for bound in ("0.05", "0.25", "+Inf")
    }
    assert buckets == {"0.05": 1, "0.25": 3, "+Inf": 4}
    assert told["backoffice_sync_seconds_count"] == 4
    assert told["backoffice_sync_seconds_sum"] == pytest.approx(99.41)


def test_all_processes_add_to_one_sum_and_forks_count_nothing_twice(client: Client) -> None:
    script = (
        "import django, os, time; django.setup()\n"
        "from billing.telemetry import WEBHOOKS_UNSTORED, flush_regularly\n"
        "WEBHOOKS_UNSTORED.add()\n"
        "flush_regularly()\n"
        "if os.fork() == 0:\n"
        "    WEBHOOKS_UNSTORED.add()\n"
        "    time.sleep(2)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script]
    environment = {**os.environ, "DATABASE_URL": databases.url()}
    processes = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    telemetry.WEBHOOKS_UNSTORED.add()

    assert samples(client)["backoffice_webhooks_unstored_total"] == 5


def test_what_could_not_be_written_down_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("gone")

    count = Counter("backoffice_test_total", "For this test.")
    count.add()
    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", refuse)
        with pytest.raises(OperationalError):
            telemetry.flush()
    count.add()
    telemetry.flush()

    assert MetricSample.objects.get().value == 2
