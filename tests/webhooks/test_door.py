"""Stripe's door: what is let in, what is not, and what is left behind."""

import json
import time
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import Settings

from billing.models import CustomerSync, EventPayload, SubscriptionEvent
from tests import databases
from tests.factories import OrganizationFactory
from tests.webhooks.signing import DOOR, deliver, make_event, signature

pytestmark = pytest.mark.django_db


def subscription(**changes: Any) -> dict[str, Any]:
    return {
        "id": "sub_1",
        "object": "subscription",
        "customer": "cus_1",
        "status": "active",
        "currency": "usd",
        "items": {"data": [{"id": "si_1", "quantity": 12}]},
        **changes,
    }


def queued_jobs() -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT task_name, args FROM procrastinate_jobs ORDER BY id")
        return [
            {"task": task, "args": args if isinstance(args, dict) else json.loads(args)}
            for task, args in cursor
        ]


def test_an_event_is_stored_with_its_payload_and_asks_for_one_sync(client: Client) -> None:
    organization = OrganizationFactory(stripe_customer_id="cus_1")
    event = make_event("customer.subscription.updated", subscription())

    response = deliver(client, event)

    assert response.status_code == 200
    row = SubscriptionEvent.objects.get()
    assert (row.stripe_event_id, row.type, row.state) == (event["id"], event["type"], "pending")
    assert (row.organization, row.organization_label) == (organization, organization.name)
    assert (row.stripe_customer_id, row.stripe_subscription_id) == ("cus_1", "sub_1")
    assert json.loads(row.payload.body) == event
    sync = CustomerSync.objects.get()
    assert (sync.customer_id, sync.wanted, list(sync.objects_wanted)) == ("cus_1", 1, ["sub_1"])
    assert queued_jobs() == [{"task": "billing.tasks.sync_customer", "args": {"customer_id": "cus_1"}}]


def test_what_changed_is_told_before_and_after(client: Client) -> None:
    event = make_event("customer.subscription.updated", subscription(status="past_due"))
    event["data"]["previous_attributes"] = {
        "status": "active",
        "items": {"data": [{"id": "si_1", "quantity": 8}]},
    }
    event["request"] = {"id": "req_1", "idempotency_key": "key:update"}

    deliver(client, event)

    row = SubscriptionEvent.objects.get()
    assert (row.previous_status, row.status) == ("active", "past_due")
    assert (row.previous_quantity, row.quantity) == (8, 12)
    assert (row.stripe_request_id, row.idempotency_key) == ("req_1", "key:update")


@pytest.mark.parametrize(
    ("type_", "links"),
    [
        ("subscription_schedule.created", {"subscription": "sub_1", "released_subscription": None}),
        ("subscription_schedule.updated", {"subscription": "sub_1", "released_subscription": None}),
        ("subscription_schedule.released", {"subscription": None, "released_subscription": "sub_1"}),
    ],
)
def test_what_happens_to_a_schedule_reads_its_subscription_again(
    client: Client, type_: str, links: dict[str, Any]
) -> None:
    schedule = {"id": "sub_sched_1", "object": "subscription_schedule", "customer": "cus_1", **links}

    deliver(client, make_event(type_, {**schedule, "status": "active", "phases": []}))

    row = SubscriptionEvent.objects.get()
    assert (row.state, row.stripe_object_id, row.stripe_subscription_id) == (
        "pending",
        "sub_sched_1",
        "sub_1",
    )
    assert list(CustomerSync.objects.get().objects_wanted) == ["sub_1"]


def test_a_duplicate_is_answered_200_and_changes_nothing(client: Client) -> None:
    event = make_event("customer.subscription.updated", subscription())

    assert [deliver(client, event).status_code for _ in range(3)] == [200, 200, 200]

    assert SubscriptionEvent.objects.count() == EventPayload.objects.count() == 1
    assert CustomerSync.objects.get().wanted == 1


@pytest.mark.django_db(transaction=True)
def test_many_events_of_a_customer_queue_one_job(client: Client) -> None:
    for _ in range(5):
        deliver(client, make_event("customer.subscription.updated", subscription()))

    assert SubscriptionEvent.objects.count() == 5
    assert CustomerSync.objects.get().wanted == 5
    assert len(queued_jobs()) == 1


def test_a_type_nobody_handles_is_kept_as_ignored(client: Client) -> None:
    response = deliver(
        client, make_event("tax.settings.updated", {"object": "tax.settings", "status": "active"})
    )

    assert response.status_code == 200
    assert SubscriptionEvent.objects.get().state == "ignored"
    assert not CustomerSync.objects.exists()


def test_the_link_into_a_customers_portal_is_not_kept(client: Client) -> None:
    session = {
        "id": "bps_1",
        "object": "billing_portal.session",
        "customer": "cus_1",
        "url": "https://billing.stripe.com/p/session/secret",
    }
    assert deliver(client, make_event("billing_portal.session.created", session)).status_code == 200

    kept = json.loads(SubscriptionEvent.objects.get().payload.body)["data"]["object"]
    assert kept == {**session, "url": None}


def test_an_unknown_customer_is_kept_without_an_organization(client: Client) -> None:
    assert (
        deliver(client, make_event("customer.updated", {"id": "cus_x", "object": "customer"})).status_code
        == 200
    )
    assert SubscriptionEvent.objects.get().organization is None


def test_every_current_secret_opens_the_door(client: Client, settings: Settings) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_old", "whsec_new"]
    for secret in settings.STRIPE_WEBHOOK_SECRETS:
        body = json.dumps(make_event("customer.subscription.updated", subscription())).encode()
        assert (
            deliver(client, body, **{"Stripe-Signature": signature(body, secret=secret)}).status_code == 200
        )


GOOD = json.dumps(make_event("customer.subscription.updated", subscription())).encode()
NOW = int(time.time())

FORGED = {
    "unsigned": (GOOD, ""),
    "signed with another secret": (GOOD, signature(GOOD, secret="whsec_wrong")),
    "signed for another body": (GOOD, signature(b"{}")),
    "older than five minutes": (GOOD, signature(GOOD, at=NOW - 3600)),
    "a header that is none": (GOOD, "t=abc,v1"),
    "a header of other letters": (GOOD, "t=1,v1=ü"),
    "oversized": (b"x" * (256 * 1024 + 1), None),
    "not UTF-8": (b"\xff\xfe\x00", None),
    "NUL bytes": (b"\x00" * 64, None),
    "empty": (b"", None),
    "not JSON": (b"hello", None),
    "JSON that is no object": (b"[1, 2]", None),
    "no event": (b'{"object": "charge", "id": "ch_1"}', None),
    "too deep": (b"[" * 100_000, None),
    "without data": (
        b'{"object": "event", "livemode": false, "type": "customer.updated", "id": "evt_1"}',
        None,
    ),
    "a word for a number": (
        json.dumps(
            make_event("invoice.paid", {"id": "in_1", "object": "invoice", "total": "a lot"})
        ).encode(),
        None,
    ),
    "a NUL in a word": (
        json.dumps(
            make_event("invoice.paid", {"id": "in_1", "object": "invoice", "status": "a\x00b"})
        ).encode(),
        None,
    ),
    "a list for a customer": (
        json.dumps(
            make_event("invoice.paid", {"id": "in_1", "object": "invoice", "customer": ["cus_1"]})
        ).encode(),
        None,
    ),
    "the other mode": (
        json.dumps(make_event("customer.subscription.updated", subscription(), livemode=True)).encode(),
        None,
    ),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("case", FORGED, ids=list(FORGED))
def test_what_is_not_stripes_gets_a_4xx_and_leaves_no_row(client: Client, case: str) -> None:
    body, header = FORGED[case]

    response = deliver(client, body, **({} if header is None else {"Stripe-Signature": header}))

    assert 400 <= response.status_code < 500
    assert not SubscriptionEvent.objects.exists()
    assert not CustomerSync.objects.exists()


def test_without_a_secret_nothing_is_let_in(client: Client, settings: Settings) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = []
    assert deliver(client, GOOD).status_code == 403


def test_an_event_whose_strings_hold_an_escaped_nul_is_kept_whole(client: Client) -> None:
    event = make_event("customer.subscription.updated", subscription(metadata={"note": "a\x00b"}))

    assert deliver(client, event).status_code == 200

    assert json.loads(EventPayload.objects.get().body)["data"]["object"]["metadata"]["note"] == "a\x00b"


def test_only_posts_come_in(client: Client) -> None:
    assert client.get(DOOR).status_code == 405


def test_a_database_that_is_down_is_a_5xx_so_that_stripe_tries_again(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> bool:
        raise OperationalError("the database is down")

    monkeypatch.setattr("webhooks.views.record_stripe_event", refuse)
    answer = deliver(client, GOOD)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")


@pytest.mark.django_db(transaction=True)
def test_a_kept_connection_that_died_is_replaced_and_the_event_stored(client: Client) -> None:
    first, second = (make_event("customer.subscription.updated", subscription()) for _ in range(2))
    assert deliver(client, first).status_code == 200
    with psycopg.connect(databases.url(), autocommit=True) as other, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        other.execute("SELECT pg_terminate_backend(%s, 5000)", cursor.fetchone())

    assert deliver(client, second).status_code == 200

    kept = SubscriptionEvent.objects.values_list("stripe_event_id", flat=True)
    assert set(kept) == {first["id"], second["id"]}


def test_the_door_makes_nothing_for_browsers(client: Client) -> None:
    answer = deliver(client, GOOD)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Length"] == str(len(answer.content))
    assert not {"Content-Security-Policy", "Content-Language", "Set-Cookie", "Vary"} & set(answer.headers)


def test_a_host_that_is_not_ours_is_refused(client: Client) -> None:
    assert deliver(client, GOOD, Host="elsewhere.example").status_code == 400


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("id",), "evt_\ud800"),
        (("type",), "customer.\udfff"),
        (("data", "object", "id"), "sub_\ud800"),
        (("data", "object", "customer"), "cus_\x00"),
    ],
)
def test_strings_that_postgresql_cannot_hold_are_a_4xx(
    client: Client, path: tuple[str, ...], value: str
) -> None:
    event = make_event("customer.subscription.updated", subscription())
    target: Any = event
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    assert deliver(client, event).status_code == 400
    assert not SubscriptionEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_refund_of_a_charge_with_a_nul_in_its_name_is_a_4xx(client: Client) -> None:
    refund = {"id": "re_1", "object": "refund", "charge": "ch_\x00", "amount": 5, "currency": "usd"}
    assert deliver(client, make_event("refund.created", refund)).status_code == 400


def test_a_refunded_charge_tells_what_went_back_this_time(client: Client) -> None:
    charge = {
        "id": "ch_1",
        "object": "charge",
        "customer": "cus_1",
        "amount": 23_200,
        "amount_refunded": 5_000,
        "currency": "usd",
        "status": "succeeded",
    }
    event = make_event("charge.refunded", charge)
    event["data"]["previous_attributes"] = {"amount_refunded": 3_800}
    assert deliver(client, event).status_code == 200

    assert SubscriptionEvent.objects.get().amount == 1_200
