"""Log lines: for people, or one JSON object a line; with the ids they are about, and without secrets.

No line of ours quotes a payload, an e-mail address or a key. What others write (a database that quotes the value it
refuses, a library that quotes a key) is cut here, for all handlers alike.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

import psycopg
from django.conf import settings

# What a record may say beside its message; other extras (a request, a job) are not for a log.
FIELDS = ("event", "events", "type", "customer", "objects", "state", "reason", "seconds", "status_code")

WITHHELD = "[withheld]"
_SECRETS = re.compile(
    r"\b(?:(?:sk|rk|pk)_(?:live|test)|whsec|access)_[A-Za-z0-9]{8,}"  # keys of Stripe's and ours
    r"|(?i:\bbearer\s+)\S+"
    r"|\b[^\s@\"'<>()=,;:]+@[^\s@\"'<>()=,;:]+\.[A-Za-z]{2,}"  # e-mail addresses
)
# The database's words about a value quote it; its DETAIL quotes the row.
_QUOTING = "|".join(
    name
    for name, kind in vars(psycopg.errors).items()
    if isinstance(kind, type) and issubclass(kind, psycopg.DataError)
)
_QUOTED_VALUE = re.compile(
    rf"^((?:psycopg\.errors|django\.db\.utils)\.(?:{_QUOTING})): .*?(?=\n\n|\Z)", re.M | re.S
)
_QUOTED_ROW = re.compile(r"\n(?:DETAIL|CONTEXT|LINE \d+):.*?(?=\n\n|\Z)", re.S)


def without_secrets(text: str) -> str:
    """The text without keys, tokens and e-mail addresses."""
    named = (settings.SECRET_KEY, settings.STRIPE_SECRET_KEY, settings.METRICS_TOKEN)
    for secret in (*named, *settings.STRIPE_WEBHOOK_SECRETS):
        if secret:
            text = text.replace(secret, WITHHELD)
    return _SECRETS.sub(WITHHELD, text)


class PlainFormatter(logging.Formatter):
    """A line for people; tracebacks below it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the events it is about where it does not name them."""
        text = super().format(record)
        events = getattr(record, "events", None)
        if events:
            first, *below = text.split("\n", 1)
            text = "\n".join([f"{first} [{' '.join(events)}]", *below])
        return without_secrets(text)

    def formatException(self, ei: Any) -> str:  # noqa: N802  (logging's name)
        """The traceback, without the values that the database quotes."""
        return _without_values(super().formatException(ei))


class JsonFormatter(PlainFormatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The object: time, level, logger, message, what it is about, and a traceback where there is one."""
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
        }
        said |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            said["traceback"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(said, ensure_ascii=False, default=str)


def _without_values(traceback: str) -> str:
    return _QUOTED_ROW.sub("", _QUOTED_VALUE.sub(rf"\1: {WITHHELD}", traceback))
