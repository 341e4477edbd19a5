"""Pausing and resuming collection: the subscription and its members go on, and nobody's pause is ended by accident."""

import datetime
from functools import partial
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from billing.errors import OperationRefused, PreviewOutdated
from billing.models import SubscriptionEvent
from billing.operations.collection import RENEWALS_SHOWN, renewals
from billing.operations.ended_holds import lift_ended_holds
from billing.operations.sweeper import settle_pending
from organizations.models import Hold, Organization
from tests.conftest import Sandbox
from tests.factories import StaffFactory
from tests.operating import at_once, grow_older, make_due, outcome_of, show
from tests.stripe_world import World, make_customer, make_organization, read

MAY = ["organizations.pause_subscription"]
DAY = 86_400

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


def in_days(days: int) -> int:
    return int(timezone.now().timestamp()) + days * DAY


def pause(organization: Organization, **choices: Any) -> SubscriptionEvent:
    event = show("pause_collection", organization, **choices).apply(reason="goodwill")
    organization.refresh_from_db()
    return event


def resume(organization: Organization, **choices: Any) -> SubscriptionEvent:
    return show("resume_collection", organization, **choices).apply(reason="settled")


def at_stripe(sandbox: Sandbox, world: World) -> Any:
    return sandbox.client.v1.subscriptions.retrieve(world.subscription).pause_collection


def updates(sandbox: Sandbox, world: World) -> list[dict[str, Any]]:
    return [
        call
        for call in sandbox.control("GET", "log")["calls"]
        if call["method"] == "POST" and call["path"] == f"/v1/subscriptions/{world.subscription}"
    ]


def fault(sandbox: Sandbox, world: World, kind: str, **more: Any) -> None:
    path = f"/v1/subscriptions/{world.subscription}"
    sandbox.control("POST", "faults", {"kind": kind, "method": "POST", "path": path, **more})


def settle() -> None:
    for _ in range(4):
        make_due()
        settle_pending()


@pytest.mark.parametrize("behavior", ["keep_as_draft", "void", "mark_uncollectible"])
@pytest.mark.parametrize("days", [None, 70])
def test_collection_is_paused_as_chosen_and_the_subscription_goes_on(
    sandbox: Sandbox, world: World, organization: Organization, behavior: str, days: int | None
) -> None:
    until = in_days(days) if days else None
    event = pause(organization, behavior=behavior, resumes_at=until)
    paused = at_stripe(sandbox, world)
    assert (event.state, paused.behavior, paused.resumes_at) == ("done", behavior, until)
    assert (organization.subscription_status, organization.open_holds().exists()) == ("active", False)
    message = event.message or ""
    assert "members keep their access" in message
    assert ("until somebody resumes" in message) is (until is None)
    (call,) = updates(sandbox, world)
    assert call["key"] == f"{event.uuid}:pause {world.subscription}"


def test_what_will_not_be_collected_is_shown_until_the_day_it_resumes(
    sandbox: Sandbox, organization: Organization
) -> None:
    endless = show("pause_collection", organization, behavior="void").preview
    assert [renewal.amount for renewal in endless.renewals] == [8 * 2900]
    assert endless.has_more_renewals
    limited = show("pause_collection", organization, behavior="void", resumes_at=in_days(100)).preview
    assert [renewal.amount for renewal in limited.renewals] == [8 * 2900] * 3
    assert not limited.has_more_renewals
    assert show("pause_collection", organization, resumes_at=in_days(3)).preview.renewals == ()
    long = show("pause_collection", organization, resumes_at=in_days(3000)).preview
    assert (len(long.renewals), long.has_more_renewals) == (RENEWALS_SHOWN, True)


def test_a_subscription_that_ends_has_no_renewal_to_lose(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.client.v1.subscriptions.update(world.subscription, {"cancel_at_period_end": True})
    preview = show("pause_collection", organization, resumes_at=in_days(100)).preview
    assert (preview.renewals, preview.has_more_renewals) == ((), False)


def test_renewals_keep_the_day_of_their_anchor_in_short_months() -> None:
    def unix(year: int, month: int, day: int) -> int:
        return int(datetime.datetime(year, month, day, tzinfo=datetime.UTC).timestamp())

    price = {"id": "price_1", "unit_amount": 100, "recurring": {"interval": "month", "interval_count": 1}}
    item = {"id": "si_1", "price": price, "quantity": 1, "current_period_end": unix(2027, 1, 31)}
    subscription = {"billing_cycle_anchor": unix(2026, 8, 31), "items": {"data": [item]}}
    until = datetime.datetime(2027, 5, 1, tzinfo=datetime.UTC)
    found, has_more = renewals(subscription, 150, until)
    assert [(each.at.month, each.at.day, each.amount) for each in found] == [
        (1, 31, 150),
        (2, 28, 100),
        (3, 31, 100),
        (4, 30, 100),
    ]
    assert not has_more


def test_open_invoices_are_shown_because_stripe_goes_on_collecting_them(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    (paid,) = sandbox.client.v1.invoices.list({"customer": world.customer}).data
    assert show("pause_collection", organization).preview.open_invoices == ()
    _fail_a_renewal(sandbox, world)
    (open_,) = show("pause_collection", organization).preview.open_invoices
    assert (open_.amount, open_.currency, open_.id != paid.id) == (8 * 2900, "usd", True)


def _fail_a_renewal(sandbox: Sandbox, world: World) -> None:
    card = sandbox.client.v1.customers.retrieve(world.customer).invoice_settings.default_payment_method
    sandbox.control("POST", "cards", {"payment_method": card, "refuses": "insufficient_funds"})
    sandbox.control("POST", "clock", {"advance": 32 * DAY})


def test_drafts_that_waited_are_named_when_collection_resumes(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    pause(organization, behavior="keep_as_draft")
    sandbox.control("POST", "clock", {"advance": 40 * DAY})
    read(world)
    organization.refresh_from_db()
    shown = show("resume_collection", organization)
    assert [draft.amount for draft in shown.preview.drafts] == [8 * 2900]
    assert shown.preview.next_invoice is not None
    assert shown.preview.next_invoice.amount == 8 * 2900
    event = shown.apply(reason="settled")
    assert at_stripe(sandbox, world) is None
    assert "1 draft ($232.00) still waits" in (event.message or "")
    assert sandbox.client.v1.invoices.list({"customer": world.customer, "status": "draft"}).data


@pytest.mark.parametrize("days", [0, -1])
def test_a_day_that_has_passed_is_refused(organization: Organization, days: int) -> None:
    with pytest.raises(OperationRefused, match="must be in the future"):
        show("pause_collection", organization, resumes_at=in_days(days))


def test_what_is_paused_is_not_paused_again_and_what_is_not_is_not_resumed(
    sandbox: Sandbox, organization: Organization
) -> None:
    with pytest.raises(OperationRefused, match="not paused"):
        show("resume_collection", organization)
    pause(organization)
    with pytest.raises(OperationRefused, match="paused already, until somebody resumes it"):
        show("pause_collection", organization)
    resume(organization)
    pause(organization, resumes_at=in_days(30))
    with pytest.raises(OperationRefused, match=r"paused already, until \d+ \w+ \d+"):
        show("pause_collection", organization)


def test_stripes_present_state_rules_where_our_rows_are_behind(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.client.v1.subscriptions.update(world.subscription, {"pause_collection": {"behavior": "void"}})
    with pytest.raises(OperationRefused, match="paused already"):
        show("pause_collection", organization)


def test_an_ended_subscription_is_refused(sandbox: Sandbox, world: World, organization: Organization) -> None:
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    for type_ in ("pause_collection", "resume_collection"):
        with pytest.raises(OperationRefused):
            show(type_, organization)
    read(world)
    organization.refresh_from_db()
    for type_ in ("pause_collection", "resume_collection"):
        with pytest.raises(OperationRefused, match="ended on"):
            show(type_, organization)


def test_a_pause_made_in_the_dashboard_may_be_resumed_by_a_person(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.client.v1.subscriptions.update(world.subscription, {"pause_collection": {"behavior": "void"}})
    read(world)
    shown = show("resume_collection", organization)
    assert (shown.preview.paused_by, shown.preview.is_of_suspension) == ("", False)
    assert shown.apply().state == "done"
    assert at_stripe(sandbox, world) is None


def test_who_paused_is_shown_to_who_resumes(sandbox: Sandbox, organization: Organization) -> None:
    show("pause_collection", organization).apply(StaffFactory(username="ann", permissions=MAY))
    assert show("resume_collection", organization).preview.paused_by == "ann"


def test_resuming_what_a_suspension_stopped_is_written_on_its_hold(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    show("suspend_organization", organization, kind="abuse", billing="stops").apply()
    organization.refresh_from_db()
    shown = show("resume_collection", organization)
    assert shown.preview.is_of_suspension
    shown.apply()
    hold = Hold.objects.get()
    assert (hold.stops_billing, hold.lifted_at) == (False, None)
    assert at_stripe(sandbox, world) is None


def test_what_a_suspension_paused_elsewhere_is_still_resumed_when_its_hold_ends(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    second = sandbox.client.v1.subscriptions.create(
        {"customer": world.customer, "items": [{"price": world.price, "quantity": 1}]}
    )
    read(world)
    organization.refresh_from_db()
    show("suspend_organization", organization, kind="abuse", billing="stops", ends_at=in_days(3)).apply()
    organization.refresh_from_db()
    event = resume(organization, subscription=world.subscription)
    assert "1 other subscription stays paused by the suspension" in (event.message or "")
    assert Hold.objects.get().stops_billing
    Hold.objects.update(ends_at=timezone.now() - datetime.timedelta(seconds=1))
    assert lift_ended_holds() == 1
    assert sandbox.client.v1.subscriptions.retrieve(second.id).pause_collection is None


def test_one_of_several_subscriptions_is_paused(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    second = sandbox.client.v1.subscriptions.create(
        {"customer": world.customer, "items": [{"price": world.price, "quantity": 1}]}
    )
    read(world)
    organization.refresh_from_db()
    pause(organization, subscription=world.subscription)
    assert at_stripe(sandbox, world) is not None
    assert sandbox.client.v1.subscriptions.retrieve(second.id).pause_collection is None
    # The other one can still be paused, and this one resumed.
    assert show("pause_collection", organization, subscription=second.id).preview.renewals
    assert resume(organization, subscription=world.subscription).state == "done"


@pytest.mark.parametrize(
    "kind", ["timeout_before", "timeout_after", "error_500", "error_500_after", "drop_connection"]
)
@pytest.mark.parametrize("type_", ["pause_collection", "resume_collection"])
def test_an_unknown_outcome_ends_in_the_truth(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings, kind: str, type_: str
) -> None:
    if type_ == "resume_collection":
        pause(organization)
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, world, kind)
    event = show(type_, organization).apply()
    assert event.state == "pending"
    with pytest.raises(OperationRefused, match="still in progress"):
        show(type_, organization)
    settle()
    event.refresh_from_db()
    is_done = (at_stripe(sandbox, world) is not None) is (type_ == "pause_collection")
    assert event.state == ("done" if is_done else "failed")
    assert is_done is (kind != "error_500")


def test_a_change_of_seats_in_between_hides_no_pause_that_was_made(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, world, "timeout_after")
    event = show("pause_collection", organization, behavior="void").apply()
    assert event.state == "pending"
    settings.STRIPE_READ_TIMEOUT = 5
    assert show("change_seats", organization, seats=12).apply().state == "done"
    settle()
    event.refresh_from_db()
    assert event.state == "done"
    assert at_stripe(sandbox, world).behavior == "void"


def test_a_pause_does_not_hide_a_change_of_seats_that_was_made(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, world, "timeout_after")
    seats = show("change_seats", organization, seats=12).apply()
    settings.STRIPE_READ_TIMEOUT = 5
    assert pause(organization).state == "done"
    settle()
    seats.refresh_from_db()
    assert seats.state == "done"


def test_a_pause_that_never_arrived_is_not_made_over_somebody_elses(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, world, "drop_connection")
    event = show("pause_collection", organization, behavior="keep_as_draft").apply()
    assert event.state == "pending"
    sandbox.client.v1.subscriptions.update(world.subscription, {"pause_collection": {"behavior": "void"}})
    grow_older(180)
    settle()
    event.refresh_from_db()
    assert event.state == "failed"
    assert at_stripe(sandbox, world).behavior == "void"


def test_two_people_at_once_pause_once(sandbox: Sandbox, world: World, organization: Organization) -> None:
    people = [StaffFactory(permissions=MAY) for _ in range(2)]
    shown = [show("pause_collection", organization) for _ in people]
    outcomes = at_once(*(partial(outcome_of, *each) for each in zip(shown, people, strict=True)))
    assert outcomes.count("done") == 1
    assert len(updates(sandbox, world)) == 1


def test_a_pause_waits_for_a_suspension_that_is_still_in_progress(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    shown = show("pause_collection", organization)
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, world, "timeout_before")
    suspension = show("suspend_organization", organization, kind="abuse", billing="stops").apply()
    assert suspension.state == "pending"
    with pytest.raises(PreviewOutdated, match="still in progress"):
        shown.apply()
    assert Hold.objects.count() == 1
