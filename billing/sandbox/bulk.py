"""The whole world at once, in the control API: many customers, snapshots, and the way back to one."""

import asyncio
import gc
import pickle
import resource
import time
from collections.abc import Awaitable, Callable
from typing import Any

from billing.sandbox.loading import MOST, load
from billing.sandbox.routing import Call, match, parse
from billing.sandbox.sandbox import Sandbox
from billing.sandbox.table import Object
from billing.sandbox.world import World

SNAPSHOTS = 8


def model_customer(world: World) -> Object:
    """A customer with a card and eight seats at 29 dollars a month, when none is given."""

    def post(path: str, **params: Any) -> Object:
        endpoint, ids = match("POST", path)
        return endpoint.handler(Call(world, path, ids, parse(endpoint, params)))

    product = post("/v1/products", name="Team")
    price = post(
        "/v1/prices",
        product=product["id"],
        currency="usd",
        unit_amount="2900",
        recurring={"interval": "month"},
    )
    customer = post("/v1/customers", email="billing@company.example", name="Company")
    card = post("/v1/payment_methods/pm_card_visa/attach", customer=customer["id"])
    settings = {"default_payment_method": card["id"]}
    post(f"/v1/customers/{customer['id']}", invoice_settings=settings)
    post("/v1/subscriptions", customer=customer["id"], items=[{"price": price["id"], "quantity": "8"}])
    return customer


def actions(sandbox: Sandbox) -> dict[str, Callable[[Any], Awaitable[Any]]]:
    """What is POSTed to."""
    kept: dict[str, bytes] = {}

    async def load_customers(body: Any) -> Any:
        copies, like, spread = body["customers"], body.get("like"), body.get("spread", 0)
        if type(copies) is not int or not 0 < copies <= MOST:
            raise ValueError(f"customers is a whole number from 1 to {MOST}")
        if type(spread) is not int or spread < 0:
            raise ValueError("spread is a whole number of seconds")
        if like is None:
            with sandbox.world.transaction():
                like = model_customer(sandbox.world)["id"]
        began = time.monotonic()
        for _ in load(sandbox.world, like, copies, spread):
            await asyncio.sleep(0)
        return {
            "like": like,
            "customers": copies,
            "seconds": round(time.monotonic() - began, 3),
            "peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }

    async def snapshot(body: Any) -> Any:
        name, began = str(body.get("name", "snapshot")), time.monotonic()
        kept.pop(name, None)
        kept[name] = pickle.dumps(sandbox.dump(), protocol=pickle.HIGHEST_PROTOCOL)
        while len(kept) > SNAPSHOTS:
            del kept[next(iter(kept))]
        return {"name": name, "bytes": len(kept[name]), "seconds": round(time.monotonic() - began, 3)}

    async def restore(body: Any) -> Any:
        name, began = str(body.get("name", "snapshot")), time.monotonic()
        if name not in kept:
            raise ValueError(f"no such snapshot: {name}")
        gc.disable()  # what is read is kept
        try:
            # Only what this process pickled itself is read.
            sandbox.restore(pickle.loads(kept[name]))  # noqa: S301
        finally:
            gc.enable()
        return {"name": name, "seconds": round(time.monotonic() - began, 3)}

    return {"/load": load_customers, "/snapshot": snapshot, "/restore": restore}
