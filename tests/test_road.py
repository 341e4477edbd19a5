"""The road through the whole house, as its users walk it: browser, web server, worker, Stripe's own webhooks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from billing.models import CustomerSync, SubscriptionEvent
from organizations.models import Organization
from tests import databases
from tests.conftest import Sandbox
from tests.factories import MembershipFactory, StaffFactory
from tests.stripe_world import World, make_customer, make_organization, seats_at_stripe

pytestmark = pytest.mark.django_db(transaction=True)


def start_worker() -> subprocess.Popen[bytes]:
    """A worker process on this test's database."""
    return subprocess.Popen(
        [sys.executable, "manage.py", "work"],
        env={**os.environ, "DATABASE_URL": databases.url(), "LOG_LEVEL": "WARNING"},
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A worker that runs for as long as the test does."""
    process = start_worker()
    yield process
    kill(process)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    organization = make_organization(world, name="Northwind Labs")
    MembershipFactory(organization=organization)
    return organization


def eventually(condition: Callable[[], bool], seconds: float = 20) -> float:
    """Wait until it is so; returns how many seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it never came true"
        time.sleep(0.05)
    return time.monotonic() - began


def quiet() -> bool:
    """Whether no webhook waits and nothing is left to be read from Stripe."""
    waiting = SubscriptionEvent.objects.filter(state="pending").exists()
    return not waiting and all(row.wanted == row.done for row in CustomerSync.objects.all())


def test_support_changes_seats_and_sees_stripes_own_webhook_arrive(
    page: Page,
    live_server: LiveServer,
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    arriving_webhooks: str,
    worker: subprocess.Popen[bytes],
) -> None:
    support = StaffFactory(
        username="support",
        permissions=[
            "organizations.view_organization",
            "organizations.view_membership",
            "organizations.change_seats",
            "billing.view_subscriptionevent",
        ],
    )
    support.set_password("paper-kite-63")
    support.save()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)

    page.goto(f"{live_server.url}/admin/")
    page.get_by_label("Username").fill("support")
    page.get_by_label("Password").fill("paper-kite-63")
    page.get_by_label("Password").press("Enter")
    page.get_by_role("link", name="Organizations").first.click()
    page.get_by_role("link", name=re.compile("^Northwind Labs")).click()
    page.get_by_role("link", name="Change seats").first.click()
    page.get_by_label("New seats").fill("12")
    expect(page.get_by_text("What will happen")).to_be_visible()
    expect(page.get_by_text("$348.00").first).to_be_visible()
    page.get_by_label("Reason").fill("new hires")
    page.get_by_role("button", name="Change to 12 seats").click()

    expect(
        page.get_by_text(re.compile(r"Seats changed from 8 to 12\. Stripe confirmed at"))
    ).not_to_have_count(0)
    assert seats_at_stripe(sandbox, world) == 12
    # It is folded beneath the act that caused it: one change of seats is one line.
    folded = page.get_by_text(re.compile("Subscription changed, 8 → 12 seats"))
    expect(folded).to_be_attached(timeout=15_000)
    eventually(lambda: SubscriptionEvent.objects.filter(source="stripe", quantity=12, state="done").exists())
    act = SubscriptionEvent.objects.get(source="staff")
    webhook = SubscriptionEvent.objects.get(source="stripe", type="customer.subscription.updated")
    assert webhook.idempotency_key == f"{act.uuid}:update"
    assert problems == []


def test_what_changes_at_stripe_reaches_our_rows_by_itself(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    arriving_webhooks: str,
    worker: subprocess.Popen[bytes],
) -> None:
    bad = sandbox.client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": world.customer})
    sandbox.client.v1.customers.update(
        world.customer, {"invoice_settings": {"default_payment_method": bad.id}}
    )
    sandbox.control("POST", "clock", {"advance": 32 * 86_400})

    def is_past_due() -> bool:
        organization.refresh_from_db()
        return organization.subscription_status == "past_due" and quiet()

    eventually(is_past_due)
    assert organization.billing_issue_since is not None
    types = set(SubscriptionEvent.objects.filter(source="stripe").values_list("type", flat=True))
    assert {"invoice.payment_failed", "customer.subscription.updated", "charge.failed"} <= types


def test_a_killed_worker_loses_nothing(
    sandbox: Sandbox, world: World, organization: Organization, arriving_webhooks: str
) -> None:
    first = start_worker()
    for seats in range(20, 26):
        sandbox.client.v1.subscriptions.update(
            world.subscription, {"items": [{"id": world.item, "quantity": seats}]}
        )
        if seats == 22:
            kill(first)
    eventually(lambda: SubscriptionEvent.objects.filter(quantity=25).exists())
    # Whatever the dead worker held is free once its lease runs out; a test need not wait for that.
    CustomerSync.objects.update(lease_until=None, lease_token=None, queued_at=None)

    second = start_worker()
    try:
        eventually(quiet, seconds=30)
    finally:
        kill(second)
    organization.refresh_from_db()
    assert organization.seats == 25


def test_a_server_killed_between_call_and_settle_leaves_the_truth_to_the_worker(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.control(
        "POST",
        "faults",
        {
            "kind": "timeout_after",
            "method": "POST",
            "path": f"/v1/subscriptions/{world.subscription}",
            "seconds": 60,
        },
    )
    StaffFactory(username="ann", permissions=["organizations.change_seats"])
    script = (
        "import django; django.setup()\n"
        "from django.contrib.auth.models import User\n"
        "from organizations.models import Organization\n"
        "from billing.operations import OPERATIONS\n"
        "from billing.operations.intent import agree, perform\n"
        "from billing.operations.seat_preview import SeatChoices\n"
        "organization, change = Organization.objects.get(), OPERATIONS['change_seats']\n"
        "choices, ann = SeatChoices(seats=12), User.objects.get(username='ann')\n"
        "_preview, agreed = agree(change, organization, choices)\n"
        "perform(change, organization, choices=choices, agreed=agreed, actor=ann, reason='new hires')\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "DATABASE_URL": databases.url()},
        start_new_session=True,
    )
    eventually(lambda: seats_at_stripe(sandbox, world) == 12)
    kill(server)
    act = SubscriptionEvent.objects.get(source="staff")
    assert act.state == "pending"
    SubscriptionEvent.objects.filter(pk=act.pk).update(next_attempt_at=act.created_at)

    second = start_worker()
    try:
        eventually(lambda: SubscriptionEvent.objects.filter(pk=act.pk, state="done").exists(), seconds=30)
        eventually(quiet)
    finally:
        kill(second)
    act.refresh_from_db()
    organization.refresh_from_db()
    assert (act.message or "").startswith("Seats changed from 8 to 12.")
    assert organization.seats == 12
    calls = [
        call
        for call in sandbox.control("GET", "log")["calls"]
        if call["method"] == "POST" and call["path"] == f"/v1/subscriptions/{world.subscription}"
    ]
    assert len({call["key"] for call in calls}) == 1


def test_nobody_ends_on_a_page_without_a_button(
    page: Page, live_server: LiveServer, organization: Organization
) -> None:
    support = StaffFactory(username="support", permissions=["organizations.change_seats"])
    support.set_password("paper-kite-63")
    support.save()
    page.goto(f"{live_server.url}/admin/organizations/organization/{organization.pk}/seats/")
    page.get_by_label("Username").fill("support")
    page.get_by_label("Password").fill("paper-kite-63")
    page.get_by_label("Password").press("Enter")
    show = page.get_by_role("button", name="Show what will happen")
    confirm = page.get_by_role("button", name=re.compile("Change to"))

    expect(show).to_be_in_viewport()
    page.get_by_label("New seats").fill("12")
    expect(confirm).to_be_enabled()
    expect(show.locator("xpath=..")).to_have_class("sr-only")
    page.get_by_label("New seats").fill("0")
    expect(page.get_by_text("There must be at least 1 seat.")).to_be_visible()
    expect(show.locator("xpath=..")).not_to_have_class("sr-only")
