"""Objects of one kind, in the order they were made, findable by a few fields."""

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]


class Table:
    """Plain dicts by id, in order of creation, with an index for each of a few fields."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        self.objects: dict[str, Object] = {}
        self.order: list[str] = []
        self.position: dict[str, int] = {}
        self.indexes: dict[str, dict[str, list[str]]] = {field: {} for field in fields}

    def add(self, obj: Object) -> None:
        """Put a new object last."""
        id = obj["id"]
        self.objects[id] = obj
        self.position[id] = len(self.order)
        self.order.append(id)
        for field, index in self.indexes.items():
            if value := obj.get(field):
                index.setdefault(value, []).append(id)

    def drop(self, id: str) -> Object:
        """Take an object out; its place in the order stays, for cursors that point at it."""
        return self.objects.pop(id)

    def restore(self, obj: Object) -> None:
        """Put back what `drop` took out."""
        self.objects[obj["id"]] = obj

    def reindex(self, obj: Object, field: str) -> None:
        """Note that an indexed field got a new value; the old entry stays and is filtered when read."""
        if field in self.indexes and (value := obj[field]):
            ids = self.indexes[field].setdefault(value, [])
            if obj["id"] not in ids:
                ids.append(obj["id"])
                ids.sort(key=self.position.__getitem__)

    def newest_first(self, field: str | None = None, value: str | None = None) -> Iterator[Object]:
        """Every object, newest first, or those whose indexed field has the value."""
        ids = self.order if field is None else self.indexes[field].get(value or "", [])
        for id in reversed(ids):
            obj = self.objects.get(id)
            if obj is not None and (field is None or obj.get(field) == value):
                yield obj

    def page_from(self, id: str, *, older: bool) -> Iterator[Object]:
        """The objects after a cursor: older ones newest first, or newer ones oldest first."""
        at = self.position[id]
        positions = range(at - 1, -1, -1) if older else range(at + 1, len(self.order))
        for position in positions:
            if obj := self.objects.get(self.order[position]):
                yield obj

    def compact(self) -> None:
        """Forget the places of dropped objects; only for kinds that are dropped by age."""
        self.order = [id for id in self.order if id in self.objects]
        self.position = {id: at for at, id in enumerate(self.order)}
