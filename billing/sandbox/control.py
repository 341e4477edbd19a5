"""`/_sandbox/…`: time, faults, the log, webhooks and the end of the world. No authentication, JSON bodies."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from billing.sandbox import bank, bulk
from billing.sandbox.errors import ApiError
from billing.sandbox.faults import Fault
from billing.sandbox.limits import wanted
from billing.sandbox.machine.discounts import set_on_customer
from billing.sandbox.sandbox import Sandbox

OUTCOMES = ("canceled", "unpaid", "past_due")


def routes(sandbox: Sandbox) -> list[Route]:
    """The control API of a sandbox."""

    async def health(body: Any) -> Any:
        return {"ready": True}

    def clock_shown() -> Any:
        return {"now": sandbox.world.now(), "frozen": sandbox.world.frozen is not None}

    async def clock(body: Any) -> Any:
        return clock_shown()

    async def set_clock(body: Any) -> Any:
        if body.get("release"):
            world = sandbox.world
            world.offset, world.frozen = world.now() - int(time.time()), None
            world.changes += 1
            return clock_shown()
        target = body["now"] if "now" in body else sandbox.world.now() + body["advance"]
        if not isinstance(target, int) or isinstance(target, bool):
            raise ValueError("now and advance are whole seconds")
        world = sandbox.world
        if target < world.now():
            if any(table.objects for table in world.tables.values()):
                raise ValueError("the clock goes back only while nothing exists")
            world.frozen = target
        world.frozen = world.now()
        while not sandbox.step_clock(target):
            await asyncio.sleep(0)
        world.changes += 1
        return clock_shown()

    async def faults(body: Any) -> Any:
        return {"faults": sandbox.faults.shown()}

    async def add_fault(body: Any) -> Any:
        sandbox.faults.active.append(Fault(**body))
        return {"faults": sandbox.faults.shown()}

    async def clear_faults(body: Any) -> Any:
        sandbox.faults.active.clear()
        return {"faults": []}

    async def log(body: Any) -> Any:
        return {"calls": list(sandbox.calls)}

    async def clear_log(body: Any) -> Any:
        sandbox.calls.clear()
        return {"calls": []}

    async def deliveries(body: Any) -> Any:
        sent = sandbox.deliveries
        how = {"paused": sent.paused, "parallel": sent.parallel, "simulated": sent.simulated}
        return {"waiting": sent.unsent, **how, "recent": list(sent.recent)}

    async def set_deliveries(body: Any) -> Any:
        sent = sandbox.deliveries
        if set(body) - {"paused", "parallel", "simulated"}:
            raise ValueError("deliveries are paused, parallel or simulated")
        sent.paused = bool(body.get("paused", sent.paused))
        sent.simulated = bool(body.get("simulated", sent.simulated))
        sent.parallel = max(1, int(body.get("parallel", sent.parallel)))
        sent.wake.set()
        return await deliveries(body)

    async def reset(body: Any) -> Any:
        sandbox.reset()
        return {"ready": True}

    async def discount(body: Any) -> Any:
        with sandbox.world.transaction():
            customer = sandbox.world.get("customer", body.pop("customer"), param="customer")
            return dict(set_on_customer(sandbox.world, customer, body))

    async def settings(body: Any) -> Any:
        return sandbox.world.settings

    async def set_settings(body: Any) -> Any:
        known = sandbox.world.settings
        if unknown := set(body) - set(known):
            raise ValueError(f"no such setting: {', '.join(sorted(unknown))}")
        if body.get("final_outcome", "canceled") not in OUTCOMES:
            raise ValueError(f"final_outcome must be one of {', '.join(OUTCOMES)}")
        if not all(isinstance(delay, int) and delay > 0 for delay in body.get("retry_delays", [])):
            raise ValueError("retry_delays are whole seconds")
        if "rate_limits" in body:
            body["rate_limits"] = wanted(body["rate_limits"])
        known.update(body)
        sandbox.world.changes += 1
        return known

    return [
        _route("/health", GET=health),
        _route("/clock", GET=clock, POST=set_clock),
        _route("/faults", GET=faults, POST=add_fault, DELETE=clear_faults),
        _route("/log", GET=log, DELETE=clear_log),
        _route("/deliveries", GET=deliveries, POST=set_deliveries),
        _route("/reset", POST=reset),
        *(_route(path, POST=act) for path, act in bank.actions(sandbox).items()),
        *(_route(path, POST=act) for path, act in bulk.actions(sandbox).items()),
        _route("/discounts", POST=discount),
        _route("/settings", GET=settings, POST=set_settings),
    ]


def _route(path: str, **actions: Callable[[Any], Awaitable[Any]]) -> Route:
    async def serve(request: Request) -> Response:
        try:
            text = await request.body()
            body = await request.json() if text else {}
            if not isinstance(body, dict):
                raise ValueError("send a JSON object")
            return JSONResponse(await actions[request.method](body))
        except ApiError as refusal:
            return JSONResponse({"error": refusal.body}, refusal.status)
        except (ValueError, TypeError, KeyError) as error:
            return JSONResponse({"error": {"message": f"{type(error).__name__}: {error}"}}, 400)

    return Route(f"/_sandbox{path}", serve, methods=list(actions))
