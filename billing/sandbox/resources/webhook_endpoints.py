"""Webhook endpoints."""

from typing import Any

from billing.sandbox.errors import invalid
from billing.sandbox.event_types import EVENT_TYPES
from billing.sandbox.listing import PAGE, page
from billing.sandbox.params import boolean, choice, list_of, merged, metadata, required, text
from billing.sandbox.routing import Call, endpoint
from billing.sandbox.table import Object

MOST = 16
EVENTS = list_of(choice("*", *sorted(EVENT_TYPES)))


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise invalid(
            "Invalid URL: An explicit scheme (such as https) must be provided.",
            param="url",
            code="url_invalid",
        )
    return url


@endpoint(
    "POST",
    "/v1/webhook_endpoints",
    api_version=text,
    connect=boolean,
    description=text,
    enabled_events=required(EVENTS),
    metadata=metadata,
    url=required(text),
)
def create_webhook_endpoint(call: Call) -> Object:
    """A new endpoint; this answer alone shows its secret. Only events from now on are sent to it."""
    world, params = call.world, call.params
    if len(world.tables["webhook_endpoint"].objects) >= MOST:
        raise invalid("You have reached the maximum of 16 test webhook endpoints.")
    made = world.insert(
        {
            "id": world.new_id("webhook_endpoint"),
            "object": "webhook_endpoint",
            "api_version": params.get("api_version"),
            "application": None,
            "created": world.now(),
            "description": params.get("description"),
            "enabled_events": params["enabled_events"],
            "livemode": False,
            "metadata": params.get("metadata") or {},
            "status": "enabled",
            "url": _checked(params["url"]),
        }
    )
    secret = f"whsec_{world.secret(32)}"
    world.note(made["id"], secret=secret)
    return {**made, "secret": secret}


@endpoint("GET", "/v1/webhook_endpoints/{}")
def retrieve_webhook_endpoint(call: Call) -> Object:
    """An endpoint, without its secret."""
    return call.find("webhook_endpoint", "webhook endpoint")


@endpoint(
    "POST",
    "/v1/webhook_endpoints/{}",
    description=text,
    disabled=boolean,
    enabled_events=EVENTS,
    metadata=metadata,
    url=text,
)
def update_webhook_endpoint(call: Call) -> Object:
    """Change where it is, what it wants, or whether it is sent anything."""
    params: dict[str, Any] = dict(call.params)
    made = call.find("webhook_endpoint", "webhook endpoint")
    if "disabled" in params:
        params["status"] = "disabled" if params.pop("disabled") else "enabled"
    if "metadata" in params:
        params["metadata"] = merged(made["metadata"], params["metadata"])
    if params.get("url"):
        _checked(params["url"])
    return call.world.update(made, **params)


@endpoint("DELETE", "/v1/webhook_endpoints/{}")
def delete_webhook_endpoint(call: Call) -> Object:
    """Send it nothing more, not even what waits."""
    return call.world.remove(call.find("webhook_endpoint", "webhook endpoint"))


@endpoint("GET", "/v1/webhook_endpoints", **PAGE)
def list_webhook_endpoints(call: Call) -> Object:
    """Endpoints, newest first."""
    return page(call, "webhook_endpoint")
