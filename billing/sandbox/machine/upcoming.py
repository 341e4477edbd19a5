"""The notice of a renewal, some days ahead."""

from billing.sandbox.errors import ApiError
from billing.sandbox.machine.cycle import RENEWING, items_of
from billing.sandbox.machine.preview import preview_change
from billing.sandbox.periods import DAY
from billing.sandbox.world import World, job


@job("upcoming")
def upcoming(world: World, id: str) -> None:
    """Show what the next renewal will ask, unless the notice is out of date, unwanted, or about a sent invoice."""
    subscription = world.find("subscription", id)
    if not subscription or subscription["status"] not in RENEWING or subscription["pause_collection"]:
        return
    if subscription["collection_method"] != "charge_automatically" or not items_of(subscription):
        return
    at = min(item["current_period_end"] for item in items_of(subscription))
    if at - world.settings.get("upcoming_days", 0) * DAY != world.now_of(subscription["customer"]):
        return
    if world.side.get(id, {}).get("announced") == at:
        return
    try:
        invoice = preview_change(world, subscription, {})
    except ApiError:
        return
    world.note(id, announced=at)
    world.emit("invoice.upcoming", invoice)
