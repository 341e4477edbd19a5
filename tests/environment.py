"""What the tests need around them before Django reads its settings; loaded first, by `-p tests.environment`.

A PostgreSQL of their own, unless `DATABASE_URL` names one, and the address at which the sandbox Stripe will be. The
developer's own environment and `.env` have no say: nothing here can reach a real Stripe.
"""

import atexit
import contextlib
import os
import socket
from pathlib import Path

import pytest

VAR = Path(__file__).resolve().parent.parent / "var"
# Shaped as dj-stripe wants a key to be, and plainly nobody's.
STRIPE_KEY = "sk_test_sandboxsandboxsandboxsandbox"
WEBHOOK_SECRET = "whsec_sandboxsandboxsandboxsandbox"


def free_port() -> int:
    """A TCP port of this machine that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def prepare() -> None:
    """Set the environment, and start a PostgreSQL if there is none.

    Every process of pytest-xdist comes through here: each has a sandbox address of its own, all share the server that
    the first of them started and handed down in `DATABASE_URL`.
    """
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "adminops.settings",
        "DEBUG": "off",
        "SECRET_KEY": "not-a-secret-only-for-tests-0123456789abcdefghij",
        "ALLOWED_HOSTS": "localhost,127.0.0.1,testserver",
        "CSRF_TRUSTED_ORIGINS": "",
        "HTTPS": "off",
        "BEHIND_PROXY": "off",
        "SECURE_HSTS_SECONDS": "0",
        "STATIC_FROM_FINDERS": "on",
        "TIME_ZONE": "UTC",
        "EMAIL_URL": "memorymail://",
        "DEFAULT_FROM_EMAIL": "billing@localhost",
        "LOG_LEVEL": "INFO",
        "CONN_MAX_AGE": "0",
        "STRIPE_SECRET_KEY": STRIPE_KEY,
        "STRIPE_CALLS_PER_SECOND": "0",
        "STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRET,
        "STRIPE_API_BASE": f"http://127.0.0.1:{free_port()}",
    }
    if not os.environ.get("DATABASE_URL"):
        from adminops.demo.postgres import test_server

        resources = contextlib.ExitStack()
        os.environ["DATABASE_URL"] = resources.enter_context(test_server(VAR))
        # Not a hook of pytest's: those are not called when it fails early.
        atexit.register(resources.close)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Come before pytest-django, which reads the settings in this very hook."""
    prepare()
