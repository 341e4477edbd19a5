"""The ledger on the screen: paged by key, found by any id, and never written to."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from adminops.admin.events import SubscriptionEventAdmin
from adminops.pages import words
from adminops.pages.ledger import documents, event_words
from adminops.pages.ledger.families import FAMILIES, families_of, of_family
from adminops.pages.lists.saved_views import READY
from billing.models import SubscriptionEvent
from billing.operations import OPERATIONS
from tests.adminops.pages import Page
from tests.adminops.test_registry import ROLES
from tests.conftest import Sandbox
from tests.factories import (
    EventPayloadFactory,
    OperationStepFactory,
    OrganizationFactory,
    StaffEventFactory,
    StaffFactory,
    SubscriptionEventFactory,
)
from tests.operating import show
from tests.situations import SITUATIONS
from webhooks.handlers import HANDLERS

pytestmark = pytest.mark.django_db

LIST = "/admin/billing/subscriptionevent/"


def event_page(event: SubscriptionEvent) -> str:
    return reverse("admin:billing_subscriptionevent_change", args=[event.pk])


def ids(client: Client, address: str = LIST, **query: str) -> list[int]:
    """The events listed, in order."""
    response = client.get(address, query)
    assert response.status_code == 200
    return [event.pk for event in response.context["cl"].result_list]


def test_the_list_counts_nothing_and_costs_the_same_however_long_it_is(support: Client) -> None:
    SubscriptionEventFactory.create_batch(3)
    support.get(LIST)
    with CaptureQueriesContext(connection) as few:
        support.get(LIST)
    SubscriptionEventFactory.create_batch(60)
    with CaptureQueriesContext(connection) as many:
        support.get(LIST)
    assert len(many) == len(few) <= 8
    for query in many:
        assert "COUNT(" not in query["sql"]
        assert "DISTINCT" not in query["sql"]
        assert "OFFSET" not in query["sql"]


def test_pages_follow_each_other_by_key_both_ways(support: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SubscriptionEventAdmin, "list_per_page", 4)
    made = [event.pk for event in SubscriptionEventFactory.create_batch(10, state="done")][::-1]

    def turn(address: str) -> tuple[list[int], str | None, str | None]:
        changelist = support.get(address).context["cl"]
        return [event.pk for event in changelist.result_list], changelist.newer_url, changelist.older_url

    first, newer, older = turn(f"{LIST}?state=done")
    assert (first, newer) == (made[:4], None)
    assert older is not None
    assert "state=done" in older
    second, newer, older = turn(LIST + older)
    assert second == made[4:8]
    assert newer is not None
    assert older is not None
    last, _, end = turn(LIST + older)
    assert (last, end) == (made[8:], None)
    back, newest, _ = turn(LIST + newer)
    assert (back, newest) == (made[:4], None)


@pytest.mark.parametrize(
    "query",
    ["before=x", "before=-1", "before=9" * 40, "after=0", "before=", "p=99999", "before=1&after=1", "q=%00"],
)
def test_a_bent_address_is_no_failure(support: Client, query: str) -> None:
    SubscriptionEventFactory()
    assert support.get(f"{LIST}?{query}").status_code in (200, 302)


def test_search_goes_by_what_was_pasted(support: Client) -> None:
    organization = OrganizationFactory(
        name="Northwind Labs", stripe_customer_id="cus_nw", stripe_subscription_id="sub_nw"
    )
    event = SubscriptionEventFactory(
        organization=organization,
        type="charge.refunded",
        stripe_event_id="evt_1",
        stripe_subscription_id="sub_old",
        stripe_invoice_id="in_1",
        stripe_charge_id="ch_1",
        stripe_refund_id="re_1",
        stripe_object_id="pi_1",
        stripe_request_id="req_1",
    )
    SubscriptionEventFactory(
        type="invoice.paid",
        organization=OrganizationFactory(name="Contoso", billing_email="pay@contoso.example", slug="contoso"),
    )
    for term in (
        "evt_1",
        "cus_nw",
        "sub_nw",
        "sub_old",
        "in_1",
        "ch_1",
        "re_1",
        "pi_1",
        "req_1",
        str(event.uuid),
        "charge.refunded",
        "northwi",
        " evt_1 ",
    ):
        assert ids(support, q=term) == [event.pk], term
    for term in ("evt_", "in_x", "evt", "'; --", "no such company"):
        assert ids(support, q=term) == [], term


def test_search_finds_what_we_do_ourselves_by_its_name_and_by_its_words(support: Client) -> None:
    refund = StaffEventFactory(type="refund_invoice")
    seats = StaffEventFactory(type="change_seats")
    lifted = StaffEventFactory(type="activate_organization")
    named = SubscriptionEventFactory(organization=OrganizationFactory(name="Refund Partners"))
    assert ids(support, q="refund_invoice") == [refund.pk]
    assert ids(support, q="Refund") == [named.pk, refund.pk]
    for term in ("change_seats", "Change of seats", "change seats"):
        assert ids(support, q=term) == [seats.pk], term
    assert ids(support, q="lift holds") == [lifted.pk]


def test_an_empty_list_says_so_in_plain_words(support: Client) -> None:
    assert (
        "Nothing has happened yet. Stripe's events appear once its webhooks" in Page(support.get(LIST)).text
    )
    SubscriptionEventFactory()
    nothing = Page(support.get(LIST, {"q": "no such company"})).text
    assert "Nothing matches this search. Clear it" in nothing
    assert "Nothing matches these filters. Clear them" in Page(support.get(LIST, {"type": "a.b"})).text
    assert "yielded" not in nothing


def test_filters_tell_sources_states_and_families_apart(support: Client) -> None:
    change = StaffEventFactory(type="change_seats")
    paid = SubscriptionEventFactory(type="invoice.paid")
    dispute = SubscriptionEventFactory(type="charge.dispute.created", state="parked")
    charge = SubscriptionEventFactory(type="charge.succeeded", state="failed")
    assert ids(support, source__exact="staff") == [change.pk]
    assert ids(support, state="troubled") == [charge.pk, dispute.pk]
    assert ids(support, state="failed") == [charge.pk]
    assert ids(support, kind="operations") == [change.pk]
    assert ids(support, kind="invoice.") == [paid.pk]
    assert ids(support, kind="charge.") == [charge.pk]
    assert ids(support, kind="charge.dispute.") == [dispute.pk]
    assert ids(support, organization__id__exact=str(paid.organization_id)) == [paid.pk]


def test_every_type_that_is_handled_or_done_has_words() -> None:
    for type_ in [*HANDLERS, *OPERATIONS]:
        assert type_ in event_words.TYPES, type_


def test_every_type_is_of_a_family_and_new_ones_are_found_by_it(support: Client) -> None:
    made = {
        type_: SubscriptionEventFactory(type=type_).pk
        for type_ in (
            "invoice.new_to_us",
            "treasury.flow.made",
            "charge.refunded",
            "customer.discount.created",
        )
    }
    refund = StaffEventFactory(type="refund_invoice").pk
    asked = {kind: ids(support, kind=kind) for kind in FAMILIES}
    assert {kind: found for kind, found in asked.items() if found} == {
        "invoice.": [made["invoice.new_to_us"]],
        "other": [made["treasury.flow.made"]],
        "refund.": [refund, made["charge.refunded"]],
        "coupon.": [made["customer.discount.created"]],
        "operations": [refund],
    }
    for kind, found in asked.items():
        assert set(SubscriptionEvent.objects.filter(of_family(kind)).values_list("pk", flat=True)) == set(
            found
        )
    (ready,) = [query for name, query in READY["billing.subscriptionevent"] if str(name) == "Refunds"]
    assert ids(support, **ready) == asked["refund."]


def test_every_family_is_of_some_type() -> None:
    known = {family for type_ in event_words.TYPES for family in families_of(type_)}
    assert known == set(FAMILIES)


def test_the_page_says_everything_about_an_event(support: Client) -> None:
    event = StaffEventFactory(ticket="4711", previous_status="active", status="past_due", amount=7733)
    OperationStepFactory(event=event, name="update", answer={"id": "sub_secret_answer"})
    text = Page(support.get(event_page(event))).text
    for expected in (
        "Change of seats",
        "Done",
        "8 → 12",
        "active → past due",
        "$77.33",
        "new hires",
        "4711",
        "update",
        "POST /v1/subscriptions/sub_1",
        "create_prorations",
        str(event.uuid),
    ):
        assert expected in text


def test_what_stripe_answered_is_a_payload_and_no_traceback(staff: Callable[..., Client]) -> None:
    event = StaffEventFactory()
    OperationStepFactory(event=event, answer={"id": "sub_secret_answer"})
    own = {
        permission: staff("billing.view_subscriptionevent", f"billing.{permission}")
        for permission in ("view_eventpayload", "view_traceback")
    }
    assert "sub_secret_answer" in Page(own["view_eventpayload"].get(event_page(event))).text
    assert "sub_secret_answer" not in Page(own["view_traceback"].get(event_page(event))).text


def test_how_our_code_failed_is_for_those_with_a_permission(support: Client, administrator: Client) -> None:
    event = SubscriptionEventFactory(state="failed", error="It failed.", traceback="Traceback: line 7")
    raw = ("It failed.", "Traceback: line 7")
    told = Page(support.get(event_page(event))).text
    assert not [each for each in raw if each in told]
    assert "It could not be processed; it is tried again." in told
    told = Page(administrator.get(event_page(event))).text
    assert not [each for each in raw if each not in told]
    soon = timezone.now() + timedelta(hours=1)
    waiting = SubscriptionEventFactory(state="failed", error="It failed.", next_attempt_at=soon)
    next_try = f"It could not be processed; next try: {words.short_moment(soon)}."
    assert next_try in Page(support.get(event_page(waiting))).text
    parked = SubscriptionEventFactory(state="parked", error="It failed.")
    told = Page(support.get(event_page(parked))).text
    assert "It could not be processed, and is not tried again by itself; it waits for a person." in told
    assert "It failed." not in told


def test_an_event_left_aside_says_why_to_everybody(support: Client) -> None:
    event = SubscriptionEventFactory(state="ignored", error="Nobody here is that customer.")
    assert "Nobody here is that customer." in Page(support.get(event_page(event))).text


NASTY = {
    "name": "</pre><script>alert(1)</script>",
    "quote": "\"'<img src=x onerror=alert(1)>",
    "nul": "\u0000 שלום",
}


@pytest.mark.parametrize("body", [json.dumps(NASTY), "</pre><script>alert(1)</script> is no JSON", "[" * 200])
def test_a_payload_is_shown_whole_and_harmless_and_comes_as_a_file(support: Client, body: str) -> None:
    event = EventPayloadFactory(body=body).event
    response = support.get(event_page(event))
    page = Page(response)
    assert response.status_code == 200
    assert page.could_run() == []
    assert b"<script>alert" not in response.content
    assert b"<img src=x" not in response.content
    assert body[:20] in page.text or '"name": "</pre><script>alert(1)</script>"' in page.text
    address = reverse("admin:billing_subscriptionevent_payload", args=[event.pk])
    assert address in page.links
    download = support.get(address)
    assert download.content.decode() == body
    assert download.headers["Content-Disposition"] == f'attachment; filename="event-{event.pk}.json"'
    assert download.headers["X-Content-Type-Options"] == "nosniff"


def test_a_payload_is_for_those_who_may_see_it_on_the_page_as_in_a_file(
    staff: Callable[..., Client], support: Client
) -> None:
    event = EventPayloadFactory(body='{"kept": "secret"}').event
    address = reverse("admin:billing_subscriptionevent_payload", args=[event.pk])
    for permission in ("billing.view_eventpayload", "billing.view_subscriptionevent"):
        assert staff(permission).get(address).status_code == 403
    page = Page(staff("billing.view_subscriptionevent").get(event_page(event)))
    assert "What Stripe sent is shown to those who may see payloads." in page.text
    assert "secret" not in page.text
    assert address not in page.links
    assert "secret" in Page(support.get(event_page(event))).text
    assert all("billing.view_eventpayload" in granted for granted in ROLES.values())
    bare = SubscriptionEventFactory()
    missing = reverse("admin:billing_subscriptionevent_payload", args=[bare.pk])
    assert support.get(missing).status_code == 404
    assert "not kept" in Page(support.get(event_page(bare))).text


def test_nobody_writes_to_the_ledger_here(administrator: Client) -> None:
    event = SubscriptionEventFactory(reason="as it was")
    assert administrator.get(f"{LIST}add/").status_code == 403
    assert administrator.post(event_page(event), {"reason": "x"}).status_code == 403
    assert administrator.post(f"{LIST}{event.pk}/delete/", {"post": "yes"}).status_code == 403
    event.refresh_from_db()
    assert event.reason == "as it was"


@pytest.mark.parametrize("key", ["0", "999999", "x", "1.5", "-1", "9" * 30])
def test_an_event_that_is_not_there_is_no_failure(support: Client, key: str) -> None:
    assert support.get(f"{LIST}{key}/change/").status_code in (302, 404)


def test_no_column_can_be_asked_about_through_the_address(support: Client) -> None:
    SubscriptionEventFactory(traceback="hunter2", state="failed")
    for question in ("traceback__contains", "error__contains", "plan__seats", "payload__body__contains"):
        assert support.get(LIST, {question: "hunter2"}).status_code in (302, 400), question


def test_what_was_intended_is_told_in_words_money_and_days(support: Client) -> None:
    event = StaffEventFactory(
        currency="usd",
        plan={
            "fingerprint": "f00f00",
            "seats_before": 8,
            "recurring_before": 23_200,
            "proration": "create_prorations",
            "proration_date": 1_700_000_000,
            "ends_at": "2024-12-12T00:00:00+00:00",
            "paused": "",
            "lines": [{"description": "Remaining time", "amount": 3_120, "is_proration": True}],
            "choices": {"when": "renewal"},
        },
    )
    response = support.get(event_page(event))
    told = {
        fact.label: fact.value for document in response.context["documents"] for fact in document["facts"]
    }
    assert told == {
        "Seats before": "8",
        "Each period before": "$232.00",
        "Proration": "On the next invoice",
        "Proration date": "14 Nov 2023 22:13",
        "Ends at": "12 Dec 2024 00:00",
        "Lines": "Amount: $31.20; Description: Remaining time; Caused by this: yes",
        "Chosen": "",
        "When": "When the subscription renews",
    }
    assert "f00f00" in Page(response).text
    assert "Times are those of UTC." in Page(response).text


@pytest.mark.django_db(transaction=True)
def test_what_a_refund_intended_is_in_words_and_tells_nothing_twice(
    sandbox: Sandbox, support: Client
) -> None:
    situation = SITUATIONS["refund_invoice"](sandbox)
    event = show("refund_invoice", situation.subject, **situation.choices).apply(
        StaffFactory(is_superuser=True)
    )
    response = support.get(event_page(event))
    rows = [fact for document in response.context["documents"] for fact in document["facts"]]
    labels = [fact.label for fact in rows]
    for raw in ("Outside", "Creditable", "Last4", "Taken back", "Invoice", "Charge", "Chosen"):
        assert raw not in labels
    for said in ("Paid outside Stripe", "Could still be credited", "Last four digits"):
        assert said in labels
    told = "\n".join(fact.value for fact in rows)
    assert event.stripe_invoice_id
    assert event.stripe_invoice_id not in told
    assert event.stripe_charge_id
    assert event.stripe_charge_id not in told
    # What went back stands in the facts of the event; afterwards it is told as such.
    assert [fact.label for fact in rows if fact.value == "$29.00"] == ["Given back"]
    assert event.stripe_invoice_id in Page(response).text


@pytest.mark.parametrize(
    ("type_", "words"),
    [("coupon.created", "Coupon made"), ("promotion_code.updated", "Promotion code changed")],
)
def test_coupons_and_promotion_codes_have_words(type_: str, words: str) -> None:
    assert event_words.type_in_words(type_) == words


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("type_", sorted(OPERATIONS))
def test_no_operation_leaves_a_number_without_a_unit(type_: str, sandbox: Sandbox) -> None:
    situation = SITUATIONS[type_](sandbox)
    event = show(type_, situation.subject, **situation.choices).apply(StaffFactory(is_superuser=True))
    event.refresh_from_db()
    for document in (event.before, event.plan, event.after):
        for key, _value in numbers_in(document):
            assert key in documents.MONEY | documents.COUNTS or documents.is_moment(key), key


def numbers_in(document: Any, key: str = "") -> Iterator[tuple[str, int]]:
    """Every number a person is shown of a document, with its name."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name not in documents.TECHNICAL:
                yield from numbers_in(value, name)
    elif isinstance(document, list):
        for value in document:
            yield from numbers_in(value, key)
    elif isinstance(document, int) and not isinstance(document, bool):
        yield key, document


def test_a_call_that_stripe_declined_says_so_and_what_stripe_said_is_for_a_few(
    support: Client, administrator: Client
) -> None:
    event = StaffEventFactory(
        state="failed",
        message="The customer's card has expired. Nothing was changed.",
        error="CardError: raw words req_1",
    )
    OperationStepFactory(
        event=event, answered_at=None, error={"status": 402, "error": {"code": "expired_card"}}
    )
    text = Page(support.get(event_page(event))).text
    assert "declined by Stripe: The customer's card has expired." in text
    assert "not answered" not in text
    assert "raw words" not in text
    assert "raw words" in Page(administrator.get(event_page(event))).text


def test_tries_are_told_only_where_there_were_some(support: Client) -> None:
    assert "Tries" not in Page(support.get(event_page(StaffEventFactory()))).text
    assert "Tries 3" in Page(support.get(event_page(SubscriptionEventFactory(attempts=3)))).text


def test_an_act_names_its_person_and_their_login(support: Client) -> None:
    ann = StaffFactory(username="ann", first_name="Ann", last_name="Archer")
    assert "by Ann Archer ( ann )" in Page(support.get(event_page(StaffEventFactory(actor=ann)))).text
