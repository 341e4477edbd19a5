"""Customers."""

from typing import Any

from billing.sandbox.errors import invalid, missing
from billing.sandbox.expansion import includable
from billing.sandbox.listing import PAGE, PAGE_BY_TIME, page
from billing.sandbox.machine.invoices import move_balance
from billing.sandbox.machine.status import ENDED, end
from billing.sandbox.params import (
    anything,
    choice,
    email_of,
    integer,
    list_of,
    merged,
    metadata,
    positive,
    text,
    text_of,
)
from billing.sandbox.resources.payment_methods import attach, detach
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import World

MOST_ON_CLOCK = 3
ADDRESS = {"city": text, "country": text, "line1": text, "line2": text, "postal_code": text, "state": text}
FIELDS: dict[str, Any] = {
    "address": ADDRESS,
    "balance": integer,
    "description": text,
    "email": email_of(512),
    "invoice_prefix": text,
    "invoice_settings": {
        "custom_fields": anything,
        "default_payment_method": text,
        "footer": text,
        "rendering_options": anything,
    },
    "metadata": metadata,
    "name": text_of(256),
    "next_invoice_sequence": positive,
    "phone": text_of(20),
    "preferred_locales": list_of(text),
    "shipping": {"address": ADDRESS, "name": text, "phone": text},
    "tax_exempt": choice("exempt", "none", "reverse", ""),
}


@endpoint("POST", "/v1/customers", **FIELDS, payment_method=text, test_clock=text)
def create_customer(call: Call) -> Object:
    """A new customer, perhaps with a payment method and on a test clock."""
    world, params = call.world, dict(call.params)
    clock = params.get("test_clock")
    if clock:
        world.get("test_helpers.test_clock", clock, param="test_clock", noun="test clock")
        living = world.tables["customer"].objects.values()
        if sum(each["test_clock"] == clock for each in living) >= MOST_ON_CLOCK:
            raise invalid("A test clock can have at most 3 customers.", param="test_clock")
    id = world.new_id("customer")
    customer: Object = {
        "id": id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": world.now(clock),
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": world.secret(8).upper(),
        "invoice_settings": {
            "custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": clock,
    }  # fmt: skip
    world.insert(customer)
    balance = params.pop("balance", 0)
    method = params.pop("payment_method", None)
    default = (params.get("invoice_settings") or {}).get("default_payment_method")
    if method:
        attached = attach(world, method, customer)["id"]
        if default == method:
            params["invoice_settings"]["default_payment_method"] = attached
    _change(world, customer, params)
    if balance:
        move_balance(world, customer, balance, kind="initial")
    world.emit("customer.created", customer)
    return customer


def _change(world: World, customer: Object, params: dict[str, Any]) -> None:
    changes = dict(params)
    if "metadata" in changes:
        changes["metadata"] = merged(customer["metadata"], changes["metadata"])
    if settings := changes.pop("invoice_settings", None):
        if wanted := settings.get("default_payment_method"):
            method = world.get(
                "payment_method",
                wanted,
                param="invoice_settings[default_payment_method]",
                noun="PaymentMethod",
            )
            if method["customer"] != customer["id"]:
                raise invalid(
                    f"The customer does not have a payment method with the ID {wanted}. The payment method must be "
                    "attached to the customer.",
                    param="invoice_settings[default_payment_method]",
                    code="resource_missing",
                )
        changes["invoice_settings"] = {**customer["invoice_settings"], **settings}
    for field in ("address", "shipping"):
        if changes.get(field) is not None and field == "address":
            changes[field] = {**dict.fromkeys(ADDRESS), **(customer["address"] or {}), **changes[field]}
    if changes:
        world.update(customer, **changes)


@endpoint("GET", "/v1/customers/{}")
def retrieve_customer(call: Call) -> Object:
    """A customer; a deleted one shows as deleted."""
    return call.world.find("customer", call.id) or call.world.deleted.get(call.id) or call.find("customer")


@endpoint("POST", "/v1/customers/{}", **FIELDS)
def update_customer(call: Call) -> Object:
    """Change a customer; metadata is merged, `balance` is moved by an adjustment."""
    world, params = call.world, dict(call.params)
    customer = call.find("customer")
    if "balance" in params and (change := params.pop("balance") - customer["balance"]):
        move_balance(world, customer, change, kind="adjustment")
    _change(world, customer, params)
    return customer


@endpoint("DELETE", "/v1/customers/{}")
def delete_customer(call: Call) -> Object:
    """Delete a customer; subscriptions end at once."""
    customer = call.find("customer")
    return remove_customer(call.world, customer)


def remove_customer(world: World, customer: Object) -> Object:
    """A customer's end: subscriptions are cancelled, cards let go, invoices no longer chased; history stays."""
    for subscription in list(world.tables["subscription"].newest_first("customer", customer["id"])):
        if subscription["status"] not in ENDED:
            end(world, subscription, reason="cancellation_requested")
    for invoice in world.tables["invoice"].newest_first("customer", customer["id"]):
        if invoice["status"] in ("draft", "open") and invoice["auto_advance"]:
            world.update(
                invoice, auto_advance=False, next_payment_attempt=None, automatically_finalizes_at=None
            )
    for method in list(world.tables["payment_method"].newest_first("customer", customer["id"])):
        detach(world, method)
    world.settle(customer)
    world.emit("customer.deleted", customer)
    return world.remove(customer, remembered=True)


@endpoint("GET", "/v1/customers", **PAGE_BY_TIME, email=text_of(512), test_clock=text)
def list_customers(call: Call) -> Object:
    """Customers, newest first; by email, exactly as written."""
    clock = call.params.get("test_clock")
    return page(call, "customer", by="email", clocked=clock is not None, test_clock=clock)


@endpoint("GET", "/v1/customers/{}/payment_methods", **PAGE, type=text)
def list_customer_payment_methods(call: Call) -> Object:
    """A customer's payment methods."""
    if call.world.find("customer", call.id) is None:
        raise missing("customer", call.id, in_url=True)
    call.params["customer"] = call.id
    return page(call, "payment_method", by="customer", type=call.params.get("type"))


@endpoint("GET", "/v1/customers/{}/payment_methods/{}")
def retrieve_customer_payment_method(call: Call) -> Object:
    """One of a customer's payment methods."""
    method = call.world.find("payment_method", call.ids[1])
    if method is None or method["customer"] != call.id:
        raise missing("PaymentMethod", call.ids[1], param="payment_method", in_url=True)
    return method


@includable("customer", "sources")
def sources_of(world: World, customer: Object) -> Object:
    """Cards and accounts from before there were payment methods, when expanded: nobody has any here."""
    return {
        "object": "list",
        "data": [],
        "has_more": False,
        "url": f"/v1/customers/{customer['id']}/sources",
    }


@includable("customer", "subscriptions")
def subscriptions_of(world: World, customer: Object) -> Object:
    """The live subscriptions, when expanded."""
    found = world.tables["subscription"].newest_first("customer", customer["id"])
    live = [subscription for subscription in found if subscription["status"] not in ENDED]
    url = f"/v1/customers/{customer['id']}/subscriptions"
    return {"object": "list", "data": live[:10], "has_more": len(live) > 10, "url": url}
