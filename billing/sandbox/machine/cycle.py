"""What happens to a subscription by itself: the end of a trial, renewal, and the cancellation that was asked for."""

from collections.abc import Callable

from billing.sandbox.machine.invoices import HOUR, draft
from billing.sandbox.machine.lines import pending_items, set_lines, sweep
from billing.sandbox.machine.payments import finalize_and_collect, hold_back, method_for
from billing.sandbox.machine.proration import credit
from billing.sandbox.machine.status import ENDED, end
from billing.sandbox.machine.stub import period_lines, shortened
from billing.sandbox.periods import DAY, period_end
from billing.sandbox.table import Object
from billing.sandbox.world import World, job

RENEWING = ("trialing", "active", "past_due", "unpaid")
# What has to be seen to before a renewal, of whatever comes along with subscriptions.
BEFORE_RENEWAL: list[Callable[[World, Object], None]] = []


def next_end(subscription: Object, item_price: Object, start: int) -> int:
    """When a period of this price that begins at `start` ends."""
    recurring = item_price["recurring"]
    anchor = subscription["billing_cycle_anchor"]
    return period_end(start, recurring["interval"], recurring["interval_count"], anchor)


def items_of(subscription: Object) -> list[Object]:
    """A subscription's items."""
    data: list[Object] = subscription["items"]["data"]
    return data


def set_items(world: World, subscription: Object, items: list[Object]) -> None:
    """Replace a subscription's items."""
    world.update(subscription, items={**subscription["items"], "data": items, "total_count": len(items)})


def schedule_renewal(world: World, subscription: Object) -> None:
    """Have the subscription looked at when its next period ends, and when it is to be cancelled."""
    clock = subscription["test_clock"]
    if items := items_of(subscription):
        at = min(item["current_period_end"] for item in items)
        world.schedule(at, "renew", subscription["id"], clock)
        ahead = at - world.settings.get("upcoming_days", 0) * DAY
        if world.now_of(subscription["customer"]) < ahead < at:
            world.schedule(ahead, "upcoming", subscription["id"], clock)
        if subscription["cancel_at"] and subscription["cancel_at"] != at:
            world.schedule(subscription["cancel_at"], "renew", subscription["id"], clock)


def schedule_trial(world: World, subscription: Object) -> None:
    """Warn three days before a trial ends, or at once when fewer are left."""
    now = world.now_of(subscription["customer"])
    at = max(subscription["trial_end"] - 3 * DAY, now)
    world.schedule(at, "trial_will_end", subscription["id"], subscription["test_clock"])


@job("trial_will_end")
def trial_will_end(world: World, id: str) -> None:
    """Three days before the end of a trial."""
    subscription = world.find("subscription", id)
    if not subscription or subscription["status"] != "trialing":
        return
    if subscription["trial_end"] - 3 * DAY <= world.now_of(subscription["customer"]):
        world.emit("customer.subscription.trial_will_end", subscription)


@job("renew")
def renew(world: World, id: str) -> None:
    """The end of a period, or of the subscription."""
    subscription = world.find("subscription", id)
    for see_to in BEFORE_RENEWAL if subscription else []:
        see_to(world, subscription or {})
    if not subscription or subscription["status"] not in RENEWING:
        return
    now = world.now_of(subscription["customer"])
    if subscription["cancel_at"] and subscription["cancel_at"] <= now:
        finish(world, subscription)
        return
    if all(item["current_period_end"] > now for item in items_of(subscription)):
        return
    if subscription["status"] == "trialing" and not leave_trial(world, subscription):
        return
    start = min(item["current_period_start"] for item in items_of(subscription))
    rolled = roll(world, subscription, now)
    invoice = cycle_invoice(world, subscription, rolled, period=(start, now))
    world.emit("customer.subscription.updated", subscription)
    at = now + HOUR
    paused = subscription["pause_collection"]
    held = subscription["status"] == "unpaid" or bool(paused and paused["behavior"] == "keep_as_draft")
    if held:
        world.update(invoice, auto_advance=False)
    else:
        world.update(invoice, automatically_finalizes_at=at)
        world.note(invoice["id"], paused=paused and paused["behavior"])
        if invoice["collection_method"] == "charge_automatically":
            world.update(invoice, next_payment_attempt=at)
        world.schedule(at, "finalize_invoice", invoice["id"], subscription["test_clock"])
    world.emit("invoice.created", invoice)
    schedule_renewal(world, subscription)


def leave_trial(world: World, subscription: Object) -> bool:
    """The trial is over: active, or what was asked for when there is nothing to charge. Whether to go on billing."""
    customer = world.get("customer", subscription["customer"])
    behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if behavior != "create_invoice" and method_for(world, customer, subscription) is None:
        if behavior == "cancel":
            end(world, subscription, reason="cancellation_requested")
        else:
            world.update(subscription, status="paused")
            world.emit("customer.subscription.updated", subscription)
            world.emit("customer.subscription.paused", subscription)
        return False
    world.update(subscription, status="active")
    return True


def roll(world: World, subscription: Object, now: int) -> list[Object]:
    """Move every item whose period is over into its next one; the items that moved."""
    items, rolled = [], []
    for item in items_of(subscription):
        if item["current_period_end"] <= now:
            start = item["current_period_end"]
            after = next_end(subscription, item["price"], start)
            item = {**item, "current_period_start": start, "current_period_end": after}
            item = shortened(world, item, subscription["cancel_at"])
            rolled.append(item)
        items.append(item)
    set_items(world, subscription, items)
    return rolled


def cycle_invoice(
    world: World,
    subscription: Object,
    rolled: list[Object],
    *,
    period: tuple[int, int],
    reason: str = "subscription_cycle",
) -> Object:
    """A draft of the rolled items' new periods and everything pending; on a renewal, the customer's own items too."""
    customer = world.get("customer", subscription["customer"])
    renewal = bool(rolled) and reason == "subscription_cycle"
    pending = pending_items(world, customer["id"], subscription["id"], *([None] if renewal else []))
    invoice = draft(
        world,
        customer,
        currency=subscription["currency"],
        reason=reason,
        period=period,
        subscription=subscription,
    )
    lines = sweep(world, invoice, pending)
    for item in rolled:
        lines += period_lines(world, invoice, subscription, item)
    set_lines(world, invoice, lines)
    return invoice


def credit_rest(world: World, subscription: Object) -> None:
    """An end in the middle of a period credits its rest, unless that was not wanted when it was asked for."""
    now = world.now_of(subscription["customer"])
    if (
        world.side.get(subscription["id"], {}).get("end_prorates", True)
        and subscription["status"] != "trialing"
    ):
        for item in items_of(subscription):
            credit(world, subscription, item, now)


def finish(world: World, subscription: Object) -> None:
    """The cancellation that was asked for arrives; what is pending is still collected."""
    credit_rest(world, subscription)
    reason = subscription["cancellation_details"]["reason"] or "cancellation_requested"
    pause = subscription["pause_collection"]
    end(world, subscription, reason=reason)
    invoice = invoice_pending(world, subscription, reason="subscription_cycle")
    if invoice and pause:
        hold_back(world, invoice, pause["behavior"])
    elif invoice:
        finalize_and_collect(world, invoice)


def invoice_pending(world: World, subscription: Object, *, reason: str) -> Object | None:
    """A draft of what is pending for a subscription, now; nothing when nothing is."""
    customer = world.get("customer", subscription["customer"])
    pending = pending_items(world, customer["id"], subscription["id"])
    if not pending:
        return None
    now = world.now_of(customer["id"])
    start = min((item["current_period_start"] for item in items_of(subscription)), default=now)
    invoice = draft(
        world,
        customer,
        currency=subscription["currency"],
        reason=reason,
        period=(start, now),
        subscription=subscription,
    )
    set_lines(world, invoice, sweep(world, invoice, pending))
    world.emit("invoice.created", invoice)
    if subscription["status"] in ENDED:
        world.update(invoice, auto_advance=False)
    return invoice
