"""Reconciliation on the screen: where we stand, what differs, runs, and what is said of each."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from adminops.pages.reconciliation.explained import timetable
from billing.models import Discrepancy, ReconciliationRun, SubscriptionEvent
from billing.reconciliation import runs
from billing.reconciliation.checks import CHECKS
from organizations.models import Organization
from tests.adminops.pages import Page
from tests.billing.reconciliation.running import reconcile
from tests.conftest import Sandbox
from tests.factories import (
    DiscrepancyFactory,
    MembershipFactory,
    OrganizationFactory,
    ReconciliationRunFactory,
)
from tests.stripe_world import make_customer, make_organization

pytestmark = pytest.mark.django_db

HERE = "/admin/reconciliation/"
RUNS = "/admin/billing/reconciliationrun/"
LIST = "/admin/billing/discrepancy/"
NASTY = "<script>alert('x')</script>\"&😀 שלום"

LOOKS = ["billing.view_reconciliationrun", "billing.view_discrepancy"]
FINANCE = [*LOOKS, "billing.start_reconciliation", "billing.settle_discrepancy"]


@pytest.fixture
def finance(staff: Callable[..., Client]) -> Client:
    """Somebody who starts runs and settles differences, and does not let a run go on that asks."""
    return staff(*FINANCE)


def text_of(client: Client, address: str = HERE) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return Page(response).text


def run_page(run: ReconciliationRun) -> str:
    return reverse("admin:billing_reconciliationrun_change", args=[run.pk])


def act(name: str, run: ReconciliationRun) -> str:
    return reverse(f"admin:reconciliation_{name}", args=[run.pk])


def test_people_read_one_word_for_what_differs(administrator: Client) -> None:
    row = DiscrepancyFactory()
    for address in (HERE, LIST, f"{LIST}{row.pk}/change/"):
        text = text_of(administrator, address)
        assert "iscrepanc" not in text
    assert "Differences" in text_of(administrator, LIST)


# -- where we stand -----------------------------------------------------------------------------------------


def test_before_any_run_the_page_says_that_nothing_is_known(administrator: Client) -> None:
    text = text_of(administrator)
    assert "Never compared" in text
    assert "No run has come to its end yet, so nothing is known." in text
    assert "All agree" not in text


def test_a_clean_run_is_green_and_said_so(administrator: Client) -> None:
    ReconciliationRunFactory(organizations=60, calls=1002)
    text = text_of(administrator)
    for words in (
        "All agree",
        "60 organizations",
        "60 agree with Stripe",
        "0 organizations differ",
        "1,002 calls",
    ):
        assert words in text


def test_what_differs_is_counted_by_type_money_and_organization(administrator: Client) -> None:
    run = ReconciliationRunFactory(organizations=60, errors=2, left_alone=1)
    euro = OrganizationFactory(name="Euro Works", currency="eur")
    DiscrepancyFactory(organization=euro, amount=1200, currency="eur", last_run=run)
    DiscrepancyFactory.create_batch(2, amount=8700, last_run=run)
    text = text_of(administrator)
    for words in (
        "Differences to settle",
        "63 organizations",
        "57 agree with Stripe",
        "3 organizations differ",
        "€12.00 · $174.00 at stake",
        "2 could not be compared",
        "1 busy just then; the next run looks",
        "Euro Works",
        "8 → 11 at Stripe.",
        "Mends itself",
    ):
        assert words in text
    assert f"{LIST}?state=open&amp;type=seats" in administrator.get(HERE).content.decode()


@pytest.mark.parametrize("state", ["stopped", "failed", "tripped", "running"])
def test_a_run_that_did_not_come_to_its_end_is_never_shown_as_clean(
    administrator: Client, state: str
) -> None:
    run = ReconciliationRunFactory(state=state, message="12 would change.")
    text = text_of(administrator)
    assert "Never compared" in text
    for words in ("All agree", "all agree", "agree with Stripe"):
        assert words not in text
        assert words not in text_of(administrator, run_page(run))
    assert "all agree" not in text_of(administrator, RUNS)


def test_a_failed_run_after_a_clean_one_is_told_beside_it(administrator: Client) -> None:
    ReconciliationRunFactory()
    ReconciliationRunFactory(state="failed", message="Stripe refused our key.")
    text = text_of(administrator)
    assert "failed, so it says nothing of the whole. Stripe refused our key." in text
    assert "What is counted here is of the run of" in text


def test_an_old_run_is_told_to_be_old(administrator: Client) -> None:
    ReconciliationRunFactory(started_at=timezone.now() - timedelta(days=3))
    assert "Everything was last compared 3 days ago." in text_of(administrator)


def test_an_organization_that_could_not_be_compared_is_not_clean(administrator: Client) -> None:
    ReconciliationRunFactory(errors=1)
    text = text_of(administrator)
    assert "Some could not be compared" in text
    assert "all agree" not in text.lower()


def test_the_page_costs_the_same_however_much_differs(administrator: Client) -> None:
    def queries() -> int:
        administrator.get(HERE)
        with CaptureQueriesContext(connection) as captured:
            assert administrator.get(HERE).status_code == 200
        return len(captured)

    run = ReconciliationRunFactory(asked_by=None)
    DiscrepancyFactory.create_batch(3, first_run=run, last_run=run)
    few = queries()
    ReconciliationRunFactory.create_batch(10, counts={"seats": 3})
    DiscrepancyFactory.create_batch(60, first_run=run, last_run=run)
    busy = OrganizationFactory()
    for number in range(15):
        DiscrepancyFactory(organization=busy, stripe_object_id=f"sub_{number}")
    assert queries() == few <= 20
    assert "5 further differences" in text_of(administrator)
    assert "Page 1 of 4" in text_of(administrator)
    assert "Page 4 of 4" in text_of(administrator, f"{HERE}?page=99")


def test_the_lists_cost_the_same_however_long(administrator: Client) -> None:
    def queries(address: str) -> int:
        administrator.get(address)
        with CaptureQueriesContext(connection) as captured:
            assert administrator.get(address).status_code == 200
        return len(captured)

    ReconciliationRunFactory.create_batch(2)
    DiscrepancyFactory.create_batch(2)
    few = queries(LIST), queries(RUNS)
    ReconciliationRunFactory.create_batch(20)
    DiscrepancyFactory.create_batch(20)
    assert (queries(LIST), queries(RUNS)) == few
    assert max(few) <= 12


def test_names_and_notes_are_shown_harmless(administrator: Client) -> None:
    organization = OrganizationFactory(name=NASTY)
    run = ReconciliationRunFactory(
        state="failed", message=NASTY, log=[{"at": "2026-11-23T02:10:00+00:00", "line": NASTY}]
    )
    row = DiscrepancyFactory(organization=organization, note=NASTY, last_run=run)
    strange = DiscrepancyFactory(
        type="customer_of_two", organization=organization, stripe_object_id=NASTY, ours=NASTY, theirs=NASTY
    )
    for address in (
        HERE,
        LIST,
        RUNS,
        run_page(run),
        *(reverse("admin:billing_discrepancy_change", args=[each.pk]) for each in (row, strange)),
        f"{HERE}accept/?rows={row.pk}&rows={strange.pk}",
        f"{HERE}mend/?rows={row.pk}&rows={strange.pk}",
    ):
        response = administrator.get(address)
        assert response.status_code == 200
        assert not Page(response).could_run(), address
        assert b"<script>alert" not in response.content, address


def test_everything_that_is_compared_is_explained(administrator: Client, settings: Settings) -> None:
    settings.RECONCILE_CRONS = {"full": "20 2 * * *", "incremental": ""}
    settings.RECONCILE_MAX_CHANGE_PERCENT = 7
    text = text_of(administrator)
    for check in CHECKS.values():
        assert str(check.label) in text
        assert str(check.explanation) in text
        assert str(check.what_to_do) in text
    assert "Everything is compared every day at 02:20 UTC." in text
    assert "is compared only when somebody asks." in text
    assert "more than 7% of all organizations" in text


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("20 2 * * *", "every day at 02:20 UTC"),
        ("*/5 * * * *", "every 5 minutes"),
        ("* * * * *", "every minute"),
        ("0 3 * * 1", "by the timetable “0 3 * * 1”"),
        ("", "only when somebody asks"),
    ],
)
def test_the_timetable_is_told_in_words(cron: str, words: str) -> None:
    assert timetable(cron) == words


def test_history_is_a_chart_and_the_same_as_a_table(administrator: Client) -> None:
    run = ReconciliationRunFactory(counts={"seats": 3}, fixed=2, organizations=60)
    ended = {"closed_in": run, "closed_at": timezone.now()}
    DiscrepancyFactory.create_batch(2, last_run=run, closed_how="fixed", **ended)
    # What it did not see any more was not among what it counted.
    DiscrepancyFactory.create_batch(4, closed_how="gone", **ended)
    ReconciliationRunFactory(state="stopped")
    response = administrator.get(HERE)
    history = response.context["reconciliation"].history
    assert [(column.left_open, column.run.fixed) for column in history.columns] == [(1, 2), (0, 0)]
    assert "1 open, 2 mended" in history.columns[0].title
    page = Page(response)
    assert "Done, with differences 60 1 2 0 0" in page.text
    assert "Stopped" in page.text
    assert run_page(run) in page.links


# -- who may what -------------------------------------------------------------------------------------------


def test_pages_are_for_those_who_may_see_them(staff: Callable[..., Client]) -> None:
    stranger = staff("organizations.view_organization")
    row = DiscrepancyFactory()
    for address in (HERE, LIST, RUNS, f"{LIST}{row.pk}/change/", run_page(ReconciliationRunFactory())):
        assert stranger.get(address).status_code == 403, address
    assert HERE not in stranger.get("/admin/").content.decode()
    assert HERE in staff(*LOOKS).get("/admin/").content.decode()


def test_whoever_only_looks_finds_no_button_and_cannot_press_one(staff: Callable[..., Client]) -> None:
    looker = staff(*LOOKS)
    run = ReconciliationRunFactory(state="stopped")
    row = DiscrepancyFactory(last_run=run)
    text = text_of(looker)
    for words in ("Run now", "Accept as it is", "Those that are ticked", "Go on where it stopped"):
        assert words not in text
    for name in ("start/", f"{run.pk}/stop/", f"{run.pk}/resume/", f"{run.pk}/agree/"):
        assert looker.post(f"{HERE}{name}", {"what": "full"}).status_code == 403, name
    for name in ("mend", "accept", "ignore"):
        asked = {"rows": row.pk, "note": "fine", "until": "2999-01-01"}
        assert looker.post(f"{HERE}{name}/", asked).status_code == 403, name
        assert looker.get(f"{HERE}{name}/", asked).status_code == 403, name
    assert Discrepancy.objects.open().count() == 1
    assert not ReconciliationRun.objects.filter(state="running").exists()
    tried = set(SubscriptionEvent.objects.filter(type="permission.denied").values_list("message", flat=True))
    for what in ("start or stop a reconciliation", "settle differences to Stripe"):
        assert any(what in (message or "") for message in tried)


def test_differences_are_not_told_to_those_who_see_only_runs(staff: Callable[..., Client]) -> None:
    run = ReconciliationRunFactory()
    DiscrepancyFactory(organization__name="Secretive Ltd", last_run=run)
    watcher = staff("billing.view_reconciliationrun")
    for address in (HERE, run_page(run)):
        assert "Secretive Ltd" not in text_of(watcher, address)


def test_nothing_is_done_by_following_a_link(administrator: Client) -> None:
    run = ReconciliationRunFactory(state="running")
    for address in (f"{HERE}start/", act("stop", run), act("resume", run)):
        assert administrator.get(address).status_code == 405
    assert ReconciliationRun.objects.get().state == "running"


def test_an_act_without_the_token_of_its_page_is_refused(administrator: Client) -> None:
    administrator.handler.enforce_csrf_checks = True
    assert administrator.post(f"{HERE}start/", {"what": "full"}).status_code == 403
    assert not ReconciliationRun.objects.exists()


# -- runs ---------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_run_is_started_followed_stopped_and_taken_up(sandbox: Sandbox, finance: Client) -> None:
    organization = make_organization(make_customer(sandbox))
    Organization.objects.filter(pk=organization.pk).update(plan="Nonsense")
    assert "Compare everything About " in text_of(finance)
    told = Page(finance.post(f"{HERE}start/", {"what": "full"}, follow=True)).text
    run = ReconciliationRun.objects.get()
    assert (run.kind, run.state, run.dry_run) == ("full", "running", False)
    assert "It was started; this page says how far it is." in told
    assert "0% · Reading from Stripe: 0 of about" in told
    again = Page(finance.post(f"{HERE}start/", {"what": "full"}, follow=True)).text
    assert "Such a reconciliation is running already. Nothing was started." in again
    stopped = Page(finance.post(act("stop", run), follow=True)).text
    assert "it can be taken up again" in stopped
    assert "was stopped before its end, so it says nothing of the whole" in stopped
    assert "Go on where it stopped" in stopped
    assert "It goes on where it was stopped." in Page(finance.post(act("resume", run), follow=True)).text
    runs.advance(run.pk)
    run.refresh_from_db()
    assert (run.state, run.fixed) == ("done", 1)
    assert "had come to its end already" in Page(finance.post(act("stop", run), follow=True)).text
    text = text_of(finance, run_page(run))
    for words in (
        "All organizations",
        "Done, all agree",
        "1 organization was compared.",
        "Price or plan",
        "Mended 1",
    ):
        assert words in text


def test_only_looking_is_asked_for_as_such(finance: Client) -> None:
    finance.post(f"{HERE}start/", {"what": "look"})
    finance.post(f"{HERE}start/", {"what": "incremental"})
    finance.post(f"{HERE}start/", {"what": "nonsense"})
    started = ReconciliationRun.objects.order_by("pk").values_list("kind", "dry_run")
    assert list(started) == [("full", True), ("incremental", False)]


def test_a_run_that_nobody_can_take_up_any_more_is_started_anew(finance: Client) -> None:
    run = ReconciliationRunFactory(state="stopped", started_at=timezone.now() - timedelta(hours=7))
    assert "Go on where it stopped" not in text_of(finance)
    assert "cannot be taken up any more" in Page(finance.post(act("resume", run), follow=True)).text


@pytest.mark.django_db(transaction=True)
def test_a_run_that_asks_goes_on_when_somebody_who_may_has_looked(
    sandbox: Sandbox, finance: Client, administrator: Client
) -> None:
    organization = make_organization(make_customer(sandbox))
    Organization.objects.filter(pk=organization.pk).update(plan="Nonsense")
    run = reconcile(max_changes=0)
    assert run.state == "tripped"
    text = text_of(finance)
    assert "stopped and asks. 1 organization" in text or "stopped and asks. 1 organizations" in text
    assert "Let it go on" not in text
    assert finance.post(act("agree", run)).status_code == 403
    shown = text_of(administrator, act("agree", run))
    assert "Price or plan 1" in shown
    assert "Mend 1 organization" in shown
    done = Page(administrator.post(act("agree", run), follow=True)).text
    assert "It goes on and mends what it found." in done
    runs.advance(run.pk)
    organization.refresh_from_db()
    assert organization.plan == "Team"
    assert SubscriptionEvent.objects.get(type="reconciliation.agreed").actor is not None
    late = Page(administrator.post(act("agree", run), follow=True)).text
    assert "waits for nobody any more. Nothing was changed." in late


def test_the_page_of_a_run_says_what_it_came_to(administrator: Client) -> None:
    run = ReconciliationRunFactory(
        counts={"seats": 2, "long_gone_check": 1},
        message="60 organizations were compared.",
        log=[{"at": "2026-11-23T02:10:00+00:00", "line": "3 events had never been received."}],
    )
    other = ReconciliationRunFactory()
    mine = DiscrepancyFactory(organization__name="Mine", first_run=run, last_run=run)
    lasting = DiscrepancyFactory(organization__name="Lasting", first_run=run, last_run=other)
    later = DiscrepancyFactory(organization__name="Later", first_run=other, last_run=other)
    text = text_of(administrator, run_page(run))
    for words in (
        "3 events had never been received.",
        "Seats",
        "Mine",
        "Lasting",
        "by the timetable, or a command",
    ):
        assert words in text
    assert "Later" not in text
    listed = administrator.get(LIST, {"run": run.pk}).context["cl"].result_list
    assert {row.pk for row in listed} == {mine.pk, lasting.pk}
    assert later.pk in {
        row.pk for row in administrator.get(LIST, {"run": other.pk}).context["cl"].result_list
    }


def test_a_run_that_is_not_there_is_no_failure(administrator: Client) -> None:
    for key in ("0", "999999", "x"):
        assert administrator.get(f"{RUNS}{key}/change/").status_code in (302, 404)
        assert administrator.get(f"{LIST}{key}/change/").status_code in (302, 404)
    assert administrator.post(f"{HERE}999999/stop/").status_code == 404


def test_a_run_is_taken_away_as_a_file(administrator: Client) -> None:
    run = ReconciliationRunFactory()
    DiscrepancyFactory(organization__name="=cmd()", first_run=run, last_run=run)
    DiscrepancyFactory(organization__name="Elsewhere")
    response = administrator.get(run_page(run))
    address = f"{LIST}export/?run={run.pk}"
    assert address in Page(response).links
    columns = ["type", "organization", "sentence", "ours", "theirs", "currency", "amount", "state"]
    for kind in ("csv", "xlsx"):
        file = administrator.post(address, {"columns": columns, "kind": kind})
        body = b"".join(file.streaming_content)  # type: ignore[attr-defined]
        if kind == "csv":
            lines = body.decode("utf-8-sig").splitlines()
            assert len(lines) == 2
            assert lines[1] == "Seats,'=cmd(),Seats 8 → 11 at Stripe.,Seats: 8,Seats: 11,USD,87.00,open"
        else:
            assert body.startswith(b"PK")


# -- elsewhere ----------------------------------------------------------------------------------------------


def test_home_says_when_everything_was_last_compared(staff: Callable[..., Client]) -> None:
    looker = staff(*LOOKS)
    assert "Last compared with Stripe never" in text_of(looker, "/admin/")
    ReconciliationRunFactory(
        message="60 organizations were compared.", started_at=timezone.now() - timedelta(hours=3)
    )
    assert "Last compared with Stripe 60 organizations were compared. 3 h" in text_of(looker, "/admin/")
    ReconciliationRunFactory(state="tripped")
    text = text_of(looker, "/admin/")
    assert "Waits for a person" in text
    assert "60 organizations were compared." not in text
    assert "Last compared" not in text_of(staff("organizations.view_organization"), "/admin/")


def test_the_customer_page_leads_to_its_differences_and_says_when_it_was_compared(
    administrator: Client,
) -> None:
    organization = OrganizationFactory()
    address = reverse("admin:organizations_organization_change", args=[organization.pk])
    rows = [DiscrepancyFactory(organization=organization, stripe_object_id=f"sub_{n}") for n in range(5)]
    page = Page(administrator.get(address))
    assert "compared with Stripe today" not in page.text
    assert reverse("admin:billing_discrepancy_change", args=[rows[-1].pk]) in page.links
    assert f"{LIST}?state=open&organization={organization.pk}" in page.links
    connection.cursor().execute(
        "INSERT INTO billing_organizationcheck (organization_id, stripe_customer_id, checked_at, is_stale, digest)"
        " VALUES (%s, '', now() - interval '3 days', false, '')",
        [organization.pk],
    )
    ReconciliationRunFactory()
    assert "compared with Stripe today" in text_of(administrator, address)


def test_the_list_of_differences_is_narrowed(administrator: Client) -> None:
    euro = OrganizationFactory(name="Euro Works")
    seats = DiscrepancyFactory(organization=euro, amount=8700)
    cheap = DiscrepancyFactory(amount=100)
    gone = DiscrepancyFactory(closed_at=timezone.now(), closed_how="gone")
    hidden = DiscrepancyFactory(ignored_until=timezone.now() + timedelta(days=1))
    unowned = DiscrepancyFactory(
        type="subscription_of_nobody", organization=None, ours=None, theirs="active", stripe_object_id="sub_x"
    )

    def listed(**query: str) -> set[int]:
        return {row.pk for row in administrator.get(LIST, query).context["cl"].result_list}

    assert listed() == {seats.pk, cheap.pk, gone.pk, hidden.pk, unowned.pk}
    assert listed(state="open") == {seats.pk, cheap.pk, unowned.pk}
    assert listed(state="ignored") == {hidden.pk}
    assert listed(state="gone") == {gone.pk}
    assert listed(type="subscription_of_nobody") == {unowned.pk}
    assert listed(organization="none") == {unowned.pk}
    assert listed(organization=str(euro.pk)) == {seats.pk}
    assert listed(organization="Euro Works") == {seats.pk}
    assert listed(amount_from="50") == {seats.pk, gone.pk, hidden.pk, unowned.pk}
    assert listed(first_seen_at_from="2999-01-01") == set()
    assert listed(q="sub_x") == {unowned.pk}
    for query in ({"run": "x"}, {"type": "'"}, {"state": "x"}, {"organization": "9" * 30}):
        assert administrator.get(LIST, query).status_code in (200, 302)


def test_differences_of_whoever_is_only_called_alike_are_not_listed(administrator: Client) -> None:
    meant = DiscrepancyFactory(organization__name="Northwind Labs", organization__slug="a")
    DiscrepancyFactory(organization__name="Northwynd Lab", organization__slug="b")
    found = administrator.get(LIST, {"organization": "Northwind Labs"}).context["cl"].result_list
    assert [row.pk for row in found] == [meant.pk]


def test_differences_are_not_found_by_members_whom_one_may_not_see(staff: Callable[..., Client]) -> None:
    row = DiscrepancyFactory()
    MembershipFactory(organization=row.organization, user__email="secret.person@elsewhere.example")
    blind, seeing = staff(*LOOKS), staff(*LOOKS, "organizations.view_membership")

    def found(client: Client) -> list[int]:
        cl = client.get(LIST, {"organization": "secret.person"}).context["cl"]
        return [each.pk for each in cl.result_list]

    assert found(seeing) == [row.pk]
    assert found(blind) == []
