"""Bulk jobs: each row once, whatever dies, and nothing but what was shown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from djstripe.models import Invoice, Refund
from procrastinate.contrib.django.models import ProcrastinateJob

from adminops.pages import words
from billing import budget, mirror
from billing.bulk import cautions, jobs, rows
from billing.bulk.jobs import Outcome
from billing.bulk.kinds import KINDS
from billing.errors import OperationRefused
from billing.models import BulkJob, BulkRow, CustomerSync, SubscriptionEvent
from billing.operations.intent import perform
from billing.sync import sync_customer
from organizations.models import Organization
from tests import databases
from tests.conftest import Sandbox
from tests.factories import GroupFactory, MembershipFactory, StaffFactory
from tests.operating import make_due
from tests.situations import SITUATIONS, Situation
from tests.stripe_world import World, make_customer, make_organization, make_price, read, seats_at_stripe

pytestmark = pytest.mark.django_db(transaction=True)

SEATS = KINDS["change_seats"]
TO_12 = {"how": "to", "seats": 12, "proration": "create_prorations"}
BY_2 = {"how": "by", "seats": 2, "proration": "create_prorations"}


@pytest.fixture
def worlds(sandbox: Sandbox) -> list[World]:
    price = make_price(sandbox.client)
    return [make_customer(sandbox, seats=seats, price=price) for seats in (8, 9, 10)]


@pytest.fixture
def organizations(worlds: list[World]) -> list[Organization]:
    return [
        make_organization(world, name=name)
        for world, name in zip(worlds, ("Acme", "Bolt", "Crux"), strict=True)
    ]


@pytest.fixture
def colleague() -> User:
    user: User = StaffFactory(permissions=["organizations.change_seats"])
    return user


def start(organizations: list[Organization], actor: User, asked: dict[str, Any] = TO_12) -> BulkJob:
    """Plan and confirm, as the page does."""
    planned = jobs.plan(SEATS, [str(each.pk) for each in organizations], asked)
    return jobs.start(
        SEATS,
        id_=uuid.uuid4(),
        shown={row.selected.key: row.digest for row in planned.rows},
        asked=asked,
        actor=actor,
        reason="new contract",
        ticket="4711",
    )


def do_all(job: BulkJob) -> None:
    for row_id in job.rows.values_list("pk", flat=True):
        rows.do_row(row_id)


def outcomes(job: BulkJob) -> list[tuple[str, str]]:
    return [
        (row.outcome, row.told)
        for row in jobs.with_outcomes(BulkRow.objects.filter(job=job)).order_by("position")
    ]


def updates(sandbox: Sandbox, world: World) -> int:
    calls = sandbox.control("GET", "log")["calls"]
    path = f"/v1/subscriptions/{world.subscription}"
    return sum(call["method"] == "POST" and call["path"] == path for call in calls)


def fault(sandbox: Sandbox, kind: str, path: str, **more: Any) -> None:
    sandbox.control("POST", "faults", {"kind": kind, "path": path, **more})


# -- planning ---------------------------------------------------------------------------------------------


def test_a_plan_says_what_will_happen_to_each_and_why_it_cannot_to_others_without_asking_stripe(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization]
) -> None:
    sandbox.client.v1.subscriptions.cancel(worlds[2].subscription)
    read(worlds[2])
    MembershipFactory.create_batch(9, organization=organizations[1])
    sandbox.control("DELETE", "log")
    planned = jobs.plan(
        SEATS, [str(each.pk) for each in organizations], {"how": "to", "seats": 8, "proration": "none"}
    )
    assert [(row.selected.label, row.outlook) for row in planned.rows] == [
        ("Bolt", "Seats 9 → 8 · $261.00 → $232.00 each month · 9 members are active")
    ]
    assert [selected.label for selected, _why in planned.refused] == ["Acme", "Crux"]
    assert planned.refused[0][1] == "It has 8 seats already."
    assert "ended on" in planned.refused[1][1]
    assert sandbox.control("GET", "log")["calls"] == []


def test_by_a_number_counts_from_what_each_has_now(organizations: list[Organization]) -> None:
    planned = jobs.plan(SEATS, [str(each.pk) for each in organizations], {**BY_2, "seats": -9})
    assert [row.choices.to_dict()["seats"] for row in planned.rows] == [1]
    assert "would have -1" in planned.refused[0][1]


def test_where_there_are_several_subscriptions_nobody_guesses(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization]
) -> None:
    sandbox.client.v1.subscriptions.create(
        {"customer": worlds[0].customer, "items": [{"price": worlds[0].price, "quantity": 3}]}
    )
    read(worlds[0])
    planned = jobs.plan(SEATS, [str(organizations[0].pk)], TO_12)
    assert "2 live subscriptions" in planned.refused[0][1]


# -- doing ------------------------------------------------------------------------------------------------


def test_each_row_is_done_once_however_often_its_task_runs(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization], colleague: User
) -> None:
    job = start(organizations, colleague)
    do_all(job)
    do_all(job)
    BulkRow.objects.update(state="waiting")  # as if the worker had died before it could note the end
    do_all(job)
    assert [seats_at_stripe(sandbox, world) for world in worlds] == [12, 12, 12]
    assert [updates(sandbox, world) for world in worlds] == [1, 1, 1]
    assert [outcome for outcome, _told in outcomes(job)] == ["done"] * 3
    assert outcomes(job)[0][1].startswith("Seats changed from 8 to 12.")
    event = SubscriptionEvent.objects.get(uuid=job.rows.get(position=0).operation)
    assert (event.reason, event.ticket, event.actor) == ("new contract", "4711", colleague)


def test_confirming_twice_starts_one_job(organizations: list[Organization], colleague: User) -> None:
    planned = jobs.plan(SEATS, [str(organizations[0].pk)], TO_12)
    shown = {row.selected.key: row.digest for row in planned.rows}
    id_ = uuid.uuid4()
    first = jobs.start(SEATS, id_=id_, shown=shown, asked=TO_12, actor=colleague)
    second = jobs.start(SEATS, id_=id_, shown=shown, asked=TO_12, actor=colleague)
    assert first == second
    assert BulkRow.objects.count() == 1
    assert ProcrastinateJob.objects.filter(task_name=jobs.TASK).count() == 1


def test_what_is_no_longer_as_it_was_shown_is_not_done(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization], colleague: User
) -> None:
    job = start(organizations, colleague, BY_2)
    # Changed at Stripe a moment ago; our own rows do not know it yet.
    sandbox.client.v1.subscriptions.update(
        worlds[0].subscription, {"items": [{"id": worlds[0].item, "quantity": 20}]}
    )
    do_all(job)
    assert [seats_at_stripe(sandbox, world) for world in worlds] == [20, 11, 12]
    assert outcomes(job)[0] == (
        "refused",
        "It has 20 seats now, and 8 were shown. Nothing was changed.",
    )


def test_what_changed_between_being_shown_and_confirmed_is_a_row_that_says_so(
    worlds: list[World], organizations: list[Organization], colleague: User
) -> None:
    planned = jobs.plan(SEATS, [str(each.pk) for each in organizations], BY_2)
    Organization.objects.filter(pk=organizations[1].pk).update(seats=30)
    job = jobs.start(
        SEATS,
        id_=uuid.uuid4(),
        shown={row.selected.key: row.digest for row in planned.rows},
        asked=BY_2,
        actor=colleague,
    )
    assert [outcome for outcome, _told in outcomes(job)] == ["waiting", "refused", "waiting"]
    assert "between being shown and being confirmed" in outcomes(job)[1][1]


def test_a_refusal_of_stripes_is_told_in_words_and_stops_nobody_else(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization], colleague: User
) -> None:
    bad = sandbox.client.v1.payment_methods.attach(
        "pm_card_chargeCustomerFail", {"customer": worlds[1].customer}
    )
    sandbox.client.v1.customers.update(
        worlds[1].customer, {"invoice_settings": {"default_payment_method": bad.id}}
    )
    job = start(organizations, colleague, {**TO_12, "proration": "always_invoice"})
    do_all(job)
    assert [outcome for outcome, _told in outcomes(job)] == ["done", "failed", "done"]
    assert "declined" in outcomes(job)[1][1]
    assert jobs.retriable(SEATS, job, colleague) == [str(organizations[1].pk)]


def test_somebody_who_may_no_longer_do_it_does_it_no_longer(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization], colleague: User
) -> None:
    job = start(organizations, colleague)
    colleague.user_permissions.clear()
    do_all(job)
    assert {outcome for outcome, _told in outcomes(job)} == {"refused"}
    assert seats_at_stripe(sandbox, worlds[0]) == 8
    denied = SubscriptionEvent.objects.filter(type="permission.denied", actor=colleague)
    assert {line.organization for line in denied} == set(organizations)
    assert denied[0].reason == "new contract"
    assert "tried to change seats, without being allowed to." in (denied[0].message or "")


def test_what_is_stopped_is_not_done_and_what_was_done_stays(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization], colleague: User
) -> None:
    job = start(organizations, colleague)
    rows.do_row(job.rows.get(position=0).pk)
    jobs.stop(job, colleague)
    do_all(job)
    assert [outcome for outcome, _told in outcomes(job)] == ["done", "stopped", "stopped"]
    assert [seats_at_stripe(sandbox, world) for world in worlds] == [12, 9, 10]
    assert rows.queue_lost() == 0
    assert jobs.counts(job) == {Outcome.DONE: 1, Outcome.STOPPED: 2}


def test_an_unknown_outcome_ends_in_the_truth_and_is_not_for_trying_again(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization], colleague: User, settings: Any
) -> None:
    settings.STRIPE_READ_TIMEOUT = 1.0
    fault(sandbox, "timeout_after", f"/v1/subscriptions/{worlds[0].subscription}", method="POST", seconds=2)
    job = start(organizations[:1], colleague)
    do_all(job)
    assert outcomes(job)[0][0] == "pending"
    assert jobs.retriable(SEATS, job, colleague) == []
    from billing.operations.sweeper import settle_pending

    make_due()
    settle_pending()
    assert outcomes(job)[0][0] == "done"
    assert seats_at_stripe(sandbox, worlds[0]) == 12


def test_a_row_that_stripe_has_no_time_for_is_tried_again_later_however_often(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization], colleague: User
) -> None:
    job = start(organizations[:1], colleague)
    ProcrastinateJob.objects.all().delete()
    fault(sandbox, "error_429", "/v1/invoices/create_preview", times=-1)
    do_all(job)
    assert rows.queue_lost() == 0
    BulkRow.objects.update(due_at=timezone.now())
    assert rows.queue_lost() == 1
    assert rows.queue_lost() == 0
    for _ in range(rows.TRIES):
        do_all(job)
    row = job.rows.get()
    assert (row.state, row.tries) == ("waiting", 0)
    assert "Stripe is busy" in row.message
    sandbox.control("DELETE", "faults")
    do_all(job)
    assert outcomes(job)[0][0] == "done"


def test_a_row_that_stripe_does_not_answer_is_tried_again_later_and_given_up_at_last(
    sandbox: Sandbox, organizations: list[Organization], colleague: User
) -> None:
    job = start(organizations[:1], colleague)
    fault(sandbox, "drop_connection", "/v1/subscriptions/*", method="GET", times=-1)
    do_all(job)
    assert (job.rows.get().state, job.rows.get().tries) == ("waiting", 1)
    BulkRow.objects.update(tries=rows.TRIES - 1)
    do_all(job)
    assert outcomes(job)[0][0] == "refused"
    assert "Nothing was changed" in outcomes(job)[0][1]


def test_a_row_that_breaks_off_after_its_intent_is_never_said_to_be_unchanged(
    organizations: list[Organization], colleague: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start(organizations[:1], colleague)

    def perform_and_break_off(*args: Any, **more: Any) -> None:
        perform(*args, **more)
        raise RuntimeError("the connection to the database is gone")

    monkeypatch.setattr("billing.bulk.rows.perform", perform_and_break_off)
    do_all(job)
    row = job.rows.get()
    assert (row.state, row.message) == ("attempted", "")
    assert outcomes(job)[0][0] == "done"


def test_a_row_whose_turn_comes_hours_later_is_not_done(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization], colleague: User
) -> None:
    job = start(organizations, colleague)
    rows.do_row(job.rows.get(position=0).pk)
    BulkRow.objects.update(state="waiting")
    BulkJob.objects.update(created_at=timezone.now() - rows.MAX_AGE)
    do_all(job)
    late = "Not done: this was asked for more than 4 hours ago. Ask again."
    assert outcomes(job)[1:] == [("refused", late), ("refused", late)]
    assert outcomes(job)[0][0] == "done"
    assert [seats_at_stripe(sandbox, world) for world in worlds] == [12, 9, 10]
    assert jobs.retriable(SEATS, job, colleague) == [str(each.pk) for each in organizations[1:]]


@pytest.mark.parametrize("change", ["price", "discount"])
def test_seats_that_cost_something_else_by_now_are_not_changed(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization], colleague: User, change: str
) -> None:
    job = start(organizations[:1], colleague)
    subscriptions = sandbox.client.v1.subscriptions
    if change == "price":
        another = make_price(sandbox.client)
        subscriptions.update(
            worlds[0].subscription, {"items": [{"id": worlds[0].item, "price": another, "quantity": 8}]}
        )
    else:
        coupon = sandbox.client.v1.coupons.create({"percent_off": 10, "duration": "forever"})
        subscriptions.update(worlds[0].subscription, {"discounts": [{"coupon": coupon.id}]})
    do_all(job)
    assert outcomes(job) == [
        ("refused", "It changed since this was shown. Nothing was changed; look and try again.")
    ]
    assert seats_at_stripe(sandbox, worlds[0]) == 8


def test_there_are_no_more_rows_than_a_job_may_have(colleague: User) -> None:
    shown = {str(number): "x" for number in range(jobs.ROWS_PER_JOB + 1)}
    with pytest.raises(OperationRefused, match="choose fewer"):
        jobs.start(SEATS, id_=uuid.uuid4(), shown=shown, asked=TO_12, actor=colleague)
    with pytest.raises(OperationRefused, match="nothing to be done"):
        jobs.start(SEATS, id_=uuid.uuid4(), shown={}, asked=TO_12, actor=colleague)
    assert not BulkJob.objects.exists()


# -- whatever can be done to many -----------------------------------------------------------------------------

ASKED: dict[str, dict[str, Any]] = {
    "change_seats": TO_12,
    "cancel_subscription": {
        "when": "now",
        "prorate": "",
        "invoice_now": "",
        "feedback": "",
        "comment": "",
    },
    "suspend_organization": {"kind": "manual", "ends_at": None, "billing": "continues", "invoices": "leave"},
    "activate_organization": {"kinds": ["manual", "abuse", "non_payment"]},
    "resync_organization": {},
    "refund_invoice": {"stripe_reason": ""},
    "reprocess_event": {},
}


def key_of(situation: Situation) -> str:
    """What is ticked for it in its list."""
    if "invoice" not in situation.choices:
        return str(situation.subject.pk)
    return str(Invoice.objects.get(id=situation.choices["invoice"]).djstripe_id)


@pytest.mark.parametrize("type_", KINDS)
def test_whatever_can_be_done_to_many_is_shown_done_once_and_told(sandbox: Sandbox, type_: str) -> None:
    situation, kind = SITUATIONS[type_](sandbox), KINDS[type_]
    sandbox.control("DELETE", "log")
    planned = jobs.plan(kind, [key_of(situation), "987654321"], ASKED[type_])
    assert sandbox.control("GET", "log")["calls"] == []
    assert planned.refused == []
    (row,) = planned.rows
    assert row.outlook
    job = jobs.start(
        kind,
        id_=uuid.uuid4(),
        shown={row.selected.key: row.digest},
        asked=ASKED[type_],
        actor=StaffFactory(permissions=[kind.operation.permission]),
        reason="asked on the phone",
    )
    assert outcomes(job) == [("waiting", "")]
    before = situation.effect()
    sandbox.control("DELETE", "log")
    do_all(job)
    for customer_id in CustomerSync.objects.values_list("pk", flat=True):
        sync_customer(customer_id)
    calls = sandbox.control("GET", "log")["calls"]
    of_one = Counter(budget.endpoint_of(call["method"], call["path"]) for call in calls).most_common(1)
    assert len(calls) <= kind.calls
    assert all(count <= kind.calls_of_one_endpoint for _endpoint, count in of_one)
    after = situation.effect()
    assert after != before
    (outcome,) = outcomes(job)
    assert (outcome[0], bool(outcome[1])) == ("done", True), outcome
    BulkRow.objects.update(state="waiting")
    do_all(job)
    assert situation.effect() == after
    assert SubscriptionEvent.objects.filter(type=type_).count() == 1


def test_a_cancellation_that_a_colleague_was_faster_with_is_not_done_again(
    sandbox: Sandbox, worlds: list[World], organizations: list[Organization]
) -> None:
    kind, asked = KINDS["cancel_subscription"], ASKED["cancel_subscription"]
    planned = jobs.plan(kind, [str(organizations[0].pk)], asked)
    sandbox.client.v1.subscriptions.update(worlds[0].subscription, {"cancel_at_period_end": True})
    job = jobs.start(
        kind,
        id_=uuid.uuid4(),
        shown={row.selected.key: row.digest for row in planned.rows},
        asked=asked,
        actor=StaffFactory(permissions=[kind.operation.permission]),
    )
    do_all(job)
    assert outcomes(job) == [
        ("refused", "It changed since this was shown. Nothing was changed; look and try again.")
    ]


def test_a_refund_gives_back_what_was_shown_or_nothing(sandbox: Sandbox) -> None:
    situation, kind = SITUATIONS["refund_invoice"](sandbox), KINDS["refund_invoice"]
    planned = jobs.plan(kind, [key_of(situation)], ASKED["refund_invoice"])
    assert "goes back to the card" in planned.rows[0].outlook
    intent = sandbox.client.v1.payment_intents.list().data[0].id
    sandbox.client.v1.refunds.create({"payment_intent": intent, "amount": 100})
    job = jobs.start(
        kind,
        id_=uuid.uuid4(),
        shown={row.selected.key: row.digest for row in planned.rows},
        asked=ASKED["refund_invoice"],
        actor=StaffFactory(permissions=[kind.operation.permission]),
    )
    do_all(job)
    (outcome,) = outcomes(job)
    assert outcome[0] == "refused"
    assert "was shown. Nothing was changed." in outcome[1]


def test_refunds_of_many_tell_what_went_back_already_and_leave_out_what_a_bank_takes_back(
    sandbox: Sandbox,
) -> None:
    worlds = [make_customer(sandbox) for _ in range(2)]
    worlds.append(make_customer(sandbox, card="pm_card_createDispute"))
    worlds.append(make_customer(sandbox, card="pm_card_createDisputeInquiry"))
    # A bank asks a second after the payment.
    sandbox.control("POST", "clock", {"advance": 5})
    for world in worlds:
        make_organization(world)
    for world, status in ((worlds[0], "succeeded"), (worlds[1], "pending")):
        intent = sandbox.client.v1.payment_intents.list({"customer": world.customer}).data[0].id
        refund = sandbox.client.v1.refunds.create({"payment_intent": intent, "amount": 2900})
        read(world)
        if status == "pending":
            Refund.objects.filter(id=refund.id).update(
                stripe_data={**Refund.objects.get(id=refund.id).stripe_data, "status": "pending"}
            )
    kind = KINDS["refund_invoice"]
    keys = [str(key) for key in Invoice.objects.order_by("djstripe_id").values_list("djstripe_id", flat=True)]
    planned = jobs.plan(kind, keys, ASKED["refund_invoice"])
    assert [[caution.words for caution in row.cautions] for row in planned.rows] == [
        ["$29.00 has gone back already"],
        ["a refund of $29.00 is on its way"],
        ["The customer's bank asks about $232.00"],
    ]
    assert [why for _selected, why in planned.refused] == [
        "The customer's bank is taking this payment back (a dispute), so Stripe does not refund it."
        " Answer the dispute at Stripe."
    ]
    assert cautions.counted(row.cautions for row in planned.rows) == [
        "1 of them was questioned by the customer's bank.",
        "Of 1 of them a part has gone back already; what is left goes back now.",
        "Of 1 of them a refund is on its way already.",
    ]
    assert kind.sums(planned.figures) == ["$638.00 goes back"]


def test_refunds_of_many_promise_no_more_than_can_go_back(
    sandbox: Sandbox, django_assert_num_queries: Any
) -> None:
    world = make_customer(sandbox, seats=10, price=make_price(sandbox.client, amount=1000))
    organization = make_organization(world)
    (invoice,) = sandbox.client.v1.invoices.list({"customer": world.customer}).data
    sandbox.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 3000, "credit_amount": 3000})
    read(world)
    mirror.upsert(paid_in_kronur(world.customer, 10_050))
    kind = KINDS["refund_invoice"]
    keys = [str(key) for key in Invoice.objects.order_by("djstripe_id").values_list("djstripe_id", flat=True)]

    planned = jobs.plan(kind, keys, ASKED["refund_invoice"])

    assert [row.basis["amount"] for row in planned.rows] == [7000, 10_000]
    assert kind.sums(planned.figures) == ["ISK 100.00 goes back", "$70.00 goes back"]
    job = jobs.start(
        kind,
        id_=uuid.uuid4(),
        shown={row.selected.key: row.digest for row in planned.rows[:1]},
        asked=ASKED["refund_invoice"],
        actor=StaffFactory(permissions=[kind.operation.permission]),
    )
    do_all(job)
    assert [outcome for outcome, _told in outcomes(job)] == ["done"]
    for number in range(5):
        mirror.upsert(paid_in_kronur(str(organization.stripe_customer_id), 10_050, number=number))
    with CaptureQueriesContext(connection) as few:
        kind.selected(keys)
    keys = [str(key) for key in Invoice.objects.values_list("djstripe_id", flat=True)]
    with django_assert_num_queries(len(few)):
        kind.selected(keys)


def paid_in_kronur(customer: str, amount: int, number: int = 100) -> list[Any]:
    """An invoice and the charge that paid it, as the mirror holds them."""
    common = {"customer": customer, "currency": "isk", "livemode": False, "created": 1_790_000_000 + number}
    payment = {"payment": {"payment_intent": f"pi_isk{number}"}}
    return [
        {"id": f"ch_isk{number}", "object": "charge", "status": "succeeded", "amount": amount,
         "amount_captured": amount, "amount_refunded": 0, "payment_intent": f"pi_isk{number}", "paid": True,
         "refunded": False, "captured": True, "disputed": False, **common},
        {"id": f"in_isk{number}", "object": "invoice", "status": "paid", "number": f"K-{number}",
         "amount_paid": amount, "amount_due": amount, "amount_remaining": 0, "total": amount,
         "payments": {"data": [payment]}, **common},
    ]  # fmt: skip


def test_sums_are_told_apart_by_currency_and_by_how_often_they_are_billed(sandbox: Sandbox) -> None:
    client = sandbox.client
    prices = [
        make_price(client, amount=50_000),
        make_price(client, amount=30_000),
        make_price(client, amount=300, currency="jpy"),
        make_price(client, amount=9900, currency="eur", interval="year"),
    ]
    chosen = [make_organization(make_customer(sandbox, seats=1000, price=price)) for price in prices]
    planned = jobs.plan(SEATS, [str(each.pk) for each in chosen], {**BY_2, "seats": 500})
    assert SEATS.sums(planned.figures) == [
        "Seats 4,000 → 6,000",
        "€99,000.00 → €148,500.00 each year",
        "¥300,000 → ¥450,000 each month",
        "$800,000.00 → $1,200,000.00 each month",
    ]


def test_how_long_it_takes_follows_from_the_calls_that_stripe_allows(settings: Any) -> None:
    settings.STRIPE_CALLS_PER_SECOND = 100
    assert jobs.seconds_needed(SEATS, 1000) == 93
    assert words.roughly(93) == "about 2 minutes"
    assert words.roughly(7000) == "about 2 hours"
    settings.STRIPE_CALLS_PER_SECOND = 0
    assert jobs.seconds_needed(SEATS, 1000) is None


def test_each_refund_of_many_counts_against_what_a_person_may_give_back(
    sandbox: Sandbox, organizations: list[Organization], settings: Any
) -> None:
    settings.REFUND_LIMITS = {"Support": {"usd": [30_000, 50_000]}}
    kind = KINDS["refund_invoice"]
    supporter = StaffFactory(permissions=[kind.operation.permission])
    supporter.groups.add(GroupFactory(name="Support"))
    keys = [str(key) for key in Invoice.objects.order_by("djstripe_id").values_list("djstripe_id", flat=True)]
    assert len(keys) == 3
    planned = jobs.plan(kind, keys, ASKED["refund_invoice"])
    job = jobs.start(
        kind,
        id_=uuid.uuid4(),
        shown={row.selected.key: row.digest for row in planned.rows},
        asked=ASKED["refund_invoice"],
        actor=supporter,
        reason="an outage",
    )
    do_all(job)
    # $232.00 and $261.00 are within the $500.00 of a day, and another $290.00 is not.
    assert [outcome for outcome, _told in outcomes(job)] == ["done", "done", "refused"]
    denied = SubscriptionEvent.objects.get(type="permission.denied", actor=supporter)
    assert "tried to refund $290.00 of " in (denied.message or "")
    assert ", over the limit of $500.00 a day. Nothing was changed." in (denied.message or "")
    assert (denied.reason, denied.amount, denied.after["bulk_job"]) == ("an outage", 29_000, job.pk)


def test_what_is_beyond_a_persons_limits_is_told_before_counting_one_after_another(
    sandbox: Sandbox, organizations: list[Organization], settings: Any
) -> None:
    kind = KINDS["refund_invoice"]
    supporter = StaffFactory(permissions=[kind.operation.permission])
    supporter.groups.add(GroupFactory(name="Support"))
    keys = [str(key) for key in Invoice.objects.order_by("djstripe_id").values_list("djstripe_id", flat=True)]

    def plan(per_refund: int, per_day: int) -> tuple[int, list[str]]:
        settings.REFUND_LIMITS = {"Support": {"usd": [per_refund, per_day]}}
        planned = jobs.plan(kind, keys, ASKED["refund_invoice"], supporter)
        return len(planned.rows), [why for _selected, why in planned.refused]

    assert plan(30_000, 50_000) == (
        2,
        [
            "You gave back $0.00 today, $493.00 is planned before it, and $290.00 more would be over what you may"
            " in a day ($500.00). Ask a colleague in finance."
        ],
    )
    at_once = "is more than you may give back at once ($250.00). Ask a colleague in finance."
    assert plan(25_000, 90_000) == (1, [f"$261.00 {at_once}", f"$290.00 {at_once}"])
    assert plan(0, 0) == (0, ["Your role may not give back USD. Ask a colleague in finance."] * 3)


def test_of_a_credit_invoice_nothing_was_paid(sandbox: Sandbox, organizations: list[Organization]) -> None:
    invoice = Invoice.objects.order_by("djstripe_id").first()
    assert invoice
    Invoice.objects.filter(pk=invoice.pk).update(stripe_data={**invoice.stripe_data, "total": -5000})
    planned = jobs.plan(KINDS["refund_invoice"], [str(invoice.pk)], ASKED["refund_invoice"])
    assert [why for _selected, why in planned.refused] == ["Nothing was paid on it."]


def test_many_customers_are_read_again_once_each(sandbox: Sandbox, organizations: list[Organization]) -> None:
    kind = KINDS["resync_organization"]
    planned = jobs.plan(kind, [str(each.pk) for each in organizations], {})
    job = jobs.start(
        kind,
        id_=uuid.uuid4(),
        shown={row.selected.key: row.digest for row in planned.rows},
        asked={},
        actor=StaffFactory(permissions=[kind.operation.permission]),
    )
    CustomerSync.objects.all().delete()
    sandbox.control("DELETE", "log")
    sandbox.client.v1.customers.delete(organizations[0].stripe_customer_id or "")
    Organization.objects.filter(pk=organizations[1].pk).update(stripe_customer_id="cus_unknown")
    BulkRow.objects.filter(organization=organizations[1]).update(basis={"customer": "cus_unknown"})
    do_all(job)
    assert [outcome for outcome, _told in outcomes(job)] == ["done", "refused", "done"]
    assert "no customer cus_unknown" in outcomes(job)[1][1]
    for customer_id in CustomerSync.objects.values_list("pk", flat=True):
        sync_customer(customer_id)
    calls = [call["path"] for call in sandbox.control("GET", "log")["calls"]]
    assert calls.count("/v1/invoices") == 2
    assert calls.count("/v1/charges") == 2


@pytest.mark.parametrize("type_", KINDS)
def test_a_plan_reads_what_all_rows_need_together(sandbox: Sandbox, type_: str) -> None:
    kind = KINDS[type_]
    keys = []
    for _ in range(8):
        situation = SITUATIONS[type_](sandbox)
        if isinstance(situation.subject, Organization):
            MembershipFactory.create_batch(2, organization=situation.subject)
        keys.append(key_of(situation))
    asked = {**ASKED[type_], "seats": 1} if type_ == "change_seats" else ASKED[type_]
    with CaptureQueriesContext(connection) as few:
        jobs.plan(kind, keys[:2], asked)
    with CaptureQueriesContext(connection) as many:
        planned = jobs.plan(kind, keys, asked)
    assert len(planned.rows) == 8
    assert len(many) == len(few) < 15


# -- killed ---------------------------------------------------------------------------------------------------


def start_worker() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "work", "--queues", "bulk", "operations", "maintenance"],
        env={**os.environ, "DATABASE_URL": databases.url(), "LOG_LEVEL": "WARNING"},
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def eventually(condition: Callable[[], bool], seconds: float = 40) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it never came true"
        time.sleep(0.05)


def test_a_killed_worker_loses_nothing_and_repeats_nothing(sandbox: Sandbox, colleague: User) -> None:
    price = make_price(sandbox.client)
    worlds = [make_customer(sandbox, seats=8, price=price) for _ in range(16)]
    organizations = [make_organization(world) for world in worlds]
    fault(sandbox, "latency", "/v1/subscriptions/*", method="POST", times=-1, seconds=0.4)
    job = start(organizations, colleague)

    first = start_worker()
    eventually(lambda: jobs.counts(job).get(Outcome.DONE, 0) >= 2)
    kill(first)
    assert jobs.counts(job).get(Outcome.DONE, 0) < 16
    # A test need not wait two minutes until the dead worker's tasks are given to a living one.
    ProcrastinateJob.objects.filter(task_name=jobs.TASK, status="doing").delete()
    SubscriptionEvent.objects.filter(state="pending").update(next_attempt_at=timezone.now())

    second = start_worker()
    try:
        eventually(lambda: jobs.counts(job) == {Outcome.DONE: 16})
    finally:
        kill(second)
    assert [seats_at_stripe(sandbox, world) for world in worlds] == [12] * 16
    calls = sandbox.control("GET", "log")["calls"]
    for world in worlds:
        keys = {c["key"] for c in calls if c["method"] == "POST" and c["path"].endswith(world.subscription)}
        assert len(keys) == 1
