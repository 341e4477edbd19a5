"""The page of the portal link: shown once, copied by a button, gone on reload."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from adminops.actions import action_named
from billing.models import SubscriptionEvent
from organizations.models import Organization
from tests.adminops.pages import Page, Response
from tests.billing.test_portal import SESSIONS, everything_kept
from tests.conftest import Sandbox
from tests.factories import UnbilledOrganizationFactory
from tests.stripe_world import make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def organization(sandbox: Sandbox) -> Organization:
    return make_organization(make_customer(sandbox), name="Northwind Labs")


@pytest.fixture
def colleague(staff: Callable[..., Client]) -> Client:
    return staff("organizations.view_organization", "organizations.create_portal_session")


def url(organization: Organization) -> str:
    return action_named("create_portal_session").url(organization)


def confirm(client: Client, organization: Organization, shown: Response) -> Response:
    found = re.search(r'name="token" value="([^"]+)"', shown.content.decode())
    assert found, Page(shown).text
    return client.post(url(organization), {"step": "apply", "token": found[1]})


def link_in(response: Response) -> str | None:
    found = re.search(r'<input id="portal-link"[^>]* value="([^"]+)" readonly', response.content.decode())
    return found[1] if found else None


def test_the_link_is_shown_once_in_a_field_and_kept_nowhere(
    sandbox: Sandbox, organization: Organization, colleague: Client
) -> None:
    shown = colleague.get(url(organization))
    text = Page(shown).text
    assert "billing@northwind.example" in text
    assert "Whoever opens the link is let in as this customer." in text

    done = confirm(colleague, organization, shown)

    page = Page(done)
    link = link_in(done)
    assert done.status_code == 200
    assert link
    assert "/p/session/" in link
    assert '<label for="portal-link">' in done.content.decode()
    assert "no-store" in done.headers["Cache-Control"]
    assert page.could_run() == []
    assert link not in everything_kept()
    # Reloading sends the same form again, and the back button shows the form without it.
    again = confirm(colleague, organization, shown)
    assert again.status_code == 302
    customer = colleague.get(again.headers["Location"])
    assert "was made, and shown once to" in Page(customer).text
    for response in (again, customer, colleague.get(url(organization))):
        assert "/p/session/" not in response.content.decode()
    calls = sandbox.control("GET", "log")["calls"]
    assert len([call for call in calls if call["path"] == SESSIONS]) == 1


def test_an_unclear_answer_says_that_there_is_no_link(
    sandbox: Sandbox, organization: Organization, colleague: Client
) -> None:
    shown = colleague.get(url(organization))
    sandbox.control("POST", "faults", {"kind": "error_500_after", "method": "POST", "path": SESSIONS})
    done = confirm(colleague, organization, shown)
    assert done.status_code == 302
    assert "ask for a new link in a minute" in Page(colleague.get(done.headers["Location"])).text


def test_a_customer_without_stripe_is_told_so(colleague: Client) -> None:
    text = Page(colleague.get(url(UnbilledOrganizationFactory()))).text
    assert "not connected to a Stripe customer" in text


def test_who_may_not_gets_no_link_and_leaves_a_row(
    sandbox: Sandbox, organization: Organization, staff: Callable[..., Client]
) -> None:
    onlooker = staff("organizations.view_organization")
    page = onlooker.get(reverse("admin:organizations_organization_change", args=[organization.pk]))
    assert url(organization) not in Page(page).links
    assert onlooker.post(url(organization), {"step": "apply"}).status_code == 403
    assert SubscriptionEvent.objects.get(source="staff").type == "permission.denied"
