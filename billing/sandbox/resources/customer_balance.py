"""The ledger of a customer's balance."""

from billing.sandbox.errors import invalid, missing
from billing.sandbox.listing import PAGE_BY_TIME, page
from billing.sandbox.machine.invoices import move_balance
from billing.sandbox.params import integer, merged, metadata, required, text, text_of
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object

KIND = "customer_balance_transaction"


@endpoint("GET", "/v1/customers/{}/balance_transactions", **PAGE_BY_TIME, invoice=text)
def list_balance_transactions(call: Call) -> Object:
    """What moved a customer's balance, newest first."""
    call.params["customer"] = call.find("customer")["id"]
    return page(call, KIND, by="customer", invoice=call.params.get("invoice"))


@endpoint(
    "POST",
    "/v1/customers/{}/balance_transactions",
    amount=required(integer),
    currency=required(text),
    description=text_of(350),
    metadata=metadata,
)
def create_balance_transaction(call: Call) -> Object:
    """Adjust a customer's balance; negative is credit."""
    world, params = call.world, call.params
    customer = call.find("customer")
    currency = params["currency"].lower()
    if customer["currency"] not in (None, currency):
        raise invalid(f"The currency {currency} does not match the customer's currency.", param="currency")
    world.update(customer, currency=currency)
    fields = {
        "description": params.get("description"),
        "metadata": merged({}, params.get("metadata") or {}),
    }
    return move_balance(world, customer, params["amount"], kind="adjustment", **fields)


def _found(call: Call) -> Object:
    customer = call.find("customer")
    moved = call.world.find(KIND, call.ids[1])
    if moved is None or moved["customer"] != customer["id"]:
        raise missing("customer balance transaction", call.ids[1], param="transaction", in_url=True)
    return moved


@endpoint("GET", "/v1/customers/{}/balance_transactions/{}")
def retrieve_balance_transaction(call: Call) -> Object:
    """One movement of the balance."""
    return _found(call)


@endpoint("POST", "/v1/customers/{}/balance_transactions/{}", description=text_of(350), metadata=metadata)
def update_balance_transaction(call: Call) -> Object:
    """Change a movement's words; what it moved stays."""
    moved, params = _found(call), dict(call.params)
    if "metadata" in params:
        params["metadata"] = merged(moved["metadata"], params["metadata"])
    return call.world.update(moved, **params)
