"""Events of the last thirty days."""

from billing.sandbox.errors import malformed
from billing.sandbox.listing import PAGE_BY_TIME, page
from billing.sandbox.params import boolean, list_of, text
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object
from billing.sandbox.world import EVENT_LIFE

MOST_TYPES = 20


@endpoint("GET", "/v1/events/{}")
def retrieve_event(call: Call) -> Object:
    """An event."""
    return call.find("event")


@endpoint("GET", "/v1/events", **PAGE_BY_TIME, type=text, types=list_of(text), delivery_success=boolean)
def list_events(call: Call) -> Object:
    """Events, newest first; `type` may end in `*`."""
    params = call.params
    types, wanted, delivered = params.get("types"), params.get("type"), params.get("delivery_success")
    if types and wanted:
        raise malformed("You may only specify one of these parameters: type, types.")
    if types and len(types) > MOST_TYPES:
        raise malformed(f"You may specify at most {MOST_TYPES} types.", param="types")
    oldest = call.world.now() - EVENT_LIFE

    def keep(event: Object) -> bool:
        type = event["type"]
        return (
            (not types or type in types)
            and (not wanted or type == wanted or (wanted.endswith("*") and type.startswith(wanted[:-1])))
            and (delivered is None or delivered == (event["pending_webhooks"] == 0))
            and (event["created"] >= oldest or event["id"] in call.world.clocked)
        )

    return page(call, "event", keep=keep, clocked=True)
