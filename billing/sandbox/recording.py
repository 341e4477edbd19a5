"""Every call, answer and event in a file, a line of JSON each, for whoever checks them."""

import json
from pathlib import Path

from billing.sandbox.table import Object


class Recording:
    """A file that grows. It outlives a reset, unlike the log."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def call(
        self,
        method: str,
        endpoint: str | None,
        path: str,
        query: str,
        body: str,
        status: int,
        answer: str,
    ) -> None:
        """One call. The answer is what the endpoint said, whatever became of it on the way."""
        self._write(
            {
                "method": method,
                "endpoint": endpoint,
                "path": path,
                "query": query,
                "body": body,
                "status": status,
                "answer": json.loads(answer) if answer else None,
            }
        )

    def events(self, events: list[Object]) -> None:
        """What was told."""
        for event in events:
            self._write({"event": event})

    def _write(self, line: Object) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._file.flush()
