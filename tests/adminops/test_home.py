"""Home: what wants somebody, how many, and where they are; and what colleagues did last."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from adminops.pages.home import Home
from billing import figures, mirror
from billing.models import CustomerSync
from tests.adminops.pages import Page
from tests.factories import (
    AdministratorFactory,
    AlertFactory,
    HoldFactory,
    OrganizationFactory,
    StaffEventFactory,
    SubscriptionEventFactory,
)

pytestmark = pytest.mark.django_db

HOME = "/admin/"
NASTY = "<script>alert('x')</script>\"&😀 שלום"


def test_home_counts_what_wants_somebody_and_leads_there(administrator: Client) -> None:
    owing = OrganizationFactory(
        currency="usd",
        subscription_status="past_due",
        billing_issue_since=timezone.now() - timedelta(days=3),
        amount_overdue=214000,
    )
    HoldFactory(organization=owing)
    OrganizationFactory(cancel_at_period_end=True)
    AlertFactory(kind="refund_failed")
    SubscriptionEventFactory(state="parked")
    StaffEventFactory(state="pending")
    mirror.upsert(
        [
            {
                "id": "du_1",
                "object": "dispute",
                "charge": "ch_1",
                "status": "needs_response",
                "amount": 100,
                "currency": "usd",
                "livemode": False,
                "evidence_details": {"due_by": int((timezone.now() + timedelta(days=2)).timestamp())},
            }
        ]
    )
    response = administrator.get(HOME)
    text = Page(response).text
    for words in (
        "Past due $2,140.00 1",
        "Suspended 1",
        "Set to end 1",
        "Refunds that failed 1",
        "Failed, or waiting for a person 1",
        "Operations in progress or unknown 1",
        "Disputes to answer first by",
    ):
        assert words in text
    for address in ("?overdue=0", "?cancels=soon", "?state=troubled", "?acknowledged=no"):
        assert address in response.content.decode()
        link = next(link for link in Page(response).links if address in link)
        assert administrator.get(link).status_code == 200


def test_what_home_counts_is_exactly_what_its_links_list(administrator: Client) -> None:
    waiting = OrganizationFactory(name="Northwind Labs", stripe_customer_id="cus_waiting")
    now = {"queued_at": timezone.now(), "next_attempt_at": timezone.now()}
    CustomerSync.objects.create(
        pk=waiting.stripe_customer_id, wanted=2, done=1, last_error="in_1: gone", **now
    )
    CustomerSync.objects.create(pk="cus_read", wanted=2, done=2)
    SubscriptionEventFactory(state="pending", stripe_customer_id=waiting.stripe_customer_id)
    SubscriptionEventFactory(state="failed", organization=None)
    SubscriptionEventFactory(state="parked")
    StaffEventFactory(state="pending")
    counted = {row.label: row for column in Home(AdministratorFactory()).columns for row in column.rows}
    for label, number in (
        ("Customers to be read from Stripe", 1),
        ("Failed, or waiting for a person", 2),
        ("Operations in progress or unknown", 1),
    ):
        assert counted[label].value == str(number)
        assert len(administrator.get(counted[label].url).context["cl"].result_list) == number
    text = Page(administrator.get("/admin/billing/customersync/")).text
    assert "cus_waiting Northwind Labs" in text
    assert "in_1: gone" in text
    assert "cus_read" not in text


def test_home_tells_what_colleagues_did_last(administrator: Client) -> None:
    StaffEventFactory(message=f"Seats changed from 8 to 12. {NASTY}", organization__name=NASTY)
    page = Page(administrator.get(HOME))
    assert "Seats changed from 8 to 12." in page.text
    assert NASTY in page.text
    assert not page.could_run()


def test_home_counts_only_what_one_may_see(staff: Callable[..., Client]) -> None:
    SubscriptionEventFactory(state="failed")
    StaffEventFactory(message="Seats changed from 8 to 12.")
    text = Page(staff("organizations.view_organization").get(HOME)).text
    assert "Organizations" in text
    assert "Failed, or waiting for a person" not in text
    assert "Seats changed" not in text
    assert "Disputes" not in text


def test_home_of_someone_without_rights_says_so_in_words(staff: Callable[..., Client]) -> None:
    assert staff().get(HOME).status_code == 200


def test_home_costs_the_same_however_much_there_is(administrator: Client) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert administrator.get(HOME).status_code == 200
        return len(captured)

    few = cost()
    for organization in OrganizationFactory.create_batch(10):
        StaffEventFactory(organization=organization)
        SubscriptionEventFactory(organization=organization, state="failed")
    assert cost() == few
    assert few <= 12


def test_of_very_many_organizations_home_shows_stored_figures_and_their_age(
    administrator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_ADDED_UP", 2)
    OrganizationFactory.create_batch(4)
    text = Page(administrator.get(HOME)).text
    assert "Organizations Here within minutes. being counted" in text
    assert "Past due" not in text
    figures.store_figures()
    text = Page(administrator.get(HOME)).text
    assert "Organizations 4" in text
    assert "Customers added up at today" in text
