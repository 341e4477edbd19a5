"""Pending updates: a change that waits until its invoice is paid (`payment_behavior=pending_if_incomplete`)."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.machine.invoices import HOUR, void
from billing.sandbox.table import Object
from billing.sandbox.world import World, job

TAKES = frozenset(
    "items add_invoice_items payment_behavior proration_behavior proration_date billing_cycle_anchor trial_end "
    "metadata expand off_session".split()
)
FIELDS = ("items", "billing_cycle_anchor", "trial_start", "trial_end", "status", "metadata")
LASTS = 23 * HOUR


def check(params: dict[str, Any]) -> None:
    """Refuse what cannot wait."""
    if wrong := sorted(set(params) - TAKES):
        raise invalid(
            f"When `payment_behavior` is `pending_if_incomplete`, `{wrong[0]}` cannot be updated.",
            param=wrong[0],
        )


def remember(world: World, subscription: Object) -> Object:
    """What a change may change, as it is now."""
    items = subscription["items"]["data"]
    notes = {item["id"]: dict(world.side.get(item["id"], {})) for item in items}
    return {"fields": {key: subscription[key] for key in FIELDS}, "notes": notes}


def _bring(world: World, subscription: Object, known: Object) -> None:
    present = {item["id"] for item in subscription["items"]["data"]}
    world.update(subscription, **known["fields"])
    for id in present | set(known["notes"]):
        world.note(id, **{"debits": [], "began": None, "cut": None, **known["notes"].get(id, {})})


def hold(world: World, subscription: Object, invoice: Object, before: Object, after: Object) -> None:
    """Put the subscription back as it was; the change waits for its invoice."""
    now = world.now_of(subscription["customer"])
    _bring(world, subscription, before)
    ends = [item["current_period_end"] for item in subscription["items"]["data"]]
    expires = min(now + LASTS, *ends)
    old, new = before["fields"], after["fields"]

    def changed(field: str) -> Any:
        return new[field] if new[field] != old[field] else None

    world.update(
        subscription,
        pending_update={
            "billing_cycle_anchor": changed("billing_cycle_anchor"),
            "discount": None,
            "discounts": None,
            "expires_at": expires,
            "metadata": changed("metadata"),
            "subscription_items": new["items"]["data"],
            "trial_end": changed("trial_end"),
            "trial_from_plan": None,
        },
    )
    world.note(subscription["id"], pending={"invoice": invoice["id"], "after": after})
    world.schedule(expires, "expire_pending_update", subscription["id"], subscription["test_clock"])


def waits(world: World, invoice: Object) -> bool:
    """Whether an invoice belongs to a change that waits for it, so that its failure harms nothing else."""
    return bool(world.side.get(invoice["id"], {}).get("pending"))


def settled(world: World, subscription: Object, invoice: Object) -> None:
    """The invoice that a change waited for was paid, or voided."""
    held = world.side[subscription["id"]]["pending"]
    if held["invoice"] != invoice["id"] or invoice["status"] not in ("paid", "void"):
        return
    world.update(subscription, pending_update=None)
    if invoice["status"] == "paid":
        _bring(world, subscription, held["after"])
        at = min(item["current_period_end"] for item in subscription["items"]["data"])
        world.schedule(at, "renew", subscription["id"], subscription["test_clock"])
        world.emit("customer.subscription.pending_update_applied", subscription)


def discard(world: World, subscription: Object) -> None:
    """Forget a change that waits; nobody owes its invoice any more."""
    if subscription["pending_update"]:
        world.update(subscription, pending_update=None)
        invoice = world.get("invoice", world.side[subscription["id"]]["pending"]["invoice"])
        if invoice["status"] == "open":
            void(world, invoice)


@job("expire_pending_update")
def expire(world: World, id: str) -> None:
    """A change waited long enough."""
    subscription = world.find("subscription", id)
    waiting = subscription and subscription["pending_update"]
    if subscription and waiting and waiting["expires_at"] <= world.now_of(subscription["customer"]):
        discard(world, subscription)
        world.emit("customer.subscription.pending_update_expired", subscription)
