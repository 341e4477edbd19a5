"""Resync: what differs from Stripe is shown, and corrected when asked for; Stripe itself is only read."""

import datetime

import pytest
from django.utils import timezone

from billing import mirror
from billing.differences import Difference
from billing.errors import OperationRefused, PreviewOutdated, StripeUnreachable
from billing.models import SubscriptionEvent
from billing.operations.sweeper import settle_pending
from organizations.models import Hold, Organization
from tests.conftest import Sandbox
from tests.factories import HoldFactory, StaffFactory, UnbilledOrganizationFactory
from tests.operating import Shown, make_due, show
from tests.stripe_world import World, make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


def shown(organization: Organization) -> Shown:
    organization.refresh_from_db()
    return show("resync_organization", organization)


def found(organization: Organization) -> dict[str, tuple[object, object]]:
    """What differs, by the field's name."""
    return {each.field: (each.ours, each.stripes) for each in shown(organization).preview.differences.found}


def writes(sandbox: Sandbox) -> list[str]:
    return [call["path"] for call in sandbox.control("GET", "log")["calls"] if call["method"] != "GET"]


def test_nothing_differs_right_after_a_sync_and_one_may_still_resync(
    sandbox: Sandbox, organization: Organization
) -> None:
    looked = shown(organization)
    assert looked.preview.differences.number == 0
    before = organization.synced_at

    event = looked.apply(reason="")

    organization.refresh_from_db()
    assert (event.state, event.message) == (
        "done",
        "No difference found; it is being read from Stripe again now all the same.",
    )
    assert organization.synced_at is not None
    assert before is not None
    assert organization.synced_at > before


def test_what_differs_is_shown_and_corrected_without_a_write_to_stripe(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    Organization.objects.filter(pk=organization.pk).update(seats=3, plan="Old plan", card_last4="0000")
    sandbox.control("DELETE", "log")
    looked = shown(organization)
    assert found(organization) == {
        "seats": (3, 8),
        "plan": ("Old plan", "Team"),
        "card_last4": ("0000", "4242"),
    }
    organization.refresh_from_db()
    assert organization.seats == 3  # looking corrects nothing

    event = looked.apply()

    organization.refresh_from_db()
    assert (organization.seats, organization.plan, organization.card_last4) == (8, "Team", "4242")
    assert event.message == "3 differences found; it is being read from Stripe again now."
    assert not event.steps.exists()
    assert writes(sandbox) == []
    assert shown(organization).preview.differences.number == 0


def test_objects_that_changed_or_came_at_stripe_are_shown_and_counted(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    client = sandbox.client
    charge = client.v1.charges.list({"customer": world.customer}).data[0]
    client.v1.refunds.create({"charge": charge.id, "amount": 700})
    client.v1.invoices.create({"customer": world.customer})
    client.v1.payment_methods.attach("pm_card_mastercard", {"customer": world.customer})

    differences = shown(organization).preview.differences

    assert Difference("charge", charge.id, "amount_refunded", 0, 700, "usd") in differences.found
    assert {each.kind: each.n for each in differences.missing} == {
        "invoice": 1,
        "payment_method": 1,
        "refund": 1,
    }
    shown(organization).apply()
    assert shown(organization).preview.differences.number == 0
    assert [refund["amount"] for refund in mirror.refunds_of(world.customer)] == [700]


def test_a_card_that_was_taken_away_is_counted(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    [method] = mirror.payment_methods_of(world.customer)
    sandbox.client.v1.payment_methods.detach(method["id"])
    differences = shown(organization).preview.differences
    assert differences.detached == 1
    assert {each.field: (each.ours, each.stripes) for each in differences.found}["card_brand"] == ("visa", "")
    shown(organization).apply()
    assert mirror.payment_methods_of(world.customer) == []
    assert shown(organization).preview.differences.number == 0


def test_a_billing_issue_that_begins_now_gives_the_same_preview_twice(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    bad = sandbox.client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": world.customer})
    sandbox.client.v1.customers.update(
        world.customer, {"invoice_settings": {"default_payment_method": bad.id}}
    )
    sandbox.control("POST", "clock", {"advance": 32 * 86_400})
    now = int(timezone.now().timestamp())
    first = show("resync_organization", organization, at=now)
    second = show("resync_organization", organization, at=now + 3)
    assert first.preview == second.preview
    assert found(organization)["subscription_status"] == ("active", "past_due")
    assert found(organization)["has_billing_issue"] == (False, True)
    first.apply()
    organization.refresh_from_db()
    assert organization.billing_issue_since is not None
    # How long it has lasted is what we knew first, so nothing differs when it goes on.
    Organization.objects.filter(pk=organization.pk).update(
        billing_issue_since=organization.billing_issue_since - datetime.timedelta(days=3)
    )
    assert shown(organization).preview.differences.number == 0


def test_it_says_that_the_hold_for_non_payment_will_be_lifted(organization: Organization) -> None:
    hold = HoldFactory(organization=organization, kind=Hold.Kind.NON_PAYMENT)
    looked = shown(organization)
    assert looked.preview.differences.lifts_hold
    looked.apply()
    hold.refresh_from_db()
    assert hold.lifted_at is not None


def test_what_changed_at_stripe_while_one_looked_is_shown_anew(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    looked = shown(organization)
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"items": [{"id": world.item, "quantity": 10}]}
    )
    with pytest.raises(PreviewOutdated, match="changed since"):
        looked.apply()
    assert not SubscriptionEvent.objects.exists()


def test_a_second_click_finds_the_first_ones_row(organization: Organization) -> None:
    looked = shown(organization)
    actor = StaffFactory(permissions=["organizations.resync_organization"])
    assert looked.apply(actor).pk == looked.apply(actor).pk


def test_a_customer_deleted_at_stripe_is_shown_as_deleted(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    sandbox.client.v1.customers.delete(world.customer)
    assert found(organization)["deleted"] == (None, True)
    assert found(organization)["subscription_status"] == ("active", "canceled")
    assert shown(organization).apply().state == "done"
    assert shown(organization).preview.differences.number == 0


def test_a_customer_that_stripe_does_not_know_is_refused_in_words(sandbox: Sandbox) -> None:
    stranger = UnbilledOrganizationFactory(stripe_customer_id="cus_nobody")
    with pytest.raises(OperationRefused, match="Stripe knows no customer cus_nobody"):
        show("resync_organization", stranger)
    with pytest.raises(OperationRefused, match="not connected to a Stripe customer"):
        show("resync_organization", UnbilledOrganizationFactory())


def test_a_stripe_that_does_not_answer_leaves_no_row(sandbox: Sandbox, organization: Organization) -> None:
    looked = shown(organization)
    sandbox.control(
        "POST", "faults", {"kind": "error_500", "method": "GET", "path": "/v1/invoices", "times": -1}
    )
    with pytest.raises(StripeUnreachable):
        looked.apply()
    assert not SubscriptionEvent.objects.exists()


def test_a_process_that_died_after_the_intent_is_finished_by_the_sweeper(
    sandbox: Sandbox, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    Organization.objects.filter(pk=organization.pk).update(seats=3)
    looked = shown(organization)
    with monkeypatch.context() as patch:
        patch.setattr("billing.operations.intent.carry_out", _die)
        with pytest.raises(SystemExit):
            looked.apply()
    event = SubscriptionEvent.objects.get(source="staff")
    assert event.state == "pending"
    make_due()
    settle_pending()
    event.refresh_from_db()
    assert (event.state, event.message) == (
        "done",
        "1 difference found; it is being read from Stripe again now.",
    )


def _die(*args: object, **kwargs: object) -> None:
    raise SystemExit
