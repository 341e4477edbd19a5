"""Webhooks: signed, sent in parallel, retried with growing delays in real time."""

import asyncio
import hashlib
import heapq
import hmac
import importlib
import json
import random
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from billing.sandbox.faults import Faults
from billing.sandbox.table import Object
from billing.sandbox.world import World

if TYPE_CHECKING:
    import httpx

DELAYS = (2, 5, 15, 60, 300, 1800, 3600, 10_800)
PARALLEL = 8
TIMEOUT = 20.0


def signature(secret: str, payload: bytes, moment: int) -> str:
    """The `Stripe-Signature` header; `moment` is real time, which receivers check within minutes."""
    signed = hmac.new(secret.encode(), f"{moment}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={moment},v1={signed}"


class Deliveries:
    """What waits to be sent, and what was."""

    def __init__(self, world: World, faults: Faults) -> None:
        self.world = world
        self.faults = faults
        self.parallel = PARALLEL  # 1 keeps them in order, as long as none is sent again
        self.simulated = False  # whether waiting takes simulated time
        self.ready: deque[Object] = deque()
        self.later: list[tuple[float, int, Object]] = []  # retries, soonest first
        self._count = 0
        self.recent: deque[Object] = deque(maxlen=200)
        self.paused = False
        self.wake = asyncio.Event()
        self._sending: dict[asyncio.Task[None], Object] = {}

    @property
    def unsent(self) -> int:
        """How many are waiting or on their way."""
        return len(self.ready) + len(self.later) + len(self._sending)

    def queue(self, events: list[Object]) -> None:
        """Have events sent to every endpoint that wants them now."""
        endpoints = list(self.world.tables["webhook_endpoint"].objects.values())
        for event in events:
            for endpoint in endpoints:
                wanted = endpoint["enabled_events"]
                if endpoint["status"] == "enabled" and ("*" in wanted or event["type"] in wanted):
                    event["pending_webhooks"] += 1
                    self._start({"event": event, "endpoint": endpoint["id"], "attempt": 0})
        self.wake.set()

    def _start(self, each: Object) -> None:
        """Have one sent now, unless something is to go wrong with it."""
        content = json.dumps(each["event"]) if self.faults.active else ""
        fault = self.faults.take_webhook(each["event"]["type"], content) if content else None
        if fault is None:
            self.ready.append(each)
        elif fault.kind == "webhook_delay":
            self._retry(each, self._now() + fault.wait(5))
        elif fault.kind == "webhook_reorder":
            self._retry(each, self._now() + random.uniform(0, fault.wait(1)))  # noqa: S311 (disorder, no secret)
        elif fault.kind == "webhook_duplicate":
            self.ready += [each, {**each, "again": True}]
        elif fault.kind == "webhook_wrong_signature":
            self.ready.append({**each, "forged": True})

    def _now(self) -> float:
        return self.world.now() if self.simulated else time.time()

    async def run(self) -> None:
        """Send what is due, for ever."""
        # The slowest of all imports, and nobody waits for it: done while the server already answers.
        httpx = await asyncio.to_thread(importlib.import_module, "httpx")
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
            while True:
                while self.later and self.later[0][0] <= self._now():
                    self.ready.append(heapq.heappop(self.later)[2])
                while self.ready and not self.paused and len(self._sending) < self.parallel:
                    each = self.ready.popleft()
                    task = asyncio.create_task(self._send(client, each))
                    self._sending[task] = each
                    task.add_done_callback(self._sent)
                self.wake.clear()
                pause = max(self.later[0][0] - self._now(), 0.005) if self.later else 60.0
                pause = min(pause, 0.05) if self.simulated else pause
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), pause)

    def _sent(self, task: "asyncio.Task[None]") -> None:
        self._sending.pop(task, None)
        self.wake.set()

    async def _send(self, client: "httpx.AsyncClient", each: Object) -> None:
        import httpx

        event = each["event"]
        endpoint = self.world.find("webhook_endpoint", each["endpoint"])
        if endpoint is None or endpoint["status"] != "enabled":
            return
        payload = json.dumps(event, indent=2, ensure_ascii=False).encode()
        moment = int(time.time())
        secret = self.world.side[endpoint["id"]]["secret"]
        if each.pop("forged", False):
            secret = "whsec_of_somebody_else"
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature(secret, payload, moment),
        }
        each["attempt"] += 1
        outcome: dict[str, Any] = {"status": None, "error": None}
        try:
            answer = await client.post(endpoint["url"], content=payload, headers=headers)
            outcome["status"] = answer.status_code
        except httpx.HTTPError as error:
            outcome["error"] = f"{type(error).__name__}: {error}"
        delivered = outcome["status"] is not None and 200 <= outcome["status"] < 300
        self.recent.append(
            {
                "event": event["id"],
                "type": event["type"],
                "endpoint": endpoint["id"],
                "url": endpoint["url"],
                "attempt": each["attempt"],
                "delivered": delivered,
                "at": time.time(),
                **outcome,
            }
        )
        if each.get("again"):
            return
        if delivered:
            event["pending_webhooks"] -= 1
            self.world.changes += 1
        elif each["attempt"] <= len(DELAYS):
            self._retry(each, self._now() + DELAYS[each["attempt"] - 1])

    def _retry(self, each: Object, due: float) -> None:
        self._count += 1
        heapq.heappush(self.later, (due, self._count, each))

    def clear(self) -> None:
        """Forget everything that waits."""
        self.ready.clear()
        self.later.clear()
        self.recent.clear()

    def dump(self) -> list[Object]:
        """For the state file: what waits or is on its way, by event id."""
        waiting = [(0.0, each) for each in (*self._sending.values(), *self.ready)]
        waiting += [(due, each) for due, _, each in self.later]
        return [{**each, "event": each["event"]["id"], "due": due} for due, each in waiting]

    def load(self, state: list[Object]) -> None:
        """From the state file."""
        events = self.world.tables["event"].objects
        for each in state:
            if each["event"] in events:
                self._retry({**each, "event": events[each["event"]]}, each["due"])
