"""Payment methods: test cards by token or number, attached to customers."""

from datetime import UTC, datetime

from billing.sandbox.errors import ApiError, declined, invalid, missing
from billing.sandbox.errors import required as missing_param
from billing.sandbox.listing import PAGE, page
from billing.sandbox.machine.cards import CARDS, card_of_number, card_of_token, refusal
from billing.sandbox.params import choice, email, integer, merged, metadata, required, text
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World

ADDRESS = {"city": text, "country": text, "line1": text, "line2": text, "postal_code": text, "state": text}
DETAILS = {"address": ADDRESS, "email": email, "name": text, "phone": text, "tax_id": text}


def new_method(world: World, card_name: str, *, customer: Object | None = None) -> Object:
    """A payment method of a test card."""
    card = CARDS[card_name]
    id = world.new_id("payment_method")
    method: Object = {
        "id": id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": dict.fromkeys(ADDRESS), "email": None, "name": None, "phone": None, "tax_id": None,
        },
        "card": {
            "brand": card.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": "US",
            "display_brand": "american_express" if card.brand == "amex" else card.brand,
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": f"sandbox{card.number[-9:]}",
            "funding": card.funding,
            "generated_from": None,
            "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": world.now_of(customer["id"] if customer else None),
        "customer": customer["id"] if customer else None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }  # fmt: skip
    world.insert(method)
    world.note(id, card=card_name)
    return method


def attach(world: World, id: str, customer: Object, *, in_url: bool = False) -> Object:
    """Give a customer a payment method, or a fresh one of a `pm_card_…` token; some cards refuse here already."""
    card = card_of_token(id)
    if card is None:
        method = world.get(
            "payment_method",
            id,
            param="id" if in_url else "payment_method",
            in_url=in_url,
            noun="PaymentMethod",
        )
        card = world.side[id]["card"]
        if world.side[id].get("detached"):
            raise invalid(
                "The payment method you provided was previously used with a PaymentMethod without Customer attachment, "
                "shared with a connected account without Customer attachment, or was detached from a Customer. It may "
                "not be used again. To use a PaymentMethod multiple times, you must attach it to a Customer first.",
                param="payment_method",
            )
        if method["customer"] not in (None, customer["id"]):
            raise invalid("The payment method you provided has already been attached to a customer.")
    else:
        method = new_method(world, card, customer=None)
    if said := CARDS[card].attach:
        error = refusal(said)
        error.body["param"] = ""
        raise error
    world.update(method, customer=customer["id"])
    if world.clock_of(customer["id"]):
        world.clocked.add(method["id"])
    world.settle(method)
    world.emit("payment_method.attached", method)
    return method


@endpoint(
    "POST",
    "/v1/payment_methods",
    type=required(choice("card")),
    card={"number": text, "exp_month": integer, "exp_year": integer, "cvc": text, "token": text},
    billing_details=DETAILS,
    metadata=metadata,
    allow_redisplay=choice("always", "limited", "unspecified"),
)
def create_payment_method(call: Call) -> Object:
    """A payment method of a test card's number or token."""
    world, params = call.world, call.params
    given = params.get("card")
    if not given:
        raise missing_param("card")
    if token := given.get("token"):
        name = card_of_token(token)
        if name is None:
            raise missing("token", token, param="card[token]")
    else:
        name = card_of_number(given.get("number") or "")
        if name is None:
            raise declined(
                "Your card number is incorrect.",
                code="incorrect_number",
                decline_code=None,
                param="card[number]",
            )
    dates = {key: given[key] for key in ("exp_month", "exp_year") if given.get(key)}
    _check_date(world, dates)
    method = new_method(world, name)
    method["card"].update(dates)
    details = {**method["billing_details"], **(params.get("billing_details") or {})}
    world.update(method, billing_details=details, metadata=params.get("metadata") or {})
    return method


def _check_date(world: World, dates: dict[str, int]) -> None:
    month, year = dates.get("exp_month", 1), dates.get("exp_year")
    if not 1 <= month <= 12:
        raise _wrong("month")
    today = datetime.fromtimestamp(world.now(), UTC)
    if year is not None and not today.year <= (year + 2000 if year < 100 else year) <= today.year + 50:
        raise _wrong("year")


def _wrong(part: str) -> ApiError:
    return declined(
        f"Your card's expiration {part} is invalid.",
        code=f"invalid_expiry_{part}",
        decline_code=None,
        param=f"card[exp_{part}]",
    )


@endpoint("GET", "/v1/payment_methods/{}")
def retrieve_payment_method(call: Call) -> Object:
    """A payment method."""
    return call.find("payment_method", "PaymentMethod")


@endpoint(
    "POST",
    "/v1/payment_methods/{}",
    billing_details=DETAILS,
    card={"exp_month": integer, "exp_year": integer},
    metadata=metadata,
    allow_redisplay=choice("always", "limited", "unspecified"),
)
def update_payment_method(call: Call) -> Object:
    """Change a payment method's details."""
    world, params = call.world, dict(call.params)
    method = call.find("payment_method", "PaymentMethod")
    for field in ("billing_details", "card"):
        if params.get(field):
            params[field] = {**method[field], **params[field]}
    if "metadata" in params:
        params["metadata"] = merged(method["metadata"], params["metadata"])
    _check_date(world, call.params.get("card") or {})
    return world.update(method, **params)


@endpoint("POST", "/v1/payment_methods/{}/attach", customer=required(text))
def attach_payment_method(call: Call) -> Object:
    """Attach to a customer; a `pm_card_…` token makes a fresh payment method."""
    customer = call.world.get("customer", call.params["customer"], param="customer")
    return attach(call.world, call.id, customer, in_url=True)


@endpoint("POST", "/v1/payment_methods/{}/detach")
def detach_payment_method(call: Call) -> Object:
    """Take it from its customer, for good."""
    return detach(call.world, call.find("payment_method", "PaymentMethod"))


def detach(world: World, method: Object) -> Object:
    """Take a payment method from its customer and from whatever it was the default of; it cannot come back."""
    if method["customer"] is None:
        raise invalid(
            "The payment method you provided is not attached to a customer so detachment is impossible.",
            param="payment_method",
        )
    holder = world.get("customer", method["customer"])
    if holder["invoice_settings"]["default_payment_method"] == method["id"]:
        world.update(holder, invoice_settings={**holder["invoice_settings"], "default_payment_method": None})
    for subscription in world.tables["subscription"].newest_first("customer", holder["id"]):
        if subscription["default_payment_method"] == method["id"]:
            world.update(subscription, default_payment_method=None)
    world.update(method, customer=None)
    world.note(method["id"], detached=True)
    world.emit("payment_method.detached", method, previous={"customer": holder["id"]})
    world.settle(method)
    return method


@endpoint("GET", "/v1/payment_methods", **PAGE, customer=text, type=text, allow_redisplay=text)
def list_payment_methods(call: Call) -> Object:
    """A customer's payment methods, newest first."""
    customer = call.params.get("customer")
    if customer:
        call.world.get("customer", customer, param="customer")
    return page(call, "payment_method", by="customer", type=call.params.get("type"))
