"""Colleagues at the door: logged-in clients with the permissions a test names."""

from collections.abc import Callable

import pytest
from django.test import Client

from tests.factories import AdministratorFactory, StaffFactory

SUPPORT = [
    "organizations.view_organization",
    "organizations.change_organization",
    "organizations.view_membership",
    "organizations.change_seats",
    "billing.view_subscriptionevent",
]


@pytest.fixture
def administrator(db: None) -> Client:
    """Somebody who may do everything."""
    client = Client()
    client.force_login(AdministratorFactory())
    return client


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """`staff("organizations.view_organization", …)`: a colleague with exactly these permissions."""

    def logged_in(*permissions: str) -> Client:
        client = Client()
        client.force_login(StaffFactory(permissions=list(permissions)))
        return client

    return logged_in


@pytest.fixture
def support(staff: Callable[..., Client]) -> Client:
    """Somebody of support."""
    return staff(*SUPPORT)
