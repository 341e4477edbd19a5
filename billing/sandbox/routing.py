"""Endpoints, declared beside the resource they serve: method, path, accepted parameters, handler."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from billing.sandbox.errors import ApiError, invalid
from billing.sandbox.params import Shape, list_of, parse_shape, text
from billing.sandbox.table import Object
from billing.sandbox.world import World


@dataclass
class Call:
    """One request as a handler sees it: the world, the ids in the URL, the typed parameters."""

    world: World
    path: str
    ids: list[str]
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The first id in the URL."""
        return self.ids[0]

    def find(self, kind: str, noun: str | None = None) -> Object:
        """The object the URL names, or a 404."""
        return self.world.get(kind, self.id, in_url=True, noun=noun)


Handler = Callable[[Call], Object]


@dataclass
class Endpoint:
    """A declared endpoint."""

    method: str
    path: str
    shape: Shape
    handler: Handler


_tree: dict[str, Any] = {}
ENDPOINTS: list[Endpoint] = []


def endpoint(method: str, path: str, **shape: Any) -> Callable[[Handler], Handler]:
    """Serve `path`, whose `{}` are ids, with the decorated function. `expand` is accepted but by DELETE."""

    def declare(handler: Handler) -> Handler:
        node = _tree
        for part in path.strip("/").split("/"):
            node = node.setdefault(part, {})
        common = {} if method == "DELETE" else {"expand": list_of(text)}
        declared = Endpoint(method, path, {**common, **shape}, handler)
        node[f" {method}"] = declared
        ENDPOINTS.append(declared)
        return handler

    return declare


def match(method: str, path: str) -> tuple[Endpoint, list[str]]:
    """The endpoint that serves a URL, and the ids in it."""
    node, ids = _tree, []
    for part in path.strip("/").split("/"):
        if part in node:
            node = node[part]
        elif "{}" in node:
            ids.append(part)
            node = node["{}"]
        else:
            node = {}
            break
    found = node.get(f" {method}")
    if not isinstance(found, Endpoint):
        raise invalid(
            f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at "
            "https://support.stripe.com/.",
            status=404,
        )
    return found, ids


def template_of(method: str, path: str) -> str | None:
    """The path of the endpoint that serves a URL, as it was declared; None when there is none."""
    try:
        return match(method, path)[0].path
    except ApiError:
        return None


def parse(declared: Endpoint, values: dict[str, Any]) -> dict[str, Any]:
    """The typed parameters of a call."""
    return parse_shape(declared.shape, values)


def load_resources() -> None:
    """Import every module of `resources`, which declares its endpoints, and of `machine`, its jobs."""
    for package in ("resources", "machine"):
        home = importlib.import_module(f"billing.sandbox.{package}")
        for module in pkgutil.iter_modules(home.__path__):
            importlib.import_module(f"{home.__name__}.{module.name}")
