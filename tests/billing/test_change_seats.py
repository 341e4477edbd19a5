"""Changing seats: exactly what was previewed, exactly once, and never in doubt for long."""

import contextlib
import dataclasses
import time
from functools import partial
from typing import Any

import pytest
from pytest_django import Settings

from billing.errors import (
    BillingError,
    DoneMeanwhile,
    OperationRefused,
    PreviewOutdated,
    StripeMisconfigured,
    StripeUnreachable,
)
from billing.models import OperationStep, SubscriptionEvent
from billing.operations import OPERATIONS, settlement
from billing.operations.base import Agreement
from billing.operations.seat_preview import Proration, SeatPreview
from billing.operations.seats import ChangeSeats
from billing.operations.sweeper import settle_pending
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.environment import free_port
from tests.factories import OrganizationFactory, StaffFactory, UnbilledOrganizationFactory
from tests.operating import Shown, at_once, grow_older, make_due, outcome_of, show
from tests.stripe_world import World, make_customer, make_organization, make_price, read, seats_at_stripe

MAY = ["organizations.change_seats"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


def previewed(organization: Organization, seats: int, proration: Proration = Proration.NEXT_INVOICE) -> Shown:
    return show("change_seats", organization, seats=seats, proration=proration.value)


def changed(
    organization: Organization, seats: int, proration: Proration = Proration.NEXT_INVOICE
) -> SubscriptionEvent:
    return previewed(organization, seats, proration).apply()


def updates(sandbox: Sandbox, world: World) -> list[dict[str, Any]]:
    """The calls that could have changed the subscription."""
    return [
        call
        for call in sandbox.control("GET", "log")["calls"]
        if call["method"] == "POST" and call["path"] == f"/v1/subscriptions/{world.subscription}"
    ]


def fault(sandbox: Sandbox, world: World, kind: str, **more: Any) -> None:
    sandbox.control(
        "POST",
        "faults",
        {"kind": kind, "method": "POST", "path": f"/v1/subscriptions/{world.subscription}", **more},
    )


def test_seats_change_at_stripe_here_and_in_the_ledger(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown = previewed(organization, 12)
    actor = StaffFactory(username="ann", permissions=MAY)

    event = shown.apply(actor, reason="new hires")

    organization.refresh_from_db()
    assert (seats_at_stripe(sandbox, world), organization.seats, organization.mrr) == (12, 12, 12 * 2900)
    assert (event.state, event.source, event.type) == ("done", "staff", "change_seats")
    assert event.message is not None
    assert event.message.startswith("Seats changed from 8 to 12. Stripe confirmed at ")
    assert (event.previous_quantity, event.quantity, event.amount) == (8, 12, shown.preview.prorated)
    assert (event.actor_label, event.reason, event.ticket) == ("ann", "new hires", "4711")
    step = event.steps.get()
    assert step.sent_at is not None
    assert step.answer is not None
    (call,) = updates(sandbox, world)
    assert call["key"] == f"{event.uuid}:update"


@pytest.mark.parametrize("proration", list(Proration))
@pytest.mark.parametrize("seats", [1, 12, 9])
def test_what_is_charged_is_what_was_previewed(
    sandbox: Sandbox, world: World, organization: Organization, proration: Proration, seats: int
) -> None:
    sandbox.control("POST", "clock", {"advance": 9 * 86_400 + 12_345})
    shown = previewed(organization, seats, proration)

    event = shown.apply(reason="new hires")

    assert event.state == "done"
    lines = [
        line
        for item in sandbox.client.v1.invoices.list({"customer": world.customer}).data
        for line in item.lines.data
    ] + list(sandbox.client.v1.invoice_items.list({"customer": world.customer, "pending": True}).data)
    prorated = [line.amount for line in lines if _is_proration(line)]
    assert sum(prorated) == shown.preview.prorated
    if proration == Proration.INVOICE_NOW:
        newest = sandbox.client.v1.invoices.list({"customer": world.customer}).data[0]
        assert (newest.total, newest.amount_due) == (shown.preview.invoice_total, shown.preview.due_now)
    if proration == Proration.NONE:
        assert shown.preview.prorated == 0


def _is_proration(line: Any) -> bool:
    if line.object == "invoiceitem":
        return bool(line.proration)
    details = line.parent.subscription_item_details or line.parent.invoice_item_details
    return bool(details.proration)


def test_a_preview_says_what_it_costs_and_changes_nothing(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown = previewed(organization, 12)
    assert shown.preview.credited < 0 < shown.preview.charged
    assert (shown.preview.recurring_before, shown.preview.recurring_after) == (8 * 2900, 12 * 2900)
    assert shown.preview.due_now == 0
    assert seats_at_stripe(sandbox, world) == 8
    assert not SubscriptionEvent.objects.exists()


def test_a_preview_older_than_ten_minutes_is_refused(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown = previewed(organization, 12)
    old = dataclasses.replace(
        shown, agreement=dataclasses.replace(shown.agreement, at=shown.agreement.at - 601)
    )
    with pytest.raises(PreviewOutdated, match="ten minutes"):
        old.apply(reason="late")
    assert seats_at_stripe(sandbox, world) == 8
    assert not SubscriptionEvent.objects.exists()


def test_a_preview_of_a_subscription_changed_since_is_refused(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown = previewed(organization, 12)
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"items": [{"id": world.item, "quantity": 10}]}
    )
    with pytest.raises(PreviewOutdated, match="changed since"):
        shown.apply(reason="stale")
    assert seats_at_stripe(sandbox, world) == 10


def test_tampered_figures_are_refused(sandbox: Sandbox, world: World, organization: Organization) -> None:
    shown = previewed(organization, 12)
    cheap = dataclasses.replace(
        shown,
        agreement=Agreement(
            at=shown.agreement.at, digest=dataclasses.replace(shown.preview, charged=1).digest
        ),
    )
    with pytest.raises(PreviewOutdated):
        cheap.apply(reason="cheap")
    assert seats_at_stripe(sandbox, world) == 8


@pytest.mark.parametrize("seats", [0, -1, 10**12])
def test_impossible_numbers_of_seats_are_refused_in_words(organization: Organization, seats: int) -> None:
    with pytest.raises(OperationRefused, match="whole number from 1 to"):
        previewed(organization, seats)


def test_as_many_seats_as_now_is_no_change(organization: Organization) -> None:
    with pytest.raises(OperationRefused, match="has 8 seats already"):
        previewed(organization, 8)


def test_an_organization_without_a_subscription_is_refused_in_words() -> None:
    with pytest.raises(OperationRefused, match="not connected to a Stripe customer"):
        previewed(UnbilledOrganizationFactory(), 3)
    with pytest.raises(OperationRefused, match="no subscription"):
        previewed(OrganizationFactory(stripe_subscription_id=None), 3)


def test_an_ended_subscription_is_refused_in_words(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    with pytest.raises(OperationRefused, match="ended on"):
        previewed(organization, 12)  # our row does not know yet: Stripe's present state rules
    read(world)
    organization.refresh_from_db()
    with pytest.raises(OperationRefused, match="ended on"):
        previewed(organization, 12)


def test_two_licensed_items_need_one_that_is_marked_as_the_seats(sandbox: Sandbox) -> None:
    first, second = make_price(sandbox.client), make_price(sandbox.client, amount=900)
    world = make_customer(sandbox, price=first)
    sandbox.client.v1.subscription_items.create(
        {"subscription": world.subscription, "price": second, "quantity": 1}
    )
    with pytest.raises(OperationRefused, match="several licensed items"):
        previewed(make_organization(world), 12)


def test_the_marked_item_is_the_seats(sandbox: Sandbox) -> None:
    seats = make_price(sandbox.client, metadata={"seats": "yes"})
    support = make_price(sandbox.client, amount=900)
    world = make_customer(sandbox, price=seats)
    sandbox.client.v1.subscription_items.create(
        {"subscription": world.subscription, "price": support, "quantity": 1}
    )
    organization = make_organization(world)
    assert changed(organization, 12).state == "done"
    assert seats_at_stripe(sandbox, world) == 12


def test_a_price_in_yen_has_no_decimals(sandbox: Sandbox) -> None:
    world = make_customer(sandbox, price=make_price(sandbox.client, amount=4900, currency="jpy"))
    organization = make_organization(world)
    shown = previewed(organization, 12)
    assert (shown.preview.currency, shown.preview.recurring_after) == ("jpy", 12 * 4900)
    assert changed(organization, 12).currency == "jpy"


def test_a_declined_card_leaves_the_seats_as_they_were(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    bad = sandbox.client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": world.customer})
    sandbox.client.v1.customers.update(
        world.customer, {"invoice_settings": {"default_payment_method": bad.id}}
    )
    sandbox.control("POST", "clock", {"advance": 86_400})

    event = changed(organization, 12, Proration.INVOICE_NOW)

    assert event.state == "failed"
    assert "declined" in (event.message or "")
    assert "Nothing was changed" in (event.message or "")
    assert seats_at_stripe(sandbox, world) == 8


# -- Stripe down, slow, or saying no ----------------------------------------------------------------------


def test_stripe_unreachable_before_the_preview_changes_nothing(
    organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_API_BASE = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StripeUnreachable, match="could not reach Stripe"):
        previewed(organization, 12)
    assert not SubscriptionEvent.objects.exists()


def test_stripe_busy_fails_with_a_sentence_and_leaves_a_row(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    fault(sandbox, world, "error_429")
    event = changed(organization, 12)
    assert event.state == "failed"
    assert "busy" in (event.message or "")
    assert seats_at_stripe(sandbox, world) == 8


def test_a_missing_or_malformed_key_refuses_before_anything_is_written(
    organization: Organization, settings: Settings
) -> None:
    shown = previewed(organization, 12)
    for key in ("", "pk_test_nothing", "sk_test_*****"):
        settings.STRIPE_SECRET_KEY = key
        with pytest.raises(StripeMisconfigured):
            shown.apply(reason="no key")
    assert not SubscriptionEvent.objects.exists()


@pytest.mark.parametrize(
    "kind", ["timeout_before", "timeout_after", "error_500", "error_500_after", "drop_connection"]
)
def test_an_unknown_outcome_is_said_as_such_and_ends_in_the_truth(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings, kind: str
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, world, kind)

    event = changed(organization, 12)

    assert event.state == "pending"
    assert event.message is None
    with pytest.raises(OperationRefused, match="is still in progress"):
        previewed(organization, 13)

    for _ in range(4):
        make_due()
        settle_pending()
    event.refresh_from_db()
    done = seats_at_stripe(sandbox, world) == 12
    assert event.state == ("done" if done else "failed")
    # A 500 is kept by Stripe under its key, so a resend cannot mend one that came before the effect.
    assert done is (kind != "error_500")
    assert len({call["key"] for call in updates(sandbox, world)}) == 1


def test_a_key_that_stripe_may_have_forgotten_is_never_sent_again(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, world, "timeout_after")
    event = changed(organization, 12)
    grow_older(25 * 3600)
    settings.STRIPE_READ_TIMEOUT = 5
    make_due()
    settle_pending()

    event.refresh_from_db()
    assert event.state == "done"
    assert len(updates(sandbox, world)) == 1


def test_two_people_at_once_make_one_change_and_the_other_is_told(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    ann, ben = StaffFactory(username="ann", permissions=MAY), StaffFactory(username="ben", permissions=MAY)
    previews = {who: previewed(organization, 12) for who in (ann, ben)}
    outcomes = at_once(*(partial(outcome_of, each, who) for who, each in previews.items()))

    assert outcomes.count("done") == 1
    assert sum(isinstance(outcome, BillingError) for outcome in outcomes) == 1
    assert seats_at_stripe(sandbox, world) == 12
    assert len(updates(sandbox, world)) == 1


def test_a_double_click_changes_once_and_shows_what_the_first_did(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown, actor = previewed(organization, 12), StaffFactory(permissions=MAY)
    first = shown.apply(actor, reason="new hires")
    second = shown.apply(actor, reason="new hires")
    assert (first.pk, first.state) == (second.pk, "done")
    assert len(updates(sandbox, world)) == 1
    assert OperationStep.objects.count() == 1


def test_two_clicks_at_the_same_moment_change_once(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown, actor = previewed(organization, 12), StaffFactory(permissions=MAY)
    rows = [row.pk for row in at_once(*[partial(shown.apply, actor, reason="new hires")] * 4)]

    assert len(rows) == 4
    assert len(set(rows)) == 1
    assert len(updates(sandbox, world)) == 1


def test_a_preview_that_was_used_does_nothing_when_its_form_is_sent_again_later(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown = previewed(organization, 12, Proration.NONE)
    first = shown.apply(reason="new hires")
    changed(organization, 8, Proration.NONE)
    again = shown.apply(reason="back button")
    assert again.pk == first.pk
    assert seats_at_stripe(sandbox, world) == 8


def test_a_preview_is_refused_when_a_colleague_was_a_moment_faster(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, fast = previewed(organization, 10), previewed(organization, 12)
    check = ChangeSeats.preview

    def check_and_be_overtaken(*args: Any) -> SeatPreview:
        present = check(*args)
        monkeypatch.setattr(ChangeSeats, "preview", check)
        fast.apply(reason="faster")
        return present

    monkeypatch.setattr(ChangeSeats, "preview", check_and_be_overtaken)
    with pytest.raises(
        DoneMeanwhile, match=r"was faster: .*12.*“faster”.* Look at what is there now"
    ) as refusal:
        slow.apply(reason="slower")
    assert "colleague" not in str(refusal.value)
    assert seats_at_stripe(sandbox, world) == 12


def test_an_invoice_with_more_lines_than_stripe_shows_is_read_whole_or_refused(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    for seats in (9, 10, 11, 12, 13, 14):
        sandbox.control("POST", "clock", {"advance": 3600})
        sandbox.client.v1.subscriptions.update(
            world.subscription, {"items": [{"id": world.item, "quantity": seats}]}
        )
    read(world)
    organization.refresh_from_db()
    with contextlib.suppress(OperationRefused):
        shown = previewed(organization, 40)
        assert shown.preview.charged > 0 > shown.preview.credited
    assert previewed(organization, 40, Proration.NONE).preview.prorated == 0


def test_a_change_that_never_reached_stripe_is_not_made_over_a_later_one(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, world, "timeout_before")
    event = changed(organization, 12)
    assert event.state == "pending"
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"items": [{"id": world.item, "quantity": 20}]}
    )
    grow_older(180)
    make_due()
    settle_pending()
    event.refresh_from_db()
    assert event.state == "failed"
    assert "things changed there meanwhile" in (event.message or "")
    assert seats_at_stripe(sandbox, world) == 20


def test_a_late_failure_of_the_first_caller_closes_nothing_that_the_sweeper_took_over(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, world, "timeout_after")
    event = changed(organization, 12)
    SubscriptionEvent.objects.filter(pk=event.pk).update(claim=1)
    settlement._fail(
        event,
        OPERATIONS["change_seats"],
        StripeUnreachable("We could not reach Stripe. Nothing was changed."),
    )
    event.refresh_from_db()
    assert (event.state, event.message) == ("pending", None)
    make_due()
    settle_pending()
    event.refresh_from_db()
    assert event.state == "done"


def test_what_breaks_after_stripe_did_the_work_leaves_the_outcome_open_and_is_settled(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = ChangeSeats.settle

    def break_off(*args: Any) -> Any:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(ChangeSeats, "settle", break_off)
    event = changed(organization, 12)
    assert (event.state, event.attempts) == ("pending", 1)
    assert "the disk is full" in event.error
    monkeypatch.setattr(ChangeSeats, "settle", settle)
    make_due()
    settle_pending()
    event.refresh_from_db()
    assert event.state == "done"
    assert len(updates(sandbox, world)) == 1


def test_metadata_with_a_nul_in_it_breaks_nothing(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.client.v1.subscriptions.update(world.subscription, {"metadata": {"note": "a\x00b"}})
    assert changed(organization, 12).state == "done"


def test_a_trial_is_charged_nothing_today_whatever_is_asked_for(sandbox: Sandbox) -> None:
    client = sandbox.client
    world = make_customer(sandbox)
    client.v1.subscriptions.cancel(world.subscription)
    trial = client.v1.subscriptions.create(
        {
            "customer": world.customer,
            "items": [{"price": world.price, "quantity": 8}],
            "trial_period_days": 14,
        }
    )
    organization = make_organization(world)
    assert organization.stripe_subscription_id == trial.id

    shown = previewed(organization, 12, Proration.INVOICE_NOW)

    assert (shown.preview.credited, shown.preview.charged, shown.preview.due_now, shown.preview.waiting) == (
        0,
        0,
        0,
        0,
    )
    assert not shown.preview.is_invoiced_now
    assert shown.apply(reason="grows").state == "done"


def test_what_earlier_changes_left_waiting_is_told_apart_when_an_invoice_is_made_now(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    changed(organization, 10)
    organization.refresh_from_db()
    time.sleep(1.1)  # prorations are told apart by the second they were made in

    shown = previewed(organization, 12, Proration.INVOICE_NOW)

    assert shown.preview.waiting > 0
    assert (
        shown.preview.waiting + shown.preview.prorated == shown.preview.invoice_total == shown.preview.due_now
    )
