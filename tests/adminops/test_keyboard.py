"""Money by keyboard alone: who uses no mouse comes from the login to the result, and never loses the place."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page as Browser
from playwright.sync_api import expect
from pytest_django.live_server_helper import LiveServer

from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import StaffFactory
from tests.stripe_world import World, charges_at_stripe, make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)

FOCUS = (
    "() => { const at = document.activeElement; if (at === document.body) return '';"
    " return [at.name ?? '', at.value ?? '', at.labels?.[0]?.innerText ?? at.innerText ?? ''].join('|'); }"
)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world, name="Northwind Labs")


@pytest.fixture
def browser_of_support(page: Browser, live_server: LiveServer, organization: Organization) -> Browser:
    """Logged in by keyboard, on the page of the customer."""
    support = StaffFactory(
        username="support",
        permissions=[
            "organizations.view_organization",
            "organizations.change_organization",
            "organizations.cancel_subscription",
            "organizations.refund_invoice",
            "billing.view_subscriptionevent",
        ],
    )
    support.set_password("paper-kite-63")
    support.save()
    page.goto(f"{live_server.url}/admin/organizations/organization/{organization.pk}/change/")
    tab_to(page, "username")
    page.keyboard.type("support")
    tab_to(page, "password")
    page.keyboard.type("paper-kite-63")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Refund").first).to_be_visible()
    return page


def focused(page: Browser) -> str:
    """What has the focus: its name, its value, what is written on it."""
    found: str = page.evaluate(FOCUS)
    return found


def tab_to(page: Browser, wanted: str, most: int = 80) -> None:
    """Press Tab until the focus is on what was wanted: the beginning of its name, or the end of what is on it."""
    for _ in range(most):
        at = focused(page)
        if at.startswith(f"{wanted}|") or re.search(rf"[|\n]{wanted}\s*$", at):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no Tab led to {wanted!r}; the last one to {focused(page)!r}")


def wait_for_focus(page: Browser, name: str) -> None:
    """The page puts the focus there by itself."""
    page.wait_for_function("(name) => document.activeElement.name === name", arg=name)


def test_a_whole_invoice_is_refunded(
    browser_of_support: Browser, sandbox: Sandbox, world: World, organization: Organization
) -> None:
    page = browser_of_support
    tab_to(page, "Refund")
    page.keyboard.press("Enter")
    wait_for_focus(page, "amount")
    page.keyboard.type("9999")
    expect(page.get_by_role("alert")).to_contain_text("At most $232.00")
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    confirm = page.get_by_role("button", name="Refund $232.00")
    expect(confirm).to_be_enabled()

    tab_to(page, "Refund \\$232.00")
    page.keyboard.press("Enter")
    wait_for_focus(page, "reason")
    expect(page.get_by_text("Say why, for whoever reads the timeline later.")).to_be_visible()
    assert [charge.amount_refunded for charge in charges_at_stripe(sandbox, world)] == [0]

    page.keyboard.type("never used")
    tab_to(page, "Refund \\$232.00")
    page.keyboard.press("Space")
    expect(page.get_by_text(re.compile(r"\$232\.00.*refunded|Refunded \$232\.00")).first).to_be_visible()
    assert [charge.amount_refunded for charge in charges_at_stripe(sandbox, world)] == [23_200]


def test_the_parts_of_a_customer_are_two_keys_away(browser_of_support: Browser) -> None:
    page = browser_of_support
    for key, part in {"i": "invoices", "m": "members", "t": "timeline", "d": "details"}.items():
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.wait_for_function("(id) => document.activeElement.id === id", arg=part)
    tab_to(page, "kind")
    page.keyboard.press("g")
    page.keyboard.press("i")
    assert focused(page).startswith("kind|")


def test_a_subscription_is_cancelled(browser_of_support: Browser, sandbox: Sandbox, world: World) -> None:
    page = browser_of_support
    tab_to(page, "Cancel subscription")
    page.keyboard.press("Enter")
    wait_for_focus(page, "when")
    assert focused(page).startswith("when|period_end|")
    page.keyboard.press("ArrowDown")
    assert focused(page).startswith("when|now|")
    tab_to(page, "prorate")
    page.keyboard.press("ArrowDown")
    tab_to(page, "invoice_now")
    page.keyboard.press("ArrowDown")
    tab_to(page, "feedback")
    page.keyboard.type("Too")
    tab_to(page, "reason")
    page.keyboard.type("asked on the phone")
    # Enter in a field shows what will happen; it never does it.
    page.keyboard.press("Enter")
    confirm = page.locator("[data-confirm-button]:enabled")
    expect(confirm).to_be_visible()
    assert sandbox.client.v1.subscriptions.retrieve(world.subscription).status == "active"

    tab_to(page, re.escape(confirm.inner_text()))
    page.keyboard.press("Space")
    expect(page.get_by_text("Stripe confirmed at").first).to_be_visible()
    assert sandbox.client.v1.subscriptions.retrieve(world.subscription).status == "canceled"


@pytest.mark.parametrize("width", [1440, 390])
def test_details_that_were_refused_say_so_where_one_looks_and_lead_to_the_field(
    browser_of_support: Browser, width: int
) -> None:
    page = browser_of_support
    page.set_viewport_size({"width": width, "height": 844})
    page.locator("#id_name").fill("")
    page.get_by_role("button", name="Save details").click()
    note = page.get_by_role("alert").filter(has_text="The details were not saved.")
    expect(note).to_be_in_viewport()
    expect(note).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#id_name")).to_be_focused()
    expect(page.locator("#id_name")).to_be_in_viewport()
