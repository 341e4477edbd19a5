"""`python -m billing.sandbox --port 12111 [--state FILE]`."""

import argparse
import logging
from pathlib import Path

import uvicorn

from billing.sandbox.sandbox import Sandbox
from billing.sandbox.server import create_app


def main() -> None:
    """Serve until told to stop; SIGTERM and Ctrl-C save the state first."""
    parser = argparse.ArgumentParser(prog="python -m billing.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=12111)
    parser.add_argument("--state", type=Path, help="keep the world in this file")
    parser.add_argument("--record", type=Path, help="append every call, answer and event to this file")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    sandbox = Sandbox(f"http://{chosen.host}:{chosen.port}", chosen.state, chosen.record)
    uvicorn.run(
        create_app(sandbox),
        host=chosen.host,
        port=chosen.port,
        log_level="warning",
        access_log=False,
        # Clients keep connections; one that we close while they send looks like a call of unknown outcome.
        timeout_keep_alive=75,
        date_header=False,  # ours may be wrong on request
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
