"""The endpoints that the application's code names: each has to be one that the contract walks."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("organizations", "billing", "webhooks", "adminops")
METHODS = {"get": "GET", "post": "POST", "delete": "DELETE"}
READERS = ("list_pages",)
# The demo's shop puts `/v1/` before what it is told.
SHOP = "adminops/demo/history/"


def endpoints(root: Path = ROOT) -> Iterator[tuple[str | None, str, str]]:
    """Method (None: not said beside it), path with `{}` for ids, and the file, of every URL of Stripe's."""
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            name = file.relative_to(root).as_posix()
            if not name.startswith("billing/sandbox/"):
                tree = ast.parse(file.read_text(encoding="utf-8"))
                yield from ((method, path, name) for method, path in _of_module(tree, name.startswith(SHOP)))


def _of_module(tree: ast.Module, in_shop: bool) -> Iterator[tuple[str | None, str]]:
    told: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            words = [_text(each) for each in node.args]
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for at, word in enumerate(words):
                method = words[at - 1] if at and words[at - 1] in METHODS.values() else None
                method = method or METHODS.get(name) or ("GET" if name in READERS else None)
                if word and in_shop and name in METHODS and at == 0:
                    word = f"/v1/{word}"
                if word and _is_url(word) and method:
                    told.add(id(node.args[at]))
                    yield method, word
    for node in ast.walk(tree):
        word = _text(node)
        if word and _is_url(word) and id(node) not in told:
            yield None, word


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(each.value if isinstance(each, ast.Constant) else "{}" for each in node.values)  # type: ignore[misc]
    return None


def _is_url(word: str) -> bool:
    return re.fullmatch(r"/v1/[a-z_]+(/([a-z_]+|\{\}))*", word) is not None
