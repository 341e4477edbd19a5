"""`python -m adminops.demo.with_postgres -- COMMAND…`: run a command that needs a PostgreSQL.

Starts a throw-away server for it unless `DATABASE_URL` says that there is one already.
"""

import os
import subprocess
import sys
from pathlib import Path

from adminops.demo.postgres import PostgresUnavailable, test_server

VAR = Path(__file__).resolve().parents[2] / "var"


def main(arguments: list[str]) -> int:
    """Run the command after `--` and return its exit status."""
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command:
        print("Usage: python -m adminops.demo.with_postgres -- COMMAND…", file=sys.stderr)
        return 2
    if os.environ.get("DATABASE_URL"):
        return subprocess.call(command)
    try:
        with test_server(VAR) as url:
            return subprocess.call(command, env={**os.environ, "DATABASE_URL": url})
    except PostgresUnavailable as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
