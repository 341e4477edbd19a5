"""What the demo remembers between two starts, in `var/demo/demo.json`."""

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self


@dataclass
class DemoState:
    """The demo's own secrets and how far its first start has come. Kept in a file only its owner may read."""

    path: Path
    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(50))
    # Links that the sandbox has handed out contain its port, so it stays the same where it can.
    sandbox_port: int = 0
    # The history has been lived through to the end; a broken-off one is begun anew.
    history_made: bool = False
    # Which database the following is about, what was migrated there, and whether it has been filled.
    database: str = ""
    migrations: str = ""
    filled: bool = False
    webhook_endpoint: str = ""
    webhook_secret: str = ""

    @classmethod
    def load(cls, path: Path) -> Self:
        """The state of the last start, or a new one."""
        try:
            return cls(path=path, **json.loads(path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return cls(path=path)

    def save(self) -> None:
        """Write the file whole, or not at all."""
        values = {name: value for name, value in asdict(self).items() if name != "path"}
        write_privately(self.path, json.dumps(values, indent=2))

    def choose_sandbox_port(self) -> int:
        """The port of last time, or another if somebody has taken it since."""
        if not self.sandbox_port or not port_is_free(self.sandbox_port):
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                self.sandbox_port = int(listener.getsockname()[1])
        return self.sandbox_port


def write_privately(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)


def port_is_free(port: int) -> bool:
    """Whether a server of ours could listen on this port of this machine."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
