"""Whatever a stranger sends: never a 5xx, and never a row; nor what Stripe's own signature covers and has no shape."""

import copy
import json
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import CustomerSync, EventPayload, SubscriptionEvent
from tests.webhooks.signing import DOOR, deliver, make_event, signature

pytestmark = pytest.mark.django_db(transaction=True)

fuzzed = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,  # CI tells the same twice
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# What a web server hands on: any latin-1, no control characters.
header_text = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**31, max_value=10**40),
    st.floats(),
    st.text(st.characters(), max_size=30),  # half surrogates as well
    st.sampled_from(["", "cus_1", "ch_\0", "evt_" + "x" * 400, "sub_sched_", "é" * 300, "9" * 5000]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def rows() -> tuple[int, int, int]:
    return SubscriptionEvent.objects.count(), EventPayload.objects.count(), CustomerSync.objects.count()


@fuzzed
@given(
    body=st.binary(max_size=2000),
    signed_as=header_text,
    headers=st.dictionaries(
        st.sampled_from(
            "X-Forwarded-For Host Content-Type Content-Encoding Accept-Language Cookie Accept Origin Referer".split()
        ),
        header_text,
        max_size=5,
    ),
)
def test_bytes_and_headers_of_strangers(
    client: Client, body: bytes, signed_as: str, headers: dict[str, str]
) -> None:
    content_type = headers.pop("Content-Type", "application/json")
    client.cookies.clear()
    answer = client.generic(
        "POST", DOOR, body, content_type, headers={**headers, "Stripe-Signature": signed_as}
    )
    assert 400 <= answer.status_code < 500
    assert rows() == (0, 0, 0)


@fuzzed
@given(moment=st.text(max_size=12), digest=st.text(max_size=70), rest=header_text)
def test_headers_that_are_nearly_signatures(client: Client, moment: str, digest: str, rest: str) -> None:
    answer = deliver(client, b"{}", **{"Stripe-Signature": f"t={moment},v1={digest},{rest}"})
    assert 400 <= answer.status_code < 500
    assert rows() == (0, 0, 0)


@fuzzed
@given(said=values)
def test_json_that_is_signed_and_no_event(client: Client, said: Any) -> None:
    answer = deliver(client, json.dumps(said).encode())
    assert 400 <= answer.status_code < 500
    assert rows() == (0, 0, 0)


SUBJECTS: dict[str, dict[str, Any]] = {
    "customer.subscription.updated": {
        "id": "sub_1",
        "object": "subscription",
        "customer": "cus_1",
        "status": "active",
        "currency": "usd",
        "items": {"data": [{"id": "si_1", "quantity": 12}]},
    },
    "invoice.paid": {
        "id": "in_1",
        "object": "invoice",
        "customer": "cus_1",
        "total": 5,
        "currency": "usd",
        "parent": {"subscription_details": {"subscription": "sub_1"}},
    },
    "charge.refunded": {"id": "ch_1", "object": "charge", "customer": "cus_1", "amount_refunded": 5},
    "refund.created": {"id": "re_1", "object": "refund", "charge": "ch_1", "amount": 5, "currency": "usd"},
    "credit_note.created": {"id": "cn_1", "object": "credit_note", "customer": "cus_1", "invoice": "in_1"},
    "billing_portal.session.created": {
        "id": "bps_1",
        "object": "billing_portal.session",
        "customer": "cus_1",
    },
    "tax.settings.updated": {"object": "tax.settings"},
}


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(below for key, each in inside for below in paths_of(each, (*path, key)))]


@fuzzed
@given(data=st.data(), type_=st.sampled_from(sorted(SUBJECTS)))
def test_events_with_something_strange_in_some_place(client: Client, data: st.DataObject, type_: str) -> None:
    event = make_event(type_, copy.deepcopy(SUBJECTS[type_]))
    event["data"]["previous_attributes"] = {"status": "trialing", "amount_refunded": 2}
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([path for path in paths_of(event) if path]))
        target: Any = event
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = data.draw(values)
    before = rows()

    answer = deliver(client, event)

    assert answer.status_code == 200 or 400 <= answer.status_code < 500
    after = rows()
    if answer.status_code != 200:
        assert after == before
    else:
        assert after[0] == after[1] <= before[0] + 1


@pytest.mark.parametrize("header", ["", "t=1", "v1=00", signature(b"other", at=1)])
def test_strangers_do_not_reach_the_database(
    client: Client, header: str, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        assert deliver(client, b"{}", **{"Stripe-Signature": header}).status_code == 400
