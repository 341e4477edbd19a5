"""What was recorded, held against the description; and what the sandbox's endpoints declare."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from billing.sandbox.errors import ApiError
from billing.sandbox.forms import decode
from billing.sandbox.routing import ENDPOINTS, Endpoint, load_resources
from tests.contract.description import Description, Operation, Schema, walk

OK = 200
# An endpoint, by its method and path.
type Key = tuple[str, str]


@dataclass
class Row:
    """What was seen of one endpoint."""

    endpoint: str
    declared: int
    params: set[str] = field(default_factory=set)
    requests: int = 0
    valid_requests: int = 0
    replies: int = 0
    valid_replies: int = 0
    accepted: int = 0


class Check:
    """The table, and whatever is wrong."""

    def __init__(self, description: Description) -> None:
        load_resources()
        self.description = description
        self.problems: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.valid_events = 0
        self.rows = {
            (each.method, each.path): Row(f"{each.method:<6} {each.path}", len(each.shape))
            for each in ENDPOINTS
        }

    def declarations(self) -> None:
        """Every endpoint is one of Stripe's, and so is each parameter it takes."""
        for each in ENDPOINTS:
            name = f"{each.method} {each.path}"
            operation = self.description.operation(each.method, each.path)
            if operation is None:
                self.problems[f"{name}: Stripe has no such endpoint"] += 1
                continue
            for problem in undescribed(each, operation):
                self.problems[f"{name}: {problem}"] += 1

    def recorded(self, files: Iterable[Path]) -> None:
        """Every call, answer and event in the recordings."""
        for line in lines(files):
            if "event" in line:
                self._event(line["event"])
            else:
                self._call(line)

    def _event(self, event: dict[str, Any]) -> None:
        self.events[event["type"]] += 1
        found = self.description.problems_of_event(event)
        self.valid_events += not found
        for problem in found:
            self.problems[f"event {event['type']}: {problem}"] += 1

    def _call(self, line: dict[str, Any]) -> None:
        method, path, status = line["method"], line["endpoint"], line["status"]
        operation = self.description.operation(method, path or "")
        if operation is None or line["answer"] is None:
            return  # an unknown URL asked for on purpose, or no answer at all
        row, name = self.rows[method, path], f"{method} {path}"
        found = self.description.problems_of_reply(operation, status, line["answer"])
        row.replies += 1
        row.valid_replies += not found
        for problem in found:
            self.problems[f"{name} answers {status}: {problem}"] += 1
        if status != OK:
            return  # refused: what the sandbox takes is what has to be valid
        row.accepted += 1
        try:
            params = {**decode(line["query"]), **decode(line["body"])}
        except ApiError as error:
            raise AssertionError(f"{name} took {line['body']}") from error
        row.params |= set(params)
        row.requests += 1
        found = self.description.problems_of_request(operation, params)
        row.valid_requests += not found
        for problem in found:
            self.problems[f"{name} takes: {problem}"] += 1


def lines(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The lines of recordings; the last may have been cut off with its process."""
    for file in files:
        with file.open(encoding="utf-8") as recording:
            for text in recording:
                if text.endswith("\n"):
                    yield json.loads(text)


def walked(files: Iterable[Path]) -> set[Key]:
    """The endpoints that were called with success."""
    return {(line["method"], line["endpoint"]) for line in lines(files) if line.get("status") == OK}


def undescribed(endpoint: Endpoint, operation: Operation) -> Iterator[str]:
    """Parameters that an endpoint takes and Stripe does not, or that Stripe requires and it does not."""
    yield from _undescribed(endpoint.shape, operation.params, "")
    for name in operation.params["required"]:
        if not getattr(endpoint.shape.get(name), "required", False):
            yield f"{name} is required by Stripe"


def _undescribed(shape: dict[str, Any], schema: Schema, prefix: str) -> Iterator[str]:
    described: dict[str, list[Schema]] = {}
    for name, each in walk(schema):
        described.setdefault(name, []).append(each)
    for name, parser in shape.items():
        full = f"{prefix}[{name}]" if prefix else name
        if name not in described:
            yield f"Stripe does not take {full}"
            continue
        for most, item in _lengths(parser):
            described_as = {
                each["maxLength"]
                for one in described[name]
                for each in _items(one, item)
                if "maxLength" in each
            }
            if described_as and most not in described_as:
                yield f"{full} may have {max(described_as)} characters, not {most}"
        for inner, item in _shapes(parser):
            schemas = [each for one in described[name] for each in _items(one, item)]
            yield from _undescribed(inner, {"anyOf": schemas}, full)


def _shapes(parser: Any) -> Iterator[tuple[dict[str, Any], bool]]:
    """The nested shapes in a parser, and whether each is that of a list's items."""
    return ((each, listed) for each, listed in _within(parser) if isinstance(each, dict))


def _lengths(parser: Any) -> Iterator[tuple[int, bool]]:
    """How long a text may be by each parser of texts in a parser, and whether it is that of a list's items."""
    return ((each.most, listed) for each, listed in _within(parser) if hasattr(each, "most"))


def _within(parser: Any, listed: bool = False) -> Iterator[tuple[Any, bool]]:
    """A parser and those it is made of, not going into shapes."""
    yield parser, listed
    for cell in getattr(parser, "__closure__", None) or ():
        value = cell.cell_contents
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, dict) or callable(each):
                yield from _within(each, listed or "list_of" in getattr(parser, "__qualname__", ""))


def _items(schema: Schema, listed: bool) -> list[Schema]:
    forms = [schema, *schema.get("anyOf", ())]
    return [each["items"] for each in forms if "items" in each] if listed else forms
