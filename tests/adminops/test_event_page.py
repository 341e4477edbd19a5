"""The page of an event in a browser: what Stripe sent, searched and copied without harm."""

import json

import pytest
from django.urls import reverse
from playwright.sync_api import Page as Browser
from playwright.sync_api import expect
from pytest_django.live_server_helper import LiveServer

from tests.adminops.test_accessibility import Visitor, visitor
from tests.factories import AdministratorFactory, EventPayloadFactory

__all__ = ["visitor"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]

SENT = {"amount": 7733, "name": "<img src=x onerror=alert(1)> שלום İI", "nul": "a\0b", "long": "x" * 5000}


def test_a_payload_is_searched_and_copied(visitor: Visitor, page: Browser, live_server: LiveServer) -> None:
    event = EventPayloadFactory(body=json.dumps(SENT)).event
    visitor.enter(AdministratorFactory())
    page.on("dialog", lambda _dialog: pytest.fail("Something of the payload ran."))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=live_server.url)
    visitor.goto(reverse("admin:billing_subscriptionevent_change", args=[event.pk]))
    page.get_by_text("Show it").click()
    find, told = page.get_by_label("Find in the payload"), page.locator(".bo-find [role=status]")
    find.fill("AMOUNT")
    expect(told).to_have_text("1 line")
    expect(page.locator("#payload mark")).to_have_text("amount")
    expect(page.locator("#payload")).not_to_contain_text("שלום")
    find.fill("<img")
    expect(page.locator("#payload mark")).to_have_text("<img")
    expect(page.locator("#payload img")).to_have_count(0)
    assert visitor.faults() == []
    find.fill("nothing like it")
    expect(told).to_have_text("No line has it.")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == SENT
    find.fill("")
    expect(page.locator("#payload")).to_contain_text("שלום")
