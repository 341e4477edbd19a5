"""Alerts: raised once for each thing that is wrong, with what to do, in the list and by e-mail."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from billing import mirror, tasks
from billing.alerts import KINDS, raise_alert
from billing.models import Alert
from billing.operations import settlement
from billing.operations.sweeper import settle_pending
from billing.sync import request_sync, sync_customer
from tests.adminops.pages import Page
from tests.conftest import Sandbox
from tests.factories import AlertFactory, OrganizationFactory, StaffFactory, UnbilledOrganizationFactory
from tests.operating import grow_older, make_due, show
from tests.stripe_world import make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)


def test_one_thing_raises_one_alert() -> None:
    organization = OrganizationFactory()
    assert raise_alert("refund_failed", "re_1", "It failed.", organization=organization)
    assert not raise_alert("refund_failed", "re_1", "It failed again.", organization=organization)
    assert raise_alert("refund_failed", "re_2", "Another failed.", organization=organization)
    assert Alert.objects.count() == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_to_do(kind: str) -> None:
    assert str(KINDS[kind].label)
    assert str(KINDS[kind].what_to_do).endswith(".")


def test_an_alert_is_mailed_once_to_those_who_want_it(settings: Settings) -> None:
    settings.ALERT_EMAILS = ["finance@example.com"]
    organization = OrganizationFactory(name="Bad\nName <script>")
    raise_alert("refund_failed", "re_1", "The refund of $5.00 failed.", organization=organization)
    alert = Alert.objects.get()

    tasks.mail_alert(alert.pk)
    tasks.mail_alert(alert.pk)

    (sent,) = mail.outbox
    assert sent.to == ["finance@example.com"]
    assert "\n" not in sent.subject
    assert "The refund of $5.00 failed." in sent.body
    assert "What to do: Tell the customer" in sent.body


def test_a_refund_that_fails_later_calls_a_person(sandbox: Sandbox) -> None:
    world = make_customer(sandbox, card="pm_card_refundFail")
    organization = make_organization(world)
    charge = sandbox.client.v1.charges.list({"customer": world.customer}).data[0]
    refund = sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 500})
    sandbox.control("POST", "clock", {"advance": 2 * 86_400})
    for _ in range(2):
        request_sync(world.customer, [refund.id])
        assert sync_customer(world.customer)

    alert = Alert.objects.get()
    assert (alert.kind, alert.severity, alert.organization) == ("refund_failed", "today", organization)
    assert "$5.00" in alert.message


def test_a_refund_that_failed_before_its_customer_was_ever_read_calls_a_person(sandbox: Sandbox) -> None:
    world = make_customer(sandbox, card="pm_card_refundFail")
    charge = sandbox.client.v1.charges.list({"customer": world.customer}).data[0]
    sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 500})
    sandbox.control("POST", "clock", {"advance": 2 * 86_400})

    organization = make_organization(world)

    assert Alert.objects.get().organization == organization
    assert [each["status"] for each in mirror.refunds_of(world.customer)] == ["failed"]


def test_a_failed_refund_of_a_charge_we_never_saw_names_its_organization(sandbox: Sandbox) -> None:
    world = make_customer(sandbox, card="pm_card_refundFail")
    charge = sandbox.client.v1.charges.list({"customer": world.customer}).data[0]
    refund = sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 500})
    sandbox.control("POST", "clock", {"advance": 2 * 86_400})
    organization = UnbilledOrganizationFactory(stripe_customer_id=world.customer)

    request_sync(charge.id, [refund.id, charge.id])
    sync_customer(charge.id)
    sync_customer(world.customer)

    assert Alert.objects.get().organization == organization


def test_an_operation_whose_end_nobody_can_find_out_calls_a_person(
    sandbox: Sandbox, settings: Settings
) -> None:
    organization = make_organization(make_customer(sandbox))
    settings.STRIPE_READ_TIMEOUT = 0.7
    shown = show("change_seats", organization, seats=12)
    silent = {"kind": "timeout_before", "path": "/v1/subscriptions/*"}
    sandbox.control("POST", "faults", {**silent, "method": "POST"})
    event = shown.apply()
    assert event.state == "pending"
    sandbox.control("POST", "faults", {**silent, "method": "GET", "times": -1})
    grow_older(datetime.timedelta(days=3).total_seconds())
    for _ in range(2):
        make_due()
        settle_pending()

    event.refresh_from_db()
    assert event.state == "parked"
    alert = Alert.objects.get()
    assert (alert.kind, alert.event, alert.organization) == ("operation_parked", event, organization)
    assert "could not be found out" in alert.message
    assert datetime.timedelta(days=3) > settlement.GIVE_UP_AFTER


def test_acknowledging_says_who_looks_after_it_and_hides_nothing() -> None:
    alert = AlertFactory(message="Look at <script>this</script>")
    other = AlertFactory(acknowledged_at=timezone.now(), acknowledged_by=StaffFactory(username="ben"))
    url = "/admin/billing/alert/"
    answers: dict[str, Any] = {"action": "acknowledge", "_selected_action": [alert.pk, other.pk]}

    onlooker = Client()
    onlooker.force_login(StaffFactory(permissions=["billing.view_alert"]))
    onlooker.post(url, answers)
    alert.refresh_from_db()
    assert alert.acknowledged_at is None

    ann = Client()
    ann.force_login(
        StaffFactory(
            username="ann",
            last_name="Ann",
            permissions=["billing.view_alert", "billing.acknowledge_alert"],
        )
    )
    shown = ann.get(url)
    assert "Look at <script>this</script>" in Page(shown).text
    assert Page(shown).could_run() == []
    assert "1 alert acknowledged." in Page(ann.post(url, answers, follow=True)).text
    alert.refresh_from_db()
    other.refresh_from_db()
    assert alert.acknowledged_by is not None
    assert (alert.acknowledged_by.username, getattr(other.acknowledged_by, "username", "")) == ("ann", "ben")
    assert "Sam Ann," in Page(ann.get(url)).text


def test_an_alert_is_read_whole_and_acknowledged_where_it_stands() -> None:
    alert = AlertFactory(kind="reconciliation_tripped", message="1,200 organizations would be changed.")
    viewer, ann = Client(), Client()
    viewer.force_login(StaffFactory(username="vera", permissions=["billing.view_alert"]))
    ann.force_login(
        StaffFactory(
            username="ann",
            last_name="Ann",
            permissions=["billing.view_alert", "billing.acknowledge_alert"],
        )
    )
    url = "/admin/billing/alert/"
    button = f"{url}{alert.pk}/acknowledge/"
    shown = viewer.get(url)
    assert button not in shown.content.decode()
    assert str(KINDS[alert.kind].what_to_do) in Page(shown).text
    assert viewer.post(button).status_code == 403
    assert button in ann.get(url).content.decode()
    assert ann.get(button).status_code == 405
    done = ann.post(f"{button}?acknowledged=no", follow=True)
    assert "1 alert acknowledged." in Page(done).text
    assert done.redirect_chain[0][0] == f"{url}?acknowledged=no"
    assert "0 alerts acknowledged." in Page(ann.post(button, follow=True)).text
