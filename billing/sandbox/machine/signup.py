"""How a subscription begins."""

from typing import Any

from billing.sandbox.errors import ApiError, invalid
from billing.sandbox.errors import required as missing_param
from billing.sandbox.machine.cycle import next_end, schedule_renewal, schedule_trial, set_items
from billing.sandbox.machine.discounts import on_item, set_on_subscription
from billing.sandbox.machine.extras import add_items
from billing.sandbox.machine.invoices import HOUR, draft
from billing.sandbox.machine.lines import pending_items, set_lines, sweep
from billing.sandbox.machine.payments import finalize_and_collect, incomplete, method_for, no_method
from billing.sandbox.machine.pricing import is_metered
from billing.sandbox.machine.status import ENDED
from billing.sandbox.machine.stub import period_lines, shortened
from billing.sandbox.params import merged
from billing.sandbox.periods import DAY, period_end
from billing.sandbox.resources.prices import new_price
from billing.sandbox.table import Object
from billing.sandbox.world import World

MOST_ITEMS = 20
MOST_ON_CLOCK = 3
EXPIRES = 23 * HOUR


def priced(world: World, given: dict[str, Any], param: str) -> Object:
    """The recurring price an item asks for, existing or made along."""
    if data := given.get("price_data"):
        world.get("product", data["product"], param=f"{param}[price_data][product]")
        return new_price(world, data, data["product"])
    if not given.get("price"):
        raise missing_param(f"{param}[price]")
    price = world.get("price", given["price"], param=f"{param}[price]")
    if price["recurring"] is None:
        raise invalid(
            "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.",
            param=f"{param}[price]",
        )
    if not price["active"]:
        raise invalid(
            "The price specified is inactive. This field only accepts active prices.",
            param=f"{param}[price]",
        )
    return price


def new_item(
    world: World, subscription: Object, price: Object, given: dict[str, Any], *, start: int, end: int
) -> Object:
    """A subscription item for a period. It is kept inside its subscription."""
    item: Object = {
        "id": world.new_id("subscription_item"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": world.now_of(subscription["customer"]),
        "current_period_end": end,
        "current_period_start": start,
        "discounts": [],
        "metadata": merged({}, given.get("metadata") or {}),
        "price": price,
        "subscription": subscription["id"],
        "tax_rates": [],
    }
    if not is_metered(price):
        item["quantity"] = given.get("quantity", 1)
    elif "quantity" in given:
        raise invalid("You cannot set the quantity of a metered item.", param="items[0][quantity]")
    world.note(item["id"], subscription=subscription["id"])
    return item


def create(world: World, customer: Object, params: dict[str, Any]) -> Object:
    """Begin a subscription: its items, first invoice and first payment, as `payment_behavior` says."""
    now = world.now_of(customer["id"])
    given = params.get("items") or []
    if not given:
        raise missing_param("items")
    prices = [priced(world, each, f"items[{index}]") for index, each in enumerate(given)]
    currency = prices[0]["currency"]
    _check(world, customer, prices, params)
    trial_end = _trial_end(params, now)
    subscription = _blank(world, customer, params, currency, now, trial_end)
    items = []
    for price, each in zip(prices, given, strict=True):
        end = trial_end or next_end(subscription, price, now)
        items.append(new_item(world, subscription, price, each, start=now, end=end))
    world.insert(subscription)
    set_items(world, subscription, items)
    if params.get("discounts"):
        set_on_subscription(world, subscription, params["discounts"])
    if any(each.get("discounts") for each in given):
        items = [
            {
                **item,
                "discounts": on_item(
                    world, subscription, item, each.get("discounts") or [], f"items[{index}]"
                ),
            }
            for index, (item, each) in enumerate(zip(items, given, strict=True))
        ]
        set_items(world, subscription, items)
    if (anchor := params.get("billing_cycle_anchor")) and not trial_end:
        _start_with_stub(world, subscription, anchor, params.get("proration_behavior") == "none")
    if params.get("cancel_at"):
        _end_later(world, subscription, params)
    if params.get("cancel_at_period_end"):
        at = min(item["current_period_end"] for item in items)
        details = {**subscription["cancellation_details"], "reason": "cancellation_requested"}
        world.update(
            subscription,
            cancel_at=at,
            canceled_at=now,
            cancellation_details=details,
            cancel_at_period_end=True,
        )
    if customer["currency"] is None:
        world.update(customer, currency=currency)
    _first_invoice(world, customer, subscription, params)
    world.emit("customer.subscription.created", subscription)
    schedule_renewal(world, subscription)
    if trial_end:
        schedule_trial(world, subscription)
    if subscription["status"] == "incomplete":
        world.schedule(now + EXPIRES, "expire_incomplete", subscription["id"], subscription["test_clock"])
    return subscription


def _end_later(world: World, subscription: Object, params: dict[str, Any]) -> None:
    at = end_wanted(params["cancel_at"], subscription["items"]["data"])
    if at <= subscription["created"]:
        raise invalid("cancel_at must be a timestamp in the future.", param="cancel_at")
    world.note(subscription["id"], end_prorates=params.get("proration_behavior") != "none")
    details = {**subscription["cancellation_details"], "reason": "cancellation_requested"}
    world.update(
        subscription, cancel_at=at, canceled_at=subscription["created"], cancellation_details=details
    )
    anchored = subscription["billing_cycle_anchor"] != subscription["created"]
    if params.get("proration_behavior") != "none" and not anchored:
        items = [shortened(world, item, at) for item in subscription["items"]["data"]]
        set_items(world, subscription, items)


def end_wanted(wanted: str | int, items: list[Object]) -> int:
    """The moment a `cancel_at` means, fixed from now on."""
    ends = [item["current_period_end"] for item in items]
    named = {"min_period_end": min(ends), "max_period_end": max(ends)}
    return named[wanted] if isinstance(wanted, str) else wanted


def _check(world: World, customer: Object, prices: list[Object], params: dict[str, Any]) -> None:
    currencies = {price["currency"] for price in prices}
    if len(currencies) > 1:
        raise invalid("All prices on a subscription must have the same currency.", param="items")
    [currency] = currencies
    if customer["currency"] not in (None, currency):
        raise invalid(
            f"You cannot combine currencies on a single customer. This customer has an active subscription, "
            f"subscription schedule, discount, quote, or invoice item with currency {customer['currency']}."
        )
    if len({price["id"] for price in prices}) < len(prices):
        raise invalid("Cannot add multiple subscription items with the same price.", param="items")
    if customer["test_clock"]:
        known = world.tables["subscription"].newest_first("customer", customer["id"])
        if sum(each["status"] not in ENDED for each in known) >= MOST_ON_CLOCK:
            raise invalid("A customer on a test clock can have at most 3 subscriptions.", param="customer")
    if len(prices) > MOST_ITEMS:
        raise invalid("A subscription can have at most 20 items.", param="items")
    if params.get("collection_method") == "send_invoice":
        if not params.get("days_until_due"):
            raise missing_param("days_until_due")
        if not customer["email"]:
            raise invalid(
                "Missing email. In order to create invoices that are sent to the customer, the customer must have a "
                "valid email."
            )
    if method := params.get("default_payment_method"):
        owned_method(world, method, customer["id"])


def owned_method(world: World, id: str, customer: str) -> Object:
    """A payment method that belongs to the customer."""
    method = world.get("payment_method", id, param="default_payment_method", noun="PaymentMethod")
    if method["customer"] != customer:
        raise invalid(
            f"The customer does not have a payment method with the ID {id}. The payment method must be attached to the "
            "customer.",
            param="default_payment_method",
            code="resource_missing",
        )
    return method


def _trial_end(params: dict[str, Any], now: int) -> int | None:
    if days := params.get("trial_period_days"):
        return now + int(days) * DAY
    end = params.get("trial_end")
    if end in (None, "now"):
        return None
    if end <= now:
        raise invalid(
            "Invalid timestamp: must be an integer Unix timestamp in the future.", param="trial_end"
        )
    return int(end)


def _blank(
    world: World, customer: Object, params: dict[str, Any], currency: str, now: int, trial_end: int | None
) -> Object:
    id = world.new_id("subscription")
    mode = (params.get("billing_mode") or {}).get("type", "flexible")
    flexible = {"proration_discounts": "included"} if mode == "flexible" else None
    payment_settings = {
        "payment_method_options": None,
        "payment_method_types": None,
        "save_default_payment_method": "off",
        **(params.get("payment_settings") or {}),
    }
    trial_settings = params.get("trial_settings") or {
        "end_behavior": {"missing_payment_method": "create_invoice"}
    }
    return {
        "id": id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": trial_end or params.get("billing_cycle_anchor") or now,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"type": mode, "flexible": flexible, "updated_at": now},
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": params.get("collection_method", "charge_automatically"),
        "created": now,
        "currency": currency,
        "customer": customer["id"],
        "customer_account": None,
        "days_until_due": params.get("days_until_due"),
        "default_payment_method": params.get("default_payment_method"),
        "default_source": None,
        "default_tax_rates": [],
        "description": params.get("description"),
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": {
            "object": "list", "data": [], "has_more": False, "total_count": 0,
            "url": f"/v1/subscription_items?subscription={id}",
        },
        "latest_invoice": None,
        "livemode": False,
        "managed_payments": None,
        "metadata": merged({}, params.get("metadata") or {}),
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": payment_settings,
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": params.get("schedule"),
        "start_date": now,
        "status": "trialing" if trial_end else "active",
        "test_clock": customer["test_clock"],
        "transfer_data": None,
        "trial_end": trial_end,
        "trial_settings": trial_settings,
        "trial_start": now if trial_end else None,
    }  # fmt: skip


def _start_with_stub(world: World, subscription: Object, anchor: int, free: bool) -> None:
    """A first period that ends at a future anchor: charged for its share of a whole period, or free."""
    now = subscription["created"]
    items = []
    for item in subscription["items"]["data"]:
        recurring = item["price"]["recurring"]
        interval, count = recurring["interval"], recurring["interval_count"]
        if not now < anchor <= period_end(now, interval, count, now):
            raise invalid(
                "billing_cycle_anchor cannot be later than next natural billing date",
                param="billing_cycle_anchor",
            )
        items.append({**item, "current_period_end": anchor})
        world.note(item["id"], began=period_end(anchor, interval, -count, anchor), free=free)
    set_items(world, subscription, items)


def _first_invoice(world: World, customer: Object, subscription: Object, params: dict[str, Any]) -> None:
    now = subscription["created"]
    trialing = subscription["status"] == "trialing"
    invoice = draft(
        world,
        customer,
        currency=subscription["currency"],
        reason="subscription_create",
        period=(now, now),
        subscription=subscription,
    )
    add_items(world, subscription, params.get("add_invoice_items") or [])
    lines = sweep(world, invoice, pending_items(world, customer["id"], None, subscription["id"]))
    for item in subscription["items"]["data"]:
        lines += period_lines(world, invoice, subscription, item, free=trialing)
    set_lines(world, invoice, lines)
    world.emit("invoice.created", invoice)
    if subscription["collection_method"] == "send_invoice" or params.get("first_draft"):
        if not trialing:
            world.update(invoice, automatically_finalizes_at=now + HOUR)
            world.schedule(now + HOUR, "finalize_invoice", invoice["id"], invoice["test_clock"])
            return
        finalize_and_collect(world, invoice)
        return
    behavior = params.get("payment_behavior", "allow_incomplete")
    due = invoice["total"] + customer["balance"] > 0
    if due and behavior != "default_incomplete" and method_for(world, customer, subscription) is None:
        raise no_method()
    if due:
        world.update(subscription, status="incomplete")
    said = finalize_and_collect(world, invoice, attempt_it=behavior != "default_incomplete")
    if invoice["status"] == "paid" and subscription["status"] == "incomplete":
        world.update(subscription, status="active")
    if said and (behavior == "error_if_incomplete" or said.status != 402):
        raise _final(said)


def _final(said: ApiError) -> ApiError:
    return incomplete(said)
