"""Everything the sandbox knows: objects, time, what falls due, and changes that happen wholly or not at all.

Objects are plain dicts in exactly the form the API shows. They are changed only through `insert`, `update` and
`remove`, which keep a journal: a refusal rolls it back, a preview does so on purpose, and events learn from it what
was there before. Nested values are replaced, never changed in place.
"""

import heapq
import random
import string
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from billing.sandbox import API_VERSION
from billing.sandbox.errors import ApiError, missing
from billing.sandbox.kinds import KINDS, PAYMENT_EVENTS, UPDATED
from billing.sandbox.table import Object, Table

ALPHABET = string.ascii_letters + string.digits
ABSENT: Any = object()
EVENT_LIFE = 30 * 86_400

JOBS: dict[str, Callable[["World", str], None]] = {}


def job(kind: str) -> Callable[[Callable[["World", str], None]], Callable[["World", str], None]]:
    """Declare what happens when something of this kind falls due. A job checks that it still applies."""

    def declare(run: Callable[["World", str], None]) -> Callable[["World", str], None]:
        JOBS[kind] = run
        return run

    return declare


class World:
    """The state of one sandbox account."""

    def __init__(self) -> None:
        self.tables = {kind: Table(fields) for kind, (_, _, _, fields) in KINDS.items()}
        self.side: dict[str, Object] = {}  # what an object needs that the API does not show, by id
        self.deleted: dict[str, Object] = {}
        self.clocked: set[str] = set()  # ids of objects that live on a test clock
        self.agenda: dict[str, list[tuple[int, int, str, str]]] = {"": []}
        self.offset = 0
        self.frozen: int | None = None
        self.settings: Object = {
            "retry_delays": [86_400, 86_400, 172_800, 172_800, 172_800, 172_800, 172_800, 172_800],
            "final_outcome": "canceled",
            "upcoming_days": 7,
            "rate_limits": None,
            "date_offset": 0,
        }
        self.account: Object = {}
        self.base = ""  # the sandbox's own address, for the pages it links to
        self.sequence = 0
        self.changes = 0  # grows with every commit, so that whoever saves knows when to
        self.request: Object | None = None
        self.rehearsed: dict[
            str, Object
        ] = {}  # what a rehearsal in this request made: its answer may name it
        self.previews: dict[str, tuple[int, Object]] = {}  # invoices that previews showed, and until when
        self.on_commit: Callable[[list[Object]], None] = lambda events: None
        self._moments: dict[str, int] = {}
        self._journal: list[tuple[Any, ...]] = []
        self._before: dict[str, tuple[Object, Object]] = {}
        self._fresh: set[str] = set()
        self._outbox: list[Object] = []
        self._random = random.Random()  # noqa: S311 (ids, not secrets of anybody)

    # -- time ---------------------------------------------------------------------------------------------------

    def now(self, clock: str | None = None) -> int:
        """The present, in unix seconds, of the global clock or of a test clock."""
        moment = self._moments.get(clock or "")
        if moment is not None:
            return moment
        if clock:
            return int(self.get("test_helpers.test_clock", clock)["frozen_time"])
        return self.frozen if self.frozen is not None else int(time.time()) + self.offset

    def clock_of(self, customer: str | None) -> str | None:
        """The test clock a customer lives on, if any."""
        if customer is None or customer not in self.clocked:
            return None
        found = self.tables["customer"].objects.get(customer) or self.side.get(customer, {})
        return found.get("test_clock")

    def now_of(self, customer: str | None) -> int:
        """The present as this customer lives it."""
        return self.now(self.clock_of(customer))

    def schedule(self, at: int, kind: str, id: str, clock: str | None) -> None:
        """Have something happen at a moment of a timeline."""
        self.sequence += 1
        entry = (at, self.sequence, kind, id)
        heapq.heappush(self.agenda.setdefault(clock or "", []), entry)
        self._journal.append(("schedule", clock or "", entry))

    def run_due(self, until: int, clock: str | None = None, *, most: int = 2**62) -> bool:
        """Let what is due up to a moment happen in order, each at its own time; False when more is left."""
        agenda = self.agenda.setdefault(clock or "", [])
        while agenda and agenda[0][0] <= until:
            if most == 0:
                return False
            most -= 1
            at, _, kind, id = heapq.heappop(agenda)
            self._moments[clock or ""] = at
            try:
                with self.transaction():
                    JOBS[kind](self, id)
            finally:
                del self._moments[clock or ""]
        return True

    @contextmanager
    def at(self, moment: int, clock: str | None) -> Iterator[None]:
        """Do something as if it were this moment on a timeline."""
        before = self._moments.get(clock or "")
        self._moments[clock or ""] = moment
        try:
            yield
        finally:
            if before is None:
                del self._moments[clock or ""]
            else:
                self._moments[clock or ""] = before

    # -- objects ------------------------------------------------------------------------------------------------

    def new_id(self, kind: str) -> str:
        """A fresh id as Stripe would make it."""
        prefix, digit, length, _ = KINDS[kind]
        return prefix + digit + "".join(self._random.choices(ALPHABET, k=length))

    def secret(self, length: int = 32) -> str:
        """Random letters and digits."""
        return "".join(self._random.choices(ALPHABET, k=length))

    def find(self, kind: str, id: str | None) -> Object | None:
        """An object, or None."""
        return self.tables[kind].objects.get(id) if id else None

    def get(
        self, kind: str, id: str, *, param: str = "id", in_url: bool = False, noun: str | None = None
    ) -> Object:
        """An object, or Stripe's refusal."""
        obj = self.tables[kind].objects.get(id)
        if obj is None:
            raise missing(noun or kind.rpartition(".")[2], id, param=param, in_url=in_url)
        return obj

    def insert(self, obj: Object) -> Object:
        """Add a new object."""
        self.tables[obj["object"]].add(obj)
        self._journal.append(("insert", obj))
        self._fresh.add(obj["id"])
        if self.clock_of(obj.get("customer")) or obj.get("test_clock") or self._hangs_on_clock(obj):
            self.clocked.add(obj["id"])
        return obj

    def _hangs_on_clock(self, obj: Object) -> bool:
        return any(obj.get(owner) in self.clocked for owner in ("charge", "invoice"))

    def update(self, obj: Object, **changes: Any) -> Object:
        """Change fields of an object; what was there before is kept for events and for going back."""
        table = self.tables[obj["object"]]
        before = self._before.setdefault(obj["id"], (obj, {}))[1]
        old = {key: obj.get(key, ABSENT) for key in changes}
        self._journal.append(("update", obj, old))
        for key, value in old.items():
            before.setdefault(key, value)
        obj.update(changes)
        for field in table.indexes:
            if field in changes:
                table.reindex(obj, field)
        return obj

    def remove(self, obj: Object, *, remembered: bool = False) -> Object:
        """Delete an object and answer with what Stripe answers; some kinds can still be seen as deleted."""
        self.tables[obj["object"]].drop(obj["id"])
        self._journal.append(("remove", obj, remembered))
        stub = {"id": obj["id"], "object": obj["object"], "deleted": True}
        if remembered:
            self.deleted[obj["id"]] = stub
            self.note(obj["id"], test_clock=obj.get("test_clock"))
        self._before.pop(obj["id"], None)
        return stub

    def note(self, id: str, **values: Any) -> Object:
        """Keep something about an object that the API does not show."""
        side = self.side.setdefault(id, {})
        self._journal.append(("note", id, {key: side.get(key, ABSENT) for key in values}))
        side.update(values)
        return side

    # -- all or nothing -----------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, request: Object | None = None) -> Iterator[None]:
        """What happens inside is kept and told, or undone when it is refused."""
        self.request = request
        try:
            yield
        except ApiError as refusal:
            if refusal.keeps_effects:
                self._commit()
            else:
                self._roll_back(0)
            raise
        except BaseException:
            self._roll_back(0)
            raise
        else:
            self._commit()
        finally:
            self.request, self.rehearsed = None, {}

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Do something for real, look at it, and undo it. Not to be followed by changes in the same request."""
        mark = len(self._journal)
        try:
            yield
        finally:
            made = (entry[1] for entry in self._journal[mark:] if entry[0] == "insert")
            self.rehearsed = {obj["id"]: dict(obj) for obj in made}
            self._roll_back(mark)

    def _roll_back(self, mark: int) -> None:
        while len(self._journal) > mark:
            action, *rest = self._journal.pop()
            if action == "insert":
                self.clocked.discard(rest[0]["id"])
                table = self.tables[rest[0]["object"]]
                table.drop(rest[0]["id"])
                if table.order[-1] == rest[0]["id"]:
                    table.order.pop()
                    del table.position[rest[0]["id"]]
                for field, index in table.indexes.items():
                    if (ids := index.get(rest[0].get(field))) and ids[-1] == rest[0]["id"]:
                        ids.pop()
            elif action == "update":
                _put_back(*rest)
            elif action == "remove":
                self.tables[rest[0]["object"]].restore(rest[0])
                if rest[1]:
                    del self.deleted[rest[0]["id"]]
            elif action == "note":
                _put_back(self.side[rest[0]], rest[1])
                if not self.side[rest[0]]:
                    del self.side[rest[0]]
            elif action == "schedule":
                self.agenda[rest[0]].remove(rest[1])
                heapq.heapify(self.agenda[rest[0]])
        self._forget()

    def _commit(self) -> None:
        for obj, _ in list(self._before.values()):
            if obj["object"] in UPDATED and obj["id"] not in self._fresh:
                self.emit(UPDATED[obj["object"]], obj)
        events = self._outbox
        changed = bool(self._journal)
        self._forget()
        if changed or events:
            self.changes += 1
        if events:
            for event in events:
                self.tables["event"].add(event)
            self.on_commit(events)

    def _forget(self) -> None:
        self._journal, self._before, self._fresh, self._outbox = [], {}, set(), []

    # -- events -------------------------------------------------------------------------------------------------

    def emit(self, type: str, obj: Object, *, previous: Object | None = None) -> None:
        """Tell of a change. `*.updated` events carry what was there before, and are not told when nothing changed."""
        if type.endswith((".updated", ".refunded")):
            old = self._before.pop(obj["id"], (obj, {}))[1]
            previous = {**_differences(old, obj), **(previous or {})}
            if not previous and type == UPDATED.get(obj["object"]):
                return
        clock = obj.get("test_clock") or self.clock_of(obj.get("customer"))
        id = self.new_id("event")
        data: Object = {"object": _snapshot(obj)}
        if previous is not None:
            data["previous_attributes"] = _snapshot(previous)
        self._outbox.append(
            {
                "id": id.replace("evt_1", "evt_3", 1) if type.startswith(PAYMENT_EVENTS) else id,
                "object": "event",
                "api_version": API_VERSION,
                "created": self.now(clock),
                "data": data,
                "livemode": False,
                "pending_webhooks": 0,
                "request": dict(self.request) if self.request else {"id": None, "idempotency_key": None},
                "type": type,
            }
        )
        if clock:
            self.clocked.add(self._outbox[-1]["id"])

    def settle(self, obj: Object) -> None:
        """Take the changes made so far as told, because another event told them."""
        self._before.pop(obj["id"], None)

    def forget_old_events(self) -> None:
        """Drop the events Stripe would no longer list."""
        table = self.tables["event"]
        oldest = self.now() - EVENT_LIFE
        old = []
        for id, event in table.objects.items():
            if id in self.clocked:
                continue
            if event["created"] >= oldest:
                break
            old.append(id)
        for id in old:
            table.drop(id)
        if len(table.order) > 2 * len(table.objects) + 1000:
            table.compact()


def _snapshot(value: Any) -> Any:
    """A copy that later changes do not reach."""
    if isinstance(value, dict):
        return {key: _snapshot(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_snapshot(each) for each in value]
    return value


def _put_back(target: Object, old: Object) -> None:
    for key, value in old.items():
        if value is ABSENT:
            target.pop(key, None)
        else:
            target[key] = value


def _differences(old: Object, new: Object) -> Object:
    found: Object = {}
    for key, value in old.items():
        present = new.get(key, ABSENT)
        if present == value:
            continue
        if isinstance(value, dict) and isinstance(present, dict):
            found[key] = _differences(value, present) | {k: None for k in present if k not in value}
        else:
            found[key] = None if value is ABSENT else value
    return found
