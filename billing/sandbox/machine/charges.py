"""The objects of a payment: the intent an invoice makes, and each charge that tries it."""

from typing import Any

from billing.sandbox.machine.balance import charge_entry
from billing.sandbox.machine.cards import CARDS, REFUSALS
from billing.sandbox.table import Object
from billing.sandbox.world import World


def new_intent(
    world: World, *, amount: int, currency: str, customer: str | None, description: str | None, **fields: Any
) -> Object:
    """A payment intent without a payment method; `fields` override what it starts with."""
    id = world.new_id("payment_intent")
    return world.insert(
        {
            "id": id,
            "object": "payment_intent",
            "amount": amount,
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
            "created": world.now_of(customer),
            "currency": currency,
            "customer": customer,
            "customer_account": None,
            "description": description,
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
            **fields,
        }
    )  # fmt: skip


def new_charge(
    world: World, intent: Object, method: Object, refused: str | None, *, authenticated: bool = False
) -> Object:
    """A charge that tries an intent with a card, and says why when it is refused."""
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
    code = message = secure = None
    if authenticated:
        secure = {
            "authentication_flow": "challenge",
            "electronic_commerce_indicator": "05",
            "exemption_indicator": None,
            "result": "authenticated",
            "result_reason": None,
            "transaction_id": world.secret(36),
            "version": "2.2.0",
        }
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
        "three_d_secure": secure,
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
    if not refused:
        at_once = CARDS[world.side[method["id"]]["card"]].after == "available_at_once"
        charge["balance_transaction"] = charge_entry(world, charge, at_once=at_once)["id"]
    return world.insert(charge)
