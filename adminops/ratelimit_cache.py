"""A cache backend of counters in PostgreSQL, for django-ratelimit.

Django's own database cache reads and then writes in `incr`, so two requests at once count as one. Here adding and
counting are one statement each. It stores integers only, which is all a rate limit needs.
"""

from __future__ import annotations

from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import connection

_FOREVER_SECONDS = 10 * 365 * 24 * 3600


class PostgresCounterCache(BaseCache):
    """Integers by key, with an expiry, counted atomically across all processes."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def _seconds(self, timeout: float | None) -> float:
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return _FOREVER_SECONDS if timeout is None else timeout

    def add(
        self, key: Any, value: int, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        """Set `key` unless it is there and has not expired; say whether it was set."""
        return self._write(key, value, timeout, version, only_if_expired=True)

    def set(
        self, key: Any, value: int, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        """Set `key`, whatever it was."""
        self._write(key, value, timeout, version, only_if_expired=False)

    def _write(
        self, key: Any, value: int, timeout: float | None, version: int | None, *, only_if_expired: bool
    ) -> bool:
        name = self.make_and_validate_key(key, version=version)
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO adminops_counter AS counter (key, value, expires_at)
                VALUES (%s, %s, now() + make_interval(secs => %s))
                ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
                WHERE NOT %s OR counter.expires_at <= now()
                """,
                [name, int(value), self._seconds(timeout), only_if_expired],
            )
            return bool(cursor.rowcount == 1)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """The value, or `default` where there is none any more."""
        name = self.make_and_validate_key(key, version=version)
        with connection.cursor() as cursor:
            cursor.execute("SELECT value FROM adminops_counter WHERE key = %s AND expires_at > now()", [name])
            row = cursor.fetchone()
        return default if row is None else row[0]

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add `delta` in one statement and return the sum. ValueError where there is no such key."""
        name = self.make_and_validate_key(key, version=version)
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE adminops_counter SET value = value + %s WHERE key = %s AND expires_at > now() RETURNING value",
                [delta, name],
            )
            row = cursor.fetchone()
        if row is None:
            raise ValueError(f"There is no counter {key!r}.")
        return int(row[0])

    def touch(self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Move the expiry of `key`; say whether it was there."""
        name = self.make_and_validate_key(key, version=version)
        with connection.cursor() as cursor:
            cursor.execute(
                """
                UPDATE adminops_counter SET expires_at = now() + make_interval(secs => %s)
                WHERE key = %s AND expires_at > now()
                """,
                [self._seconds(timeout), name],
            )
            return bool(cursor.rowcount == 1)

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Forget `key`; say whether it was there."""
        name = self.make_and_validate_key(key, version=version)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM adminops_counter WHERE key = %s", [name])
            return bool(cursor.rowcount == 1)

    def clear(self) -> None:
        """Forget everything."""
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM adminops_counter")

    def forget_expired(self) -> int:
        """Delete what has expired; a periodic task keeps the table small with it."""
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM adminops_counter WHERE expires_at <= now()")
            return int(cursor.rowcount)
