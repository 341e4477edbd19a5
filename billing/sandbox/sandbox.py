"""One sandbox: a world and what surrounds it, kept in a file if asked."""

import json
import logging
import time
from collections import deque
from pathlib import Path

from billing.sandbox.delivery import PARALLEL, Deliveries
from billing.sandbox.faults import Faults
from billing.sandbox.idempotency import Keys
from billing.sandbox.limits import Limits
from billing.sandbox.recording import Recording
from billing.sandbox.resources.account import new_account
from billing.sandbox.table import Object
from billing.sandbox.world import World

SLICE = 86_400
log = logging.getLogger("billing.sandbox")


class Sandbox:
    """The world, the idempotency keys, the faults, the webhooks on their way and the log of calls."""

    def __init__(self, base: str, state: Path | None = None, record: Path | None = None) -> None:
        self.base = base
        self.state = state
        self.record = Recording(record) if record else None
        self.limits = Limits()
        self.world = World()
        self.faults = Faults()
        self.calls: deque[Object] = deque(maxlen=10_000)
        self.keys = Keys()
        self.deliveries = Deliveries(self.world, self.faults)
        self._start_world()
        self.saved_at_change = 0
        self.next_save = 0.0
        if state and state.exists():
            self.load(json.loads(state.read_text()))

    def _start_world(self) -> None:
        self.world.base = self.base
        self.world.account = new_account(self.world)
        self.world.on_commit = self._commit

    def _commit(self, events: list[Object]) -> None:
        self.deliveries.queue(events)
        if self.record:
            self.record.events(events)

    def reset(self) -> None:
        """An empty world, its clock with real time."""
        self.world = World()
        self.deliveries.world = self.world
        self.deliveries.clear()
        self.deliveries.paused = False
        self.deliveries.parallel, self.deliveries.simulated = PARALLEL, False
        self.faults.active.clear()
        self.limits = Limits()
        self.calls.clear()
        self.keys = Keys()
        self._start_world()
        self.world.changes = self.saved_at_change + 1

    def restore(self, state: Object) -> None:
        """Back to what `dump` said, and nothing else."""
        self.reset()
        self.load(state)

    # -- time ---------------------------------------------------------------------------------------------------

    def tick(self, most: int = 50) -> bool:
        """Let what is due happen; False when more waits."""
        world, done = self.world, True
        try:
            done = world.run_due(world.now(), most=most)
            for clock in list(world.tables["test_helpers.test_clock"].objects.values()):
                if clock["status"] == "advancing":
                    done &= self._advance(clock, most)
        except Exception:
            log.exception("something that fell due failed")
        return done

    def _advance(self, clock: Object, most: int) -> bool:
        target = self.world.side[clock["id"]]["target"]
        if not self.world.run_due(target, clock["id"], most=most):
            return False
        with self.world.transaction():
            self.world.update(clock, frozen_time=target, status="ready", status_details={})
            self.world.emit("test_helpers.test_clock.ready", clock)
        return True

    def step_clock(self, target: int) -> bool:
        """Move the frozen global clock a day, or the rest of the way, towards a moment; whether it is there."""
        world = self.world
        until = min(target, world.now() + SLICE)
        world.frozen = world.now()
        world.run_due(until)
        world.frozen = until
        world.forget_old_events()
        self.keys.sweep(until)
        return until == target

    # -- the state file -----------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the state to its file, wholly or not at all."""
        if self.state is None:
            return
        began = time.monotonic()
        self.saved_at_change = self.world.changes
        partial = self.state.with_name(self.state.name + ".partial")
        partial.write_text(json.dumps(self.dump(), separators=(",", ":")))
        partial.replace(self.state)
        # A big world is saved less often, so that saving stays a small share of the work.
        self.next_save = time.monotonic() + max(1.5, 15 * (time.monotonic() - began))

    def save_if_changed(self) -> None:
        """Save when something changed and the last save is some seconds ago."""
        if self.state and self.world.changes != self.saved_at_change and time.monotonic() >= self.next_save:
            self.save()

    def dump(self) -> Object:
        """Everything worth keeping, as plain JSON."""
        world = self.world
        return {
            "tables": {
                kind: [[id, table.objects.get(id)] for id in table.order]
                for kind, table in world.tables.items()
            },
            "side": world.side,
            "deleted": world.deleted,
            "clocked": sorted(world.clocked),
            "agenda": world.agenda,
            "sequence": world.sequence,
            "offset": world.offset,
            "frozen": world.frozen,
            "settings": world.settings,
            "account": world.account,
            "keys": self.keys.dump(),
            "deliveries": self.deliveries.dump(),
        }

    def load(self, state: Object) -> None:
        """Take up where `dump` left off. Items share their price with the table of prices, as they did."""
        world = self.world
        for kind, rows in state["tables"].items():
            table = world.tables[kind]
            for id, obj in rows:
                if obj is not None:
                    table.add(obj)
                else:
                    table.position[id] = len(table.order)
                    table.order.append(id)
        prices = world.tables["price"].objects
        for subscription in world.tables["subscription"].objects.values():
            for item in subscription["items"]["data"]:
                item["price"] = prices.get(item["price"]["id"], item["price"])
        world.side, world.deleted, world.clocked = state["side"], state["deleted"], set(state["clocked"])
        world.agenda = {
            clock: [(a, s, k, i) for a, s, k, i in jobs] for clock, jobs in state["agenda"].items()
        }
        world.sequence, world.offset, world.frozen = state["sequence"], state["offset"], state["frozen"]
        world.settings, world.account = state["settings"], state["account"]
        self.keys.load(state["keys"])
        self.deliveries.load(state["deliveries"])
