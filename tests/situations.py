"""For each operation of the registries a situation in which it can be done, and what its effect looks like.

The tests that walk the registries live on these: permissions, limits, crashes at every step, the way through in a
browser. An operation without a situation fails `test_every_operation_has_a_situation`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from billing.models import SubscriptionEvent
from billing.operations.base import Subject
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import HoldFactory, SubscriptionEventFactory
from tests.stripe_world import (
    World,
    charges_at_stripe,
    make_customer,
    make_organization,
    plan_seats_at_stripe,
    seats_at_stripe,
    seats_planned_at_stripe,
)


@dataclass(frozen=True)
class Situation:
    """A subject that an operation can be done to."""

    subject: Subject
    answers: dict[str, Any]
    """What a person types into the form, besides reason and ticket."""
    choices: dict[str, Any]
    """The same, as the operation takes it."""
    effect: Callable[[], object]
    """What there is to see of it, at Stripe or here: the same before and after where nothing was done."""
    is_final: bool = True
    """Whether an unknown outcome can end in "done"; a portal link that nobody saw ends in "ask for a new one"."""
    forms: dict[str, Any] = field(default_factory=dict)


def _organization(sandbox: Sandbox, **columns: Any) -> tuple[World, Organization]:
    world = make_customer(sandbox)
    return world, make_organization(world, **columns)


def change_seats(sandbox: Sandbox) -> Situation:
    world, organization = _organization(sandbox)
    return Situation(
        organization,
        answers={"seats": "12", "proration": "create_prorations", "when": "now"},
        choices={"seats": 12},
        effect=lambda: seats_at_stripe(sandbox, world),
    )


def schedule_seats(sandbox: Sandbox) -> Situation:
    world, organization = _organization(sandbox)
    return Situation(
        organization,
        answers={"seats": "12", "when": "renewal"},
        choices={"seats": 12, "when": "renewal"},
        effect=lambda: (seats_planned_at_stripe(sandbox, world), seats_at_stripe(sandbox, world)),
    )


def withdraw_scheduled_seats(sandbox: Sandbox) -> Situation:
    world = make_customer(sandbox)
    plan_seats_at_stripe(sandbox, world, 12, mark="of a colleague")
    return Situation(
        make_organization(world),
        answers={"when": "withdraw"},
        choices={"when": "withdraw"},
        effect=lambda: (seats_planned_at_stripe(sandbox, world), seats_at_stripe(sandbox, world)),
    )


def refund_invoice(sandbox: Sandbox) -> Situation:
    world, organization = _organization(sandbox)
    invoice = sandbox.client.v1.subscriptions.retrieve(world.subscription).latest_invoice
    return Situation(
        organization,
        answers={"invoice": str(invoice), "destination": "card", "amount": "29.00", "stripe_reason": ""},
        choices={"invoice": str(invoice), "amount": 2900},
        effect=lambda: sum(charge.amount_refunded for charge in charges_at_stripe(sandbox, world)),
    )


def cancel_subscription(sandbox: Sandbox) -> Situation:
    world, organization = _organization(sandbox)

    def what_is_left() -> tuple[str, int]:
        invoices = sandbox.client.v1.invoices.list({"customer": world.customer}).data
        return sandbox.client.v1.subscriptions.retrieve(world.subscription).status, len(invoices)

    return Situation(
        organization,
        answers={"when": "now", "prorate": "yes", "invoice_now": "yes"},
        choices={"when": "now", "prorate": True, "invoice_now": True},
        effect=what_is_left,
    )


def reactivate_subscription(sandbox: Sandbox) -> Situation:
    world = make_customer(sandbox)
    sandbox.client.v1.subscriptions.cancel(world.subscription)
    return Situation(
        make_organization(world),
        answers={"how": "new"},
        choices={"how": "new"},
        effect=lambda: len(sandbox.client.v1.subscriptions.list({"customer": world.customer}).data),
    )


def apply_discount(sandbox: Sandbox) -> Situation:
    _world, organization = _organization(sandbox)
    coupon = sandbox.client.v1.coupons.create({"percent_off": 20, "duration": "forever"})
    return Situation(
        organization,
        answers={"code": coupon.id},
        choices={"code": coupon.id},
        effect=lambda: sandbox.client.v1.coupons.retrieve(coupon.id).times_redeemed,
    )


def remove_discount(sandbox: Sandbox) -> Situation:
    world = make_customer(sandbox)
    coupon = sandbox.client.v1.coupons.create({"percent_off": 20, "duration": "forever"})
    discounted = sandbox.client.v1.subscriptions.update(
        world.subscription, {"discounts": [{"coupon": coupon.id}]}
    )
    [discount] = discounted.discounts
    return Situation(
        make_organization(world),
        answers={"discount": str(discount)},
        choices={"discount": str(discount)},
        effect=lambda: len(sandbox.client.v1.subscriptions.retrieve(world.subscription).discounts),
    )


def create_portal_session(sandbox: Sandbox) -> Situation:
    _world, organization = _organization(sandbox)
    made = "/v1/billing_portal/sessions"
    return Situation(
        organization,
        answers={},
        choices={},
        effect=lambda: sum(call["path"] == made for call in sandbox.control("GET", "log")["calls"]),
        is_final=False,
    )


def resync_organization(sandbox: Sandbox) -> Situation:
    _world, organization = _organization(sandbox)
    Organization.objects.filter(pk=organization.pk).update(seats=3)
    return Situation(
        organization,
        answers={},
        choices={},
        effect=lambda: Organization.objects.get(pk=organization.pk).seats,
    )


def reprocess_event(sandbox: Sandbox) -> Situation:
    world, organization = _organization(sandbox)
    event = SubscriptionEventFactory(
        organization=organization, stripe_object_id=world.subscription, state="parked", error="It failed."
    )
    return Situation(
        event,
        answers={},
        choices={},
        effect=lambda: SubscriptionEvent.objects.get(pk=event.pk).state,
    )


def _pause_at_stripe(sandbox: Sandbox, world: World) -> str | None:
    pause = sandbox.client.v1.subscriptions.retrieve(world.subscription).pause_collection
    return pause.behavior if pause else None


def pause_collection(sandbox: Sandbox) -> Situation:
    world, organization = _organization(sandbox)
    return Situation(
        organization,
        answers={"behavior": "void", "resumes_at": ""},
        choices={"behavior": "void"},
        effect=lambda: _pause_at_stripe(sandbox, world),
    )


def resume_collection(sandbox: Sandbox) -> Situation:
    world = make_customer(sandbox)
    sandbox.client.v1.subscriptions.update(world.subscription, {"pause_collection": {"behavior": "void"}})
    return Situation(
        make_organization(world),
        answers={},
        choices={},
        effect=lambda: _pause_at_stripe(sandbox, world),
    )


def suspend_organization(sandbox: Sandbox) -> Situation:
    world, organization = _organization(sandbox)
    return Situation(
        organization,
        answers={"kind": "abuse", "ends_at": "", "billing": "stops"},
        choices={"kind": "abuse", "billing": "stops"},
        effect=lambda: (_pause_at_stripe(sandbox, world), organization.open_holds().count()),
    )


def activate_organization(sandbox: Sandbox) -> Situation:
    """A hold placed long ago, which stopped billing."""
    world = make_customer(sandbox)
    mark = str(uuid4())
    sandbox.client.v1.subscriptions.update(
        world.subscription, {"pause_collection": {"behavior": "void"}, "metadata": {"collection": mark}}
    )
    organization = make_organization(world)
    SubscriptionEventFactory(
        uuid=mark,
        type="suspend_organization",
        source="system",
        organization=organization,
        stripe_event_id=None,
    )
    hold = HoldFactory(organization=organization, stops_billing=True)
    return Situation(
        organization,
        answers={"holds": [str(hold.pk)]},
        choices={"holds": [hold.pk]},
        effect=lambda: (_pause_at_stripe(sandbox, world), organization.open_holds().count()),
    )


SITUATIONS: dict[str, Callable[[Sandbox], Situation]] = {
    "activate_organization": activate_organization,
    "change_seats": change_seats,
    "cancel_subscription": cancel_subscription,
    "pause_collection": pause_collection,
    "reactivate_subscription": reactivate_subscription,
    "refund_invoice": refund_invoice,
    "resume_collection": resume_collection,
    "schedule_seats": schedule_seats,
    "suspend_organization": suspend_organization,
    "withdraw_scheduled_seats": withdraw_scheduled_seats,
    "apply_discount": apply_discount,
    "remove_discount": remove_discount,
    "create_portal_session": create_portal_session,
    "resync_organization": resync_organization,
    "reprocess_event": reprocess_event,
}
