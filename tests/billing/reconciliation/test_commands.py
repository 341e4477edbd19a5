"""`manage.py reconcile` and `manage.py resync`, as people and timetables call them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing.models import ReconciliationRun
from organizations.models import Organization
from tests import databases
from tests.conftest import Sandbox
from tests.stripe_world import make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: str, **options: Any) -> tuple[int, str, str]:
    """The exit status of a command, and what it said."""
    out, problems = io.StringIO(), io.StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=problems, **options)
    except SystemExit as exit_:
        return int(str(exit_.code)), out.getvalue(), problems.getvalue()
    return 0, out.getvalue(), problems.getvalue()


def test_the_exit_status_tells_clean_from_different_from_failed(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    status, said, _problems = run("reconcile")
    assert (status, said.strip()) == (
        0,
        "1 organization was compared. 0 differences are open, 0 were mended.",
    )
    sandbox.client.v1.subscription_items.update(world.item, {"quantity": 11})
    status, said, _problems = run("reconcile", "--full", "--dry-run")
    assert status == 1
    assert f"{organization.slug}: Seats: " in said
    assert "8 → 11" in said
    sandbox.control(
        "POST", "faults", {"kind": "error_400", "path": "/v1/customers", "times": -1, "method": "GET"}
    )
    status, _said, problems = run("reconcile")
    assert status == 2
    assert problems.strip()


def test_json_is_one_object_and_nothing_else(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    Organization.objects.filter(pk=organization.pk).update(seats=3)
    status, said, _problems = run("reconcile", "--organization", organization.slug, "--dry-run", "--json")
    report = json.loads(said)
    assert status == 1
    assert (report["kind"], report["state"], report["found"]) == ("one", "done", 1)
    [difference] = report["differences"]
    assert (difference["type"], difference["ours"]["seats"], difference["theirs"]["seats"]) == ("seats", 3, 8)
    assert difference["sentence"]
    status, said, _problems = run("reconcile", "--incremental", "--json")
    assert (status, json.loads(said)["fixed"]) == (0, 1)


def test_an_unknown_organization_or_check_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(CommandError, match="no organization"):
        run("reconcile", "--organization", "nobody")
    with pytest.raises(CommandError, match="invalid choice"):
        run("reconcile", "--fix", "weather")


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["reconcile", "--organization", "nobody"], {}, "There is no organization"),
        (["resync"], {}, "Name organizations"),
        (["reconcile"], {"STRIPE_SECRET_KEY": "nonsense"}, "STRIPE_SECRET_KEY"),
        (["resync", "--all"], {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"}, "refused"),
    ],
)
def test_whatever_keeps_a_command_from_its_end_is_status_2(
    arguments: list[str], environment: dict[str, str], said: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        env={**os.environ, "DATABASE_URL": databases.url(), **environment},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert said in ended.stderr


def test_ctrl_c_stops_a_run_and_the_next_goes_on(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    make_organization(world)
    sandbox.control("POST", "load", {"customers": 500, "like": world.customer})
    sandbox.control("POST", "faults", {"kind": "latency", "seconds": 2, "times": -1})
    going = subprocess.Popen(
        [sys.executable, "manage.py", "reconcile"],
        env={**os.environ, "DATABASE_URL": databases.url()},
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has them ignore Ctrl-C, and so would this.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    give_up = time.monotonic() + 40
    while not ReconciliationRun.objects.filter(slices__pages__gt=0).exists():
        assert time.monotonic() < give_up
        time.sleep(0.1)
    going.send_signal(signal.SIGINT)
    _said, problems = going.communicate(timeout=40)
    assert going.returncode == 2
    assert problems.strip().endswith("Stopped. Run it again to go on.")
    stopped = ReconciliationRun.objects.get()
    assert stopped.state == "stopped"
    sandbox.control("DELETE", "faults")
    status, said, _problems = run("reconcile")
    assert status == 1  # 500 subscriptions of nobody
    assert said.startswith("Going on with the run of ")
    assert ReconciliationRun.objects.get() == stopped


def test_resync_reads_those_it_was_told_and_says_what_was_otherwise(sandbox: Sandbox) -> None:
    one, other = make_customer(sandbox), make_customer(sandbox)
    mine, theirs = make_organization(one), make_organization(other)
    Organization.objects.update(seats=3)
    status, said, _problems = run("resync", mine.slug)
    assert status == 1
    assert said.splitlines() == [
        f"{mine.slug}: corrected: seats",
        "1 organization was read, 1 of them was corrected.",
    ]
    theirs.refresh_from_db()
    assert theirs.seats == 3
    assert run("resync", "--all")[0] == 1
    assert run("resync", "--all")[0] == 0
    status, said, _problems = run("resync", "--stale", "1h")
    assert (status, said.strip()) == (0, "0 organizations were read, 0 of them were corrected.")
    with pytest.raises(CommandError):
        run("resync")


def test_resync_says_what_it_could_not_read(sandbox: Sandbox) -> None:
    organization = make_organization(make_customer(sandbox))
    sandbox.control("POST", "faults", {"kind": "error_400", "path": "/v1/customers/*", "times": -1})
    status, _said, problems = run("resync", organization.slug)
    assert status == 2
    assert problems.startswith(f"{organization.slug}: ")
