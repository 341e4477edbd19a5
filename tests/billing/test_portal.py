"""The link to Stripe's customer portal: shown once, to whoever asked, and kept nowhere."""

import json

import httpx
import pytest
from django.db import connection
from pytest_django import Settings

from billing.errors import OperationRefused
from billing.models import SubscriptionEvent
from billing.operations import OPERATIONS
from billing.operations.base import Choices
from billing.operations.intent import Performed, agree, perform
from billing.operations.sweeper import settle_pending
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import StaffFactory, UnbilledOrganizationFactory
from tests.operating import grow_older, make_due, show
from tests.stripe_world import World, make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)

SESSIONS = "/v1/billing_portal/sessions"


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


def ask(organization: Organization, username: str = "ann") -> Performed:
    operation = OPERATIONS["create_portal_session"]
    _preview, agreement = agree(operation, organization, Choices())
    actor = StaffFactory(username=username, permissions=[operation.permission])
    return perform(operation, organization, choices=Choices(), agreed=agreement, actor=actor)


def everything_kept() -> str:
    """Every row of every table that an operation writes to, as the database would show it."""
    tables = (
        "billing_subscriptionevent",
        "billing_operationstep",
        "billing_eventpayload",
        "billing_customersync",
        "procrastinate_jobs",
        "django_session",
    )
    with connection.cursor() as cursor:
        kept = []
        for table in tables:
            cursor.execute(f"SELECT to_jsonb(t) FROM {table} AS t")
            kept += [str(row) for row in cursor.fetchall()]
    return "\n".join(kept)


def test_a_link_is_made_and_returned_and_kept_nowhere(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.PORTAL_RETURN_URL = "https://shop.example/billing"
    done = ask(organization)

    (answer,) = done.answers
    assert httpx.get(answer["url"]).status_code == 200
    assert answer["return_url"] == "https://shop.example/billing"
    assert done.event.state == "done"
    assert done.event.message == "A link to Stripe's customer portal was made, and shown once to ann."
    kept = everything_kept()
    assert answer["id"] in kept
    assert answer["url"] not in kept
    assert "/p/session/" not in kept
    assert "url" not in json.loads(json.dumps(done.event.steps.get().answer))


def test_without_a_way_back_in_the_settings_stripes_own_is_used(
    sandbox: Sandbox, organization: Organization
) -> None:
    event = ask(organization).event
    assert event.steps.get().params == {"customer": organization.stripe_customer_id}


def test_a_second_click_makes_no_second_link_and_shows_none(
    sandbox: Sandbox, organization: Organization
) -> None:
    shown = show("create_portal_session", organization)
    actor = StaffFactory(permissions=["organizations.create_portal_session"])
    first = shown.apply(actor)
    assert shown.apply(actor).pk == first.pk
    calls = sandbox.control("GET", "log")["calls"]
    assert len([call for call in calls if call["path"] == SESSIONS]) == 1


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after", "error_500", "drop_connection_after"])
def test_an_unknown_outcome_ends_as_failed_and_is_never_sent_again(
    sandbox: Sandbox, organization: Organization, settings: Settings, kind: str
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    sandbox.control("POST", "faults", {"kind": kind, "method": "POST", "path": SESSIONS})

    done = ask(organization)

    assert (done.event.state, done.answers) == ("pending", [])
    with pytest.raises(OperationRefused, match="is still in progress"):
        show("create_portal_session", organization)
    make_due()
    settle_pending()
    done.event.refresh_from_db()
    assert done.event.state == "failed"
    assert "ask for a new link" in (done.event.message or "")
    calls = sandbox.control("GET", "log")["calls"]
    assert len([call for call in calls if call["path"] == SESSIONS]) == 1
    assert ask(organization, "bob").event.state == "done"
    assert "/p/session/" not in everything_kept()


def test_a_process_that_died_before_the_call_sends_nothing_later(
    sandbox: Sandbox, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: object, **kwargs: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("billing.operations.intent.carry_out", die)
        with pytest.raises(SystemExit):
            ask(organization)
    grow_older(25 * 3600)
    make_due()
    settle_pending()
    event = SubscriptionEvent.objects.get(source="staff")
    assert event.state == "failed"
    assert not [c for c in sandbox.control("GET", "log")["calls"] if c["path"] == SESSIONS]


def test_a_customer_that_is_gone_or_never_was_is_refused_in_words(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    with pytest.raises(OperationRefused, match="not connected to a Stripe customer"):
        show("create_portal_session", UnbilledOrganizationFactory())
    with pytest.raises(OperationRefused, match="deleted at Stripe"):
        show("create_portal_session", UnbilledOrganizationFactory(stripe_customer_id="cus_never"))
    sandbox.client.v1.customers.delete(world.customer)
    with pytest.raises(OperationRefused, match="deleted at Stripe"):
        show("create_portal_session", organization)
    assert not SubscriptionEvent.objects.exists()
