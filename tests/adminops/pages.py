"""Reading a page as a browser would: what of it is text, and what could run."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

# What the test client returns; the stubs have a private class for it.
type Response = Any


class Page(HTMLParser):
    """A parsed page."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.text = ""
        self.inline_scripts: list[str] = []
        self.handlers: list[str] = []
        self.links: list[str] = []
        self._script: dict[str, str | None] | None = None
        self.feed(response.content.decode())
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handlers += [f"{tag} {name}" for name, _ in attrs if name.startswith("on")]
        self.links += [
            value for name, value in attrs if name in ("href", "src", "action", "formaction") and value
        ]
        if tag == "script":
            self._script = dict(attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.text += f" {data}"
        elif data.strip() and self._script.get("type") != "application/json":
            self.inline_scripts.append(data)

    def could_run(self) -> list[str]:
        """Everything in the page that would run, or would try to, without being a file of ours."""
        return [
            *self.inline_scripts,
            *self.handlers,
            *(link for link in self.links if link.strip().lower().startswith("javascript:")),
        ]
