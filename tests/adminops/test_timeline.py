"""The history on the customer's page: what a colleague reads of it a year later."""

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from adminops.pages.ledger.folding import paying
from adminops.pages.ledger.timeline import Line
from billing import denials, mirror
from billing.models import SubscriptionEvent
from billing.operations import OPERATIONS
from organizations.models import Organization
from tests.adminops.pages import Page
from tests.conftest import Sandbox
from tests.factories import (
    OperationStepFactory,
    OrganizationFactory,
    StaffEventFactory,
    StaffFactory,
    SubscriptionEventFactory,
)
from tests.operating import show
from tests.stripe_world import make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)

NOON = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0) - datetime.timedelta(days=3)


@pytest.fixture
def organization(db: None) -> Organization:
    return OrganizationFactory()


def customer_page(organization: Organization) -> str:
    return reverse("admin:organizations_organization_change", args=[organization.pk])


def lines(client: Client, organization: Organization, **query: str) -> list[Line]:
    """The lines shown, newest first."""
    response = client.get(customer_page(organization), query)
    assert response.status_code == 200
    shown: list[Line] = response.context["timeline"].lines
    return shown


def section(response: Any) -> str:
    """What the page says from its timeline on."""
    text = Page(response).text
    return text[text.rindex("Timeline") :]


def told_by_stripe(
    organization: Organization, type_: str, *, after: float = 0, **columns: Any
) -> SubscriptionEvent:
    """A webhook that happened some seconds after noon."""
    event: SubscriptionEvent = SubscriptionEventFactory(
        organization=organization,
        type=type_,
        occurred_at=NOON + datetime.timedelta(seconds=after),
        **columns,
    )
    return event


def test_a_change_of_seats_is_one_line_with_who_why_how_much_and_how_stripe_answered(
    support: Client, sandbox: Sandbox
) -> None:
    organization = make_organization(make_customer(sandbox))
    ann = StaffFactory(first_name="Ann", last_name="Archer", permissions=["organizations.change_seats"])
    event = show("change_seats", organization, seats=12).apply(ann)
    told_by_stripe(organization, "customer.subscription.updated", idempotency_key=f"{event.uuid}:update")
    [line] = [line for line in lines(support, organization) if line.event.type == "change_seats"]
    assert [each.event.type for each in line.beneath] == ["customer.subscription.updated"]
    text = section(support.get(customer_page(organization)))
    assert "Ann Archer changed seats 8 → 12 : “new hires” , ticket 4711 · prorated $" in text
    assert "Stripe confirmed" in text
    assert "1 line beneath" in text


def test_a_colleague_without_a_name_is_named_by_login(support: Client, organization: Organization) -> None:
    nobody = StaffFactory(username="a.archer", first_name="", last_name="")
    StaffEventFactory(organization=organization, actor=nobody, plan=None)
    [line] = lines(support, organization)
    assert line.by == "a.archer"


def test_what_stripe_declined_says_so_with_our_words(support: Client, organization: Organization) -> None:
    event = StaffEventFactory(
        organization=organization,
        state="failed",
        message="The customer's card has expired. Nothing was changed.",
    )
    OperationStepFactory(
        event=event, answered_at=None, error={"status": 402, "error": {"code": "expired_card"}}
    )
    [line] = lines(support, organization)
    assert line.what == "asked for “Change of seats”, 8 → 12 seats"
    assert line.further == ("declined by Stripe: The customer's card has expired. Nothing was changed.",)


def test_what_never_reached_stripe_is_not_called_declined(
    support: Client, organization: Organization
) -> None:
    event = StaffEventFactory(organization=organization, state="failed", message="We could not reach Stripe.")
    OperationStepFactory(
        event=event, answered_at=None, error={"status": None, "error": {"message": "no route"}}
    )
    [line] = lines(support, organization)
    assert line.further == ("not done: We could not reach Stripe.",)


def test_what_waits_for_stripe_says_so(support: Client, organization: Organization) -> None:
    event = StaffEventFactory(organization=organization, state="pending", message=None)
    OperationStepFactory(event=event, answered_at=None)
    [line] = lines(support, organization)
    assert line.further == ("Stripe has not answered yet",)


def test_a_row_of_an_earlier_version_says_what_it_said_then(
    support: Client, organization: Organization
) -> None:
    event = StaffEventFactory(organization=organization, plan={"something": "else"})
    [line] = lines(support, organization)
    assert (line.who, line.what) == ("", event.message)


def test_what_one_request_caused_is_one_line(support: Client, organization: Organization) -> None:
    told_by_stripe(
        organization, "invoice.paid", stripe_request_id="req_1", stripe_invoice_id="in_1", amount=2900
    )
    told_by_stripe(organization, "charge.succeeded", stripe_request_id="req_1", stripe_charge_id="ch_1")
    told_by_stripe(
        organization,
        "customer.subscription.updated",
        stripe_request_id="req_1",
        previous_status="past_due",
        status="active",
    )
    [line] = lines(support, organization)
    assert line.event.type == "invoice.paid"
    assert line.further == ("past due → active",)
    assert len(line.beneath) == 2


def test_what_stripe_did_by_itself_about_one_invoice_is_one_line(support: Client, sandbox: Sandbox) -> None:
    world = make_customer(sandbox)
    organization = make_organization(world)
    [(intent, invoice)] = paying(mirror.invoices_of(world.customer, limit=5)).items()
    told_by_stripe(organization, "invoice.created", stripe_invoice_id=invoice)
    told_by_stripe(organization, "charge.succeeded", after=3601, stripe_charge_id="ch_1")
    told_by_stripe(
        organization, "payment_intent.succeeded", after=3601, stripe_charge_id="ch_1", stripe_object_id=intent
    )
    told_by_stripe(organization, "invoice.finalized", after=3600, stripe_invoice_id=invoice)
    told_by_stripe(
        organization, "invoice.paid", after=3602, stripe_invoice_id=invoice, amount=2900, currency="usd"
    )
    told_by_stripe(organization, "invoice.payment_succeeded", after=3602, stripe_invoice_id=invoice)
    [line] = lines(support, organization, kind="")
    assert line.what == "Invoice paid, $29.00"
    assert len(line.beneath) == 5


def test_a_failed_payment_and_the_one_that_came_through_are_two_lines(
    support: Client, organization: Organization
) -> None:
    told_by_stripe(organization, "invoice.payment_failed", stripe_invoice_id="in_1")
    told_by_stripe(organization, "invoice.paid", after=900, stripe_invoice_id="in_1")
    assert [line.event.type for line in lines(support, organization)] == [
        "invoice.paid",
        "invoice.payment_failed",
    ]


def test_what_an_end_at_once_did_is_beneath_it(support: Client, organization: Organization) -> None:
    event = StaffEventFactory(organization=organization, type="cancel_subscription", plan=None)
    OperationStepFactory(event=event, method="DELETE", path="/v1/subscriptions/sub_1")
    told_by_stripe(
        organization,
        "customer.subscription.deleted",
        stripe_subscription_id="sub_1",
        stripe_request_id="req_1",
    )
    told_by_stripe(organization, "invoice.created", stripe_request_id="req_1", stripe_invoice_id="in_1")
    [line] = lines(support, organization)
    assert len(line.beneath) == 2


def test_a_troubled_row_beneath_shows_on_its_line(support: Client, organization: Organization) -> None:
    event = StaffEventFactory(organization=organization, plan=None)
    told_by_stripe(
        organization, "customer.subscription.updated", idempotency_key=f"{event.uuid}:update", state="failed"
    )
    [line] = lines(support, organization)
    assert line.needs_a_look
    assert str(line.badge.word) == "Failed"


def test_a_refused_attempt_says_the_reason_that_was_given(
    support: Client, organization: Organization
) -> None:
    refund = OPERATIONS["refund_invoice"]
    denials.record(StaffFactory(), refund, organization, reason="goodwill <b>", ticket="4711")
    (line,) = lines(support, organization)
    assert line.reason == "goodwill <b>"
    said = section(support.get(customer_page(organization)))
    assert "“ goodwill <b> ”" in said or "“goodwill <b>”" in said
    assert "4711" in said


def test_denials_of_one_person_are_one_line(support: Client, organization: Organization) -> None:
    bob, eve = StaffFactory(first_name="Bob", last_name="Berg"), StaffFactory()
    message = "Bob Berg tried “Refund” without being allowed to. Nothing was changed."
    for n in range(5):
        StaffEventFactory(
            organization=organization,
            actor=bob,
            type="permission.denied",
            message=message,
            occurred_at=NOON + datetime.timedelta(minutes=10 * n),
        )
    StaffEventFactory(
        organization=organization, actor=eve, type="permission.denied", message="Eve tried.", occurred_at=NOON
    )
    told = {line.what: line.further for line in lines(support, organization)}
    assert told == {message: ("tried 5 times",), "Eve tried.": ()}


def test_a_denial_names_the_person(support: Client, organization: Organization) -> None:
    bob: User = StaffFactory(first_name="Bob", last_name="Berg")
    denials.record(bob, OPERATIONS["refund_invoice"], organization)
    [line] = lines(support, organization)
    assert line.what.startswith("Bob Berg tried to refund an invoice, without being allowed to.")


def test_a_history_of_any_length_costs_the_same(support: Client, organization: Organization) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            support.get(customer_page(organization))
        return len(captured)

    StaffEventFactory(organization=organization, plan=None)
    queries()
    few = queries()
    for _n in range(30):
        event = StaffEventFactory(organization=organization, plan=None, actor=StaffFactory())
        OperationStepFactory(event=event)
        told_by_stripe(organization, "customer.subscription.updated", idempotency_key=f"{event.uuid}:update")
    assert queries() == few
    assert len(lines(support, organization)) == 20


def test_only_one_kind_or_one_person_can_be_asked_for(support: Client, organization: Organization) -> None:
    ann, bob = StaffFactory(first_name="Ann"), StaffFactory(first_name="Bob")
    change = StaffEventFactory(organization=organization, actor=ann, plan=None)
    refund = StaffEventFactory(organization=organization, actor=bob, type="refund_invoice", plan=None)
    paid = told_by_stripe(organization, "invoice.paid")

    def asked(**query: str) -> set[int]:
        return {line.event.pk for line in lines(support, organization, **query)}

    assert asked() == {change.pk, refund.pk, paid.pk}
    assert asked(kind="operations") == {change.pk, refund.pk}
    assert asked(kind="invoice.") == {paid.pk}
    assert asked(by=str(ann.pk)) == {change.pk}
    assert asked(by="stripe") == {paid.pk}
    assert asked(kind="operations", by=str(bob.pk)) == {refund.pk}
    assert asked(kind="no such kind", by="'; --") == {change.pk, refund.pk, paid.pk}
    assert asked(kind="charge.") == set()
    text = section(support.get(customer_page(organization), {"kind": "charge."}))
    assert "Nothing of this kind happened" in text
    assert "is no value for" not in text


def test_a_question_that_the_timeline_does_not_know_says_so(
    support: Client, organization: Organization
) -> None:
    told_by_stripe(organization, "invoice.paid")
    text = section(support.get(customer_page(organization), {"kind": "zz", "by": "yy"}))
    assert "“zz” is no value for “Kind”, so the list is not filtered by it." in text
    assert "“yy” is no value for “By”, so the list is not filtered by it." in text


def test_the_question_is_labelled_and_remembers_its_answer(
    support: Client, organization: Organization
) -> None:
    ann = StaffFactory(first_name="Ann", last_name="Archer")
    StaffEventFactory(organization=organization, actor=ann, plan=None)
    response = support.get(customer_page(organization), {"by": str(ann.pk)})
    content = response.content.decode()
    assert f'<option value="{ann.pk}" selected>Ann Archer</option>' in content
    assert "Show everything" in Page(response).text


def test_older_events_are_a_link_away(support: Client, organization: Organization) -> None:
    made = [told_by_stripe(organization, "customer.updated", after=n * 600) for n in range(25)]
    response = support.get(customer_page(organization), {"by": "stripe"})
    older = response.context["timeline"].older_url
    assert older in Page(response).links
    listed = support.get(older).context["cl"].result_list
    assert [event.pk for event in listed] == [event.pk for event in made[:5]][::-1]


def test_what_was_delivered_long_after_it_happened_is_among_the_older(
    support: Client, organization: Organization
) -> None:
    for number in range(40):
        SubscriptionEventFactory(
            organization=organization,
            occurred_at=timezone.now() - datetime.timedelta(days=number),
            type="customer.updated",
        )
    late = SubscriptionEventFactory(
        organization=organization,
        occurred_at=timezone.now() - datetime.timedelta(days=100),
        type="charge.dispute.created",
    )
    page = support.get(reverse("admin:organizations_organization_change", args=[organization.pk]))
    older = next(link for link in Page(page).links if "before=" in link)
    listed = support.get(older).context["cl"].result_list
    assert late.pk in [event.pk for event in listed]


def test_a_short_history_has_no_older_events(support: Client, organization: Organization) -> None:
    told_by_stripe(organization, "customer.updated")
    assert support.get(customer_page(organization)).context["timeline"].older_url == ""


def test_history_is_for_those_who_may_see_events(
    staff: Callable[..., Client], organization: Organization
) -> None:
    StaffEventFactory(organization=organization, reason="secret plans")
    text = Page(staff("organizations.view_organization").get(customer_page(organization))).text
    assert "secret plans" not in text
    assert "shown to those who may see subscription events" in text


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "‮שלום evil", "x" * 5_000, '"onmouseover="alert(1)', "{{ 7 }}%(n)s%"]
)
def test_hostile_words_are_shown_harmless_and_short(
    support: Client, organization: Organization, name: str
) -> None:
    actor = StaffFactory(first_name=name[:150], last_name="")
    StaffEventFactory(
        organization=organization, actor=actor, reason=name, ticket=name[:100], plan={"x": name}
    )
    StaffEventFactory(organization=organization, actor=actor, state="failed", message=name, reason=name)
    told_by_stripe(organization, name[:100])
    response = support.get(customer_page(organization))
    assert response.status_code == 200
    assert Page(response).could_run() == []
    assert "x" * 400 not in Page(response).text
