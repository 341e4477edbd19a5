"""The demo's database: filled from its sandbox, once, and nowhere but on this machine."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, override_settings

from adminops.demo.filling import CLAIMED, DRIFTED, MISTYPED, UNREADABLE
from adminops.demo.history.__main__ import main as live
from adminops.demo.staff import ACCESS_TOKEN, MEMBERS, STAFF
from billing import mirror
from billing.models import Discrepancy, ReconciliationRun, SubscriptionEvent
from billing.reconciliation.driving import drive
from organizations.models import Hold, Membership, Organization
from organizations.querysets import ENDED_STATUSES
from tests.conftest import Sandbox

pytestmark = pytest.mark.django_db(transaction=True)

TABLES = ("organizations_organization", "organizations_membership", "organizations_hold", "auth_user")


@pytest.fixture
def without_the_fault(sandbox: Sandbox) -> Iterator[None]:
    yield
    sandbox.control("DELETE", "faults")


def rows() -> dict[str, Any]:
    """Everything that a second run must leave alone."""
    found = {}
    with connection.cursor() as cursor:
        for table in (*TABLES, "billing_subscriptionevent", "billing_customersync"):
            cursor.execute(
                f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} AS t"
            )
            found[table] = cursor.fetchone()
    return found


@pytest.mark.usefixtures("without_the_fault", "roles")
def test_the_demo_has_what_a_visitor_is_to_find_and_filling_it_again_changes_nothing(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    assert live(["--api", sandbox.url]) == 0
    call_command("fill_demo")

    # Sixty customers as Stripe knows them, but for the one that somebody changed by hand.
    assert Organization.objects.count() == 60
    differing = [
        each.name
        for each in Organization.objects.all()
        if each.seats != quantity_at_stripe(each) and each.subscription_status not in ENDED_STATUSES
    ]
    assert differing == [DRIFTED[0]]
    northwind = Organization.objects.get(name="Northwind Labs")
    assert (northwind.seats, northwind.plan, northwind.currency) == (8, "Team", "usd")
    assert (northwind.subscription_status, northwind.card_last4) == ("active", "4242")
    assert northwind.seats_used() == 7
    assert Organization.objects.past_due().filter(name="Aiko Sushi KK", currency="jpy").exists()

    # People.
    for login in STAFF:
        user = authenticate(username=login.username, password=login.password)
        assert isinstance(user, User)
        assert user.has_perms(["organizations.refund_invoice", "billing.view_subscriptionevent"])
        assert user.has_perm("organizations.change_seats") is (login.role != "finance")
        assert user.is_superuser is (login.role == "administrator")
        assert user.has_perm("auth.change_user") is (login.role == "administrator")
    answers = {}
    for member in MEMBERS:
        assert authenticate(username=member.username, password=member.password)
        answer = Client().get(
            "/api/access/",
            {"organization": Organization.objects.get(name=member.organization).slug, "user": member.email},
            headers={"Authorization": f"Bearer {ACCESS_TOKEN}"},
        )
        answers[member.username] = answer.json()["reason"]
    assert answers == {"northwind": "open", "tamarind": "hold_non_payment"}
    crowded = [
        each.name for each in Organization.objects.all() if each.seats_used() > quantity_at_stripe(each)
    ]
    assert crowded == ["Kestrel Aerospace"]
    assert set(Membership.objects.values_list("status", flat=True)) == set(Membership.Status.values)
    assert set(Membership.objects.values_list("role", flat=True)) == set(Membership.Role.values)
    assert not Membership.objects.exclude(user__is_staff=False).exists()
    assert not Organization.objects.exclude(memberships__isnull=False).exists()

    # Holds and staff's acts, each in the ledger.
    assert set(Hold.objects.values_list("kind", flat=True)) == {"non_payment", "abuse"}
    assert Organization.objects.suspended().past_due().count() == 1
    acts = SubscriptionEvent.objects.filter(source="staff", type="change_seats")
    assert [event.state for event in acts] == ["done"] * 4
    assert all(event.reason and event.actor and event.message for event in acts)
    assert SubscriptionEvent.objects.filter(type__in=("hold.placed", "suspend_organization")).count() == 2

    # One webhook that cannot be read: it has its traceback and its next attempt, as the sync leaves it.
    (failing,) = SubscriptionEvent.objects.filter(source="stripe").exclude(traceback="")
    assert failing.organization_label == UNREADABLE
    assert failing.next_attempt_at is not None
    assert (failing.state, failing.attempts) == ("failed", 1)
    others = SubscriptionEvent.objects.filter(source="stripe").exclude(pk=failing.pk)
    assert set(others.values_list("state", flat=True)) == {"done", "ignored"}

    before = rows()
    call_command("fill_demo")
    assert "nothing was changed" in capsys.readouterr().out
    assert rows() == before

    # What the run that waits for the workers is to find, and nothing else; two of them it mends.
    run = drive(ReconciliationRun.objects.get(kind="full", state="running"), threads=1)
    assert run.state == "done"
    differences = Discrepancy.objects.values_list("type", "organization__name")
    assert set(differences) == {
        ("seats", DRIFTED[0]),
        ("card", MISTYPED),
        ("customer_of_two", CLAIMED[0]),
        ("seats_below_members", "Kestrel Aerospace"),
    }


def quantity_at_stripe(organization: Organization) -> int:
    subscription = mirror.subscription(organization.stripe_subscription_id or "")
    assert subscription is not None
    return int(subscription["items"]["data"][0]["quantity"])


@pytest.mark.parametrize(
    "values",
    [
        {"STRIPE_API_BASE": "https://api.stripe.com"},
        {"STRIPE_SECRET_KEY": "sk_live_sandboxsandboxsandboxsandbox"},
        {"STRIPE_SECRET_KEY": ""},
    ],
)
def test_what_could_be_a_real_installation_is_refused(values: dict[str, str]) -> None:
    with override_settings(**values), pytest.raises(CommandError):
        call_command("fill_demo")

    assert not User.objects.exists()
