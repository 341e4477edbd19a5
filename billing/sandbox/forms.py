"""Stripe's form encoding: `items[0][price]=p&expand[]=x` to nested maps and lists, and no further typing."""

from typing import Any
from urllib.parse import parse_qsl

from billing.sandbox.errors import invalid


def decode(text: str) -> dict[str, Any]:
    """Nest the pairs of a query string or form body; every leaf stays a string."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=2000):
        head, *rest = name.replace("]", "").split("[")
        if not head:
            raise invalid(f"Invalid parameter name: {name}")
        node, key = root, head
        for part in rest:
            child = node.setdefault(key, {})
            if not isinstance(child, dict):
                raise invalid(f"Invalid parameter: {name}", param=head)
            node, key = child, part or str(len(child))
        node[key] = value
    return {key: _listed(value) for key, value in root.items()}


def _listed(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    values = {key: _listed(value) for key, value in node.items()}
    if values and all(key.isdigit() for key in values):
        return [values[key] for key in sorted(values, key=int)]
    return values
