"""Every page for everybody: axe finds nothing to say in the light and in the dark, and a phone never scrolls sideways.

The pages are walked from the registries, so that a new model or a new operation is among them by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Page as Browser
from playwright.sync_api import expect
from pytest_django.live_server_helper import LiveServer

from adminops.actions import ACTIONS, action_named
from adminops.pages.bulk.forms import FORMS
from adminops.pages.customer.member_access import member_access_url
from billing import mirror
from billing.bulk import rows
from billing.bulk.kinds import KINDS
from billing.models import BulkJob
from organizations.models import Membership
from tests.adminops.test_money_lists import charge, dispute, refund
from tests.conftest import Sandbox
from tests.factories import (
    AdministratorFactory,
    AlertFactory,
    DiscrepancyFactory,
    EventPayloadFactory,
    HoldFactory,
    MembershipFactory,
    NoteFactory,
    OrganizationFactory,
    ReconciliationRunFactory,
    StaffEventFactory,
    StaffFactory,
    UserFactory,
)
from tests.situations import SITUATIONS
from tests.stripe_world import make_customer, make_organization

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
RULES = {
    "type": "tag",
    "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}
# In the dark a page is the same but for its colours.
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


class Visitor:
    """Somebody who looks at pages in a browser, and at what is wrong with each."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.browser = browser
        self.url = url
        self.user: Any = None

    def enter(self, user: Any) -> None:
        """Be logged in as that user, where there is one."""
        if user in (None, self.user):
            return
        self.user = user
        client = Client()
        client.force_login(user)
        cookie = client.cookies["sessionid"]
        self.browser.context.add_cookies([{"name": "sessionid", "value": cookie.value, "url": self.url}])

    def goto(self, address: str) -> None:
        self.browser.goto(f"{self.url}{address}")

    def faults(self) -> list[str]:
        """What is wrong with the page that is open: axe's findings, and what is wider than a phone."""
        self.browser.evaluate(AXE)
        found = self._axe("light", RULES) + self._axe("dark", COLOURS)
        self.browser.emulate_media(color_scheme="light", reduced_motion="reduce")
        self.browser.set_viewport_size(PHONE)  # type: ignore[arg-type]
        wide = self.browser.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        if wide > 0:
            found.append(f"{wide} pixels too wide for a phone")
        self.browser.set_viewport_size(DESK)  # type: ignore[arg-type]
        return found

    def _axe(self, scheme: Any, rules: dict[str, Any]) -> list[str]:
        self.browser.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        # A colour on its way to another is neither.
        self.browser.evaluate(
            "() => document.getAnimations().forEach((each) => {"
            " if (each.effect.getComputedTiming().iterations !== Infinity) each.finish(); })"
        )
        result = self.browser.evaluate(
            "(rules) => axe.run({ runOnly: rules, resultTypes: ['violations'] })", rules
        )
        return [
            f"{scheme}: {violation['id']} at {node['target']} {node['html']}: {node['failureSummary']}"
            for violation in result["violations"]
            for node in violation["nodes"]
        ]


@pytest.fixture
def visitor(page: Browser, live_server: LiveServer) -> Visitor:
    """Somebody at a desk."""
    page.set_viewport_size(DESK)  # type: ignore[arg-type]
    page.set_default_timeout(10_000)
    return Visitor(page, live_server.url)


def registered() -> Iterator[tuple[str, str]]:
    """The lists of all models, and the page of one of each."""
    for model in admin.site._registry:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        yield f"{name} list", reverse(f"admin:{name}_changelist")
        one = model._default_manager.order_by("pk").last()
        if one is not None:
            yield f"{name} page", reverse(f"admin:{name}_change", args=[one.pk])


def test_every_page_of_the_site_is_for_everybody(
    visitor: Visitor, sandbox: Sandbox, subtests: pytest.Subtests
) -> None:
    organization = make_organization(make_customer(sandbox))
    MembershipFactory.create_batch(3, organization=organization)
    HoldFactory(organization=organization)
    AlertFactory(organization=organization)
    StaffEventFactory(organization=organization)
    EventPayloadFactory(event__organization=organization)
    run = ReconciliationRunFactory(
        counts={"seats": 1},
        log=[{"at": "2026-11-23T02:10:00+00:00", "line": "3 events had never been received."}],
    )
    difference = DiscrepancyFactory(organization=organization, first_run=run, last_run=run)
    ReconciliationRunFactory(state="failed", message="Stripe refused our key.")
    asking = ReconciliationRunFactory(kind="incremental", state="tripped", message="12 would change.")
    DiscrepancyFactory(last_run=asking)
    ReconciliationRunFactory(kind="incremental", state="running", finished_at=None)
    reconciliation = reverse("admin:reconciliation")
    overdue = MembershipFactory(organization=organization, role=Membership.Role.OWNER)
    note = NoteFactory(
        organization=organization, author=(administrator := AdministratorFactory()), pinned=True
    )
    novice = StaffFactory()
    pages: list[tuple[Any, str, str]] = [
        (None, "login", reverse("admin:login")),
        (None, "login of members", reverse("login")),
        (overdue.user, "a member's own page", reverse("members")),
        (UserFactory(), "the page of a member of nothing", reverse("members")),
        (novice, "home of somebody who may nothing", reverse("admin:index")),
        (novice, "what one may not", reverse("admin:auth_user_changelist")),
        *(
            (administrator, name, address)
            for name, address in {
                "home": reverse("admin:index"),
                **dict(registered()),
                "new user": reverse("admin:auth_user_add"),
                "new role": reverse("admin:auth_group_add"),
                "nothing found": f"{reverse('admin:organizations_organization_changelist')}?q=nobody",
                "can they get in": member_access_url(overdue),
                "notes": reverse("admin:organizations_organization_notes", args=[organization.pk]),
                "a note": reverse("admin:organizations_organization_note", args=[organization.pk, note.pk]),
                "reconciliation": reconciliation,
                "a run that came to its end": reverse(
                    "admin:billing_reconciliationrun_change", args=[run.pk]
                ),
                "a run that asks": reverse("admin:reconciliation_agree", args=[asking.pk]),
                **{
                    f"to {way} a difference": f"{reconciliation}{way}/?rows={difference.pk}"
                    for way in ("mend", "accept", "ignore")
                },
                "password": reverse("admin:password_change"),
                "no such page": "/nothing/",
            }.items()
        ),
    ]
    for user, name, address in pages:
        with subtests.test(name):
            visitor.enter(user)
            visitor.goto(address)
            assert visitor.faults() == []


def test_what_is_folded_on_the_page_of_reconciliation_is_for_everybody(visitor: Visitor) -> None:
    run = ReconciliationRunFactory(counts={"seats": 2})
    ReconciliationRunFactory(state="stopped")
    DiscrepancyFactory.create_batch(2, last_run=run)
    DiscrepancyFactory(
        type="subscription_of_nobody", organization=None, stripe_customer_id="cus_x", stripe_object_id="sub_x"
    )
    visitor.enter(AdministratorFactory())
    visitor.goto(reverse("admin:reconciliation"))
    visitor.browser.evaluate(
        "document.querySelectorAll('#content details').forEach((each) => { each.open = true; })"
    )
    assert visitor.faults() == []


def fill(browser: Browser, answers: dict[str, Any]) -> None:
    """Answer the questions of a form, whatever they are asked with."""
    for name, value in answers.items():
        field = browser.locator(f'[name="{name}"]:not([type="hidden"])')
        kind = field.first.evaluate("(field) => field.type")
        for each in value if isinstance(value, list) else [value]:
            if kind in {"radio", "checkbox"}:
                browser.locator(f'[name="{name}"][value="{each}"]').check()
            elif kind == "select-one":
                field.select_option(each)
            else:
                field.fill(each)


def test_every_operation_is_for_everybody(
    visitor: Visitor, sandbox: Sandbox, subtests: pytest.Subtests
) -> None:
    visitor.enter(AdministratorFactory())
    browser = visitor.browser
    confirm = browser.locator("[data-confirm-button]:enabled")
    for action in ACTIONS:
        situation = SITUATIONS[action.name](sandbox)
        with subtests.test(f"{action.name}: its questions, and what will happen"):
            visitor.goto(action.url(situation.subject))
            fill(browser, situation.answers)
            expect(confirm).to_be_visible()
            assert visitor.faults() == []
        if action.name == "change_seats":
            with subtests.test("what was forgotten"):
                confirm.click()
                expect(browser.locator(".bo-error")).to_be_visible()
                assert visitor.faults() == []
        if action.name in {"change_seats", "create_portal_session"}:
            with subtests.test(f"{action.name}: done"):
                browser.locator('[name="reason"]').fill("asked on the phone")
                confirm.click()
                expect(confirm).to_have_count(0)
                assert visitor.faults() == []


def test_an_operation_that_cannot_be_done_is_for_everybody(visitor: Visitor) -> None:
    visitor.enter(AdministratorFactory())
    visitor.goto(action_named("cancel_subscription").url(OrganizationFactory(stripe_customer_id=None)))
    assert visitor.faults() == []


# What a form asks of many before it shows what will happen.
ANSWERS_OF_MANY: dict[str, dict[str, Any]] = {
    "change_seats": {"how": "to", "seats": "12"},
    "activate_organization": {"kinds": ["manual"]},
    "cancel_subscription": {"when": "now"},
    "suspend_organization": {"kind": "abuse"},
}


def test_doing_it_to_many_is_for_everybody(
    visitor: Visitor, sandbox: Sandbox, subtests: pytest.Subtests
) -> None:
    visitor.enter(AdministratorFactory())
    browser = visitor.browser
    for name in FORMS:
        situation = SITUATIONS[name](sandbox)
        model = apps.get_model(KINDS[name].ticked_in)
        row = situation.subject
        if not isinstance(row, model):
            row = model._default_manager.get(id=situation.choices["invoice"])
        with subtests.test(f"{name}: its questions, and what will happen"):
            visitor.goto(reverse(f"admin:{KINDS[name].ticked_in.replace('.', '_')}_changelist"))
            browser.locator(f'[name="_selected_action"][value="{row.pk}"]').check()
            browser.get_by_label("Select action to run").select_option(name)
            browser.get_by_role("button", name="Run").click()
            fill(browser, ANSWERS_OF_MANY.get(name, {}))
            browser.get_by_role("button", name="Show what will happen").click()
            expect(browser.locator('[name="token"]')).to_have_count(1)
            assert visitor.faults() == []
    with subtests.test("begun"):
        browser.locator('[name="reason"]').fill("asked on the phone")
        browser.locator('[name="step"][value="apply"]').click()
        expect(browser.get_by_text("1 waiting").first).to_be_visible()
        assert visitor.faults() == []
    with subtests.test("done"):
        job = BulkJob.objects.get()
        rows.do_row(job.rows.values_list("pk", flat=True).get())
        visitor.goto(reverse("admin:billing_bulkjob_change", args=[job.pk]))
        assert visitor.faults() == []


def test_the_pages_of_one_payment_refund_and_dispute_are_for_everybody(visitor: Visitor) -> None:
    organization = OrganizationFactory()
    mirror.upsert([charge(organization, 1), refund(1, status="failed"), dispute(1)])
    visitor.enter(AdministratorFactory())
    for kind in ("charge", "refund", "dispute"):
        [row] = apps.get_model("djstripe", kind)._default_manager.all()
        visitor.goto(reverse(f"admin:djstripe_{kind}_change", args=[row.pk]))
        visitor.browser.evaluate(
            "document.querySelectorAll('#content details').forEach((each) => { each.open = true; })"
        )
        assert visitor.faults() == []
