"""The tests' own surroundings: what conftest promises to every other test."""

import socket
import time

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from playwright.sync_api import Page, expect
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob
from pytest_django.live_server_helper import LiveServer

from billing.models import SubscriptionEvent
from tests.conftest import Sandbox
from tests.factories import SubscriptionEventFactory


def test_nothing_but_this_machine_can_be_reached() -> None:
    with socket.socket() as stranger:
        with pytest.raises(pytest.fail.Exception, match="only this machine"):
            stranger.connect(("192.0.2.1", 443))


def test_the_sandbox_is_where_the_settings_say_and_empty(sandbox: Sandbox) -> None:
    assert sandbox.url == settings.STRIPE_API_BASE
    sandbox.client.v1.customers.create({"email": "billing@example.com"})
    assert len(sandbox.client.v1.customers.list().data) == 1
    sandbox.control("POST", "reset")
    assert sandbox.client.v1.customers.list().data == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_transactional_test_finds_every_table_empty_though_the_ledger_refuses_deletion(turn: str) -> None:
    assert SubscriptionEvent.objects.count() == ProcrastinateJob.objects.count() == 0
    SubscriptionEventFactory.create()
    app.configure_task("billing.tasks.sync_customer").defer(customer_id="cus_1")
    with connection.cursor() as cursor:
        with pytest.raises(DatabaseError), transaction.atomic():
            cursor.execute("DELETE FROM billing_subscriptionevent")


@pytest.mark.django_db
def test_webhooks_of_the_sandbox_arrive(sandbox: Sandbox, arriving_webhooks: str) -> None:
    sandbox.client.v1.customers.create({"email": "billing@example.com"})
    for _ in range(50):
        recent = sandbox.control("GET", "deliveries")["recent"]
        if recent:
            break
        time.sleep(0.1)
    assert [delivery["url"] for delivery in recent] == [arriving_webhooks]
    assert SubscriptionEvent.objects.get().type == "customer.created"


def test_a_browser_sees_the_login_page(page: Page, live_server: LiveServer) -> None:
    page.goto(f"{live_server.url}/admin/")
    expect(page.get_by_label("Username")).to_be_visible()
