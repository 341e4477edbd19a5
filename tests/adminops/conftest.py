"""Colleagues at the door: logged-in clients with the permissions a test names."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from zeal import zeal_context, zeal_ignore
from zeal.constants import initialize_app_registry
from zeal.patch import patch

from tests.factories import AdministratorFactory, StaffFactory

SUPPORT = [
    "organizations.view_organization",
    "organizations.change_organization",
    "organizations.view_membership",
    "organizations.change_seats",
    "billing.view_subscriptionevent",
    "billing.view_eventpayload",
]


# What its app does when it is installed; the back office itself runs without it.
initialize_app_registry()
patch()


# Who asks is looked up in the same table as who is asked for, where the page is about a colleague.
WHO_ASKS = [{"model": "auth.User", "field": "get()"}]


@pytest.fixture(autouse=True)
def one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits count within a minute or five; a test that crosses into the next would begin to count anew."""
    now = time.time()
    monkeypatch.setattr("django_ratelimit.core.time", SimpleNamespace(time=lambda: now))


class WatchedClient(Client):
    """A client for which a page fails that asks the same relation of row after row."""

    def request(self, **request: Any) -> Any:
        # Acts write and read again, on purpose.
        with zeal_context() if request["REQUEST_METHOD"] == "GET" else nullcontext(), zeal_ignore(WHO_ASKS):
            return super().request(**request)


@pytest.fixture
def administrator(db: None) -> Client:
    """Somebody who may do everything."""
    client = WatchedClient()
    client.force_login(AdministratorFactory())
    return client


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """`staff("organizations.view_organization", …)`: a colleague with exactly these permissions."""

    def logged_in(*permissions: str) -> Client:
        client = WatchedClient()
        client.force_login(StaffFactory(permissions=list(permissions)))
        return client

    return logged_in


@pytest.fixture
def support(staff: Callable[..., Client]) -> Client:
    """Somebody of support."""
    return staff(*SUPPORT)
