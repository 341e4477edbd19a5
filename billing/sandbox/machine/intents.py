"""Taking a payment intent's money: at once, refused, or only after the customer said yes to the bank."""

from datetime import UTC, datetime

from billing.sandbox.errors import ApiError, declined
from billing.sandbox.machine.cards import CARDS, Card, refusal
from billing.sandbox.machine.charges import new_charge
from billing.sandbox.table import Object
from billing.sandbox.world import World

ACTION = "invoice_payment_intent_requires_action"
UNAUTHENTICATED = {
    "code": "payment_intent_authentication_failure",
    "doc_url": "https://stripe.com/docs/error-codes/payment-intent-authentication-failure",
    "message": "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new "
    "PaymentMethod to attempt to fulfill this PaymentIntent again.",
    "type": "invalid_request_error",
}


def card_of(world: World, method: Object) -> Card:
    """The test card behind a payment method."""
    return CARDS[world.side[method["id"]]["card"]]


def challenged(world: World, method: Object, *, off_session: bool) -> bool:
    """Whether the bank asks the customer to authenticate before it pays."""
    kind = card_of(world, method).challenge
    if kind == "once":
        return not world.side[method["id"]].get("authenticated")
    return kind == "always" or (kind == "on_session" and not off_session)


def refusal_of(world: World, method: Object, now: int) -> str | None:
    """How the bank refuses this card now, if it does: as it was told to, by the card's nature, or by its date."""
    if told := world.side[method["id"]].get("refuses"):
        return str(told)
    if kind := card_of(world, method).charge:
        return kind
    today, card = datetime.fromtimestamp(now, UTC), method["card"]
    expired = (card["exp_year"], card["exp_month"]) < (today.year, today.month)
    return "expired_card" if expired else None


def take(
    world: World, intent: Object, method: Object, *, off_session: bool, authenticated: bool = False
) -> ApiError | None:
    """Take the money, with its traces and events. What stood in the way is returned, not raised."""
    if not authenticated and challenged(world, method, off_session=off_session):
        return _ask(world, intent, method)
    kind = refusal_of(world, method, world.now_of(intent["customer"]))
    charge = new_charge(world, intent, method, kind, authenticated=authenticated)
    if kind is None:
        world.emit("charge.succeeded", charge)
        world.update(
            intent,
            status="succeeded",
            amount_received=intent["amount"],
            latest_charge=charge["id"],
            payment_method=method["id"],
            last_payment_error=None,
            next_action=None,
        )
        world.emit("payment_intent.succeeded", intent)
        if card_of(world, method).after in ("dispute", "inquiry"):
            clock = world.clock_of(intent["customer"])
            world.schedule(charge["created"] + 1, "dispute_charge", charge["id"], clock)
        return None
    said = refusal(kind, keeps_effects=True, charge=charge["id"])
    world.emit("charge.failed", charge)
    error = {"charge": charge["id"], **said.body, "payment_method": dict(method)}
    _refused(world, intent, error, latest_charge=charge["id"])
    said.body["payment_intent"] = dict(intent)
    said.body["payment_method"] = dict(method)
    return said


def _ask(world: World, intent: Object, method: Object) -> ApiError:
    token = world.secret(24)
    world.note(intent["id"], authenticating=method["id"], token=token)
    back = world.side[intent["id"]].get("return_url")
    url = f"{world.base}/3ds/{intent['id']}/{token}"
    action = {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url},
    }
    if back:
        action = {"type": "redirect_to_url", "redirect_to_url": {"return_url": back, "url": url}}
    world.update(intent, status="requires_action", payment_method=method["id"], next_action=action)
    world.emit("payment_intent.requires_action", intent)
    return declined(
        "This payment requires additional user action before it can be completed successfully. Payment can be "
        "completed using the PaymentIntent associated with the invoice. For more details see: "
        "https://stripe.com/docs/billing/subscriptions/overview#requires-action",
        code=ACTION,
        decline_code=None,
        keeps_effects=True,
        payment_intent=dict(intent),
        payment_method=dict(method),
    )


def answer(world: World, intent: Object, *, passed: bool) -> ApiError | None:
    """The customer authenticated, or could not: the money is taken, or another card is needed."""
    method = world.get("payment_method", world.side[intent["id"]]["authenticating"])
    if passed:
        world.note(method["id"], authenticated=True)
        return take(world, intent, method, off_session=False, authenticated=True)
    _refused(world, intent, {**UNAUTHENTICATED, "payment_method": dict(method)})
    return declined(UNAUTHENTICATED["message"], code=UNAUTHENTICATED["code"], decline_code=None)


def _refused(world: World, intent: Object, error: Object, **changes: str) -> None:
    world.update(
        intent,
        status="requires_payment_method",
        last_payment_error=error,
        next_action=None,
        payment_method=None,
        **changes,
    )
    world.emit("payment_intent.payment_failed", intent)
