"""One look at the database for many questions: what a page asks ten operations is read once.

Only for looking: whoever acts reads anew, and what is decided under a lock is never remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

_seen: ContextVar[dict[Any, Any] | None] = ContextVar("seen", default=None)


@contextmanager
def one_look() -> Iterator[None]:
    """Within it, a reader marked `@read_once` answers the same question from what it read first.

    A look within a look is the same look.
    """
    if _seen.get() is not None:
        yield
        return
    token = _seen.set({})
    try:
        yield
    finally:
        _seen.reset(token)


def remember[**P, T](answer: T, reader: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> None:
    """Let a reader marked `@read_once` answer this within the present look, where it is known already."""
    seen = _seen.get()
    if seen is not None:
        seen[_key(reader, args, kwargs)] = answer


def _key(reader: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return (getattr(reader, "__wrapped__", reader), args, tuple(sorted(kwargs.items())))


def read_once[**P, T](reader: Callable[P, T]) -> Callable[P, T]:
    """Mark a reader whose answer may be used again within one look; its arguments must be hashable."""

    @wraps(reader)
    def read(*args: P.args, **kwargs: P.kwargs) -> T:
        seen = _seen.get()
        if seen is None:
            return reader(*args, **kwargs)
        key = _key(reader, args, kwargs)
        if key not in seen:
            seen[key] = reader(*args, **kwargs)
        answer: T = seen[key]
        return answer

    return read
