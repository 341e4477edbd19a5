"""Collecting an invoice: payment intents, attempts, charges, retries."""

from typing import Any

from billing.sandbox.errors import ApiError, declined, invalid
from billing.sandbox.machine.balance import charge_entry
from billing.sandbox.machine.cards import CARDS, REFUSALS, refusal
from billing.sandbox.machine.invoices import DAY, finalize, mark_uncollectible, subscription_of, void
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
    intent = _new_intent(world, invoice)
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


def _new_intent(world: World, invoice: Object) -> Object:
    id = world.new_id("payment_intent")
    subscription = subscription_of(world, invoice)
    words = {"subscription_create": "Subscription creation", "subscription_update": "Subscription update"}
    return world.insert(
        {
            "id": id,
            "object": "payment_intent",
            "amount": invoice["amount_remaining"],
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": 0,
            "application": None,
            "application_fee_amount": None,
            "automatic_payment_methods": None,
            "canceled_at": None,
            "cancellation_reason": None,
            "capture_method": "automatic",
            "client_secret": f"{id}_secret_{world.secret(25)}",
            "confirmation_method": "automatic",
            "created": world.now_of(invoice["customer"]),
            "currency": invoice["currency"],
            "customer": invoice["customer"],
            "customer_account": None,
            "description": words.get(invoice["billing_reason"], "Payment for Invoice" if subscription else None),
            "excluded_payment_method_types": None,
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": False,
            "metadata": {},
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": {"card": {
                "installments": None, "mandate_options": None, "network": None, "request_three_d_secure": "automatic",
            }},
            "payment_method_types": ["card"],
            "processing": None,
            "receipt_email": None,
            "review": None,
            "setup_future_usage": None,
            "shipping": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": "requires_payment_method",
            "transfer_data": None,
            "transfer_group": None,
        }
    )  # fmt: skip


def finalize_and_collect(world: World, invoice: Object, *, attempt_it: bool = True) -> ApiError | None:
    """Finalise a draft and, if money is due and may be taken, try to take it. The refusal, if there was one."""
    finalize(world, invoice)
    if invoice["amount_due"] == 0:
        settle(world, invoice, attempted=True)
        return None
    open_payment(world, invoice)
    if not attempt_it or invoice["collection_method"] == "send_invoice":
        return None
    return attempt(world, invoice, automatic=True)


def attempt(
    world: World, invoice: Object, *, method: Object | None = None, automatic: bool
) -> ApiError | None:
    """Try to take what an open invoice asks. Both outcomes leave their traces; the refusal is returned, not raised."""
    customer = world.get("customer", invoice["customer"])
    subscription = subscription_of(world, invoice)
    payment = open_payment(world, invoice)
    intent = world.get("payment_intent", payment["payment"]["payment_intent"])
    method = method or method_for(world, customer, invoice, subscription)
    first = not invoice["attempted"]
    world.update(
        invoice, attempted=True, attempt_count=invoice["attempt_count"] + (1 if first or automatic else 0)
    )
    if invoice["amount_remaining"] > LARGEST_CHARGE:
        limit = shown(LARGEST_CHARGE, invoice["currency"])
        return invalid(f"Amount must be no more than {limit}", param="amount", code="amount_too_large")
    if method is None:
        _failed(world, invoice, customer, automatic)
        return no_method()
    kind = CARDS[world.side[method["id"]]["card"]].charge
    charge = _new_charge(world, intent, method, kind)
    if kind is None:
        world.emit("charge.succeeded", charge)
        world.update(
            intent,
            status="succeeded",
            amount_received=intent["amount"],
            latest_charge=charge["id"],
            payment_method=method["id"],
            last_payment_error=None,
        )
        world.emit("payment_intent.succeeded", intent)
        world.update(
            payment,
            status="paid",
            amount_paid=intent["amount"],
            status_transitions={**payment["status_transitions"], "paid_at": charge["created"]},
        )
        settle(world, invoice, attempted=True)
        world.emit("invoice_payment.paid", payment)
        if CARDS[world.side[method["id"]]["card"]].after in ("dispute", "inquiry"):
            world.schedule(charge["created"] + 1, "dispute_charge", charge["id"], invoice["test_clock"])
        return None
    said = refusal(kind, keeps_effects=True, charge=charge["id"])
    world.emit("charge.failed", charge)
    error = {"charge": charge["id"], **said.body, "payment_method": dict(method)}
    world.update(
        intent,
        status="requires_payment_method",
        latest_charge=charge["id"],
        last_payment_error=error,
        payment_method=None,
    )
    world.emit("payment_intent.payment_failed", intent)
    _failed(world, invoice, customer, automatic)
    said.body["payment_intent"] = dict(intent)
    said.body["payment_method"] = dict(method)
    return said


def _failed(world: World, invoice: Object, customer: Object, automatic: bool) -> None:
    now = world.now_of(customer["id"])
    subscription = subscription_of(world, invoice)
    retrying = bool(subscription and subscription["status"] != "incomplete" and invoice["auto_advance"])
    if automatic and retrying:
        delays = world.settings["retry_delays"]
        tries = invoice["attempt_count"] - 1
        if tries < len(delays):
            at = now + delays[tries]
            world.update(invoice, next_payment_attempt=at)
            world.schedule(at, "retry_payment", invoice["id"], invoice["test_clock"])
        else:
            world.update(invoice, next_payment_attempt=None, auto_advance=False)
    world.emit("invoice.payment_failed", invoice)
    after_failure(world, invoice)
    set_delinquent(world, customer)
    if automatic and retrying and subscription and invoice["next_payment_attempt"] is None:
        give_up(world, subscription)


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


def _new_charge(world: World, intent: Object, method: Object, refused: str | None) -> Object:
    amount, now = intent["amount"], world.now_of(intent["customer"])
    card = method["card"]
    outcome: Object = {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network",
        "reason": None,
        "risk_level": "normal",
        "risk_score": 12,
        "seller_message": "Payment complete.",
        "type": "authorized",
    }
    code = message = None
    if refused:
        code, decline_code, message, advice = REFUSALS[refused]
        outcome |= {
            "advice_code": advice,
            "network_status": "declined_by_network",
            "reason": decline_code or code,
            "seller_message": "The bank did not return any further details with this decline.",
            "type": "issuer_declined",
        }
    id = world.new_id("charge")
    details = {
        "amount_authorized": None if refused else amount,
        "authorization_code": None if refused else "123456",
        "brand": card["brand"],
        "checks": card["checks"],
        "country": card["country"],
        "exp_month": card["exp_month"],
        "exp_year": card["exp_year"],
        "extended_authorization": {"status": "disabled"},
        "fingerprint": card["fingerprint"],
        "funding": card["funding"],
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "last4": card["last4"],
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": card["brand"],
        "network_token": {"used": False},
        "network_transaction_id": world.secret(15),
        "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
        "regulated_status": "unregulated",
        "three_d_secure": None,
        "wallet": None,
    }
    charge: Object = {
        "id": id,
        "object": "charge",
        "amount": amount,
        "amount_captured": 0 if refused else amount,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": dict(method["billing_details"]),
        "calculated_statement_descriptor": "SANDBOX",
        "captured": not refused,
        "created": now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": code,
        "failure_message": message,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": outcome,
        "paid": not refused,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"card": details, "type": "card"},
        "presentment_details": None,
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None if refused else f"{world.base}/receipts/{id}",
        "refunded": False,
        "review": None,
        "shipping": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "failed" if refused else "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }
    del charge["presentment_details"]
    if not refused:
        charge["balance_transaction"] = charge_entry(world, charge)["id"]
    return world.insert(charge)


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
        from billing.sandbox.machine.invoices import cancel_payments

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
    if said.status == 402:
        return declined(
            str(said.body["message"]), code=said.body["code"], decline_code=said.body.get("decline_code")
        )
    return said


@job("finalize_invoice")
def finalize_due(world: World, id: str) -> None:
    """An hour after its draft, a renewal's invoice is finalised and charged, unless collection is paused."""
    invoice = world.find("invoice", id)
    if not invoice or invoice["status"] != "draft" or not invoice["auto_advance"]:
        return
    subscription = subscription_of(world, invoice)
    pause = subscription["pause_collection"] if subscription else None
    if not pause:
        finalize_and_collect(world, invoice)
        return
    finalize(world, invoice)
    if invoice["amount_due"] == 0:
        settle(world, invoice, attempted=True)
    elif pause["behavior"] == "void":
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
    if invoice["next_payment_attempt"] and invoice["next_payment_attempt"] <= world.now_of(
        invoice["customer"]
    ):
        attempt(world, invoice, automatic=True)


@job("past_due_date")
def past_due_date(world: World, id: str) -> None:
    """A sent invoice was not paid by its due date."""
    invoice = world.find("invoice", id)
    if invoice and invoice["status"] == "open":
        world.emit("invoice.overdue", invoice)
        after_failure(world, invoice)


def days(count: int) -> int:
    """Days in seconds."""
    return count * DAY
