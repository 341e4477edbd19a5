"""What people are told of a run that ended."""

from __future__ import annotations

import pytest
from django.core import mail
from procrastinate.contrib.django.models import ProcrastinateJob
from pytest_django import Settings

from billing.models import Alert, Discrepancy, ReconciliationRun
from billing.reconciliation import news, runs
from organizations.models import Organization
from tests.billing.reconciliation.running import reconcile
from tests.conftest import Sandbox
from tests.factories import MembershipFactory, StaffFactory
from tests.stripe_world import make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def readers(settings: Settings) -> list[str]:
    """Those who want a summary."""
    addresses = ["books@example.com", "cfo@example.com"]
    settings.RECONCILE_EMAILS = addresses
    return addresses


def queued() -> list[int]:
    """The runs a summary of which is to be sent."""
    jobs = ProcrastinateJob.objects.filter(task_name=news.MAIL_TASK).order_by("id")
    return [job.args["run_id"] for job in jobs]


def test_a_summary_is_sent_once_when_something_differs(sandbox: Sandbox, readers: list[str]) -> None:
    organization = make_organization(make_customer(sandbox))
    assert reconcile().found == 0
    assert queued() == []
    MembershipFactory.create_batch(9, organization=organization)
    run = reconcile()
    assert queued() == [run.pk]
    news.mail_summary(run.pk)
    news.mail_summary(run.pk)
    [sent] = mail.outbox
    assert sent.to == readers
    assert sent.subject == "Reconciliation: 1 difference to settle"
    assert f"- {organization.name}: More members than seats." in sent.body
    assert "Active members: 9. Seats paid for: 8. $29.00" in sent.body
    assert "At stake: $29.00." in sent.body
    run.refresh_from_db()
    assert run.log[-1]["line"] == "A summary was sent to 2 addresses."


def test_a_run_over_what_changed_tells_only_what_is_new(sandbox: Sandbox, readers: list[str]) -> None:
    organization = make_organization(make_customer(sandbox))
    MembershipFactory.create_batch(9, organization=organization)
    full = reconcile()
    reconcile("incremental")
    assert queued() == [full.pk]


def test_what_was_settled_before_it_is_sent_is_not_sent(sandbox: Sandbox, readers: list[str]) -> None:
    organization = make_organization(make_customer(sandbox))
    MembershipFactory.create_batch(9, organization=organization)
    run = reconcile()
    Discrepancy.objects.all().delete()
    news.mail_summary(run.pk)
    assert mail.outbox == []


def test_a_run_that_stops_and_asks_raises_one_alert_until_one_comes_to_its_end(sandbox: Sandbox) -> None:
    organization = make_organization(make_customer(sandbox))
    Organization.objects.filter(pk=organization.pk).update(plan="Nonsense")
    run = reconcile(max_changes=0)
    reconcile(max_changes=0)
    alert = Alert.objects.get(kind="reconciliation_tripped")
    assert alert.message == run.message
    assert alert.ended_at is None
    again = ReconciliationRun.objects.latest("pk")
    runs.agree(again, StaffFactory(), workers=0)
    runs.advance(again.pk)
    alert.refresh_from_db()
    assert alert.ended_at is not None


def test_a_run_that_failed_raises_an_alert(sandbox: Sandbox) -> None:
    make_organization(make_customer(sandbox))
    sandbox.control(
        "POST", "faults", {"kind": "error_400", "method": "GET", "path": "/v1/customers", "times": -1}
    )
    assert reconcile().state == "failed"
    assert Alert.objects.filter(kind="reconciliation_failed", ended_at=None).count() == 1
