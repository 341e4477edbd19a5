"""One operation on many, over HTTP: ticked in a list, shown row by row, started once, watched and stopped."""

from __future__ import annotations

import csv
import datetime
import io
import re
from typing import Any

import pytest
from django.apps import apps
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import formats, timezone
from playwright.sync_api import Page as Browser
from playwright.sync_api import expect
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from adminops.pages.bulk.drafts import MOST_KEPT
from adminops.pages.bulk.forms import FORMS
from adminops.pages.lists.spreadsheet import safe_cell
from billing.bulk import jobs, rows
from billing.bulk.kinds import KINDS
from billing.models import BulkJob, BulkRow, CustomerSync, SubscriptionEvent
from billing.operations import OPERATIONS
from billing.sync import sync_customer
from organizations.models import Organization
from tests.adminops.pages import Page, Response
from tests.conftest import Sandbox
from tests.factories import StaffFactory
from tests.situations import SITUATIONS
from tests.stripe_world import (
    World,
    make_customer,
    make_organization,
    make_price,
    plan_seats_at_stripe,
    read,
    seats_at_stripe,
)

pytestmark = pytest.mark.django_db(transaction=True)

PERMISSIONS = ["organizations.view_organization", "organizations.change_seats"]
LIST = "/admin/organizations/organization/"
BULK = f"{LIST}bulk/seats/"


@pytest.fixture
def worlds(sandbox: Sandbox) -> list[World]:
    price = make_price(sandbox.client)
    return [make_customer(sandbox, seats=seats, price=price) for seats in (8, 9, 12)]


@pytest.fixture
def organizations(worlds: list[World]) -> list[Organization]:
    return [
        make_organization(world, name=name)
        for world, name in zip(worlds, ("=Acme", "Bolt", "Crux"), strict=True)
    ]


def login(*permissions: str) -> Client:
    client = Client()
    client.force_login(StaffFactory(permissions=list(permissions or PERMISSIONS)))
    return client


@pytest.fixture
def colleague() -> Client:
    return login()


def tick(client: Client, organizations: list[Organization], **more: Any) -> Response:
    return client.post(
        LIST,
        {
            "action": "change_seats",
            "index": "0",
            "select_across": "0",
            "_selected_action": [each.pk for each in organizations],
            **more,
        },
        follow=True,
    )


def hidden(response: Response, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', response.content.decode())
    assert found, Page(response).text
    return found[1]


def answers(**more: Any) -> dict[str, Any]:
    return {"how": "to", "seats": "12", "proration": "create_prorations", "reason": "new contract", **more}


def preview(client: Client, organizations: list[Organization], **more: Any) -> Response:
    chosen = hidden(tick(client, organizations), "chosen")
    response = client.post(BULK, {**answers(**more), "chosen": chosen, "step": "preview"}, follow=True)
    assert response.status_code == 200
    return response


def confirm(client: Client, shown: Response, **more: Any) -> Response:
    tokens = {name: hidden(shown, name) for name in ("chosen", "token")}
    return client.post(BULK, {**answers(), **tokens, "step": "apply", **more})


def landed(client: Client, response: Response) -> Response:
    """Where an answer leads to."""
    return client.get(response.headers["Location"])


def started(client: Client, organizations: list[Organization]) -> BulkJob:
    assert confirm(client, preview(client, organizations)).status_code == 302
    return BulkJob.objects.get()


def do_all(job: BulkJob) -> None:
    for row_id in job.rows.values_list("pk", flat=True):
        rows.do_row(row_id)


def job_url(job: BulkJob, what: str = "change") -> str:
    return reverse(f"admin:billing_bulkjob_{what}", args=[job.pk])


def said(response: Response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


# -- the way through --------------------------------------------------------------------------------------


def test_rows_are_ticked_shown_confirmed_done_and_told(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization], colleague: Client
) -> None:
    assert "Change seats" in Page(colleague.get(LIST)).text
    first = tick(colleague, organizations)
    asked = Page(first)
    assert "Change seats · 3 organizations" in asked.text
    sandbox.control("DELETE", "log")
    shown = preview(colleague, organizations)
    text = Page(shown).text
    assert "Seats 8 → 12 · $232.00 → $348.00 each month" in text
    assert "It has 12 seats already." in text
    assert "Together Seats 17 → 24 $493.00 → $696.00 each month" in text
    assert "Change seats: 2 of 3" in text
    assert Page(shown).could_run() == []
    assert not BulkJob.objects.exists()

    done = confirm(colleague, shown)
    job = BulkJob.objects.get()
    assert done.headers["Location"] == job_url(job)
    assert sandbox.control("GET", "log")["calls"] == []
    running = Page(colleague.get(job_url(job)))
    assert "0% · 0 of 3 done, 2 waiting, 1 cannot be done You may leave this page" in running.text
    assert "Change of seats · 3 organizations" in running.text
    assert "It has 12 seats already." in running.text
    do_all(job)
    response = colleague.get(job_url(job))
    text = Page(response).text
    assert "66% · 2 of 3 done, 1 cannot be done" in text
    assert "You may leave" not in text
    assert "Bulk job" in text
    assert "Seats changed from 9 to 12. Stripe confirmed at" in text
    assert "data-look-again" not in response.content.decode()
    assert Page(response).could_run() == []
    assert [seats_at_stripe(sandbox, world) for world in worlds] == [12, 12, 12]


def test_the_back_button_and_a_double_click_start_nothing_twice(
    organizations: list[Organization], colleague: Client
) -> None:
    shown = preview(colleague, organizations)
    first, second = confirm(colleague, shown), confirm(colleague, shown)
    assert first.headers["Location"] == second.headers["Location"]
    assert BulkRow.objects.count() == 3


def test_every_page_on_the_way_can_be_gone_back_to_and_reloaded(
    organizations: list[Organization], colleague: Client
) -> None:
    asked = tick(colleague, organizations)
    shown = colleague.post(
        BULK, {**answers(), "chosen": hidden(asked, "chosen"), "step": "preview"}, follow=True
    )
    assert [code for _url, code in [*asked.redirect_chain, *shown.redirect_chain]] == [302, 302]
    address = shown.redirect_chain[-1][0]
    again = colleague.get(address)
    assert "Seats 8 → 12" in Page(again).text
    assert 'value="new contract"' in again.content.decode()
    first, second = confirm(colleague, shown), confirm(colleague, again)
    assert first.headers["Location"] == second.headers["Location"] == job_url(BulkJob.objects.get())
    back = colleague.get(address)
    assert "You started this at" in Page(back).text
    assert job_url(BulkJob.objects.get()) in back.content.decode()
    assert 'name="token"' not in back.content.decode()


def test_only_the_newest_drafts_are_kept_and_only_for_their_person(
    organizations: list[Organization], colleague: Client
) -> None:
    first = tick(colleague, organizations)
    for _ in range(MOST_KEPT):
        last = tick(colleague, organizations)
    assert colleague.get(first.redirect_chain[-1][0]).headers["Location"] == LIST
    assert colleague.get(last.redirect_chain[-1][0]).status_code == 200
    assert login().get(last.redirect_chain[-1][0]).headers["Location"] == LIST


def test_only_what_is_done_is_green(organizations: list[Organization], colleague: Client) -> None:
    job = started(colleague, organizations)
    page = colleague.get(job_url(job)).content.decode()
    assert "bo-fill-green" not in page
    assert 'aria-valuenow="0"' in page
    rows.do_row(job.rows.get(position=0).pk)
    jobs.stop(job, job.actor)
    page = colleague.get(job_url(job)).content.decode()
    assert re.findall(r'class="bo-fill-(\w+)" x="(\d)" width="(\d)"', page) == [
        ("green", "0", "1"),
        ("grey", "1", "1"),
        ("grey", "2", "1"),
    ]
    assert 'aria-valuenow="33"' in page


def test_what_cannot_be_done_now_is_not_offered_again(
    organizations: list[Organization], colleague: Client
) -> None:
    job = started(colleague, organizations)
    jobs.stop(job, job.actor)
    Organization.objects.update(stripe_subscription_id=None)
    refused = colleague.post(job_url(job, "retry"))
    assert refused.headers["Location"] == job_url(job)
    assert "None of those that were not done can be done now." in said(refused)


def test_nothing_starts_that_was_not_shown(organizations: list[Organization], colleague: Client) -> None:
    shown = preview(colleague, organizations)
    changed = landed(colleague, confirm(colleague, shown, seats="13"))
    assert "You changed the form after this was shown" in Page(changed).text
    assert "Seats 8 → 13" in Page(changed).text
    without = landed(colleague, confirm(colleague, shown, token="forged"))
    assert "Please look at what will happen" in Page(without).text
    assert confirm(login(), shown).headers["Location"] == LIST
    speechless = landed(colleague, confirm(colleague, shown, reason=""))
    assert "Say why" in Page(speechless).text
    assert not BulkJob.objects.exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"seats": ""}, "Say how many seats."),
        ({"seats": "many"}, "whole number"),
        ({"seats": "0"}, "at least 1 seat"),
        ({"how": "by", "seats": "0"}, "changes nothing"),
        ({"how": ""}, "Choose whether"),
    ],
)
def test_a_wrong_answer_gets_a_sentence(
    organizations: list[Organization], colleague: Client, more: dict[str, str], sentence: str
) -> None:
    shown = preview(colleague, organizations, **more)
    assert sentence in Page(shown).text
    assert 'name="token"' not in shown.content.decode()


def test_more_than_a_job_may_have_are_refused_before_anything_is_planned(
    organizations: list[Organization], colleague: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "ROWS_PER_JOB", 2)
    monkeypatch.setattr("adminops.admin.base.ROWS_PER_JOB", 2)
    response = tick(colleague, organizations[:1], select_across="1")
    assert "You chose more than 2" in Page(response).text
    assert 'name="step"' not in response.content.decode()


@pytest.mark.parametrize("type_", ["reprocess_event", "refund_invoice"])
def test_events_and_invoices_are_ticked_in_their_own_lists(sandbox: Sandbox, type_: str) -> None:
    situation, kind = SITUATIONS[type_](sandbox), KINDS[type_]
    of_list = {"reprocess_event": "billing.view_subscriptionevent", "refund_invoice": "djstripe.view_invoice"}
    client = login(of_list[type_], kind.operation.permission)
    model = apps.get_model(kind.ticked_in)
    listing = reverse("admin:{}_{}_changelist".format(*kind.ticked_in.split(".")))
    page = client.get(listing)
    assert 'name="_selected_action"' in page.content.decode()
    assert f'value="{type_}"' in page.content.decode()
    assert "_selected_action" not in login(of_list[type_]).get(listing).content.decode()
    keys = list(model.objects.values_list("pk", flat=True))
    ticked = client.post(listing, {"action": type_, "index": "0", "_selected_action": keys}, follow=True)
    assert f"{kind.counted(len(keys))}" in Page(ticked).text
    url = re.search(r'action="([^"]+/bulk/[^"]+)"', ticked.content.decode())
    assert url
    answer = {"chosen": hidden(ticked, "chosen"), "reason": "asked", "stripe_reason": ""}
    shown = client.post(url[1], {**answer, "step": "preview"}, follow=True)
    done = client.post(url[1], {**answer, "step": "apply", "token": hidden(shown, "token")})
    assert done.status_code == 302
    before = situation.effect()
    do_all(BulkJob.objects.get())
    for customer_id in CustomerSync.objects.values_list("pk", flat=True):
        sync_customer(customer_id)
    assert situation.effect() != before


@pytest.mark.parametrize(
    "type_", [each for each in KINDS if each not in ("reprocess_event", "refund_invoice")]
)
def test_every_form_for_many_can_be_opened_and_says_what_is_missing(
    organizations: list[Organization], administrator: Client, type_: str
) -> None:
    opened = tick(administrator, organizations, action=type_)
    assert "3 organizations" in Page(opened).text
    assert Page(opened).could_run() == []
    url = re.search(r'action="([^"]+/bulk/[^"]+)"', opened.content.decode())
    assert url
    empty = administrator.post(url[1], {"chosen": hidden(opened, "chosen"), "step": "apply"}, follow=True)
    assert empty.status_code == 200
    assert not BulkJob.objects.exists()


# -- who may ----------------------------------------------------------------------------------------------


def test_everything_that_can_be_done_to_many_is_known_to_both_floors() -> None:
    assert set(FORMS) == set(KINDS)
    assert set(KINDS) <= set(OPERATIONS)


def test_whoever_may_not_sees_no_action_and_leaves_a_line(organizations: list[Organization]) -> None:
    nosy = login("organizations.view_organization")
    assert "Change seats" not in Page(nosy.get(LIST)).text
    assert tick(nosy, organizations).status_code == 403
    assert nosy.post(BULK, answers()).status_code == 403
    assert nosy.get(BULK).status_code == 403
    (line,) = SubscriptionEvent.objects.filter(type="permission.denied")
    assert "tried to change seats, without" in (line.message or "")


def test_strangers_and_forged_requests_come_to_nothing(
    organizations: list[Organization], colleague: Client
) -> None:
    job = started(colleague, organizations)
    for url in (BULK, job_url(job), job_url(job, "stop"), job_url(job, "retry"), job_url(job, "rows")):
        assert Client().post(url).status_code == 302
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(job.actor)
    for url in (BULK, job_url(job, "stop"), job_url(job, "retry")):
        assert forged.post(url).status_code == 403
    for url in (job_url(job, "stop"), job_url(job, "retry")):
        assert colleague.get(url).status_code == 405
    assert colleague.get(BULK).headers["Location"] == LIST
    job.refresh_from_db()
    assert job.stopped_at is None


def test_a_job_is_seen_by_who_started_it_and_by_those_who_see_the_ledger(
    organizations: list[Organization], colleague: Client
) -> None:
    job = started(colleague, organizations)
    assert login("organizations.change_seats").get(job_url(job)).status_code == 403
    auditor = login("billing.view_subscriptionevent")
    assert auditor.get(job_url(job)).status_code == 200
    listed = Page(auditor.get(reverse("admin:billing_bulkjob_changelist")))
    assert "0 of 3 done, 2 waiting, 1 cannot be done" in listed.text
    assert "Bulk jobs" in listed.text
    assert auditor.post(job_url(job, "stop")).status_code == 403
    assert auditor.post(job_url(job, "retry")).status_code == 403


def test_confirming_counts_once_against_the_limit_of_the_action(
    organizations: list[Organization], colleague: Client
) -> None:
    shown = preview(colleague, organizations)
    assert {confirm(colleague, shown).status_code for _ in range(10)} == {302}
    over = confirm(colleague, shown)
    assert over.status_code == 429
    assert "Try again in" in Page(over).text


# -- watching ---------------------------------------------------------------------------------------------


def test_a_job_is_stopped_and_what_was_not_done_is_tried_again(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization], colleague: Client
) -> None:
    job = started(colleague, organizations)
    rows.do_row(job.rows.get(position=0).pk)
    early = colleague.post(job_url(job, "retry"))
    assert early.headers["Location"] == job_url(job)
    assert "still running" in said(early)
    stopped = colleague.post(job_url(job, "stop"), follow=True)
    text = Page(stopped).text
    assert "33% · 1 of 3 done, 1 cannot be done, 1 stopped" in text
    do_all(job)
    assert seats_at_stripe(sandbox, worlds[1]) == 9

    again = colleague.post(job_url(job, "retry"), follow=True)
    assert "1 organization " in Page(again).text
    assert 'value="12"' in again.content.decode()
    shown = colleague.post(
        BULK, {**answers(), "chosen": hidden(again, "chosen"), "step": "preview"}, follow=True
    )
    confirm(colleague, shown)
    second = BulkJob.objects.get(pk__gt=job.pk)
    do_all(second)
    assert [seats_at_stripe(sandbox, world) for world in worlds] == [12, 12, 12]


def test_rows_are_shown_by_outcome_and_in_pages(
    organizations: list[Organization], colleague: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adminops.admin.bulk.ROWS_PER_PAGE", 1)
    job = started(colleague, organizations)
    BulkRow.objects.filter(job=job, position=1).update(
        state="refused", message="It changed. Nothing was changed."
    )
    first = Page(colleague.get(job_url(job)))
    assert "Page 1 of 3" in first.text
    assert "Bolt" not in first.text
    refused = Page(colleague.get(job_url(job), {"show": "refused"}))
    assert "It changed." in refused.text
    assert "Nothing was changed" not in refused.text
    assert "=Acme" not in refused.text
    assert colleague.get(job_url(job), {"show": "nonsense", "page": "x"}).status_code == 200


def test_the_download_is_a_table_in_which_nothing_is_a_formula(
    organizations: list[Organization], colleague: Client
) -> None:
    job = started(colleague, organizations)
    do_all(job)
    response = colleague.get(job_url(job, "rows"))
    assert response.headers["Content-Disposition"] == f'attachment; filename="bulk-job-{job.pk}.csv"'
    header, *table = list(csv.reader(io.StringIO(response.content.decode("utf-8-sig"))))
    lines = [dict(zip(header, line, strict=True)) for line in table]
    assert [line["Whom"] for line in lines] == ["'=Acme", "Bolt", "Crux"]
    first, left = lines[0], lines[2]
    assert first["Outcome"] == "Done"
    assert SubscriptionEvent.objects.get(uuid=first["Our id"]).processed_at
    assert datetime.datetime.fromisoformat(first["Ended (UTC)"]).utcoffset() == datetime.timedelta()
    assert (left["Outcome"], left["What happened"]) == ("Cannot be done", "It has 12 seats already.")
    assert left["Organization's id"] == str(organizations[2].pk)
    assert left["Customer's id at Stripe"] == organizations[2].stripe_customer_id
    assert (left["Reason"], left["By"]) == ("new contract", job.actor.get_full_name())
    assert left["Asked for (UTC)"] == job.created_at.astimezone(datetime.UTC).isoformat(timespec="seconds")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1"])
def test_a_cell_is_never_a_formula(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


def test_what_is_planned_of_the_listed_is_told_before_it_is_confirmed(
    sandbox: Sandbox,
    worlds: list[World],
    organizations: list[Organization],
    colleague: Client,
    settings: Settings,
) -> None:
    subscriptions = sandbox.client.v1.subscriptions
    subscriptions.update(worlds[0].subscription, {"cancel_at_period_end": True})
    subscriptions.update(worlds[0].subscription, {"pause_collection": {"behavior": "void"}})
    plan_seats_at_stripe(sandbox, worlds[1], 15, mark="of a colleague")
    for world in worlds:
        read(world)
    settings.STRIPE_CALLS_PER_SECOND = 100
    text = Page(preview(colleague, organizations)).text
    for sentence in (
        "1 of them is set to end.",
        "For 1 of them a change of seats is planned.",
        "The collection of 1 of them is paused.",
        "A change to 15 seats is planned for",
        "At the pace that Stripe allows, this takes less than a minute.",
    ):
        assert sentence in text
    assert re.search(r"Ends on \d+ \w+ \d{4} already", text)


def test_a_row_that_waits_says_why_and_when_it_is_tried_again(
    organizations: list[Organization], colleague: Client
) -> None:
    job = started(colleague, organizations)
    waiting = BulkRow.objects.filter(job=job, position=0)
    soon = timezone.now() + datetime.timedelta(minutes=2)
    waiting.update(message="Stripe is busy.", due_at=soon)
    at = formats.time_format(timezone.localtime(soon), "H:i:s")
    expected = f"Stripe is busy. It is tried again by itself at {at}."
    assert expected in Page(colleague.get(job_url(job))).text
    assert expected in colleague.get(job_url(job, "rows")).content.decode()
    waiting.update(due_at=timezone.now())
    assert "It is tried again by itself in a moment." in Page(colleague.get(job_url(job))).text


def test_whoever_lost_the_permission_meanwhile_reads_why_nothing_was_done(
    organizations: list[Organization], colleague: Client
) -> None:
    job = started(colleague, organizations)
    job.actor.user_permissions.clear()
    do_all(job)
    text = Page(login("billing.view_subscriptionevent").get(job_url(job))).text
    assert "0 of 3 done, 2 not done, 1 cannot be done" in text
    assert text.count("You may not do this.") == 2


def test_in_a_browser_the_page_follows_the_work(
    page: Browser,
    live_server: LiveServer,
    worlds: list[World],
    organizations: list[Organization],
) -> None:
    support = StaffFactory(username="support", permissions=[*PERMISSIONS, "billing.view_subscriptionevent"])
    support.set_password("paper-kite-63")
    support.save()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda note: problems.append(note.text) if note.type == "error" else None)
    page.goto(f"{live_server.url}{LIST}")
    page.get_by_label("Username").fill("support")
    page.get_by_label("Password").fill("paper-kite-63")
    page.get_by_label("Password").press("Enter")
    for name in ("=Acme", "Bolt"):
        page.get_by_role("row", name=name).get_by_role("checkbox").check()
    page.get_by_label("Select action to run").select_option("change_seats")
    page.get_by_role("button", name="Run").click()
    page.get_by_label("By so many more or fewer").check()
    page.get_by_label("Seats", exact=True).fill("2")
    page.get_by_role("button", name="Show what will happen").click()
    expect(page.get_by_text("Seats 8 → 10")).to_be_visible()
    page.get_by_label("Reason").fill("new contract")
    page.get_by_role("button", name="Change seats: 2 of 2").click()
    expect(page.get_by_text("0 of 2 done, 2 waiting")).to_be_visible()
    do_all(BulkJob.objects.get())
    expect(page.get_by_text("2 of 2 done")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    assert problems == []
