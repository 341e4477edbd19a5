"""Collecting an invoice: payment intents, attempts, charges, retries."""

from typing import Any

from billing.sandbox.errors import ApiError, declined, invalid
from billing.sandbox.machine.cards import HARD
from billing.sandbox.machine.charges import new_intent
from billing.sandbox.machine.intents import ACTION, answer, challenged, take
from billing.sandbox.machine.invoices import (
    cancel_payments,
    finalize,
    mark_uncollectible,
    subscription_of,
    void,
)
from billing.sandbox.machine.status import after_failure, after_settlement, end, set_delinquent
from billing.sandbox.money import LARGEST_CHARGE, shown
from billing.sandbox.table import Object
from billing.sandbox.world import World, job

NO_METHOD = (
    "This customer has no attached payment source or default payment method. Please consider adding a default payment "
    "method. For more information, visit https://stripe.com/docs/billing/subscriptions/payment-methods-setting"
    "#payment-method-priority."
)


def no_method() -> ApiError:
    """Money is due and there is nothing to charge."""
    return invalid(NO_METHOD, code="resource_missing")


def method_for(world: World, customer: Object, *holders: Object | None) -> Object | None:
    """What would be charged: the first default of the holders (invoice, subscription), then the customer's."""
    for holder in holders:
        if holder and (found := world.find("payment_method", holder["default_payment_method"])):
            return found
    return world.find("payment_method", customer["invoice_settings"]["default_payment_method"])


def open_payment(world: World, invoice: Object) -> Object:
    """The open invoice payment of an invoice, made with its payment intent when there is none yet."""
    for payment in world.tables["invoice_payment"].newest_first("invoice", invoice["id"]):
        if payment["status"] == "open":
            return payment
    words = {"subscription_create": "Subscription creation", "subscription_update": "Subscription update"}
    usual = "Payment for Invoice" if subscription_of(world, invoice) else None
    intent = new_intent(
        world,
        amount=invoice["amount_remaining"],
        currency=invoice["currency"],
        customer=invoice["customer"],
        description=words.get(invoice["billing_reason"], usual),
    )
    world.note(intent["id"], invoice=invoice["id"])
    world.emit("payment_intent.created", intent)
    return world.insert(
        {
            "id": world.new_id("invoice_payment"),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": invoice["amount_remaining"],
            "created": intent["created"],
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
            "status": "open",
            "status_transitions": {"canceled_at": None, "paid_at": None},
        }
    )  # fmt: skip


def resize_payment(world: World, invoice: Object) -> None:
    """What remains of an invoice changed: so does what its open payment asks for."""
    for payment in list(world.tables["invoice_payment"].newest_first("invoice", invoice["id"])):
        if payment["status"] == "open":
            world.update(payment, amount_requested=invoice["amount_remaining"])
            intent = world.get("payment_intent", payment["payment"]["payment_intent"])
            world.update(intent, amount=invoice["amount_remaining"])


def finalize_and_collect(world: World, invoice: Object, *, attempt_it: bool = True) -> ApiError | None:
    """Finalise a draft and, if money is due and may be taken, try to take it. The refusal, if there was one."""
    finalize(world, invoice)
    if invoice["amount_due"] == 0:
        settle(world, invoice, attempted=True)
        return None
    open_payment(world, invoice)
    if invoice["collection_method"] == "send_invoice":
        if invoice["auto_advance"]:
            world.emit("invoice.sent", invoice)
        return None
    if not attempt_it:
        return None
    return attempt(world, invoice, automatic=True)


def attempt(
    world: World, invoice: Object, *, method: Object | None = None, automatic: bool, off_session: bool = True
) -> ApiError | None:
    """Try to take what an open invoice asks. Every outcome leaves its traces; what stood in the way is returned."""
    customer = world.get("customer", invoice["customer"])
    subscription = subscription_of(world, invoice)
    payment = open_payment(world, invoice)
    intent = world.get("payment_intent", payment["payment"]["payment_intent"])
    method = method or method_for(world, customer, invoice, subscription)
    first = not invoice["attempted"]
    asked = method is not None and challenged(world, method, off_session=off_session)
    beginning = bool(subscription and subscription["status"] == "incomplete")
    counted = (first or automatic) and not (asked and beginning)
    world.update(invoice, attempted=True, attempt_count=invoice["attempt_count"] + counted)
    if invoice["amount_remaining"] > LARGEST_CHARGE:
        if automatic:
            _failed(world, invoice, automatic)
        limit = shown(LARGEST_CHARGE, invoice["currency"])
        return invalid(f"Amount must be no more than {limit}", param="amount", code="amount_too_large")
    if method is None:
        _failed(world, invoice, automatic)
        return no_method()
    said = take(world, intent, method, off_session=off_session)
    if said and (asked or said.body.get("decline_code") in HARD):
        world.note(invoice["id"], needs_other_than=method["id"])
    _conclude(world, invoice, payment, said, automatic=automatic)
    return said


def _conclude(
    world: World, invoice: Object, payment: Object, said: ApiError | None, *, automatic: bool
) -> None:
    """What a payment intent's outcome means to its invoice."""
    if said:
        _failed(world, invoice, automatic, asked=said.body.get("code") == ACTION)
        return
    paid = {**payment["status_transitions"], "paid_at": world.now_of(invoice["customer"])}
    world.update(payment, status="paid", amount_paid=payment["amount_requested"], status_transitions=paid)
    settle(world, invoice, attempted=True)
    world.emit("invoice_payment.paid", payment)


def authenticate(world: World, intent: Object, *, passed: bool) -> Object:
    """The customer met the bank's question: the intent goes on, and so does the invoice it pays."""
    if intent["status"] != "requires_action":
        raise invalid(f"PaymentIntent {intent['id']} asks for no authentication: it is {intent['status']}.")
    said = answer(world, intent, passed=passed)
    if invoice := invoice_of(world, intent):
        _conclude(world, invoice, open_payment(world, invoice), said, automatic=False)
    return intent


def invoice_of(world: World, intent: Object) -> Object | None:
    """The invoice an intent pays, if any."""
    return world.find("invoice", world.side.get(intent["id"], {}).get("invoice"))


def _failed(world: World, invoice: Object, automatic: bool, *, asked: bool = False) -> None:
    customer = world.get("customer", invoice["customer"])
    subscription = subscription_of(world, invoice)
    beginning = bool(subscription and subscription["status"] == "incomplete")
    retrying = bool(subscription and not beginning and automatic and invoice["auto_advance"])
    if retrying:
        _plan_retry(world, invoice)
    if not (asked and beginning):
        world.emit("invoice.payment_failed", invoice)
    if asked:
        world.emit("invoice.payment_action_required", invoice)
    after_failure(world, invoice)
    set_delinquent(world, customer)
    if retrying and subscription and invoice["next_payment_attempt"] is None:
        give_up(world, subscription)


def _plan_retry(world: World, invoice: Object) -> None:
    delays = world.settings["retry_delays"]
    tries = invoice["attempt_count"] - 1
    if tries < len(delays):
        at = world.now_of(invoice["customer"]) + delays[tries]
        world.update(invoice, next_payment_attempt=at)
        world.schedule(at, "retry_payment", invoice["id"], invoice["test_clock"])
    else:
        world.update(invoice, next_payment_attempt=None, auto_advance=False)


def give_up(world: World, subscription: Object) -> None:
    """Every retry failed: what happens then is a setting."""
    outcome = world.settings["final_outcome"]
    if outcome == "canceled":
        end(world, subscription, reason="payment_failed")
    elif outcome == "unpaid":
        world.update(subscription, status="unpaid")


def settle(world: World, invoice: Object, *, attempted: bool = False, out_of_band: bool = False) -> None:
    """An invoice is paid: by a charge, by credit, or outside Stripe."""
    now = world.now_of(invoice["customer"])
    taken = invoice["amount_remaining"]
    world.update(
        invoice,
        status="paid",
        attempted=invoice["attempted"] or attempted,
        amount_paid=invoice["amount_due"],
        amount_paid_off_stripe=taken if out_of_band else 0,
        amount_remaining=0,
        auto_advance=False,
        next_payment_attempt=None,
        status_transitions={**invoice["status_transitions"], "paid_at": now},
    )
    after_settlement(world, invoice)
    set_delinquent(world, world.get("customer", invoice["customer"]))
    world.emit("invoice.paid", invoice)
    if not out_of_band:
        world.emit("invoice.payment_succeeded", invoice)


def pay(
    world: World, invoice: Object, *, method: Object | None = None, out_of_band: bool = False, **_: Any
) -> Object:
    """The API's pay: finalises a draft, then takes the money or refuses with what was tried kept."""
    if invoice["status"] == "draft":
        finalize(world, invoice)
    if invoice["status"] == "paid":
        raise invalid("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] not in ("open", "uncollectible"):
        raise invalid(f"Invoice can't be paid: its status is {invoice['status']}.")
    if out_of_band:
        cancel_payments(world, invoice)
        settle(world, invoice, out_of_band=True)
    elif invoice["amount_due"] == 0:
        settle(world, invoice, attempted=True)
    else:
        customer = world.get("customer", invoice["customer"])
        if method is None and method_for(world, customer, invoice, subscription_of(world, invoice)) is None:
            raise no_method()
        if said := attempt(world, invoice, method=method, automatic=False):
            raise said
    return invoice


def incomplete(said: ApiError) -> ApiError:
    """A refusal under error_if_incomplete: nothing of the request is kept."""
    if said.body.get("code") == ACTION:
        return declined(
            str(said.body["message"]), code=ACTION.replace("invoice", "subscription"), decline_code=None
        )
    if said.status == 402:
        return declined(
            str(said.body["message"]), code=said.body["code"], decline_code=said.body.get("decline_code")
        )
    return said


@job("finalize_invoice")
def finalize_due(world: World, id: str) -> None:
    """An hour after its draft, an invoice is finalised and charged, unless collection was paused when it was made."""
    invoice = world.find("invoice", id)
    if not invoice or invoice["status"] != "draft" or not invoice["auto_advance"]:
        return
    if behavior := world.side.get(id, {}).get("paused"):
        hold_back(world, invoice, behavior)
    else:
        finalize_and_collect(world, invoice)


def hold_back(world: World, invoice: Object, behavior: str) -> None:
    """What becomes of an invoice that is made while collection is paused: a draft, void, or uncollectible."""
    if behavior == "keep_as_draft":
        world.update(invoice, auto_advance=False)
        return
    finalize(world, invoice)
    if invoice["amount_due"] == 0:
        settle(world, invoice, attempted=True)
    elif behavior == "void":
        void(world, invoice)
    else:
        mark_uncollectible(world, invoice)
    after_settlement(world, invoice)


@job("retry_payment")
def retry_payment(world: World, id: str) -> None:
    """A retry of a failed payment, if it is still wanted."""
    invoice = world.find("invoice", id)
    if not invoice or invoice["status"] != "open":
        return
    if (invoice["next_payment_attempt"] or 2**62) > world.now_of(invoice["customer"]):
        return
    subscription = subscription_of(world, invoice)
    method = method_for(world, world.get("customer", invoice["customer"]), invoice, subscription)
    refused = world.side.get(invoice["id"], {}).get("needs_other_than")
    if method is None or method["id"] != refused:
        attempt(world, invoice, automatic=True)
        return
    # After a hard decline Stripe counts the retry, and makes it only once there is another card.
    world.update(invoice, attempt_count=invoice["attempt_count"] + 1)
    _plan_retry(world, invoice)
    if subscription and invoice["next_payment_attempt"] is None:
        give_up(world, subscription)


@job("past_due_date")
def past_due_date(world: World, id: str) -> None:
    """A sent invoice was not paid by its due date."""
    invoice = world.find("invoice", id)
    if invoice and invoice["status"] == "open":
        world.emit("invoice.overdue", invoice)
        after_failure(world, invoice)
