"""Payment intents: those of invoices, and those made by hand."""

from typing import Any

from billing.sandbox.errors import ApiError, invalid
from billing.sandbox.listing import PAGE_BY_TIME, page
from billing.sandbox.machine.cards import card_of_token
from billing.sandbox.machine.charges import new_intent
from billing.sandbox.machine.intents import ACTION, take
from billing.sandbox.machine.payments import attempt, invoice_of
from billing.sandbox.money import LARGEST_CHARGE, MINIMUM, shown
from billing.sandbox.params import (
    boolean,
    choice,
    either,
    email,
    list_of,
    merged,
    metadata,
    positive,
    required,
    text,
    text_of,
)
from billing.sandbox.resources.charges import change_words
from billing.sandbox.resources.payment_methods import new_method
from billing.sandbox.resources.prices import currency_code
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World

OPEN = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)
OFF_SESSION = either(boolean, choice("one_off", "recurring"))
UNEXPECTED = "payment_intent_unexpected_state"


@endpoint(
    "POST",
    "/v1/payment_intents",
    amount=required(positive),
    automatic_payment_methods={"enabled": required(boolean), "allow_redirects": choice("always", "never")},
    capture_method=choice("automatic", "automatic_async"),
    confirm=boolean,
    currency=required(currency_code),
    customer=text,
    description=text_of(1000),
    error_on_requires_action=boolean,
    metadata=metadata,
    off_session=OFF_SESSION,
    payment_method=text,
    payment_method_types=list_of(text),
    receipt_email=email,
    return_url=text,
    setup_future_usage=choice("off_session", "on_session"),
)
def create_payment_intent(call: Call) -> Object:
    """Ask for money without an invoice; with `confirm`, take it at once."""
    world, params = call.world, dict(call.params)
    customer = params.get("customer")
    if customer:
        world.get("customer", customer, param="customer")
    _check_amount(params["amount"], params["currency"])
    kept = ("automatic_payment_methods", "capture_method", "receipt_email", "setup_future_usage")
    intent = new_intent(
        world,
        amount=params["amount"],
        currency=params["currency"],
        customer=customer,
        description=params.get("description"),
        metadata=merged({}, params.get("metadata") or {}),
        payment_method_types=params.get("payment_method_types") or ["card"],
        **{key: params[key] for key in kept if params.get(key)},
    )
    if world.clock_of(customer):
        world.clocked.add(intent["id"])
    world.emit("payment_intent.created", intent)
    if id := params.get("payment_method"):
        method = _usable(world, id, intent)
        world.update(intent, payment_method=method["id"], status="requires_confirmation")
    return _confirm(world, intent, params) if params.get("confirm") else intent


def _check_amount(amount: int, currency: str) -> None:
    least = MINIMUM.get(currency, 0)
    if amount < least:
        words = f"Amount must be at least {shown(least, currency)} {currency}"
        raise invalid(words, param="amount", code="amount_too_small")
    if amount > LARGEST_CHARGE:
        words = f"Amount must be no more than {shown(LARGEST_CHARGE, currency)}"
        raise invalid(words, param="amount", code="amount_too_large")


@endpoint("GET", "/v1/payment_intents/{}", client_secret=text)
def retrieve_payment_intent(call: Call) -> Object:
    """A payment intent."""
    return call.find("payment_intent")


@endpoint("POST", "/v1/payment_intents/{}", description=text_of(1000), metadata=metadata, receipt_email=email)
def update_payment_intent(call: Call) -> Object:
    """Change what people read of a payment intent."""
    return change_words(call, call.find("payment_intent"))


@endpoint("GET", "/v1/payment_intents", **PAGE_BY_TIME, customer=text)
def list_payment_intents(call: Call) -> Object:
    """Payment intents, newest first."""
    return page(call, "payment_intent", by="customer")


@endpoint(
    "POST",
    "/v1/payment_intents/{}/confirm",
    error_on_requires_action=boolean,
    off_session=OFF_SESSION,
    payment_method=text,
    receipt_email=email,
    return_url=text,
    setup_future_usage=choice("", "off_session", "on_session"),
)
def confirm_payment_intent(call: Call) -> Object:
    """Take the money, with the customer there unless `off_session`; the bank may want to hear from the customer."""
    return _confirm(call.world, call.find("payment_intent"), call.params)


@endpoint(
    "POST",
    "/v1/payment_intents/{}/cancel",
    cancellation_reason=choice("abandoned", "duplicate", "fraudulent", "requested_by_customer"),
)
def cancel_payment_intent(call: Call) -> Object:
    """Give up on a payment made by hand; an invoice's ends with its invoice."""
    world, intent = call.world, call.find("payment_intent")
    if intent["status"] not in OPEN:
        raise invalid(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. Only a PaymentIntent "
            f"with one of the following statuses may be canceled: {', '.join(OPEN)}.",
            code=UNEXPECTED,
        )
    if invoice_of(world, intent):
        raise invalid(
            "You cannot cancel this PaymentIntent because it belongs to an invoice. Void the invoice instead."
        )
    reason = call.params.get("cancellation_reason")
    now = world.now_of(intent["customer"])
    world.update(intent, status="canceled", canceled_at=now, cancellation_reason=reason, next_action=None)
    world.emit("payment_intent.canceled", intent)
    return intent


def _confirm(world: World, intent: Object, params: dict[str, Any]) -> Object:
    if intent["status"] in ("succeeded", "canceled"):
        ended = "it has already succeeded after being previously confirmed"
        why = ended if intent["status"] == "succeeded" else "it has a status of canceled"
        raise invalid(f"You cannot confirm this PaymentIntent because {why}.", code=UNEXPECTED)
    id = params.get("payment_method") or intent["payment_method"]
    if id is None:
        raise invalid(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
            "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a "
            "payment method or ConfirmationToken.",
            code=UNEXPECTED,
        )
    method = _usable(world, id, intent)
    if back := params.get("return_url"):
        world.note(intent["id"], return_url=back)
    off_session = bool(params.get("off_session"))
    if invoice := invoice_of(world, intent):
        said = attempt(world, invoice, method=method, automatic=False, off_session=off_session)
    else:
        said = take(world, intent, method, off_session=off_session)
    if said and said.body.get("code") != ACTION:
        raise said
    if said and params.get("error_on_requires_action"):
        raise _refused_action(said)
    return intent


def _refused_action(said: ApiError) -> ApiError:
    said.body |= {"code": "authentication_required", "decline_code": "authentication_required"}
    return said


def _usable(world: World, id: str, intent: Object) -> Object:
    if card := card_of_token(id):
        return new_method(world, card)
    method = world.get("payment_method", id, param="payment_method", noun="PaymentMethod")
    if method["customer"] != intent["customer"] and method["customer"]:
        raise invalid(
            f"The PaymentMethod {id} belongs to a Customer. Please include the Customer in the `customer` parameter on "
            "the PaymentIntent.",
            param="payment_method",
        )
    return method
