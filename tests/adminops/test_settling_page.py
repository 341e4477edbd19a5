"""Settling differences on the screen: one or many, shown first, done on confirmation, told after."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from billing.models import BulkJob, Discrepancy, ReconciliationRun, SubscriptionEvent
from billing.reconciliation import runs
from organizations.models import Organization
from tests.adminops.pages import Page
from tests.billing.reconciliation.running import reconcile
from tests.conftest import Sandbox
from tests.factories import DiscrepancyFactory, OrganizationFactory, StaffEventFactory
from tests.stripe_world import make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)

HERE = "/admin/reconciliation/"
LIST = "/admin/billing/discrepancy/"
FINANCE = [
    "billing.view_reconciliationrun",
    "billing.view_discrepancy",
    "billing.settle_discrepancy",
    "billing.view_subscriptionevent",
    "organizations.view_organization",
]


@pytest.fixture
def finance(staff: Callable[..., Client]) -> Client:
    """Somebody who settles differences."""
    return staff(*FINANCE)


def drifted(sandbox: Sandbox) -> Organization:
    """A customer whose plan somebody wrote over by hand."""
    organization = make_organization(make_customer(sandbox))
    Organization.objects.filter(pk=organization.pk).update(plan="Nonsense")
    return organization


def asked(client: Client, way: str, *rows: Discrepancy, **query: Any) -> str:
    """What the page says before it does anything."""
    before = list(Discrepancy.objects.order_by("pk").values())
    query["rows"] = [row.pk for row in rows]
    response = client.get(f"{HERE}{way}/", query)
    assert response.status_code == 200
    assert list(Discrepancy.objects.order_by("pk").values()) == before
    return Page(response).text


def done(client: Client, way: str, *rows: Discrepancy, **answers: Any) -> str:
    """What the next page says after it was confirmed."""
    response = client.post(f"{HERE}{way}/", {"rows": [row.pk for row in rows], **answers}, follow=True)
    assert response.status_code == 200
    return Page(response).text


def test_one_difference_is_mended_at_once_and_told_by_whom(sandbox: Sandbox, finance: Client) -> None:
    organization = drifted(sandbox)
    reconcile(dry_run=True)
    [row] = Discrepancy.objects.open()
    shown = asked(finance, "mend", row)
    assert organization.name in shown
    assert "Nothing is changed at Stripe." in shown
    assert "Mend 1 difference" in shown
    assert "1 difference was mended." in done(finance, "mend", row)
    organization.refresh_from_db()
    row.refresh_from_db()
    assert organization.plan == "Team"
    assert row.closed_how == "fixed"
    event = SubscriptionEvent.objects.get(type="reconciliation.corrected")
    assert row.closed_by is not None
    assert (event.actor, event.organization) == (row.closed_by, organization)
    page = Page(finance.get(reverse("admin:billing_discrepancy_change", args=[row.pk])))
    assert f"by {row.closed_by.get_full_name()}" in page.text
    assert "Accept as it is" not in page.text
    again = done(finance, "mend", row)
    assert "It was settled already." in again
    assert SubscriptionEvent.objects.filter(type="reconciliation.corrected").count() == 1


def test_many_are_mended_by_the_workers_while_a_page_says_how_far(sandbox: Sandbox, finance: Client) -> None:
    organizations = [drifted(sandbox) for _ in range(5)]
    reconcile(dry_run=True)
    rows = list(Discrepancy.objects.open())
    assert "Mend 5 differences" in asked(finance, "mend", *rows)
    text = done(finance, "mend", *rows)
    assert "They are being mended one after the other" in text
    assert "Mending by hand" in text
    run = ReconciliationRun.objects.latest("pk")
    assert run.state == "running"
    runs.advance(run.pk)
    run.refresh_from_db()
    assert (run.state, run.fixed, run.message) == ("done", 5, "5 differences were mended.")
    address = reverse("admin:billing_reconciliationrun_change", args=[run.pk])
    assert "Done, all mended" in Page(finance.get(address)).text
    assert not Discrepancy.objects.open().exists()
    fresh = Organization.objects.filter(pk__in=[each.pk for each in organizations])
    assert set(fresh.values_list("plan", flat=True)) == {"Team"}
    closers = set(Discrepancy.objects.values_list("closed_by", flat=True))
    assert closers == {run.asked_by_id}


def test_whoever_has_something_in_progress_is_left_alone_and_it_is_said_so(
    sandbox: Sandbox, finance: Client
) -> None:
    organization = drifted(sandbox)
    reconcile(dry_run=True)
    [row] = Discrepancy.objects.open()
    StaffEventFactory(organization=organization, state="pending")
    text = done(finance, "mend", row)
    assert "1 was left as it is" in text
    assert "difference was mended" not in text
    run = ReconciliationRun.objects.latest("pk")
    assert (run.state, run.counts, run.fixed) == ("done", {"price": 1}, 0)
    assert run.message == "0 differences were mended. 1 could not be mended."
    address = reverse("admin:billing_reconciliationrun_change", args=[run.pk])
    assert "Done, with differences" in Page(finance.get(address)).text
    assert Discrepancy.objects.open().count() == 1


def test_what_cannot_be_mended_here_says_what_to_do_instead(finance: Client) -> None:
    row = DiscrepancyFactory(type="customer_of_two", ours="acme", theirs="contoso")
    text = asked(finance, "mend", row)
    assert "Not possible for these" in text
    assert "correct the metadata at Stripe" in text
    assert "Mend 1" not in text
    assert "Mend 0" not in text
    done(finance, "mend", row)
    assert Discrepancy.objects.open().count() == 1


def test_accepting_wants_a_reason_and_leaves_it_in_the_ledger(finance: Client) -> None:
    rows = [DiscrepancyFactory(), DiscrepancyFactory()]
    text = done(finance, "accept", *rows, note=" ")
    assert "Say why it is right as it is" in text
    assert Discrepancy.objects.open().count() == 2
    text = done(finance, "accept", *rows, note="agreed for this month")
    assert "2 differences were accepted. They are told again only when they become otherwise." in text
    assert set(Discrepancy.objects.values_list("closed_how", "note")) == {
        ("accepted", "agreed for this month")
    }
    events = SubscriptionEvent.objects.filter(type="reconciliation.accepted")
    assert {event.organization_id for event in events} == {row.organization_id for row in rows}
    assert {(event.source, event.reason) for event in events} == {("staff", "agreed for this month")}
    assert all("Seats 8 → 11 at Stripe." in (event.message or "") for event in events)
    assert "It was settled already." in done(finance, "accept", *rows, note="agreed for this month")
    assert events.count() == 2


def test_what_is_ignored_comes_back_on_its_day(finance: Client) -> None:
    row = DiscrepancyFactory()
    today = timezone.localdate()
    assert "Choose a day that is still to come." in done(finance, "ignore", row, until=today.isoformat())
    assert "Choose the day" in done(finance, "ignore", row)
    until = today + timedelta(days=3)
    text = done(finance, "ignore", row, until=until.isoformat())
    assert "1 difference is not shown until" in text
    assert Discrepancy.objects.ignored().count() == 1
    assert SubscriptionEvent.objects.get(type="reconciliation.ignored").actor is not None
    page = Page(finance.get(reverse("admin:billing_discrepancy_change", args=[row.pk])))
    assert "Not shown until" in page.text


def test_one_that_a_colleague_settled_meanwhile_stays_theirs(finance: Client) -> None:
    mine, theirs = DiscrepancyFactory(), DiscrepancyFactory()
    asked(finance, "accept", mine, theirs)
    Discrepancy.objects.filter(pk=theirs.pk).update(
        closed_at=timezone.now(), closed_how="accepted", note="theirs"
    )
    assert "1 difference was accepted." in done(finance, "accept", mine, theirs, note="mine")
    theirs.refresh_from_db()
    assert theirs.note == "theirs"


def test_without_anything_ticked_nothing_happens(finance: Client) -> None:
    for way in ("mend", "accept", "ignore"):
        for rows in ([], ["x"], ["999999"], ["9" * 30]):
            response = finance.post(f"{HERE}{way}/", {"rows": rows, "note": "x"}, follow=True)
            assert "Tick the differences first. Nothing was changed." in Page(response).text


def test_the_way_back_leads_nowhere_else(finance: Client) -> None:
    row = DiscrepancyFactory()
    ours = finance.post(f"{HERE}accept/", {"rows": row.pk, "note": "x", "back": f"{LIST}?state=open"})
    assert ours.headers["Location"] == f"{LIST}?state=open"
    row = DiscrepancyFactory()
    for strange in ("https://evil.example/", "//evil.example", "javascript:alert(1)"):
        assert strange not in asked(finance, "accept", row, back=strange)
    answer = finance.post(f"{HERE}accept/", {"rows": row.pk, "note": "x", "back": "https://evil.example/"})
    assert answer.headers["Location"] == HERE


def test_from_the_list_those_ticked_are_asked_about(finance: Client) -> None:
    rows = [DiscrepancyFactory(), DiscrepancyFactory()]
    sent = {"action": "accept", "_selected_action": [row.pk for row in rows]}
    response = finance.post(LIST, sent, follow=True)
    assert "Accept 2 differences" in Page(response).text


def test_reading_again_leads_to_the_page_that_does_it(administrator: Client, sandbox: Sandbox) -> None:
    rows = [DiscrepancyFactory(organization=make_organization(make_customer(sandbox))) for _ in range(2)]
    one = administrator.get(f"{HERE}resync/", {"rows": rows[0].pk})
    assert one.headers["Location"] == reverse(
        "admin:organizations_organization_resync_organization", args=[rows[0].organization_id]
    )
    many = administrator.get(f"{HERE}resync/", {"rows": [row.pk for row in rows]}, follow=True)
    assert "2 organizations" in Page(many).text
    assert not BulkJob.objects.exists()
    unowned = DiscrepancyFactory(type="subscription_of_nobody", organization=None, theirs="active")
    nothing = administrator.get(f"{HERE}resync/", {"rows": unowned.pk}, follow=True)
    assert "Tick differences of organizations first." in Page(nothing).text


def test_a_difference_is_told_from_both_sides(finance: Client) -> None:
    organization = OrganizationFactory(name="Northwind")
    row = DiscrepancyFactory(organization=organization)
    text = Page(finance.get(reverse("admin:billing_discrepancy_change", args=[row.pk]))).text
    for words in (
        "Ours Stripe's Seats 8 11",
        "Northwind",
        "$87.00 at stake",
        "Mends itself",
        "seen in 1 run",
    ):
        assert words in text
