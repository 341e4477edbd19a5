"""JSON as a person reads it. Escaping is the template's work."""

from __future__ import annotations

import json
from typing import Any


def pretty(value: Any) -> str:
    """A value, indented, with every script of the world as itself."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def pretty_body(body: str) -> str:
    """A body as it came, indented where it is JSON and untouched where it is not, or is nested beyond reading."""
    try:
        return pretty(json.loads(body))
    except (ValueError, RecursionError):
        return body
