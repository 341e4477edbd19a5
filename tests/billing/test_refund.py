"""Refunds: exactly what was agreed to, once, and never more than was paid."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from pytest_django import Settings

from billing import authority, mirror
from billing.errors import BillingError, DoneMeanwhile, NotPermitted, OperationRefused, PreviewOutdated
from billing.models import SubscriptionEvent
from billing.operations.refund import RefundInvoice
from billing.operations.sweeper import settle_pending
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import AdministratorFactory, GroupFactory, StaffFactory
from tests.operating import Shown, at_once, grow_older, make_due, show
from tests.stripe_world import World, make_customer, make_organization, make_price, read

MAY = ["organizations.refund_invoice"]
PAID = 8 * 2900

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(sandbox: Sandbox) -> World:
    return make_customer(sandbox)


@pytest.fixture
def organization(world: World) -> Organization:
    return make_organization(world)


def invoice_of(sandbox: Sandbox, world: World) -> Any:
    """The newest invoice, with its payments."""
    invoices = sandbox.client.v1.invoices.list({"customer": world.customer, "expand": ["data.payments"]})
    return invoices.data[0]


def intent_of(sandbox: Sandbox, world: World) -> str:
    """The payment intent that paid the newest invoice."""
    intent: str = invoice_of(sandbox, world).payments.data[0].payment.payment_intent
    return intent


def asked(
    sandbox: Sandbox, world: World, organization: Organization, amount: int | None = None, **more: Any
) -> Shown:
    invoice = more.pop("invoice", None) or invoice_of(sandbox, world).id
    return show("refund_invoice", organization, invoice=invoice, amount=amount, **more)


def credited(sandbox: Sandbox, world: World) -> int:
    """What stands on the customer's balance in the customer's favour."""
    return -(sandbox.client.v1.customers.retrieve(world.customer).balance or 0)


def refunded(sandbox: Sandbox, world: World) -> int:
    refunds = sandbox.client.v1.refunds.list({"payment_intent": intent_of(sandbox, world), "limit": 100})
    return sum(each.amount for each in refunds.data if each.status not in ("failed", "canceled"))


def posts(sandbox: Sandbox, path: str = "/v1/refunds") -> list[dict[str, Any]]:
    calls = sandbox.control("GET", "log")["calls"]
    return [call for call in calls if call["method"] == "POST" and call["path"] == path]


def fault(sandbox: Sandbox, kind: str, path: str = "/v1/refunds", **more: Any) -> None:
    sandbox.control("POST", "faults", {"kind": kind, "method": "POST", "path": path, **more})


def sweep(times: int = 1) -> None:
    for _ in range(times):
        make_due()
        settle_pending()


def pay_back_in_the_dashboard(sandbox: Sandbox, world: World, amount: int) -> Any:
    return sandbox.client.v1.refunds.create({"payment_intent": intent_of(sandbox, world), "amount": amount})


def in_the_last_moment(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Let something happen at Stripe after our last look and before our call."""
    prepare = RefundInvoice.prepare

    def be_overtaken(*args: Any) -> Any:
        act()
        return prepare(*args)

    monkeypatch.setattr(RefundInvoice, "prepare", be_overtaken)


# -- to the card ------------------------------------------------------------------------------------------


def test_an_empty_amount_is_all_that_is_left(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown = asked(sandbox, world, organization, stripe_reason="requested_by_customer")
    account = shown.preview.account
    assert (account.paid, account.refunded, account.pending, account.credited, account.remaining) == (
        PAID,
        0,
        0,
        0,
        PAID,
    )
    actor = StaffFactory(username="ann", permissions=MAY)
    event = shown.apply(actor, reason="they left")

    assert refunded(sandbox, world) == PAID
    (made,) = sandbox.client.v1.refunds.list({"payment_intent": intent_of(sandbox, world)}).data
    assert (made.amount, made.reason, made.metadata["operation"]) == (
        PAID,
        "requested_by_customer",
        str(event.uuid),
    )
    assert event.message is not None
    assert re.match(
        r"\$232\.00 of invoice \S+ refunded to the card •••• 4242\. Stripe confirmed at ", event.message
    )
    assert (event.state, event.type, event.amount, event.currency, event.status) == (
        "done",
        "refund_invoice",
        PAID,
        "usd",
        "succeeded",
    )
    assert (event.stripe_invoice_id, event.stripe_charge_id, event.stripe_refund_id) == (
        invoice_of(sandbox, world).id,
        made.charge,
        made.id,
    )
    assert event.before == {"paid": PAID, "refunded": 0, "pending": 0, "credited": 0, "lost": 0}
    (call,) = posts(sandbox)
    assert call["key"] == f"{event.uuid}:refund"
    (mirrored,) = mirror.refunds_of(world.customer)
    assert mirrored["id"] == made.id
    (charge,) = mirror.charges_of(world.customer)
    assert charge["amount_refunded"] == PAID


def test_two_partial_refunds_of_the_same_amount_both_work(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    first = asked(sandbox, world, organization, 500).apply()
    second = asked(sandbox, world, organization, 500).apply()
    assert first.pk != second.pk
    assert {first.state, second.state} == {"done"}
    assert refunded(sandbox, world) == 1000
    assert asked(sandbox, world, organization).preview.amount == PAID - 1000


def test_what_the_dashboard_gave_back_counts(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    pay_back_in_the_dashboard(sandbox, world, 20_000)
    invoice = invoice_of(sandbox, world).id
    sandbox.client.v1.credit_notes.create({"invoice": invoice, "amount": 1000, "credit_amount": 1000})
    linked = {"invoice": invoice, "amount": 700, "refund_amount": 700}
    sandbox.client.v1.credit_notes.create(linked)  # type: ignore[arg-type]
    account = asked(sandbox, world, organization).preview.account
    assert (account.refunded, account.credited, account.remaining) == (20_700, 1000, PAID - 21_700)
    with pytest.raises(OperationRefused, match=r"At most \$15\.00 can go back"):
        asked(sandbox, world, organization, 1501)
    assert asked(sandbox, world, organization).apply().amount == 1500
    with pytest.raises(OperationRefused, match="has gone back already"):
        asked(sandbox, world, organization)


def test_a_refund_made_meanwhile_in_the_dashboard_makes_the_preview_old(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    shown = asked(sandbox, world, organization, 500)
    pay_back_in_the_dashboard(sandbox, world, 500)
    with pytest.raises(PreviewOutdated):
        shown.apply()
    assert refunded(sandbox, world) == 500
    assert not SubscriptionEvent.objects.filter(source="staff").exists()


@pytest.mark.parametrize("amount", [0, -5, PAID + 1, 10**15])
def test_an_impossible_amount_is_refused_in_words(
    sandbox: Sandbox, world: World, organization: Organization, amount: int
) -> None:
    with pytest.raises(OperationRefused, match=r"At most \$232\.00"):
        asked(sandbox, world, organization, amount)
    assert posts(sandbox) == []


def test_another_customers_invoice_is_refused(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    other = make_customer(sandbox)
    with pytest.raises(OperationRefused, match="belongs to another customer"):
        asked(sandbox, other, organization)
    own = invoice_of(sandbox, world).id
    odd = (f"{own}/", f"{own}?a=b", f"{own}#", f" {own}", f"{own}\n", f"in_1/../{own}", f"{own}\0", "in_é")
    for nonsense in ("", "sub_1", world.subscription, "in_", *odd):
        with pytest.raises(OperationRefused, match="Choose which invoice"):
            show("refund_invoice", organization, invoice=nonsense)


def test_an_unpaid_invoice_is_refused(sandbox: Sandbox, world: World, organization: Organization) -> None:
    draft = sandbox.client.v1.invoices.create({"customer": world.customer})
    with pytest.raises(OperationRefused, match="is not paid"):
        asked(sandbox, world, organization, invoice=draft.id)


def test_yen_go_back_whole(sandbox: Sandbox) -> None:
    world = make_customer(sandbox, seats=1, price=make_price(sandbox.client, amount=4900, currency="jpy"))
    event = asked(sandbox, world, make_organization(world), 500).apply()
    assert (event.amount, event.currency) == (500, "jpy")
    assert re.match(r"¥500 of invoice \S+ refunded", event.message or "")


@pytest.mark.parametrize("destination", ["card", "balance"])
def test_the_last_of_three_decimals_must_be_zero_as_stripe_wants_it(
    sandbox: Sandbox, destination: str
) -> None:
    world = make_customer(sandbox, seats=1, price=make_price(sandbox.client, amount=50_000, currency="kwd"))
    organization = make_organization(world)
    with pytest.raises(OperationRefused, match=r"In KWD the last digit must be 0, such as 12\.340\."):
        asked(sandbox, world, organization, 12_345, destination=destination)
    assert asked(sandbox, world, organization, 12_340, destination=destination).apply().state == "done"


@pytest.mark.parametrize("currency", ["isk", "ugx"])
@pytest.mark.parametrize("destination", ["card", "balance"])
def test_crowns_of_iceland_and_shillings_of_uganda_go_back_whole(
    sandbox: Sandbox, currency: str, destination: str
) -> None:
    world = make_customer(
        sandbox, seats=1, price=make_price(sandbox.client, amount=500_000, currency=currency)
    )
    organization = make_organization(world)
    with pytest.raises(
        OperationRefused, match=f"Stripe moves {currency.upper()} in whole amounts only, such as 500."
    ):
        asked(sandbox, world, organization, 12_350, destination=destination)
    assert asked(sandbox, world, organization, 12_300, destination=destination).apply().state == "done"


def test_all_that_is_left_leaves_what_stripe_cannot_give_back(sandbox: Sandbox) -> None:
    world = make_customer(sandbox, seats=1, price=make_price(sandbox.client, amount=50_000, currency="kwd"))
    organization, invoice = make_organization(world), invoice_of(sandbox, world).id
    sandbox.client.v1.credit_notes.create({"invoice": invoice, "amount": 1234, "credit_amount": 1234})
    event = asked(sandbox, world, organization).apply()
    assert (event.state, event.amount) == ("done", 48_760)


def test_a_refund_that_the_bank_has_not_confirmed_says_so_and_counts(sandbox: Sandbox) -> None:
    world = make_customer(sandbox, card="pm_card_pendingRefund")
    organization = make_organization(world)
    event = asked(sandbox, world, organization, 20_000).apply()
    assert (event.state, event.status) == ("done", "pending")
    assert "the bank has not confirmed it yet" in (event.message or "")
    account = asked(sandbox, world, organization).preview.account
    assert (account.refunded, account.pending, account.remaining) == (0, 20_000, PAID - 20_000)


def test_a_refund_that_fails_later_is_refundable_again(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    event = asked(sandbox, world, organization).apply()
    sandbox.control("POST", "refunds", {"refund": event.stripe_refund_id, "status": "failed"})
    assert asked(sandbox, world, organization).preview.account.remaining == PAID
    assert asked(sandbox, world, organization).apply().state == "done"
    read(world)
    assert sorted(each["status"] for each in mirror.refunds_of(world.customer)) == ["failed", "succeeded"]


def test_a_refund_that_failed_before_its_outcome_was_known_is_said_to_have_failed(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, "timeout_after")
    event = asked(sandbox, world, organization).apply()
    assert event.state == "pending"
    (made,) = sandbox.client.v1.refunds.list({"payment_intent": intent_of(sandbox, world)}).data
    wrong = {"refund": made.id, "status": "failed", "failure_reason": "lost_or_stolen_card"}
    sandbox.control("POST", "refunds", wrong)
    settings.STRIPE_READ_TIMEOUT = 5
    sweep()
    event.refresh_from_db()
    assert event.state == "failed"
    assert "the card was lost or stolen" in (event.message or "")
    assert asked(sandbox, world, organization).preview.account.remaining == PAID


def test_a_payment_that_the_bank_takes_back_is_not_refunded(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    charge = sandbox.client.v1.payment_intents.retrieve(intent_of(sandbox, world)).latest_charge
    shown = asked(sandbox, world, organization)
    sandbox.control("POST", "disputes", {"charge": charge, "amount": 700})
    with pytest.raises(PreviewOutdated, match="a dispute"):
        shown.apply()
    with pytest.raises(OperationRefused, match="a dispute"):
        asked(sandbox, world, organization)
    account = asked(sandbox, world, organization, destination="balance").preview.account
    assert (account.disputed, account.lost, account.remaining) == (700, 0, PAID - 700)


def dispute(sandbox: Sandbox, world: World, amount: int = PAID, *, inquiry: bool = False) -> str:
    charge = sandbox.client.v1.payment_intents.retrieve(intent_of(sandbox, world)).latest_charge
    asked_back = {"charge": charge, "amount": amount, "inquiry": inquiry}
    made: str = sandbox.control("POST", "disputes", asked_back)["id"]
    return made


def decide(sandbox: Sandbox, dispute: str, *, won: bool) -> None:
    sandbox.control("POST", "disputes", {"dispute": dispute, "won": won})


@pytest.mark.parametrize("destination", ["card", "balance"])
def test_what_was_lost_in_a_dispute_has_gone_back(
    sandbox: Sandbox, world: World, organization: Organization, destination: str
) -> None:
    decide(sandbox, dispute(sandbox, world), won=False)
    with pytest.raises(OperationRefused, match=r"paid for invoice .* \(\$232\.00\) has gone back already"):
        asked(sandbox, world, organization, destination=destination)


def test_what_a_lost_dispute_left_goes_to_the_balance_only(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    decide(sandbox, dispute(sandbox, world, 20_000), won=False)
    with pytest.raises(OperationRefused, match=r"took this payment back.*Credit the customer's balance"):
        asked(sandbox, world, organization, 3200)
    with pytest.raises(OperationRefused, match=r"At most \$32\.00"):
        asked(sandbox, world, organization, 3201, destination="balance")
    shown = asked(sandbox, world, organization, destination="balance")
    assert (shown.preview.account.lost, shown.preview.amount) == (20_000, 3200)
    assert shown.apply().state == "done"
    with pytest.raises(OperationRefused, match="has gone back already"):
        asked(sandbox, world, organization, destination="balance")


def test_what_a_bank_may_still_take_back_is_not_credited_meanwhile(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    opened = dispute(sandbox, world, 20_000)
    with pytest.raises(
        OperationRefused,
        match=r"disputes \$200\.00 of this invoice.*until that is decided.*At most \$32\.00 can go back now",
    ):
        asked(sandbox, world, organization, 3201, destination="balance")
    assert asked(sandbox, world, organization, 3200, destination="balance").apply().state == "done"
    with pytest.raises(
        OperationRefused, match=r"disputes \$200\.00 of this invoice.*Nothing can go back now"
    ):
        asked(sandbox, world, organization, destination="balance")
    decide(sandbox, opened, won=True)
    assert asked(sandbox, world, organization).preview.amount == 20_000


def test_an_inquiry_withdraws_nothing_and_holds_nothing(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    opened = dispute(sandbox, world, inquiry=True)
    assert asked(sandbox, world, organization, 500).apply().state == "done"
    decide(sandbox, opened, won=True)
    assert asked(sandbox, world, organization).preview.account.remaining == PAID - 500


def test_a_dispute_lost_after_the_preview_makes_it_old(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    opened = dispute(sandbox, world, 20_000)
    shown = asked(sandbox, world, organization, 3200, destination="balance")
    decide(sandbox, opened, won=False)
    with pytest.raises(PreviewOutdated):
        shown.apply()
    assert credited(sandbox, world) == 0


def test_a_credit_at_the_moment_a_dispute_is_lost_is_taken_back(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = asked(sandbox, world, organization, 10_000, destination="balance")
    in_the_last_moment(monkeypatch, lambda: decide(sandbox, dispute(sandbox, world), won=False))
    event = shown.apply()
    assert event.state == "done"
    assert "$100.00 more than was paid; that much was taken off" in (event.message or "")
    assert credited(sandbox, world) == 0


def test_a_credit_that_never_reached_stripe_is_not_made_over_a_lost_dispute(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, "timeout_before", "/v1/credit_notes")
    event = asked(sandbox, world, organization, 2900, destination="balance").apply()
    decide(sandbox, dispute(sandbox, world), won=False)
    settings.STRIPE_READ_TIMEOUT = 5
    grow_older(180)
    sweep()
    event.refresh_from_db()
    assert (event.state, credited(sandbox, world)) == ("failed", 0)


# -- to the balance ---------------------------------------------------------------------------------------


def test_a_credit_is_a_credit_note_that_goes_to_the_balance(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    event = asked(
        sandbox, world, organization, 2900, destination="balance", stripe_reason="duplicate"
    ).apply()
    assert (credited(sandbox, world), refunded(sandbox, world)) == (2900, 0)
    (note,) = sandbox.client.v1.credit_notes.list({"customer": world.customer}).data
    assert (note.amount, note.reason, note.metadata["operation"]) == (2900, "duplicate", str(event.uuid))
    assert (event.state, event.status, event.stripe_object_id) == ("done", "issued", note.id)
    assert re.match(r"\$29\.00 of invoice \S+ credited to the customer's balance", event.message or "")
    account = asked(sandbox, world, organization).preview.account
    assert (account.credited, account.remaining) == (2900, PAID - 2900)


def test_what_was_paid_from_the_balance_goes_back_there_only(sandbox: Sandbox) -> None:
    client, world = sandbox.client, make_customer(sandbox)
    client.v1.customers.balance_transactions.create(world.customer, {"amount": -10_000, "currency": "usd"})
    for amount in (4000, 9000):
        invoice = client.v1.invoices.create({"customer": world.customer})
        client.v1.invoice_items.create(
            {"customer": world.customer, "amount": amount, "currency": "usd", "invoice": invoice.id}
        )
        client.v1.invoices.pay(invoice.id)
    mixed, covered = client.v1.invoices.list({"customer": world.customer, "limit": 2}).data
    organization = make_organization(world)

    with pytest.raises(OperationRefused, match="paid from the customer's balance"):
        asked(sandbox, world, organization, invoice=covered.id)
    assert (
        asked(sandbox, world, organization, invoice=covered.id, destination="balance").apply().amount == 4000
    )

    account = asked(sandbox, world, organization, invoice=mixed.id).preview.account
    assert (account.paid, account.from_balance, account.payments[0].amount) == (9000, 6000, 3000)
    assert asked(sandbox, world, organization, invoice=mixed.id).apply().amount == 3000
    with pytest.raises(OperationRefused, match=r"At most \$0\.00"):
        asked(sandbox, world, organization, invoice=mixed.id)
    assert asked(sandbox, world, organization, invoice=mixed.id, destination="balance").apply().amount == 6000


def test_what_was_paid_outside_stripe_goes_to_the_balance_only(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    client = sandbox.client
    invoice = client.v1.invoices.create({"customer": world.customer})
    client.v1.invoice_items.create(
        {"customer": world.customer, "amount": 5000, "currency": "usd", "invoice": invoice.id}
    )
    client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    with pytest.raises(OperationRefused, match="paid outside Stripe"):
        asked(sandbox, world, organization, invoice=invoice.id)
    shown = asked(sandbox, world, organization, invoice=invoice.id, destination="balance")
    assert (shown.preview.account.outside, shown.preview.charge_id) == (5000, None)
    assert shown.apply().state == "done"
    assert credited(sandbox, world) == 5000


def test_a_refund_in_the_dashboard_at_the_moment_of_a_credit_is_noticed_and_the_credit_taken_back(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = asked(sandbox, world, organization, 10_000, destination="balance")
    in_the_last_moment(monkeypatch, lambda: pay_back_in_the_dashboard(sandbox, world, 20_000))
    event = shown.apply()
    monkeypatch.undo()

    assert event.state == "done"
    assert "$68.00 more than was paid; that much was taken off" in (event.message or "")
    assert (refunded(sandbox, world), credited(sandbox, world)) == (20_000, 3200)
    assert [step.name for step in event.steps.order_by("position")] == ["credit", "take_back"]
    with pytest.raises(OperationRefused, match="has gone back already"):
        asked(sandbox, world, organization)


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after", "error_500_after", "drop_connection"])
def test_taking_back_happens_once_whatever_becomes_of_its_answer(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    shown = asked(sandbox, world, organization, 10_000, destination="balance")
    in_the_last_moment(monkeypatch, lambda: pay_back_in_the_dashboard(sandbox, world, 20_000))
    fault(sandbox, kind, f"/v1/customers/{world.customer}/balance_transactions")
    event = shown.apply()
    monkeypatch.undo()
    assert event.state == "pending"
    sweep(3)
    event.refresh_from_db()
    assert event.state == "done"
    assert (refunded(sandbox, world), credited(sandbox, world)) == (20_000, 3200)


def test_a_credit_in_the_dashboard_at_the_moment_of_a_refund_is_taken_back_too(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = {"invoice": invoice_of(sandbox, world).id, "amount": PAID, "credit_amount": PAID}
    shown = asked(sandbox, world, organization, 10_000)
    in_the_last_moment(
        monkeypatch,
        lambda: sandbox.client.v1.credit_notes.create(note),  # type: ignore[arg-type]
    )
    event = shown.apply()
    assert event.state == "done"
    assert (refunded(sandbox, world), credited(sandbox, world)) == (10_000, PAID - 10_000)


# -- never twice ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("destination", ["card", "balance"])
@pytest.mark.parametrize(
    "kind", ["timeout_before", "timeout_after", "error_500", "error_500_after", "drop_connection"]
)
def test_an_unknown_outcome_ends_in_the_truth(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    settings: Settings,
    kind: str,
    destination: str,
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    path = {"card": "/v1/refunds", "balance": "/v1/credit_notes"}[destination]
    fault(sandbox, kind, path)
    event = asked(sandbox, world, organization, 2900, destination=destination).apply(reason="they left")
    assert (event.state, event.message) == ("pending", None)
    with pytest.raises(OperationRefused, match="“they left”"):
        asked(sandbox, world, organization, 1000)
    sweep(4)
    event.refresh_from_db()
    given = refunded(sandbox, world) + credited(sandbox, world)
    assert given == (2900 if event.state == "done" else 0)
    assert event.state == ("failed" if kind == "error_500" else "done")
    assert len({call["key"] for call in posts(sandbox, path)}) == 1
    assert asked(sandbox, world, organization).preview.account.remaining == PAID - given


@pytest.mark.parametrize(("kind", "state"), [("timeout_after", "done"), ("timeout_before", "failed")])
def test_past_a_day_nothing_is_sent_again(
    sandbox: Sandbox,
    world: World,
    organization: Organization,
    settings: Settings,
    kind: str,
    state: str,
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, kind)
    event = asked(sandbox, world, organization, 2900).apply()
    grow_older(25 * 3600)
    settings.STRIPE_READ_TIMEOUT = 5
    sweep()
    event.refresh_from_db()
    assert event.state == state
    assert len(posts(sandbox)) == 1


def test_a_refund_that_never_reached_stripe_is_not_made_over_one_from_the_dashboard(
    sandbox: Sandbox, world: World, organization: Organization, settings: Settings
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    fault(sandbox, "timeout_before")
    event = asked(sandbox, world, organization, 2900).apply()
    pay_back_in_the_dashboard(sandbox, world, 2900)
    settings.STRIPE_READ_TIMEOUT = 5
    grow_older(180)
    sweep()
    event.refresh_from_db()
    assert event.state == "failed"
    assert "things changed there meanwhile" in (event.message or "")
    assert refunded(sandbox, world) == 2900


def test_two_people_at_once_make_one_refund_and_the_other_is_told_whose(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    people = [StaffFactory(username=name, permissions=MAY) for name in ("ann", "ben")]
    previews = [asked(sandbox, world, organization) for _ in people]
    outcomes = at_once(
        *(
            lambda shown=shown, who=who: shown.apply(who, reason=f"says {who}")
            for shown, who in zip(previews, people, strict=True)
        )
    )
    assert refunded(sandbox, world) == PAID
    assert len(posts(sandbox)) == 1
    (done,) = [each for each in outcomes if isinstance(each, SubscriptionEvent)]
    (refused,) = [each for each in outcomes if isinstance(each, BillingError)]
    assert done.state == "done"
    assert any(word in str(refused) for word in (str(done.actor_label), "colleague", "gone back already"))


def test_a_double_click_refunds_once(sandbox: Sandbox, world: World, organization: Organization) -> None:
    shown, actor = asked(sandbox, world, organization, 500), StaffFactory(permissions=MAY)
    rows = at_once(*(lambda: shown.apply(actor) for _ in range(4)))
    assert len({row.pk for row in rows}) == 1
    assert shown.apply(actor).pk == rows[0].pk
    assert refunded(sandbox, world) == 500
    assert len(posts(sandbox)) == 1


# -- Stripe says no ---------------------------------------------------------------------------------------


def test_stripes_refusal_has_words_of_ours_and_its_own_stay_in_the_ledger(
    sandbox: Sandbox, world: World, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = asked(sandbox, world, organization, 500)
    in_the_last_moment(monkeypatch, lambda: pay_back_in_the_dashboard(sandbox, world, PAID))
    event = shown.apply()
    assert (event.state, event.message) == (
        "failed",
        "This payment was refunded in full already. Nothing was changed.",
    )
    assert "has already been refunded" in event.error
    step = event.steps.get()
    assert step.error is not None
    assert step.error["error"]["code"] == "charge_already_refunded"
    assert refunded(sandbox, world) == PAID


def test_a_stripe_that_is_busy_leaves_a_failed_row_and_nothing_given(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    fault(sandbox, "error_429")
    event = asked(sandbox, world, organization).apply()
    assert (event.state, refunded(sandbox, world)) == ("failed", 0)
    assert "busy" in (event.message or "")


# -- how much a role may give -----------------------------------------------------------------------------


@pytest.fixture
def support(settings: Settings) -> Any:
    settings.REFUND_LIMITS = {"Support": {"usd": [10_000, 15_000]}, "Lead": {"usd": [12_000, 20_000]}}
    return GroupFactory(name="Support")


def member(*groups: Any, **more: Any) -> Any:
    user = StaffFactory(permissions=MAY, **more)
    user.groups.set(groups)
    return user


def test_a_limit_holds_for_each_refund_and_for_a_day(
    sandbox: Sandbox, world: World, organization: Organization, support: Any
) -> None:
    actor = member(support)
    with pytest.raises(NotPermitted, match=r"more than you may give back at once \(\$100\.00\)"):
        asked(sandbox, world, organization, 10_001).apply(actor)
    assert asked(sandbox, world, organization, 10_000).apply(actor).state == "done"
    with pytest.raises(NotPermitted, match=r"You gave back \$100\.00 today.*colleague in finance"):
        asked(sandbox, world, organization, 5001).apply(actor)
    assert asked(sandbox, world, organization, 5000).apply(actor).state == "done"
    assert refunded(sandbox, world) == 15_000
    assert SubscriptionEvent.objects.filter(type="refund_invoice").count() == 2


def test_yesterday_does_not_count_and_what_failed_does_not(
    sandbox: Sandbox, world: World, organization: Organization, support: Any
) -> None:
    actor = member(support)
    fault(sandbox, "error_429")
    assert asked(sandbox, world, organization, 9000).apply(actor).state == "failed"
    assert asked(sandbox, world, organization, 10_000).apply(actor).state == "done"
    grow_older(datetime.timedelta(days=1).total_seconds())
    assert asked(sandbox, world, organization, 10_000).apply(actor).state == "done"


def test_the_highest_limit_counts_and_a_role_without_one_lifts_it(
    sandbox: Sandbox, world: World, organization: Organization, support: Any
) -> None:
    lead, guests, finance = GroupFactory(name="Lead"), GroupFactory(), GroupFactory(name="Finance")
    with pytest.raises(NotPermitted):
        asked(sandbox, world, organization, 11_000).apply(member(support, guests))
    assert asked(sandbox, world, organization, 11_000).apply(member(support, lead)).state == "done"
    finance.permissions.add(Permission.objects.get(codename="refund_invoice"))
    with pytest.raises(NotPermitted):
        asked(sandbox, world, organization, 10_500).apply(member(support))
    assert asked(sandbox, world, organization, 10_500).apply(member(support, finance)).state == "done"
    administrator = AdministratorFactory()
    administrator.groups.add(support)
    assert asked(sandbox, world, organization).apply(administrator).state == "done"


def test_a_star_limits_whoever_no_group_of_theirs_does(
    sandbox: Sandbox, world: World, organization: Organization, support: Any, settings: Settings
) -> None:
    settings.REFUND_LIMITS = {**settings.REFUND_LIMITS, "*": {"usd": [5000, 6000]}, "Finance": None}
    lead, finance = GroupFactory(name="Lead"), GroupFactory(name="Finance")
    renamed, guests = GroupFactory(name="Support, Berlin"), GroupFactory(name="Guests")
    may_refund = Permission.objects.get(codename="refund_invoice")
    renamed.permissions.add(may_refund)
    administrator = AdministratorFactory()
    administrator.groups.add(renamed)

    def may(actor: Any, amount: int) -> bool:
        return authority.refusal(actor, amount, "usd", MAY[0], "refund_invoice") is None

    most = [
        (member(), 5000),  # the permission is personal
        (member(guests), 5000),
        (member(renamed), 5000),
        (member(support), 10_000),
        (member(support, guests), 10_000),
        (member(support, renamed), 10_000),
        (member(support, lead), 12_000),
    ]
    for actor, limit in most:
        assert (may(actor, limit), may(actor, limit + 1)) == (True, False)
    assert all(may(actor, PAID) for actor in (member(finance), member(support, finance), administrator))
    with pytest.raises(NotPermitted, match=r"more than you may give back at once \(\$50\.00\)"):
        asked(sandbox, world, organization, 5001).apply(member(renamed))


def test_a_star_that_is_higher_lifts_a_role_that_is_not_named(support: Any, settings: Settings) -> None:
    settings.REFUND_LIMITS = {"Support": {"usd": [100, 100]}, "*": {"usd": [900, 900]}}
    others = GroupFactory(name="Others")
    others.permissions.add(Permission.objects.get(codename="refund_invoice"))
    assert authority.limit_of(member(support), "usd", MAY[0]) == authority.Limit(100, 100)
    assert authority.limit_of(member(support, others), "usd", MAY[0]) == authority.Limit(900, 900)


def test_a_currency_without_a_limit_is_refused_to_a_limited_role(sandbox: Sandbox, support: Any) -> None:
    world = make_customer(sandbox, price=make_price(sandbox.client, amount=4900, currency="jpy"))
    organization = make_organization(world)
    with pytest.raises(NotPermitted, match="may not give back JPY"):
        asked(sandbox, world, organization, 100).apply(member(support))
    assert asked(sandbox, world, organization, 100).apply().state == "done"


def test_two_refunds_at_once_for_different_customers_cannot_both_be_the_last_that_fits(
    sandbox: Sandbox, support: Any
) -> None:
    actor = member(support)
    worlds = [make_customer(sandbox) for _ in range(3)]
    previews = [asked(sandbox, world, make_organization(world), 8000) for world in worlds]
    outcomes = at_once(*(lambda shown=shown: shown.apply(actor) for shown in previews))
    assert sum(isinstance(each, NotPermitted) for each in outcomes) == 2
    assert sum(refunded(sandbox, world) for world in worlds) == 8000


def test_whoever_confirms_second_is_told_what_the_first_did_and_why(
    sandbox: Sandbox, world: World, organization: Organization
) -> None:
    first, second = (asked(sandbox, world, organization, 1200) for _ in range(2))
    may = ["organizations.refund_invoice"]
    first.apply(StaffFactory(username="ann", permissions=may), reason="goodwill for the outage")

    with pytest.raises(
        DoneMeanwhile, match=r"ann was faster: \$12\.00 of invoice .*“goodwill for the outage”"
    ):
        second.apply(StaffFactory(username="ben", permissions=may), reason="they asked")

    assert refunded(sandbox, world) == 1200
