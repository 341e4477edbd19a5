"""What is logged from the door to the settled state: the event at every step, and nothing that is secret."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction

from adminops.logs import JsonFormatter, PlainFormatter
from billing.models import SubscriptionEvent
from tests import databases
from tests.conftest import Sandbox
from tests.environment import STRIPE_KEY
from tests.stripe_world import make_customer, make_organization
from tests.test_road import eventually
from tests.webhooks.serving import serving, working
from tests.webhooks.signing import make_event, signature

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "whsec_canarycanarycanarycanary"
NAME, NOTE, EMAIL = "Canary Limited", "canary-in-the-payload", "canary@northwind.example"
# pm_card_mastercard ends in these.
LAST4 = "4444"


def lines_of(log: Path) -> list[dict[str, Any]]:
    """The lines of ours; gunicorn writes a few of its own as it starts."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


@pytest.mark.parametrize("format_", ["json", "plain"])
def test_the_event_is_in_every_step_and_no_secret_is_in_any(sandbox: Sandbox, format_: str) -> None:
    world = make_customer(sandbox, card="pm_card_mastercard")
    sandbox.client.v1.customers.update(
        world.customer, {"name": NAME, "email": EMAIL, "metadata": {"note": NOTE}}
    )
    make_organization(world)
    how: dict[str, Any] = {"LOG_FORMAT": format_, "LOG_LEVEL": "DEBUG", "STRIPE_WEBHOOK_SECRETS": SECRET}
    customer = json.loads(str(sandbox.client.v1.customers.retrieve(world.customer)))
    charge = json.loads(str(sandbox.client.v1.charges.list({"customer": world.customer}).data[0]))
    assert charge["payment_method_details"]["card"]["last4"] == LAST4
    told = make_event("customer.updated", customer)
    failing = make_event("charge.succeeded", charge)
    unstorable = make_event("charge.succeeded", {**charge, "amount": 10**30, "description": NOTE})
    sandbox.control(
        "POST", "faults", {"kind": "not_json", "path": f"/v1/charges/{charge['id']}", "times": -1}
    )

    with (
        serving(databases.url(), name=f"logs-{format_}", **how) as server,
        working(databases.url(), name=f"logs-work-{format_}", **how) as worker_log,
    ):
        for event in (told, failing):
            body = json.dumps(event).encode()
            assert server.post(body, signature(body, secret=SECRET)) == 200
        body = json.dumps(unstorable).encode()
        assert server.post(body, signature(body, secret=SECRET)) == 400
        assert server.post(body, f"t=1,v1={NOTE}") == 400
        waiting = SubscriptionEvent.objects.filter(source="stripe", state="pending")
        eventually(lambda: not waiting.exists(), seconds=40)

    states = dict(SubscriptionEvent.objects.values_list("stripe_event_id", "state"))
    assert states[told["id"]] == "done"
    assert states[failing["id"]] in {"failed", "parked"}
    written = server.log.read_text() + worker_log.read_text()
    for canary in (SECRET, STRIPE_KEY, settings.SECRET_KEY, EMAIL, NAME, NOTE):
        assert canary not in written
    assert not re.search(rf"(?<![\d.]){LAST4}(?!\d)", written)
    assert written.count(told["id"]) >= 3
    if format_ == "json":
        at_the_door = [line for line in lines_of(server.log) if line.get("event") == told["id"]]
        assert at_the_door[0]["message"].endswith("stored")
        assert {line.get("reason") for line in lines_of(server.log)} >= {"malformed", "forged"}
        reading, *_others = [line for line in lines_of(worker_log) if told["id"] in line.get("events", ())]
        assert reading["customer"] == world.customer
        (settled,) = [
            line for line in lines_of(worker_log) if line.get("event") == told["id"] and "state" in line
        ]
        assert settled["state"] == "done"
        assert settled["seconds"] > 0


def test_what_others_write_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("tests.logs")
    statements = {
        DataError: f"SELECT '{NOTE}'::int",
        IntegrityError: "INSERT INTO billing_eventpayload (event_id, body)"
        f" SELECT NULL, '{NOTE}' WHERE '{EMAIL}' <> ''",
    }
    for kind, statement in statements.items():
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
        except kind:
            log.exception("It broke off for %s with %s", EMAIL, STRIPE_KEY)
    log.warning("Authorization: Bearer %s", "abc.def")

    for formatter in (PlainFormatter("%(levelname)s %(message)s"), JsonFormatter()):
        written = "\n".join(formatter.format(record) for record in caplog.records)
        for canary in (NOTE, EMAIL, STRIPE_KEY, "abc.def"):
            assert canary not in written, written
        assert "invalid input syntax" not in written
        assert "null value in column" in written  # what a developer needs stays
        assert "psycopg.errors.NotNullViolation" in written
