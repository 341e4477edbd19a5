"""Pages of objects: newest first, by cursor, filtered."""

from collections.abc import Callable, Iterator
from typing import Any

from billing.sandbox.errors import malformed, missing
from billing.sandbox.params import integer, moments, text
from billing.sandbox.routing import Call
from billing.sandbox.table import Object


def page_size(value: Any, name: str) -> int:
    """A page's `limit`, 1 to 100."""
    number = int(integer(value, name))
    if number < 1:
        raise malformed(
            "This value must be greater than or equal to 1.", param=name, code="parameter_invalid_integer"
        )
    if number > 100:
        raise malformed(
            "This value must be less than or equal to 100.", param=name, code="parameter_invalid_integer"
        )
    return number


PAGE: dict[str, Any] = {"limit": page_size, "starting_after": text, "ending_before": text}
PAGE_BY_TIME: dict[str, Any] = {**PAGE, "created": moments}


def in_range(value: int | None, bounds: dict[str, int]) -> bool:
    """Whether a unix time lies in `{gt, gte, lt, lte}`."""
    if value is None:
        return False
    return (
        bounds.get("gt", -1) < value
        and bounds.get("gte", 0) <= value
        and value < bounds.get("lt", 2**62)
        and value <= bounds.get("lte", 2**62)
    )


def page(
    call: Call,
    kind: str,
    *,
    by: str | None = None,
    keep: Callable[[Object], bool] | None = None,
    clocked: bool = False,
    **equal: Any,
) -> Object:
    """A page of a kind's objects.

    `by` names a parameter whose value an indexed field must have, `equal` fields and the values they must have
    (None: any). Objects of test clocks are left out unless `clocked` or an index narrows the list.
    """
    world, params = call.world, call.params
    table = world.tables[kind]
    value = params.get(by) if by else None
    if value and by in world.tables and by != kind and value not in world.deleted:
        world.get(by, value, param=by)
    bounds = params.get("created") or {}
    wanted = {field: each for field, each in equal.items() if each is not None}
    hide = world.clocked if not (clocked or value) else set()

    def fits(obj: Object) -> bool:
        return (
            obj["id"] not in hide
            and (not bounds or in_range(obj["created"], bounds))
            and all(obj.get(field) == each for field, each in wanted.items())
            and (value is None or obj.get(by or "") == value)
            and (keep is None or keep(obj))
        )

    _one_cursor(params)
    cursor = params.get("starting_after") or params.get("ending_before")
    older = not params.get("ending_before")
    source: Iterator[Object]
    if cursor:
        if cursor not in table.position:
            param = "starting_after" if older else "ending_before"
            raise missing(kind.rpartition(".")[2], cursor, param=param)
        source = table.page_from(cursor, older=older)
        if value is not None and by in table.indexes:
            at = table.position[cursor]
            ids = table.indexes[by].get(value, [])
            chosen = [id for id in ids if (table.position[id] < at if older else table.position[id] > at)]
            source = (
                table.objects[id] for id in (reversed(chosen) if older else chosen) if id in table.objects
            )
    elif value is not None and by in table.indexes:
        source = table.newest_first(by, value)
    else:
        source = table.newest_first()
    limit = params.get("limit", 10)
    found: list[Object] = []
    has_more = False
    oldest = max(bounds.get("gt", 0), bounds.get("gte", 0))
    for obj in source:
        if fits(obj):
            if len(found) == limit:
                has_more = True
                break
            found.append(obj)
        elif older and oldest and obj["created"] < oldest and obj["id"] not in world.clocked:
            break
    if not older:
        found.reverse()
    return {"object": "list", "data": found, "has_more": has_more, "url": call.path}


def _one_cursor(params: dict[str, Any]) -> None:
    if params.get("starting_after") and params.get("ending_before"):
        raise malformed("You may only specify one of these parameters: starting_after, ending_before.")


def page_of(call: Call, objects: list[Object]) -> Object:
    """A page of a short list that is at hand, newest first."""
    params = call.params
    _one_cursor(params)
    ids = [obj["id"] for obj in objects]
    limit = params.get("limit", 10)
    if after := params.get("starting_after"):
        if after not in ids:
            raise missing("object", after, param="starting_after")
        objects = objects[ids.index(after) + 1 :]
    elif before := params.get("ending_before"):
        if before not in ids:
            raise missing("object", before, param="ending_before")
        newer = objects[: ids.index(before)]
        return {"object": "list", "data": newer[-limit:], "has_more": len(newer) > limit, "url": call.path}
    return {"object": "list", "data": objects[:limit], "has_more": len(objects) > limit, "url": call.path}
