"""What the ledger says of each staff operation a year later, from its row alone."""

import datetime
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import SubscriptionEvent
from billing.operations import COURSES, OPERATIONS
from billing.operations.base import Operation, Told
from billing.operations.owner_pages import card_page
from billing.operations.settlement import AnyOperation
from organizations.models import Membership, Organization
from tests.conftest import Sandbox
from tests.factories import MembershipFactory, StaffFactory
from tests.operating import show
from tests.situations import SITUATIONS
from tests.stripe_world import make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)

# Of each operation in its situation: what it did, and what must stand beside that.
EXPECTED: dict[str, tuple[str, tuple[str, ...]]] = {
    "activate_organization": (r"lifted a hold \(manual\)", ("Stripe bills again",)),
    "apply_discount": (r"applied the coupon “.+” \(20% off forever\)", ("each period costs $",)),
    "cancel_subscription": (
        r"cancelled the subscription at once",
        ("credited for unused time", "final invoice: $"),
    ),
    "change_seats": (r"changed seats 8 → 12", ("prorated $",)),
    "create_portal_session": (r"made a link to Stripe's customer portal", ()),
    "pause_collection": (
        r"paused collection",
        ("Invoices that fall due are voided until somebody resumes",),
    ),
    "reactivate_subscription": (r"began a new subscription \(.+, 8 seats\)", ("first invoice of $",)),
    "refund_invoice": (r"refunded \$29\.00 of invoice .+ to the card •••• 4242", ()),
    "remove_discount": (r"removed the coupon “.+” \(20% off forever\)", ("each period costs $",)),
    "reprocess_event": (r"processed an event of Stripe's again \(sub_.+\)", ()),
    "resync_organization": (r"read everything from Stripe again", ("corrected: ", "Seats 3 → 8")),
    "resume_collection": (r"resumed collection", ()),
    "schedule_seats": (r"planned 12 seats from .+ on \(8 until then\)", ()),
    "suspend_organization": (r"suspended the organization \(abuse\)", ("lost access", "Billing is stopped")),
    "update_card": (r"opened Stripe's page to update the card", ()),
    "withdraw_scheduled_seats": (
        r"withdrew the planned change of seats \(12 seats from .+ on\)",
        ("it stays at 8 seats",),
    ),
}


# Whatever a person does; what our jobs do is no act of anybody's.
RETOLD: dict[str, AnyOperation] = {
    type_: course for type_, course in COURSES.items() if isinstance(course, Operation)
}


def update_card(sandbox: Sandbox) -> None:
    organization = make_organization(make_customer(sandbox))
    owner = MembershipFactory(organization=organization, role=Membership.Role.OWNER)
    card_page(organization, owner.user, return_url="https://app.example.com/")


BY_OWNERS: dict[str, Callable[[Sandbox], None]] = {"update_card": update_card}


def told(event: SubscriptionEvent) -> Told:
    event = SubscriptionEvent.objects.get(pk=event.pk)
    return OPERATIONS[event.type].retell(event)


@pytest.mark.parametrize("type_", sorted(RETOLD))
def test_every_operation_is_retold_from_its_row_alone(type_: str, sandbox: Sandbox) -> None:
    if type_ in SITUATIONS:
        situation = SITUATIONS[type_](sandbox)
        situation.subject.refresh_from_db()
        event = show(type_, situation.subject, **situation.choices).apply(StaffFactory(is_superuser=True))
        assert event.state == "done", event.message
    else:
        BY_OWNERS[type_](sandbox)
    event = SubscriptionEvent.objects.get(type=type_, state="done")
    with CaptureQueriesContext(connection) as queries:
        words = RETOLD[type_].retell(event)
    assert len(queries) == 0
    done, further = EXPECTED[type_]
    assert re.fullmatch(done, words.done), words
    for each in further:
        assert each in " · ".join(words.further), words
    assert all(words.further), words


@pytest.fixture
def subscribed(sandbox: Sandbox) -> Callable[[], Organization]:
    return lambda: make_organization(make_customer(sandbox))


def test_a_cancellation_says_what_the_customer_said(subscribed: Callable[[], Organization]) -> None:
    choices: dict[str, Any] = {"when": "period_end", "feedback": "too_expensive", "comment": "we shrink"}
    words = told(show("cancel_subscription", subscribed(), **choices).apply())
    assert words.done.startswith("set the subscription to end on ")
    assert "the customer said: too expensive, “we shrink”" in words.further


def test_a_replaced_plan_of_seats_names_the_earlier_one(subscribed: Callable[[], Organization]) -> None:
    organization = subscribed()
    ann = StaffFactory(username="ann", permissions=["organizations.change_seats"])
    show("schedule_seats", organization, seats=12, when="renewal").apply(ann)
    words = told(show("schedule_seats", organization, seats=15, when="renewal").apply())
    assert words.done.startswith("planned 15 seats from ")
    assert any(
        re.fullmatch(r"replaced an earlier plan: 12 seats from .+ on, by ann", each) for each in words.further
    )


def test_a_cancellation_says_that_it_withdrew_planned_seats(sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    show("schedule_seats", organization, seats=12, when="renewal").apply()
    words = told(show("cancel_subscription", organization, when="period_end").apply())
    assert "the planned change to 12 seats was withdrawn" in words.further


def test_seats_that_are_not_prorated_say_so(subscribed: Callable[[], Organization]) -> None:
    words = told(show("change_seats", subscribed(), seats=12, proration="none").apply())
    assert words.further == ("nothing prorated",)


def test_a_suspension_says_until_when(subscribed: Callable[[], Organization]) -> None:
    ends = timezone.now() + datetime.timedelta(days=9)
    words = told(
        show("suspend_organization", subscribed(), kind="abuse", ends_at=int(ends.timestamp())).apply()
    )
    assert words.done.startswith("suspended the organization (abuse) until ")
    assert "Stripe goes on billing" in words.further
