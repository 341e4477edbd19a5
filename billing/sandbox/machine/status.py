"""What becomes of a subscription when its invoices are paid, fail, or are given up."""

from billing.sandbox.machine.invoices import invoices_of, subscription_of, void
from billing.sandbox.machine.pending import settled, waits
from billing.sandbox.table import Object
from billing.sandbox.world import World, job

LIVE = ("trialing", "active", "past_due", "unpaid", "paused", "incomplete")
ENDED = ("canceled", "incomplete_expired")


def newest_standing(world: World, subscription: Object) -> Object | None:
    """The newest invoice that was finalised and not voided: the one that decides about past_due."""
    standing = [each for each in invoices_of(world, subscription) if each["status"] not in ("draft", "void")]
    return standing[-1] if standing else None


def after_settlement(world: World, invoice: Object) -> None:
    """An invoice was paid, voided or written off: its subscription may be whole again."""
    subscription = subscription_of(world, invoice)
    if subscription is None:
        return
    if subscription["pending_update"]:
        settled(world, subscription, invoice)
    status = subscription["status"]
    if status == "incomplete" and invoice["status"] == "paid":
        world.update(subscription, status="active")
    elif status in ("past_due", "unpaid"):
        newest = newest_standing(world, subscription)
        if newest and newest["status"] in ("paid", "uncollectible"):
            world.update(subscription, status="active")
    elif (
        status == "paused" and invoice["id"] == subscription["latest_invoice"] and invoice["status"] != "void"
    ):
        world.update(subscription, status="active")
        world.emit("customer.subscription.resumed", subscription)
    elif status == "incomplete" and invoice["status"] == "void":
        expire(world, subscription)


def after_failure(world: World, invoice: Object) -> None:
    """A payment failed: an active subscription is past due from now on."""
    subscription = subscription_of(world, invoice)
    live = subscription and subscription["status"] in ("active", "trialing")
    if subscription and live and invoice["status"] == "open" and not waits(world, invoice):
        world.update(subscription, status="past_due")


def set_delinquent(world: World, customer: Object) -> None:
    """A customer with an open automatic invoice that failed is delinquent."""
    owing = any(
        invoice["status"] == "open" and invoice["attempted"]
        for invoice in world.tables["invoice"].newest_first("customer", customer["id"])
    )
    if owing != customer["delinquent"]:
        world.update(customer, delinquent=owing)


def end(world: World, subscription: Object, *, reason: str, status: str = "canceled") -> None:
    """The subscription is over; its open and draft invoices are left as they are but no longer chased."""
    now = world.now_of(subscription["customer"])
    planned = subscription["cancel_at"] is not None and subscription["cancel_at"] <= now
    world.update(
        subscription,
        status=status,
        ended_at=now,
        canceled_at=subscription["canceled_at"] or now,
        cancel_at=subscription["cancel_at"] if planned else None,
        cancel_at_period_end=planned and subscription["cancel_at_period_end"],
        pause_collection=None,
        pending_update=None,
        cancellation_details={**subscription["cancellation_details"], "reason": reason},
    )
    for invoice in invoices_of(world, subscription):
        if invoice["status"] in ("open", "draft"):
            world.update(
                invoice, auto_advance=False, next_payment_attempt=None, automatically_finalizes_at=None
            )
    world.emit("customer.subscription.deleted", subscription)
    world.settle(subscription)
    _end_schedule(world, subscription, reason, now)


def _end_schedule(world: World, subscription: Object, reason: str, now: int) -> None:
    """The schedule of a subscription that ended is over too: completed when that was its plan."""
    schedule = world.find("subscription_schedule", subscription["schedule"])
    if not schedule or schedule["status"] != "active":
        return
    if schedule["phases"][-1]["end_date"] <= now:
        world.update(schedule, status="completed", completed_at=now, current_phase=None)
        world.emit("subscription_schedule.completed", schedule)
    else:
        world.update(schedule, status="canceled", canceled_at=now, current_phase=None)
        word = "aborted" if reason == "payment_failed" else "canceled"
        world.emit(f"subscription_schedule.{word}", schedule)
    world.settle(schedule)


def expire(world: World, subscription: Object) -> None:
    """A first invoice that stayed unpaid: the subscription never began."""
    now = world.now_of(subscription["customer"])
    world.update(subscription, status="incomplete_expired", ended_at=now, canceled_at=now)
    for invoice in invoices_of(world, subscription):
        if invoice["status"] == "open":
            void(world, invoice)


@job("expire_incomplete")
def expire_incomplete(world: World, id: str) -> None:
    """23 hours are over for a first payment."""
    subscription = world.find("subscription", id)
    if subscription and subscription["status"] == "incomplete":
        expire(world, subscription)


@job("expire_resumption")
def expire_resumption(world: World, id: str) -> None:
    """The first invoice after a pause stayed unpaid for 23 hours: the subscription stays paused."""
    invoice = world.find("invoice", id)
    subscription = subscription_of(world, invoice) if invoice else None
    if invoice and subscription and subscription["status"] == "paused" and invoice["status"] == "open":
        void(world, invoice)
