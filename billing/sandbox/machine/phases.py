"""The phases of a subscription schedule: when they begin and end, and their shape in the API."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.machine.signup import priced
from billing.sandbox.periods import period_end
from billing.sandbox.table import Object
from billing.sandbox.world import World

KIND = "subscription_schedule"


def new_schedule(world: World, customer: Object, mode: Object, **fields: Any) -> Object:
    """A schedule without phases; `fields` override what it starts with."""
    return world.insert(
        {
            "id": world.new_id(KIND),
            "object": KIND,
            "application": None,
            "billing_mode": mode,
            "canceled_at": None,
            "completed_at": None,
            "created": world.now_of(customer["id"]),
            "current_phase": None,
            "customer": customer["id"],
            "customer_account": None,
            "default_settings": {
                "application_fee_percent": None,
                "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
                "billing_cycle_anchor": "automatic",
                "billing_thresholds": None,
                "collection_method": "charge_automatically",
                "default_payment_method": None,
                "description": None,
                "invoice_settings": {
                    "account_tax_ids": None, "days_until_due": None, "issuer": {"type": "self"},
                },
                "on_behalf_of": None,
                "transfer_data": None,
            },
            "end_behavior": "release",
            "livemode": False,
            "metadata": {},
            "phases": [],
            "released_at": None,
            "released_subscription": None,
            "status": "not_started",
            "subscription": None,
            "test_clock": customer["test_clock"],
            **fields,
        }
    )  # fmt: skip


def bounds(
    world: World, given: dict[str, Any], after: int | None, now: int, name: str
) -> tuple[int, int, str]:
    """A phase's start and end, and its currency; prices made along are put into `given`."""
    prices = []
    for index, item in enumerate(given["items"]):
        price = priced(world, item, f"{name}[items][{index}]")
        item["price"] = price["id"]
        prices.append(price)
    if not prices:
        raise invalid("A phase must have at least one item.", param=f"{name}[items]")
    start = given.get("start_date", after)
    start = now if start in (None, "now") else start
    if after is not None and start != after:
        raise invalid(
            "The start date of a phase must be the end date of the phase before it.",
            param=f"{name}[start_date]",
        )
    if given.get("end_date") and given.get("duration"):
        raise invalid("You may only specify one of these parameters: end_date, duration.", param=name)
    if end := given.get("end_date"):
        end = now if end == "now" else end
    else:
        long = given.get("duration") or prices[0]["recurring"]
        end = period_end(start, long["interval"], long.get("interval_count", 1), start)
    if end <= start:
        raise invalid("The end date of a phase must be after its start date.", param=f"{name}[end_date]")
    return start, end, prices[0]["currency"]


def phase_of(given: dict[str, Any], *, currency: str, start: int, end: int) -> Object:
    """A phase in Stripe's shape."""
    ends = given.get("trial_end") if given.get("trial_end") != "now" else None
    settings = given.get("invoice_settings")
    if settings:
        settings = {"account_tax_ids": None, "days_until_due": None, "issuer": None, **settings}
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "billing_cycle_anchor": given.get("billing_cycle_anchor"),
        "billing_thresholds": None,
        "collection_method": given.get("collection_method"),
        "currency": currency,
        "default_payment_method": given.get("default_payment_method"),
        "default_tax_rates": [],
        "description": given.get("description"),
        "discounts": [_stacked(each) for each in given.get("discounts") or []],
        "end_date": end,
        "invoice_settings": settings,
        "items": [_item(each) for each in given["items"]],
        "metadata": given.get("metadata") or {},
        "on_behalf_of": None,
        "proration_behavior": given.get("proration_behavior", "create_prorations"),
        "start_date": start,
        "transfer_data": None,
        "trial_end": end if given.get("trial") else ends,
    }


def _item(given: dict[str, Any]) -> Object:
    item = {
        "billing_thresholds": None,
        "discounts": [_stacked(each) for each in given.get("discounts") or []],
        "metadata": given.get("metadata") or {},
        "price": given["price"],
        "tax_rates": [],
    }
    return item | ({"quantity": given["quantity"]} if given.get("quantity") is not None else {})


def _stacked(given: dict[str, Any]) -> Object:
    return {key: given.get(key) for key in ("coupon", "discount", "promotion_code")}


def phase_discounts(world: World, ids: list[str]) -> list[Object]:
    """Discounts that are held, as a phase names them."""
    found = [world.get("discount", id) for id in ids]
    return [
        {
            "coupon": each["source"]["coupon"],
            "discount": each["id"],
            "promotion_code": each["promotion_code"],
        }
        for each in found
    ]
