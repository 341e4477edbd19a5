"""A refund whose server is killed, for real, at every moment that matters: one refund, one settled line."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys

import pytest
from pytest_django import Settings

from billing.models import SubscriptionEvent
from billing.operations.settlement import longest_call
from organizations.models import Organization
from tests import databases
from tests.conftest import Sandbox
from tests.factories import StaffFactory
from tests.stripe_world import World, make_customer, make_organization
from tests.test_road import eventually, kill, start_worker

pytestmark = pytest.mark.django_db(transaction=True)

# How each moment is reached: the function that is left by a kill, and whether it does its work before.
MOMENTS = {
    "before the intent commits": ("refund.RefundInvoice", "prepare", True),
    "after the intent committed": ("intent", "carry_out", False),
    "before the call": ("settlement", "_send", False),
    "after Stripe did it": ("settlement", "_send", True),
    "before the settling commits": ("refund.RefundInvoice", "settle", True),
}

SERVER = """
import django; django.setup()
import os, signal
from django.contrib.auth.models import User
from billing.operations import OPERATIONS, intent, refund, settlement
from billing.operations.refund_preview import RefundChoices
from organizations.models import Organization

owner, name, works_first = {owner}, {name!r}, {works_first!r}
whole = getattr(owner, name)

def die(*args, **more):
    if works_first:
        whole(*args, **more)
    os.kill(os.getpid(), signal.SIGKILL)

organization, operation = Organization.objects.get(), OPERATIONS["refund_invoice"]
choices = RefundChoices(invoice={invoice!r}, amount=500)
_preview, agreed = intent.agree(operation, organization, choices)
setattr(owner, name, die)
ann = User.objects.get(username="ann")
intent.perform(operation, organization, choices=choices, agreed=agreed, actor=ann, reason="asked for it")
"""


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_refund_survives_the_death_of_its_server(
    sandbox: Sandbox, world: World, organization: Organization, moment: str
) -> None:
    owner, name, works_first = MOMENTS[moment]
    StaffFactory(username="ann", permissions=["organizations.refund_invoice"])
    invoice = sandbox.client.v1.invoices.list({"customer": world.customer}).data[0].id
    script = SERVER.format(owner=owner, name=name, works_first=works_first, invoice=invoice)
    server = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "DATABASE_URL": databases.url()},
        check=False,
        timeout=60,
    )
    assert server.returncode == -signal.SIGKILL

    if moment == "before the intent commits":
        assert not SubscriptionEvent.objects.filter(source="staff").exists()
        assert not sandbox.client.v1.refunds.list().data
        return
    act = SubscriptionEvent.objects.get(source="staff")
    assert act.state == "pending"
    # The sweeper comes as soon as nobody can be waiting any more; a test need not wait for that.
    SubscriptionEvent.objects.filter(pk=act.pk).update(next_attempt_at=act.created_at)

    worker = start_worker()
    try:
        eventually(lambda: SubscriptionEvent.objects.filter(pk=act.pk, state="done").exists(), seconds=45)
    finally:
        kill(worker)
    (refund,) = sandbox.client.v1.refunds.list().data
    assert (refund.amount, refund.status) == (500, "succeeded")
    act.refresh_from_db()
    assert act.stripe_refund_id == refund.id
    assert SubscriptionEvent.objects.filter(source="staff").count() == 1


def test_nobody_waits_longer_than_a_minute_for_the_sweeper(settings: Settings) -> None:
    settings.STRIPE_CALLS_PER_SECOND = 25
    comes_every = datetime.timedelta(seconds=10)
    assert longest_call(1) + comes_every <= datetime.timedelta(minutes=1)
