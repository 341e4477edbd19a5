"""The account's balance: what each charge, refund and dispute moved."""

from typing import Any

from billing.sandbox.listing import PAGE_BY_TIME, page
from billing.sandbox.params import text
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object


@endpoint("GET", "/v1/balance_transactions/{}")
def retrieve_balance_transaction(call: Call) -> Object:
    """A line of the account's balance."""
    return call.find("balance_transaction", "balance transaction")


@endpoint("GET", "/v1/balance_transactions", **PAGE_BY_TIME, currency=text, source=text, type=text)
def list_balance_transactions(call: Call) -> Object:
    """The account's balance, newest first."""
    params = call.params
    wanted: dict[str, Any] = {"currency": params.get("currency"), "type": params.get("type")}
    return page(call, "balance_transaction", by="source", **wanted)
