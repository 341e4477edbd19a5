"""Changing a subscription: its items with their prorations, its trial, its anchor, its end."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.errors import required as missing_param
from billing.sandbox.machine.cycle import (
    cycle_invoice,
    invoice_pending,
    items_of,
    next_end,
    schedule_renewal,
    schedule_trial,
    set_items,
)
from billing.sandbox.machine.discounts import on_item, set_on_subscription
from billing.sandbox.machine.ending import set_cancellation
from billing.sandbox.machine.extras import add_items
from billing.sandbox.machine.payments import finalize_and_collect, hold_back, incomplete
from billing.sandbox.machine.pending import check, discard, hold, remember
from billing.sandbox.machine.pricing import is_metered, price_amount
from billing.sandbox.machine.proration import charge, credit
from billing.sandbox.machine.signup import MOST_ITEMS, new_item, owned_method, priced
from billing.sandbox.machine.status import ENDED
from billing.sandbox.params import merged
from billing.sandbox.table import Object
from billing.sandbox.world import World

WHILE_INCOMPLETE = frozenset("metadata default_payment_method payment_settings mode".split())
PLAIN = ("days_until_due", "collection_method", "description")


def modify(world: World, subscription: Object, params: dict[str, Any]) -> Object:
    """Apply an update as the API takes it, invoice and collect what is to be collected at once."""
    before = subscription["status"]
    check_changeable(subscription, params)
    behavior = params.get("payment_behavior", "allow_incomplete")
    if {"items", "billing_cycle_anchor", "trial_end"} & set(params):
        discard(world, subscription)
    was = remember(world, subscription)
    invoice = apply(world, subscription, params)
    if behavior == "pending_if_incomplete":
        check(params)
        if invoice is not None and subscription["pause_collection"]:
            collect(world, subscription, invoice, behavior)
        elif invoice is not None:
            _collect_or_hold(world, subscription, invoice, was)
    elif invoice is not None:
        collect(world, subscription, invoice, behavior)
    world.emit("customer.subscription.updated", subscription)
    if before == "trialing" and params.get("trial_end") == "now":
        world.emit("customer.subscription.trial_will_end", subscription)
    schedule_renewal(world, subscription)
    return subscription


def check_changeable(subscription: Object, params: dict[str, Any]) -> None:
    """An ended subscription takes only a few words more, one that has not begun only a way to pay."""
    if subscription["status"] in ENDED and set(params) - {"cancellation_details", "metadata"}:
        raise invalid("A canceled subscription can only update its cancellation_details and metadata.")
    if subscription["status"] == "incomplete" and (wrong := sorted(set(params) - WHILE_INCOMPLETE)):
        raise invalid(
            "You can only update the metadata and the payment method of a subscription that is `incomplete`; "
            f"`{wrong[0]}` cannot be updated.",
            param=wrong[0],
        )
    check_due(params, subscription)
    if subscription["schedule"] and {"cancel_at", "cancel_at_period_end"} & set(params):
        raise invalid(
            f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and updating any "
            "cancelation behavior directly is not allowed. Please update the schedule instead."
        )


def check_due(params: dict[str, Any], present: Object) -> None:
    """Invoices that are sent need days until they are due, others have none."""
    sent = params.get("collection_method", present["collection_method"]) == "send_invoice"
    days = params.get("days_until_due", present["days_until_due"] if sent else None)
    if days and not sent:
        raise invalid(
            "You can only set `days_until_due` when `collection_method` is `send_invoice`.",
            param="days_until_due",
        )
    if sent and not days:
        raise missing_param("days_until_due")


def apply(world: World, subscription: Object, params: dict[str, Any]) -> Object | None:
    """Change the subscription and draft the invoice that the change asks for at once, if it does."""
    now = world.now_of(subscription["customer"])
    at = params.get("proration_date") or now
    behavior = params.get("proration_behavior", "create_prorations")
    trial, prorates = "", behavior if subscription["status"] != "trialing" else "none"
    _set_fields(world, subscription, params, now)
    if "discounts" in params:
        set_on_subscription(world, subscription, params["discounts"])
    reset = params.get("billing_cycle_anchor") == "now"
    if "trial_end" in params:
        trial = _set_trial(world, subscription, params["trial_end"], behavior, at)
        reset |= trial == "reset"
    if params.get("items"):
        start = min(item["current_period_start"] for item in items_of(subscription))
        end = max(item["current_period_end"] for item in items_of(subscription))
        if not start <= at <= end:
            raise invalid(
                "Cannot specify a proration_date outside of the current billing period.",
                param="proration_date",
            )
    changed = _change_items(world, subscription, params.get("items") or [], prorates, at, reset) or trial
    reset |= changed == "reset"
    if extras := params.get("add_invoice_items"):
        add_items(world, subscription, extras)
        changed = changed or "changed"
    if set_cancellation(world, subscription, params):
        changed = changed or "changed"
    if reset:
        return start_over(world, subscription)
    if behavior == "always_invoice" and changed:
        return invoice_pending(world, subscription, reason="subscription_update")
    return None


def collect(world: World, subscription: Object, invoice: Object, behavior: str) -> None:
    """Finalise and charge an update's invoice; a failure leaves the subscription past due or undoes the update.

    While collection is paused nothing is charged.
    """
    if pause := subscription["pause_collection"]:
        hold_back(world, invoice, pause["behavior"])
        return
    said = finalize_and_collect(world, invoice, attempt_it=behavior != "default_incomplete")
    if said and behavior == "error_if_incomplete":
        raise incomplete(said)
    if said and said.body.get("code") == "amount_too_large":
        raise said
    open_now = invoice["status"] == "open" and invoice["collection_method"] == "charge_automatically"
    if open_now and subscription["status"] == "active":
        world.update(subscription, status="past_due")


def _collect_or_hold(world: World, subscription: Object, invoice: Object, was: Object) -> None:
    """Charge an update's invoice; unpaid, it is all there is of the update until it is paid."""
    becomes = remember(world, subscription)
    world.note(invoice["id"], pending=True)
    said = finalize_and_collect(world, invoice)
    if said and said.body.get("code") == "amount_too_large":
        raise said
    if invoice["status"] == "open":
        hold(world, subscription, invoice, was, becomes)


def _set_fields(world: World, subscription: Object, params: dict[str, Any], now: int) -> None:
    changes: dict[str, Any] = {key: params[key] for key in PLAIN if key in params}
    if params.get("collection_method") == "charge_automatically":
        changes["days_until_due"] = None
    if "metadata" in params:
        changes["metadata"] = merged(subscription["metadata"], params["metadata"])
    if "default_payment_method" in params:
        if method := params["default_payment_method"]:
            owned_method(world, method, subscription["customer"])
        changes["default_payment_method"] = params["default_payment_method"]
    if "pause_collection" in params:
        pause = params["pause_collection"]
        changes["pause_collection"] = {"resumes_at": None, **pause} if pause else None
        if pause and (resumes := pause.get("resumes_at")):
            if resumes <= now:
                raise invalid("resumes_at must be in the future.", param="pause_collection[resumes_at]")
            world.schedule(resumes, "resume_collection", subscription["id"], subscription["test_clock"])
    if details := params.get("cancellation_details"):
        changes["cancellation_details"] = {**subscription["cancellation_details"], **details}
    for field in ("payment_settings", "trial_settings"):
        if params.get(field):
            changes[field] = {**(subscription[field] or {}), **params[field]}
    if changes:
        world.update(subscription, **changes)


def _set_trial(world: World, subscription: Object, trial_end: Any, behavior: str, at: int) -> str:
    """'reset' when billing starts over because a trial ends now, 'changed' when one that begins was prorated."""
    now = world.now_of(subscription["customer"])
    if trial_end == "now":
        if subscription["status"] != "trialing":
            return ""
        world.update(subscription, trial_end=now, status="active")
        return "reset"
    if trial_end <= now:
        raise invalid(
            "Invalid timestamp: must be an integer Unix timestamp in the future.", param="trial_end"
        )
    items = []
    credited: list[Object] = []
    for item in items_of(subscription):
        if subscription["status"] != "trialing":
            if behavior != "none":
                credited += credit(world, subscription, item, at)
            item = {**item, "current_period_start": now}
        items.append({**item, "current_period_end": trial_end})
        world.note(item["id"], debits=[])
    set_items(world, subscription, items)
    started = subscription["trial_start"] if subscription["status"] == "trialing" else now
    world.update(
        subscription,
        status="trialing",
        trial_start=started,
        trial_end=trial_end,
        billing_cycle_anchor=trial_end,
    )
    schedule_trial(world, subscription)
    return "changed" if credited else ""


def _change_items(
    world: World, subscription: Object, given: list[dict[str, Any]], behavior: str, at: int, reset: bool
) -> str:
    """Apply item changes; '' for nothing prorated, 'changed', or 'reset' when billing starts over by it.

    When it starts over, by that or because of `reset`, the unused rest of everything there was is credited.
    """
    outcome = ""
    items = list(items_of(subscription))
    differing: list[tuple[Object, Object | None]] = []
    for index, change in enumerate(given):
        param = f"items[{index}]"
        old = None
        if id := change.get("id"):
            old = next((item for item in items if item["id"] == id), None)
            if old is None:
                raise invalid(
                    f"No such subscription item: '{id}'", param=f"{param}[id]", code="resource_missing"
                )
        if change.get("deleted"):
            if old is None:
                raise invalid("You must pass the id of the item to delete.", param=f"{param}[id]")
            items.remove(old)
            differing.append((old, None))
            continue
        new = _changed(world, subscription, old, change, param, at)
        if old is None:
            items.append(new)
        else:
            items[items.index(old)] = new
        if _amounts_differ(old, new):
            differing.append((old or new, new))
    if not items:
        raise invalid("A subscription must have at least one active item.", param="items")
    if len(items) > MOST_ITEMS or len({item["price"]["id"] for item in items}) < len(items):
        raise invalid("Cannot add multiple subscription items with the same price.", param="items")
    restarts = _restarts(world, subscription, items)
    for item in items_of(subscription) if (reset or restarts) and behavior != "none" else []:
        credit(world, subscription, item, at)
    set_items(world, subscription, items)
    for was, becomes in differing:
        if behavior != "none" and not reset and not restarts:
            if was is not becomes:
                credit(world, subscription, was, at)
            if becomes is not None:
                charge(world, subscription, becomes, at)
            outcome = "changed"
        if becomes is None:
            world.note(was["id"], debits=[])
    return "reset" if restarts else outcome


def _restarts(world: World, subscription: Object, items: list[Object]) -> bool:
    """Classic billing starts over when an item's interval changes, and when what was free comes to cost."""
    if subscription["billing_mode"]["type"] != "classic" or subscription["status"] == "trialing":
        return False
    old = {item["id"]: item for item in items_of(subscription)}
    kept = [(old[item["id"]], item) for item in items if item["id"] in old]
    longer = any(_interval(was["price"]) != _interval(item["price"]) for was, item in kept)
    return longer or (_free(world, items_of(subscription)) and not _free(world, items))


def _free(world: World, items: list[Object]) -> bool:
    return all(price_amount(world, item["price"], item.get("quantity", 0)) == 0 for item in items)


def _interval(price: Object) -> tuple[str, int]:
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def _amounts_differ(old: Object | None, new: Object) -> bool:
    if old is None:
        return True
    return (old["price"]["id"], old.get("quantity")) != (new["price"]["id"], new.get("quantity"))


def _changed(
    world: World, subscription: Object, old: Object | None, change: dict[str, Any], param: str, at: int
) -> Object:
    """The item as it will be. A new price without a quantity means one of it."""
    first = items_of(subscription)[0]
    if old is None:
        price = priced(world, change, param)
        _same_currency(subscription, price, param)
        start = first["current_period_start"]
        same = _interval(price) == _interval(first["price"]) or subscription["status"] == "trialing"
        end = first["current_period_end"] if same else next_end(subscription, price, start)
        made = new_item(world, subscription, price, change, start=start, end=end)
        made["discounts"] = on_item(world, subscription, made, change.get("discounts") or [], param)
        side = world.side[first["id"]] if same else {}
        world.note(made["id"], began=side.get("began"), cut=side.get("cut"))
        return made
    new = dict(old)
    if "metadata" in change:
        new["metadata"] = merged(old["metadata"], change["metadata"])
    if change.get("price") or change.get("price_data"):
        price = old["price"] if change.get("price") == old["price"]["id"] else priced(world, change, param)
        _same_currency(subscription, price, param)
        new["price"] = price
        new.pop("quantity", None)
        if not is_metered(price):
            kept = old.get("quantity", 1) if price is old["price"] else 1
            new["quantity"] = change.get("quantity", kept)
        if _interval(price) != _interval(old["price"]) and subscription["status"] != "trialing":
            world.note(old["id"], began=None, cut=None)
            new["current_period_end"] = next_end(subscription, price, old["current_period_start"])
            if new["current_period_end"] <= at:
                new["current_period_start"] = at
                new["current_period_end"] = next_end(subscription, price, at)
    elif "quantity" in change:
        if is_metered(old["price"]):
            raise invalid("You cannot set the quantity of a metered item.", param=f"{param}[quantity]")
        new["quantity"] = change["quantity"]
    if "discounts" in change:
        new["discounts"] = on_item(world, subscription, new, change["discounts"], param)
    return new


def _same_currency(subscription: Object, price: Object, param: str) -> None:
    if price["currency"] != subscription["currency"]:
        raise invalid(
            f"The price specified only supports `{price['currency']}`. This doesn't match the expected currency: "
            f"`{subscription['currency']}`.",
            param=f"{param}[price]",
        )


def start_over(world: World, subscription: Object) -> Object:
    """A new billing period from now on, and the draft of it and of what is pending."""
    now = world.now_of(subscription["customer"])
    old = items_of(subscription)
    start = min(item["current_period_start"] for item in old)
    world.update(subscription, billing_cycle_anchor=now)
    items = []
    for item in old:
        world.note(item["id"], began=None, cut=None)
        end = next_end(subscription, item["price"], now)
        items.append({**item, "current_period_start": now, "current_period_end": end})
    set_items(world, subscription, items)
    invoice = cycle_invoice(world, subscription, items, period=(start, now), reason="subscription_update")
    world.emit("invoice.created", invoice)
    return invoice
