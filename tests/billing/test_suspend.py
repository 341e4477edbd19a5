"""Suspending and lifting holds: access at once, Stripe until it knows, and only our own pauses are ended."""

import datetime
from functools import partial
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from billing.errors import BillingError, DoneMeanwhile, NotPermitted, OperationRefused
from billing.models import SubscriptionEvent
from billing.operations import ended_holds
from billing.operations.ended_holds import lift_ended_holds
from billing.operations.sweeper import settle_pending
from organizations.models import Hold, Organization
from tests.conftest import Sandbox
from tests.environment import free_port
from tests.factories import HoldFactory, MembershipFactory, StaffFactory, UnbilledOrganizationFactory
from tests.operating import Shown, at_once, grow_older, make_due, outcome_of, show
from tests.stripe_world import World, make_customer, make_organization, read

MAY = ["organizations.suspend_organization"]
DAY = 86_400

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    organization = make_organization(world)
    MembershipFactory.create_batch(3, organization=organization)
    return organization


def suspending(organization: Organization, kind: str = "abuse", **choices: Any) -> Shown:
    return show("suspend_organization", organization, kind=kind, **choices)


def suspend(organization: Organization, kind: str = "abuse", **choices: Any) -> SubscriptionEvent:
    return suspending(organization, kind, **choices).apply(reason="scraping")


def activating(organization: Organization, *holds: Hold) -> Shown:
    chosen = sorted(hold.pk for hold in holds or organization.open_holds())
    return show("activate_organization", organization, holds=chosen)


def activate(organization: Organization, *holds: Hold) -> SubscriptionEvent:
    return activating(organization, *holds).apply(reason="settled")


def has_access(organization: Organization) -> bool:
    return Organization.objects.not_suspended().filter(pk=organization.pk).exists()


def pause(sandbox: Sandbox, world: World) -> Any:
    return sandbox.client.v1.subscriptions.retrieve(world.subscription).pause_collection


def is_paused(sandbox: Sandbox, world: World) -> bool:
    return pause(sandbox, world) is not None


def leave_an_invoice_open(sandbox: Sandbox, world: World, organization: Organization) -> str:
    """A renewal that the card refuses; returns its invoice."""
    client = sandbox.client.v1
    card = client.customers.retrieve(world.customer).invoice_settings.default_payment_method
    sandbox.control("POST", "cards", {"payment_method": card, "refuses": "insufficient_funds"})
    sandbox.control("POST", "clock", {"advance": 32 * DAY})
    read(world)
    organization.refresh_from_db()
    (invoice,) = client.invoices.list({"customer": world.customer, "status": "open"}).data
    return str(invoice.id)


def calls(sandbox: Sandbox, path: str) -> list[dict[str, Any]]:
    log = sandbox.control("GET", "log")["calls"]
    return [call for call in log if call["method"] == "POST" and call["path"] == path]


def fault(sandbox: Sandbox, kind: str, path: str, **more: Any) -> None:
    sandbox.control("POST", "faults", {"kind": kind, "method": "POST", "path": path, **more})


def settle() -> None:
    for _ in range(4):
        make_due()
        settle_pending()


def end_holds() -> None:
    """Let the end of every open hold with one have come a moment ago."""
    Hold.objects.filter(ends_at__isnull=False).update(ends_at=timezone.now() - datetime.timedelta(seconds=1))


def in_days(days: int) -> int:
    return int(timezone.now().timestamp()) + days * DAY


# -- suspending -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["abuse", "manual"])
def test_members_lose_access_and_stripe_hears_nothing_unless_it_is_to(
    sandbox: Sandbox, world: World, organization: Organization, kind: str
) -> None:
    ann = StaffFactory(username="ann", permissions=MAY)
    shown = suspending(organization, kind)
    assert (shown.preview.members, shown.preview.held_by) == (3, ())
    assert has_access(organization)

    event = shown.apply(ann, reason="scraping")

    assert not has_access(organization)
    hold = Hold.objects.get()
    assert (hold.kind, hold.reason, hold.placed_by, hold.ends_at) == (kind, "scraping", ann, None)
    assert not hold.stops_billing
    assert (event.state, event.type, event.actor_label) == ("done", "suspend_organization", "ann")
    assert event.message == f"Suspended ({kind}): 3 members have lost access."
    assert (event.steps.count(), is_paused(sandbox, world)) == (0, False)
    organization.refresh_from_db()
    assert organization.subscription_status == "active"


def test_billing_stops_by_a_pause_that_carries_our_mark(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    event = suspend(organization, billing="stops")
    assert pause(sandbox, world).behavior == "void"
    metadata = sandbox.client.v1.subscriptions.retrieve(world.subscription).metadata
    assert metadata is not None
    assert metadata["collection"] == str(event.uuid)
    assert Hold.objects.get().stops_billing
    assert "Billing is stopped" in (event.message or "")


def test_billing_stops_on_every_live_subscription(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    second = sandbox.client.v1.subscriptions.create(
        {"customer": world.customer, "items": [{"price": world.price, "quantity": 1}]}
    )
    read(world)
    organization.refresh_from_db()
    suspend(organization, billing="stops")
    for id_ in (world.subscription, second.id):
        assert sandbox.client.v1.subscriptions.retrieve(id_).pause_collection is not None
    event = activate(organization)
    assert event.state == "done"
    for id_ in (world.subscription, second.id):
        assert sandbox.client.v1.subscriptions.retrieve(id_).pause_collection is None


@pytest.mark.parametrize(
    ("choice", "status", "sentence"),
    [
        ("leave", "open", "lost access."),
        ("void", "void", "was voided."),
        ("mark_uncollectible", "uncollectible", "was written off."),
    ],
)
def test_open_invoices_are_left_voided_or_written_off(
    sandbox: Sandbox, world: World, organization: Organization, choice: str, status: str, sentence: str
) -> None:
    invoice = leave_an_invoice_open(sandbox, world, organization)
    shown = suspending(organization, billing="stops", invoices=choice)
    assert [(due.id, due.amount) for due in shown.preview.open_invoices] == [(invoice, 8 * 2900)]
    event = shown.apply(reason="scraping")
    assert event.state == "done"
    assert sandbox.client.v1.invoices.retrieve(invoice).status == status
    assert sentence in (event.message or "")


def test_an_invoice_paid_meanwhile_is_said_to_be_and_does_not_end_the_suspension(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    invoice = leave_an_invoice_open(sandbox, world, organization)
    shown = suspending(organization, billing="stops", invoices="void")
    sandbox.client.v1.invoices.pay(invoice, {"paid_out_of_band": True})
    event = shown.apply(reason="scraping")
    assert event.state == "done"
    assert "was paid meanwhile, so it was not changed." in (event.message or "")
    assert (has_access(organization), is_paused(sandbox, world)) == (False, True)


def test_an_organization_that_stripe_does_not_know_is_suspended_too(settings: Settings) -> None:
    settings.STRIPE_SECRET_KEY = ""
    organization = UnbilledOrganizationFactory()
    assert suspend(organization).state == "done"
    assert not has_access(organization)
    assert activate(organization).state == "done"
    assert has_access(organization)


def test_without_a_key_access_is_closed_but_billing_choices_are_refused(
    organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_SECRET_KEY = ""
    with pytest.raises(OperationRefused, match="No Stripe key"):
        suspending(organization, billing="stops")
    assert suspend(organization).state == "done"


@pytest.mark.parametrize("days", [0, -1])
def test_an_end_that_has_passed_is_refused(organization: Organization, days: int) -> None:
    with pytest.raises(OperationRefused, match="must be in the future"):
        suspending(organization, ends_at=in_days(days))


def test_a_second_hold_of_a_kind_is_refused_and_says_whose_the_first_is(organization: Organization) -> None:
    suspending(organization).apply(StaffFactory(last_name="Ann", permissions=MAY), reason="scraping")
    with pytest.raises(OperationRefused, match="by Sam Ann: “scraping”"):
        suspending(organization)
    assert suspending(organization, "manual").preview.held_by == ("abuse",)


def test_a_legal_hold_is_for_those_who_may(organization: Organization) -> None:
    shown = suspending(organization, "legal")
    with pytest.raises(NotPermitted, match="may not place legal holds"):
        shown.apply(StaffFactory(permissions=MAY))
    assert has_access(organization)
    assert not SubscriptionEvent.objects.filter(source="staff").exists()
    lawyer = StaffFactory(permissions=[*MAY, "organizations.place_legal_hold"])
    assert shown.apply(lawyer).state == "done"
    lifting = activating(organization)
    with pytest.raises(NotPermitted, match="may not lift legal holds"):
        lifting.apply(StaffFactory(permissions=MAY))
    assert not has_access(organization)
    assert lifting.apply(lawyer).state == "done"


def test_a_hold_for_non_payment_is_refused_where_it_would_lift_by_itself(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    with pytest.raises(OperationRefused, match="Nothing is overdue"):
        suspending(organization, "non_payment")
    leave_an_invoice_open(sandbox, world, organization)
    with pytest.raises(OperationRefused, match="would lift by itself"):
        suspending(organization, "non_payment", invoices="void")
    assert suspend(organization, "non_payment").state == "done"
    read(world)
    assert not has_access(organization)


def test_a_pause_of_somebody_elses_is_left_as_it_is(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    show("pause_collection", organization, behavior="keep_as_draft").apply()
    suspend(organization, billing="stops")
    assert pause(sandbox, world).behavior == "keep_as_draft"
    assert not Hold.objects.get().stops_billing
    shown = activating(organization)
    assert (shown.preview.resumed, shown.preview.paused_by_others) == ((), 1)
    shown.apply()
    assert pause(sandbox, world).behavior == "keep_as_draft"


def test_what_was_resumed_in_the_dashboard_a_moment_ago_is_paused(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    show("pause_collection", organization, behavior="keep_as_draft").apply()
    sandbox.client.v1.subscriptions.update(world.subscription, {"pause_collection": ""})
    event = suspend(organization, billing="stops", ends_at=in_days(3))
    assert pause(sandbox, world).behavior == "void"
    assert "Billing is stopped" in (event.message or "")
    end_holds()
    lift_ended_holds()
    assert not is_paused(sandbox, world)


def test_what_was_paused_in_the_dashboard_a_moment_ago_is_left_as_it_is_and_said_so(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown = suspending(organization, billing="stops")
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"pause_collection": {"behavior": "keep_as_draft"}}
    )
    event = shown.apply(reason="scraping")
    assert (event.state, pause(sandbox, world).behavior) == ("done", "keep_as_draft")
    assert (event.message or "").endswith(
        f"Collection of {world.subscription} was paused already, and not by a suspension, so that pause is left as it"
        " is. Invoices that fall due stay drafts until somebody resumes."
    )
    assert not Hold.objects.get().stops_billing


def test_a_pause_made_while_stripe_was_slow_is_left_as_it_is(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, "drop_connection", f"/v1/subscriptions/{world.subscription}")
    event = suspend(organization, billing="stops")
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"pause_collection": {"behavior": "keep_as_draft"}}
    )
    settle()
    event.refresh_from_db()
    assert (event.state, pause(sandbox, world).behavior) == ("done", "keep_as_draft")
    assert "that pause is left as it is" in (event.message or "")
    assert not Hold.objects.get().stops_billing


def test_where_every_subscription_has_ended_there_is_nothing_to_stop(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown = suspending(organization, billing="stops")
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    event = shown.apply(reason="scraping")
    assert event.state == "done"
    assert "Stripe has no subscription that could be billed." in (event.message or "")
    assert not Hold.objects.get().stops_billing


# -- Stripe away, slow, or saying no ----------------------------------------------------------------------


def test_stripe_away_closes_access_at_once_and_is_told_later(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    address = settings.STRIPE_API_BASE
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"
    shown = suspending(organization, billing="stops")
    event = shown.apply(reason="scraping")
    assert (event.state, has_access(organization)) == ("pending", False)
    assert "Access is closed." in shown.operation.while_pending(event)
    make_due()
    settle_pending()
    event.refresh_from_db()
    assert event.state == "pending"
    settings.STRIPE_API_BASE = address
    settle()
    event.refresh_from_db()
    assert (event.state, is_paused(sandbox, world)) == ("done", True)
    assert len(calls(sandbox, f"/v1/subscriptions/{world.subscription}")) == 1


FAULTS = ["timeout_before", "timeout_after", "error_500_after", "drop_connection", "drop_connection_after"]


@pytest.mark.parametrize("kind", [*FAULTS, "error_429"])
@pytest.mark.parametrize("step", ["pause", "invoice"])
def test_every_step_is_done_once_whatever_happens_around_it(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings, kind: str, step: str
) -> None:
    invoice = leave_an_invoice_open(sandbox, world, organization)
    settings.STRIPE_READ_TIMEOUT = 0.7
    path = f"/v1/subscriptions/{world.subscription}" if step == "pause" else f"/v1/invoices/{invoice}/void"
    fault(sandbox, kind, path)
    event = suspend(organization, billing="stops", invoices="void")
    assert (event.state, has_access(organization)) == ("pending", False)
    settle()
    event.refresh_from_db()
    assert event.state == "done", event.error
    assert is_paused(sandbox, world)
    assert sandbox.client.v1.invoices.retrieve(invoice).status == "void"
    assert "was voided" in (event.message or "")
    assert len({call["key"] for call in calls(sandbox, path)}) == 1


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_billing_resumes_once_whatever_happens_around_it(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings, kind: str, method: str
) -> None:
    suspend(organization, billing="stops")
    settings.STRIPE_READ_TIMEOUT = 0.7
    path = f"/v1/subscriptions/{world.subscription}" if method == "POST" else "/v1/subscriptions"
    sandbox.control("POST", "faults", {"kind": kind, "method": method, "path": path, "times": 3})
    event = activate(organization)
    assert (event.state, has_access(organization)) == ("pending", True)
    sandbox.control("DELETE", "faults")
    settle()
    event.refresh_from_db()
    assert event.state == "done", event.error
    assert not is_paused(sandbox, world)


def test_a_suspension_that_stripe_never_heard_of_is_for_a_person_after_a_day(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    address = settings.STRIPE_API_BASE
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"
    event = suspend(organization, billing="stops")
    settings.STRIPE_API_BASE = address
    grow_older(25 * 3600)
    settle()
    event.refresh_from_db()
    assert event.state == "parked"
    assert f"Collection of {world.subscription} is not paused, so Stripe may go on billing it." in (
        event.message or ""
    )
    assert (has_access(organization), is_paused(sandbox, world)) == (False, False)
    assert not Hold.objects.get().stops_billing


@pytest.mark.parametrize("billing", ["stops", "continues"])
def test_an_invoice_that_stripe_does_not_void_is_for_a_person_and_said_to_be_open(
    sandbox: Sandbox, world: World, organization: Organization, billing: str
) -> None:
    invoice = leave_an_invoice_open(sandbox, world, organization)
    fault(sandbox, "error_500", f"/v1/invoices/{invoice}/void", times=-1)
    event = suspend(organization, billing=billing, invoices="void")
    settle()
    event.refresh_from_db()
    number = sandbox.client.v1.invoices.retrieve(invoice).number
    assert event.state == "parked"
    message = event.message or ""
    assert message.startswith("Suspended (abuse): 3 members have lost access.")
    assert f"Invoice {number} ($232.00) was not voided." in message
    assert "paid" not in message
    assert ("Billing is stopped" in message) is (billing == "stops")
    assert (has_access(organization), is_paused(sandbox, world)) == (False, billing == "stops")
    assert Hold.objects.get().stops_billing is (billing == "stops")


def test_an_invoice_that_stripe_refuses_to_void_and_is_open_is_for_a_person(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    invoice = leave_an_invoice_open(sandbox, world, organization)
    fault(sandbox, "error_400", f"/v1/invoices/{invoice}/void")
    event = suspend(organization, invoices="void")
    assert event.state == "parked"
    assert "was not voided." in (event.message or "")
    assert not has_access(organization)


@pytest.mark.parametrize("faulty", ["error_500", "timeout_before"])
def test_an_invoice_that_was_paid_while_stripe_was_slow_is_said_to_be_paid(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings, faulty: str
) -> None:
    invoice = leave_an_invoice_open(sandbox, world, organization)
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, faulty, f"/v1/invoices/{invoice}/void")
    event = suspend(organization, invoices="void")
    assert event.state == "pending"
    sandbox.client.v1.invoices.pay(invoice, {"paid_out_of_band": True})
    settle()
    event.refresh_from_db()
    assert event.state == "done"
    assert "was paid meanwhile, so it was not changed." in (event.message or "")


def test_two_people_at_once_suspend_once_and_the_other_is_told(organization: Organization) -> None:
    people = [StaffFactory(username=name, permissions=MAY) for name in ("ann", "ben")]
    shown = [suspending(organization) for _ in people]
    outcomes = at_once(*(partial(outcome_of, *each) for each in zip(shown, people, strict=True)))
    assert outcomes.count("done") == 1
    assert sum(isinstance(each, BillingError) for each in outcomes) == 1
    assert Hold.objects.count() == 1


def test_a_double_click_places_one_hold(organization: Organization) -> None:
    shown, ann = suspending(organization), StaffFactory(permissions=MAY)
    assert shown.apply(ann).pk == shown.apply(ann).pk
    assert Hold.objects.count() == 1


# -- lifting ----------------------------------------------------------------------------------------------


def test_lifting_the_last_hold_opens_access_and_billing(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    suspend(organization, billing="stops")
    ann = StaffFactory(username="ann", permissions=MAY)
    shown = activating(organization)
    assert [each.amount for each in shown.preview.resumed] == [8 * 2900]
    event = shown.apply(ann, reason="settled")
    assert (has_access(organization), is_paused(sandbox, world)) == (True, False)
    hold = Hold.objects.get()
    assert (hold.lifted_by, hold.lifted_at is not None) == (ann, True)
    assert event.message == "Lifted: abuse. 3 members have access again. Stripe bills again."


def test_a_hold_that_remains_keeps_access_closed(organization: Organization) -> None:
    suspend(organization)
    suspend(organization, "manual")
    abuse = Hold.objects.get(kind="abuse")
    shown = activating(organization, abuse)
    assert [hold.kind for hold in shown.preview.remaining] == ["manual"]
    event = shown.apply()
    assert not has_access(organization)
    assert event.message == "Lifted: abuse. Access stays closed by: manual."


def test_billing_waits_for_the_last_hold_that_stops_it(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    suspend(organization, billing="stops")
    suspend(organization, "manual", billing="stops")
    first, second = Hold.objects.order_by("pk")
    assert (first.stops_billing, second.stops_billing) == (True, True)
    assert activating(organization, first).preview.resumed == ()
    activate(organization, first)
    assert is_paused(sandbox, world)
    activate(organization, second)
    assert not is_paused(sandbox, world)


def test_all_holds_are_lifted_where_none_is_named(organization: Organization) -> None:
    suspend(organization)
    suspend(organization, "manual")
    show("activate_organization", organization, every=True).apply()
    assert has_access(organization)
    with pytest.raises(OperationRefused, match="members have access already"):
        show("activate_organization", organization, every=True)


def test_nothing_chosen_and_what_is_lifted_already_are_refused(organization: Organization) -> None:
    suspend(organization)
    with pytest.raises(OperationRefused, match="at least one"):
        show("activate_organization", organization, holds=[])
    other = HoldFactory()
    with pytest.raises(OperationRefused, match="open no longer"):
        activating(organization, Hold.objects.exclude(pk=other.pk).get(), other)


def test_a_hold_placed_since_it_was_shown_is_shown_first(organization: Organization) -> None:
    suspend(organization)
    shown = activating(organization)
    suspend(organization, "manual")
    with pytest.raises(DoneMeanwhile, match="was faster: Suspended"):
        shown.apply()
    assert organization.open_holds().count() == 2


@pytest.mark.parametrize("change", [{"behavior": "keep_as_draft"}, {"behavior": "void"}])
def test_a_pause_made_in_the_dashboard_is_never_ended_by_lifting(
    sandbox: Sandbox, world: World, organization: Organization, change: Any
) -> None:
    sandbox.client.v1.subscriptions.update(world.subscription, {"pause_collection": change})
    read(world)
    organization.refresh_from_db()
    suspend(organization, billing="stops")
    activate(organization)
    assert pause(sandbox, world).behavior == change["behavior"]


def test_a_pause_that_was_ended_at_stripe_meanwhile_is_said_so(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    suspend(organization, billing="stops")
    sandbox.client.v1.subscriptions.update(world.subscription, {"pause_collection": ""})
    event = activate(organization)
    assert event.state == "done"
    assert "no pause of ours at Stripe any more" in (event.message or "")


def test_a_pause_that_the_mirror_does_not_know_yet_is_ended_all_the_same(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, "timeout_after", f"/v1/subscriptions/{world.subscription}")
    suspend(organization, billing="stops")
    settle()  # done, and not read from Stripe again yet
    activate(organization)
    assert not is_paused(sandbox, world)


# -- holds that end by themselves -------------------------------------------------------------------------


def test_a_hold_that_ends_opens_access_at_that_moment_and_is_lifted_soon(organization: Organization) -> None:
    suspend(organization, ends_at=in_days(3))
    assert lift_ended_holds() == 0
    assert not has_access(organization)
    end_holds()
    assert has_access(organization)
    assert lift_ended_holds() == 1
    hold = Hold.objects.get()
    assert (hold.lifted_at, hold.lifted_by) == (hold.ends_at, None)
    event = SubscriptionEvent.objects.get(source="system", type="hold.lifted")
    assert event.message == "The suspension ended (abuse). Members have access again."
    assert lift_ended_holds() == 0


def test_a_hold_that_ends_and_stopped_billing_has_stripe_bill_again(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    suspend(organization, billing="stops", ends_at=in_days(3))
    end_holds()
    assert lift_ended_holds() == 1
    assert not is_paused(sandbox, world)
    event = SubscriptionEvent.objects.get(type="resume_billing")
    assert (event.source, event.state, event.actor_label) == ("system", "done", None)
    assert event.message == "The suspension ended (abuse). Members have access again. Stripe bills again."


def test_an_ended_hold_leaves_billing_stopped_for_another(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    suspend(organization, billing="stops", ends_at=in_days(3))
    suspend(organization, "manual", billing="stops")
    end_holds()
    assert lift_ended_holds() == 1
    assert (is_paused(sandbox, world), has_access(organization)) == (True, False)
    assert not SubscriptionEvent.objects.filter(type="resume_billing").exists()
    activate(organization)
    assert not is_paused(sandbox, world)


def test_a_hold_that_ends_while_somebodys_change_is_in_progress_waits_for_it(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, "timeout_before", f"/v1/subscriptions/{world.subscription}")
    suspend(organization, billing="stops", ends_at=in_days(3))
    end_holds()
    assert lift_ended_holds() == 0
    settle()
    assert is_paused(sandbox, world)
    assert lift_ended_holds() == 1
    assert not is_paused(sandbox, world)


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after", "drop_connection"])
def test_billing_resumes_by_itself_whatever_happens_around_it(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings, kind: str
) -> None:
    suspend(organization, billing="stops", ends_at=in_days(3))
    end_holds()
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, kind, f"/v1/subscriptions/{world.subscription}")
    assert lift_ended_holds() == 1
    with pytest.raises(OperationRefused, match="back office itself"):
        suspending(organization, "manual").apply()
    settle()
    assert not is_paused(sandbox, world)
    assert SubscriptionEvent.objects.get(type="resume_billing").state == "done"


def test_a_job_that_dies_before_it_tells_stripe_is_brought_to_its_end(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspend(organization, billing="stops", ends_at=in_days(3))
    end_holds()

    class Died(BaseException):
        pass

    def die(*args: Any, **kwargs: Any) -> None:
        raise Died

    monkeypatch.setattr(ended_holds, "carry_out", die)
    with pytest.raises(Died):
        lift_ended_holds()
    assert (has_access(organization), is_paused(sandbox, world)) == (True, True)
    settle()
    assert not is_paused(sandbox, world)
    assert lift_ended_holds() == 0


def test_a_new_hold_of_the_same_kind_waits_until_the_ended_one_is_done_with(
    organization: Organization,
) -> None:
    suspend(organization, ends_at=in_days(3))
    end_holds()
    with pytest.raises(OperationRefused, match="ended a moment ago"):
        suspending(organization)
    lift_ended_holds()
    assert suspend(organization).state == "done"


def test_paying_lifts_the_hold_for_non_payment_and_billing_goes_on(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    invoice = leave_an_invoice_open(sandbox, world, organization)
    suspend(organization, "non_payment", billing="stops")
    sandbox.client.v1.invoices.pay(invoice, {"paid_out_of_band": True})
    read(world)
    assert has_access(organization)
    assert SubscriptionEvent.objects.filter(type="hold.lifted").count() == 1
    read(world)
    assert lift_ended_holds() == 1
    assert not is_paused(sandbox, world)
    assert Hold.objects.get().lifted_at is not None
    assert SubscriptionEvent.objects.filter(source="system").count() == 2
