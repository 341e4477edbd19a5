"""The list of events: narrowed by anything, never reading further than it says, and taken away as files."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from adminops.admin import keyset
from adminops.admin.events import SubscriptionEventAdmin
from adminops.models import SavedView
from adminops.pages.lists import saved_views
from adminops.reports import REPORTS
from billing import days
from billing.models import SubscriptionEvent
from tests.adminops.pages import Page
from tests.conftest import Sandbox
from tests.factories import (
    EventPayloadFactory,
    OrganizationFactory,
    StaffEventFactory,
    StaffFactory,
    SubscriptionEventFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db

LIST = "/admin/billing/subscriptionevent/"
MOST_QUERIES = 12
NASTY = "</td><script>alert(1)</script>\"'😀 \u202eשלום " + "x" * 5000


def ids(client: Client, **query: str) -> list[int]:
    """The events listed, in order; whatever is asked costs no more queries than a page may."""
    with CaptureQueriesContext(connection) as asked:
        response = client.get(LIST, query)
    assert response.status_code == 200
    assert len(asked) <= MOST_QUERIES
    for each in asked:
        assert "DISTINCT" not in each["sql"]
        assert "COUNT(" not in each["sql"]
        assert "OFFSET" not in each["sql"]
    return [event.pk for event in response.context["cl"].result_list]


# -- narrowing --------------------------------------------------------------------------------------------


def test_events_are_found_by_what_names_their_organization(support: Client) -> None:
    organization = OrganizationFactory(name="Northwind Labs", slug="northwind", stripe_customer_id="cus_nw")
    event = SubscriptionEventFactory(organization=organization)
    SubscriptionEventFactory(
        organization=OrganizationFactory(name="Contoso", slug="contoso", billing_email="a@b.example")
    )
    for typed in (str(organization.pk), "northwind", "Northwind L", "cus_nw", " cus_nw "):
        assert ids(support, organization=typed) == [event.pk], typed
    assert ids(support, organization__id__exact=str(organization.pk)) == [event.pk]
    for typed in ("sub_nobody", "no such company", "9" * 40, "99999"):
        assert ids(support, organization=typed) == [], typed


def test_events_of_whoever_is_only_called_alike_are_not_listed(support: Client) -> None:
    northwind, alike = (
        OrganizationFactory(name=name, slug=slug, billing_email=f"{slug}@post.example")
        for name, slug in (("Northwind Labs", "a"), ("Northwynd Lab", "b"))
    )
    event = SubscriptionEventFactory(organization=northwind)
    SubscriptionEventFactory(organization=alike)
    assert ids(support, organization="Northwind Labs") == [event.pk]
    assert ids(support, q="Northwind Labs") == [event.pk]


def test_events_are_found_by_who_acted(support: Client) -> None:
    ann = StaffFactory(username="ann", first_name="Ann", last_name="Archer", email="ann@desk.example")
    event = StaffEventFactory(actor=ann)
    StaffEventFactory(actor=StaffFactory(username="bob"))
    StaffFactory(username="annabel")  # who never did anything
    for typed in ("ann", "n Arch", "ann@desk", str(ann.pk)):
        assert ids(support, actor=typed) == [event.pk], typed
    assert ids(support, actor__id__exact=str(ann.pk)) == [event.pk]
    assert ids(support, actor="nobody") == []


def test_what_a_link_narrows_by_stands_in_the_form_to_be_narrowed_further(support: Client) -> None:
    event = SubscriptionEventFactory()
    page = support.get(f"{LIST}?organization__id__exact={event.organization_id}").content.decode()
    assert f'name="organization" value="{event.organization_id}"' in page


def test_events_are_found_by_type_state_amount_and_currency(support: Client) -> None:
    dollars = SubscriptionEventFactory(type="invoice.paid", amount=7733, currency="usd", state="done")
    yen = SubscriptionEventFactory(type="invoice.paid", amount=77, currency="jpy", state="pending")
    new = SubscriptionEventFactory(type="treasury.flow.made", state="ignored")
    assert ids(support, type="invoice.paid") == [yen.pk, dollars.pk]
    assert ids(support, type="invoice.paid", state="open") == [yen.pk]
    assert ids(support, state="done") == [dollars.pk]
    assert ids(support, state="ignored") == [new.pk]
    assert ids(support, amount_from="77") == [yen.pk, dollars.pk]
    assert ids(support, amount_from="77", amount_to="77") == [yen.pk]
    assert ids(support, amount_from="77", currency="USD") == [dollars.pk]
    assert ids(support, source__exact="stripe", kind="invoice.", amount_from="78") == []
    assert "Treasury flow made" in Page(support.get(LIST)).text


def test_days_are_those_in_which_it_happened_to_their_end(support: Client) -> None:
    made = [
        SubscriptionEventFactory(occurred_at=datetime(2026, 3, day, hour, tzinfo=UTC)).pk
        for day, hour in ((1, 0), (2, 0), (2, 23), (3, 0), (9, 0))
    ]
    assert ids(support, happened_from="2026-03-02", happened_to="2026-03-02") == [made[2], made[1]]
    assert ids(support, happened_from="2026-03-03") == [made[4], made[3]]
    assert ids(support, happened_to="2026-03-01") == [made[0]]
    assert ids(support, happened_from="2027-01-01") == []


def test_what_stripe_was_asked_for_later_is_found_by_its_day_and_says_when_we_learned_of_it(
    support: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(days, "MOST_OUT_OF_ORDER", 2)
    first, *_rest, last = [
        SubscriptionEventFactory(occurred_at=datetime(2026, 3, 2, hour, tzinfo=UTC)).pk for hour in range(5)
    ]
    late = SubscriptionEventFactory(occurred_at=datetime(2026, 3, 2, 1, 30, tzinfo=UTC), recovered=True)
    act = StaffEventFactory(occurred_at=None)
    found = ids(support, happened_from="2026-03-02", happened_to="2026-03-02")
    assert found == [late.pk, *range(last, first - 1, -1)]
    assert act.pk in ids(support, happened_from=str(timezone.localdate()))
    assert Page(support.get(LIST)).text.count("recorded today") == 6


@pytest.fixture
def short_of_breath(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of two that look through four rows of a lane, or six keys, at a time."""
    monkeypatch.setattr(SubscriptionEventAdmin, "list_per_page", 2)
    monkeypatch.setattr(keyset, "MOST_OF_A_LANE", 4)
    monkeypatch.setattr(keyset, "MOST_KEYS", 6)


def walk(client: Client, query: str, way: str) -> Iterator[list[int]]:
    """The pages from here on, one way, as somebody clicks through them."""
    address: str | None = query
    for _turn in range(40):
        if address is None:
            return
        changelist = client.get(LIST + address).context["cl"]
        yield [event.pk for event in changelist.result_list]
        address = changelist.older_url if way == "older" else changelist.newer_url
    raise AssertionError("It never ends.")


@pytest.mark.usefixtures("short_of_breath")
@pytest.mark.parametrize(
    "query",
    [
        "?amount_from=50",
        "?type=invoice.paid&amount_from=50",
        "?kind=invoice.&amount_from=50",
        "?state=open&amount_from=50",
        "?organization=org&state=failed",
    ],
)
def test_a_page_looks_so_far_and_leads_on_until_all_is_found(support: Client, query: str) -> None:
    organization = OrganizationFactory(slug="org")
    wanted = []
    for n in range(29):
        of_interest = n % 7 == 0
        event = SubscriptionEventFactory(
            organization=organization if of_interest else OrganizationFactory(slug=f"other-{n}"),
            type="invoice.paid",
            state="failed",
            currency="usd",
            amount=9000 if of_interest else 100,
        )
        wanted += [event.pk] if of_interest else []
    everything = [
        SubscriptionEventFactory(
            organization=organization, type="invoice.paid", state="failed", currency="usd", amount=n
        ).pk
        for n in range(9)
    ]
    expected = sorted(wanted + (everything if "organization" in query else []), reverse=True)
    older = list(walk(support, query, "older"))
    assert [pk for page in older for pk in page] == expected
    assert all(len(page) <= 2 for page in older)
    newer = [page for page in walk(support, f"{query}&after=0", "newer") if page]
    assert [pk for page in newer for pk in reversed(page)] == expected[::-1]


@pytest.mark.usefixtures("short_of_breath")
def test_a_page_that_stopped_looking_says_so(support: Client) -> None:
    SubscriptionEventFactory(amount=9000, currency="usd")
    SubscriptionEventFactory.create_batch(12, amount=1, currency="usd")
    page = Page(support.get(f"{LIST}?amount_from=50"))
    assert "Looked through" in page.text
    assert "Look further back" in page.text
    assert "Looked through" not in Page(support.get(LIST)).text


@pytest.mark.usefixtures("short_of_breath")
def test_back_on_the_way_to_newer_events_older_ones_are_only_older(support: Client) -> None:
    first = SubscriptionEventFactory(amount=9000, currency="usd")
    SubscriptionEventFactory.create_batch(20, amount=1, currency="usd")
    page = Page(support.get(f"{LIST}?amount_from=50&after={first.pk - 1}"))
    assert "Looked through what was recorded until" in page.text
    assert "Newest Look further on Older" in page.text
    nothing = Page(support.get(f"{LIST}?amount_from=50&after={first.pk}")).text
    assert "Nothing found so far. Look further on" in nothing
    assert "Look further back" not in nothing


@pytest.mark.parametrize("name", ["state", "source__exact", "kind"])
def test_an_answer_that_a_filter_does_not_know_narrows_nothing(support: Client, name: str) -> None:
    event = SubscriptionEventFactory()
    assert ids(support, **{name: "zzz"}) == [event.pk]
    response = support.get(LIST, {name: "zzz"})
    assert not response.context["cl"].has_active_filters
    assert not list(response.context["cl"].lanes())


def test_whoever_searches_or_narrows_from_an_older_place_begins_with_the_newest(support: Client) -> None:
    response = support.get(LIST, {"state": "failed", "q": "invoice.paid", "before": "5"})
    hidden = set(re.findall(r'type="hidden" name="(\w+)"', response.content.decode()))
    assert {"state", "q"} <= hidden
    assert "before" not in hidden


def test_what_narrows_is_taken_off_from_the_newest_on(support: Client) -> None:
    query = {"state": "failed", "source__exact": "stripe", "q": "invoice.paid", "before": "5"}
    links = Page(support.get(LIST, query)).links
    assert "?source__exact=stripe&q=invoice.paid" in links
    assert "?state=failed&q=invoice.paid" in links
    assert "?q=invoice.paid" in links


@pytest.mark.parametrize("query", ["before=abc", "after=-1", "before=" + "9" * 30, "before=5&after=x"])
def test_a_place_that_the_list_has_not_says_so_and_shows_the_newest(support: Client, query: str) -> None:
    event = SubscriptionEventFactory(state="failed")
    response = support.get(f"{LIST}?{query}&state=failed", follow=True)
    text = Page(response).text
    assert text.count("is no place in this list. The newest are shown.") == 1
    assert [each.pk for each in response.context["cl"].result_list] == [event.pk]
    assert response.redirect_chain[-1][0].endswith("?state=failed")


@pytest.mark.parametrize(
    "query",
    [
        "organization=%00",
        "organization=\ud800".encode("utf-8", "replace").decode(),
        "actor=" + "9" * 60,
        "type=%00",
        "kind=zzz",
        "state=zzz",
        "source__exact=zzz",
        "amount_from=1e9&amount_to=-1",
        "amount_from=999999999999999",
        "happened_from=never&happened_to=9999-12-31",
        "happened_from=0001-01-01",
        "happened_from=2026-02-30",
        "currency=%00",
        "organization=a&organization=b",
        "happened_from=2026-01-01&before=5&after=x",
        "organization__id__exact=x",
        "q=" + "x" * 3000,
        "before=1&kind=invoice.&amount_from=1",
        "after=1&kind=invoice.&amount_from=1",
    ],
)
def test_a_bent_filter_is_no_failure(support: Client, query: str) -> None:
    SubscriptionEventFactory()
    assert support.get(f"{LIST}?{query}").status_code in (200, 302)


def test_any_combination_keeps_to_its_queries_however_many_rows(support: Client) -> None:
    query = {
        "q": "org",
        "organization": "org",
        "actor": "a",
        "state": "open",
        "type": "invoice.paid",
        "source__exact": "staff",
        "kind": "invoice.",
        "happened_from": "2020-01-01",
        "happened_to": "2030-01-01",
        "amount_from": "1",
        "currency": "usd",
    }
    StaffEventFactory.create_batch(
        60, organization=OrganizationFactory(slug="org"), actor=StaffFactory(username="a")
    )
    ids(support, **query)
    for name, value in query.items():
        ids(support, **{name: value})


# -- what stands in the rows ------------------------------------------------------------------------------


def test_a_row_says_what_happened_how_often_it_was_tried_and_what_came_of_it(support: Client) -> None:
    SubscriptionEventFactory(
        type="customer.subscription.updated",
        state="failed",
        attempts=4,
        next_attempt_at=timezone.now() + timedelta(hours=1),
        amount=7733,
        currency="usd",
        previous_quantity=8,
        quantity=12,
        previous_status="active",
        status="past_due",
        message="Stripe was away.",
    )
    text = Page(support.get(LIST)).text
    for expected in ("3 retries", "$77.33", "8 → 12", "active → past due", "Stripe was away.", "Failed"):
        assert expected in text


def test_hostile_rows_are_harmless(support: Client) -> None:
    organization = OrganizationFactory(name=NASTY[:200])
    StaffEventFactory(
        organization=organization,
        type="x.<b>" + "y" * 80,
        message=NASTY,
        previous_status="<i>a",
        status="<i>b",
        actor=StaffFactory(first_name="<script>"),
    )
    response = support.get(LIST)
    assert Page(response).could_run() == []
    assert b"<script>alert" not in response.content
    assert b"x" * 500 not in response.content


def test_ready_views_lead_to_lists_and_ones_own_are_kept(support: Client) -> None:
    for _name, params in saved_views.READY["billing.subscriptionevent"]:
        ids(support, **params)
    page = Page(support.get(LIST)).text
    assert "Failed or waiting" in page
    support.post(f"{LIST}views/keep/", {"name": "Big", "query": "amount_from=1000&before=7"})
    assert SavedView.objects.get().query == "amount_from=1000"
    too_long = {"name": "Long", "query": "organization=" + "x" * 2000}
    refused = support.post(f"{LIST}views/keep/", too_long, follow=True)
    assert "narrowed by more than can be kept" in Page(refused).text
    assert refused.redirect_chain[0][0].endswith("x" * 2000)
    assert SavedView.objects.count() == 1


# -- files ------------------------------------------------------------------------------------------------


@pytest.fixture
def finance(staff: Callable[..., Client]) -> Client:
    return staff("billing.view_subscriptionevent", "billing.view_eventpayload", "organizations.export_lists")


def test_the_list_is_taken_away_as_it_is_narrowed_and_without_tracebacks(finance: Client) -> None:
    SubscriptionEventFactory(type="invoice.paid", amount=7733, currency="usd", message="=cmd()")
    SubscriptionEventFactory(type="charge.failed", state="failed", traceback="hunter2", error="hunter2")
    link = f"{LIST}export/?kind=invoice."
    assert f'href="{link}"' in finance.get(f"{LIST}?kind=invoice.&before=999999").content.decode()
    assert "All rows that the list leads to" in Page(finance.get(link)).text
    columns = [column.name for column in REPORTS["billing.subscriptionevent"].columns]
    response: Any = finance.post(link, {"kind": "csv", "columns": columns})
    rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode("utf-8-sig"))))
    assert [(row["Type"], row["Amount"], row["Notes"]) for row in rows] == [
        ("invoice.paid", "77.33", "'=cmd()")
    ]
    everything: Any = finance.post(f"{LIST}export/", {"kind": "csv", "columns": columns})
    assert b"hunter2" not in b"".join(everything.streaming_content)
    assert SubscriptionEvent.objects.filter(type="list.exported").count() == 2


def test_a_file_of_some_days_reads_only_those_keys(finance: Client) -> None:
    for day in (1, 2, 3):
        SubscriptionEventFactory(type=f"invoice.of_{day}", occurred_at=datetime(2026, 3, day, tzinfo=UTC))
    link = f"{LIST}export/?happened_from=2026-03-02&happened_to=2026-03-02"
    with CaptureQueriesContext(connection) as asked:
        response: Any = finance.post(link, {"kind": "csv", "columns": ["type"]})
        content = b"".join(response.streaming_content)
    assert content.decode("utf-8-sig").split() == ["Type", "invoice.of_2"]
    [rows] = [each["sql"] for each in asked if "ORDER BY" in each["sql"] and "occurred_at" in each["sql"]][
        -1:
    ]
    assert '"billing_subscriptionevent"."id" >= ' in rows
    assert '"billing_subscriptionevent"."id" < ' in rows


def ticked(client: Client, *events: SubscriptionEvent) -> Any:
    return client.post(
        LIST, {"action": "download_json_lines", "_selected_action": [event.pk for event in events]}
    )


def test_ticked_events_come_as_json_lines_and_the_ledger_says_who_took_them(finance: Client) -> None:
    sent = EventPayloadFactory(body='{"name": "\\u0000 \\n </script>"}').event
    broken = EventPayloadFactory(body="[" * 5000).event
    deep = EventPayloadFactory(body="[" * 900 + "]" * 900).event
    bare = SubscriptionEventFactory(traceback="hunter2", state="failed", amount=7, currency="usd")
    SubscriptionEventFactory()
    response = ticked(finance, sent, broken, deep, bare)
    assert response.status_code == 200
    assert ".jsonl" in response["Content-Disposition"]
    content = b"".join(response.streaming_content)
    assert b"hunter2" not in content
    lines = [json.loads(line) for line in content.splitlines()]
    assert [line["id"] for line in lines] == [bare.pk, deep.pk, broken.pk, sent.pk]
    assert lines[0]["payload"] is None
    assert lines[0]["amount"] == 7
    assert lines[2]["payload"] == "[" * 5000
    assert lines[3]["payload"] == {"name": "\0 \n </script>"}
    line = SubscriptionEvent.objects.get(type="list.exported")
    assert line.message == "Took 4 events with what Stripe sent away as JSON Lines."
    assert sorted(line.after["events"]) == [sent.pk, broken.pk, deep.pk, bare.pk]


def test_json_lines_are_for_those_who_may_take_lists_and_see_payloads(staff: Callable[..., Client]) -> None:
    event = SubscriptionEventFactory()
    for also in ("organizations.export_lists", "billing.view_eventpayload"):
        client = staff("billing.view_subscriptionevent", also)
        assert "JSON Lines" not in client.get(LIST).content.decode()
        assert "Content-Disposition" not in ticked(client, event)
    assert not SubscriptionEvent.objects.filter(type="list.exported").exists()


def test_with_nothing_ticked_nothing_is_taken(finance: Client) -> None:
    SubscriptionEventFactory()
    assert "Content-Disposition" not in ticked(finance)
    assert not SubscriptionEvent.objects.filter(type="list.exported").exists()


# -- the page of one --------------------------------------------------------------------------------------


def test_ids_lead_to_our_pages_and_to_stripes(administrator: Client) -> None:
    event = SubscriptionEventFactory(
        organization=OrganizationFactory(stripe_customer_id="cus_1"),
        stripe_customer_id="cus_1",
        stripe_subscription_id="sub_1",
        stripe_invoice_id="in_1",
        stripe_charge_id="ch_1",
        stripe_refund_id="re_1",
        stripe_object_id="pi_1/../x",
    )
    links = Page(administrator.get(f"{LIST}{event.pk}/change/")).links
    organization = f"/admin/organizations/organization/{event.organization_id}"
    assert f"{organization}/change/" in links
    assert f"{organization}/invoices/in_1/" in links
    assert "/admin/djstripe/subscription/?q=sub_1" in links
    assert "/admin/djstripe/charge/?q=ch_1" in links
    assert "/admin/djstripe/refund/?q=re_1" in links
    assert sum("dashboard.stripe.com" in link for link in links) >= 6


def test_ids_lead_nowhere_one_may_not_go(staff: Callable[..., Client]) -> None:
    event = SubscriptionEventFactory(stripe_charge_id="ch_1", stripe_invoice_id="in_1")
    links = Page(staff("billing.view_subscriptionevent").get(f"{LIST}{event.pk}/change/")).links
    assert not [
        link
        for link in links
        if link.startswith("/admin/") and ("/djstripe/" in link or "/invoices/" in link)
    ]


@pytest.mark.parametrize("body", ["[" * 100_000, "[" * 900 + "]" * 900, '{"a": "' + "x" * 5000 + '"}'])
def test_a_payload_beyond_reading_is_shown_as_it_came(support: Client, body: str) -> None:
    event = EventPayloadFactory(body=body).event
    page = Page(support.get(f"{LIST}{event.pk}/change/"))
    assert "Find in the payload" in page.text
    assert page.text.count(body[0]) >= min(900, body.count(body[0]))


def test_an_event_of_no_use_says_what_became_of_it(support: Client) -> None:
    event = SubscriptionEventFactory(type="treasury.flow.made", state="ignored")
    text = Page(support.get(f"{LIST}{event.pk}/change/")).text
    assert "Treasury flow made" in text
    assert "Nothing here depends on events of this type" in text


@pytest.mark.parametrize("state", ["done", "failed"])
def test_the_page_of_an_event_keeps_to_its_queries_for_whoever_may_do_everything(
    administrator: Client, state: str
) -> None:
    event = EventPayloadFactory(
        event=SubscriptionEventFactory(
            source="stripe",
            state=state,
            organization=OrganizationFactory(stripe_customer_id="cus_1", subscription_status="active"),
            stripe_event_id="evt_1",
            stripe_customer_id="cus_1",
            stripe_subscription_id="sub_1",
            stripe_charge_id="ch_1",
        )
    ).event
    with CaptureQueriesContext(connection) as asked:
        assert administrator.get(f"{LIST}{event.pk}/change/").status_code == 200
    assert len(asked) <= MOST_QUERIES, [each["sql"][:200] for each in asked]


def test_what_somebody_does_just_now_is_not_offered_beside_an_event(
    administrator: Client, sandbox: Sandbox
) -> None:
    organization = OrganizationFactory(stripe_customer_id="cus_1")
    event = SubscriptionEventFactory(organization=organization, stripe_customer_id="cus_1")
    url = f"{LIST}{event.pk}/change/"
    sync = SubscriptionEventFactory(
        source="staff",
        type="resync_organization",
        state="pending",
        actor_label="ann",
        organization=organization,
        lock_key="sync:cus_1",
    )
    resync = f"/admin/organizations/organization/{organization.pk}/resync/"
    assert resync not in Page(administrator.get(url)).links
    SubscriptionEvent.objects.filter(pk=sync.pk).update(state="done")
    assert resync in Page(administrator.get(url)).links


def test_what_a_member_did_is_said_to_be_a_members_and_not_the_back_offices(support: Client) -> None:
    owner = UserFactory(username="tamarind", first_name="", last_name="")
    for actor in (owner, None, StaffFactory(username="ann")):
        SubscriptionEventFactory(
            source="system",
            type="member.payment_page",
            actor=actor,
            actor_label=actor.username if actor else None,
        )
    text = Page(support.get(LIST)).text
    assert "tamarind Customer's member" in text
    assert "tamarind Back office" not in text
    assert "ann Back office" in text
