"""Once things are quiet our rows are Stripe's, whatever happened on the way: a chance decides (tests/seeds.py).

Things happen at Stripe one after the other, webhooks get lost, come twice, late, in another order and with a wrong
signature, Stripe is slow, busy, broken or silent, and workers are killed in the middle of what they do (stories.py).
"""

from __future__ import annotations

import datetime

import pytest
from django.db import close_old_connections
from django.utils import timezone
from djstripe.models import Product
from pytest_django import Settings

from billing import mirror, stripe_api
from billing.differences import compare
from billing.models import SubscriptionEvent
from billing.reading import read_everything
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.seeds import seeded
from tests.webhooks.stories import Story, grow_quiet, play
from webhooks import backfill

pytestmark = pytest.mark.django_db(transaction=True)


def check(story: Story) -> None:
    """Nothing is stale, nothing is lost."""
    for world, organization in zip(story.worlds, story.organizations, strict=True):
        organization = Organization.objects.get(pk=organization.pk)
        said = read_everything(world.customer)
        found = compare(organization, world.customer, said, timezone.now(), everything=True)
        assert (found.found, found.missing, found.detached) == ((), (), 0)
        drafts = {each["id"] for each in mirror.invoices_of(world.customer)}
        assert drafts == {each["id"] for each in said if each["object"] == "invoice"}
        assert bool((mirror.customer(world.customer) or {}).get("deleted")) is (
            world.customer in story.deleted
        )
    for product in stripe_api.list_pages("/v1/products"):
        for each in product:
            assert Product.objects.get(id=each["id"]).name == each["name"]
    listed = {event["id"]: event["type"] for page in stripe_api.list_pages("/v1/events") for event in page}
    kept = SubscriptionEvent.objects.filter(source="stripe")
    assert dict(kept.values_list("stripe_event_id", "type")) == listed
    open_ones = kept.filter(state__in=["pending", "failed", "parked"])
    assert list(open_ones.values_list("type", "state", "error")) == []


@seeded
def test_once_it_is_quiet_nothing_is_stale_and_nothing_lost(
    sandbox: Sandbox,
    settings: Settings,
    arriving_webhooks: str,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.3
    settings.STRIPE_CALLS_PER_SECOND = 0  # sandbox and workers are hurried, and nobody else calls it
    monkeypatch.setattr(backfill, "ON_ITS_WAY", -datetime.timedelta(seconds=5))
    story = Story(sandbox, seed)
    play(story, monkeypatch)
    grow_quiet(sandbox, settings)
    check(story)
    close_old_connections()
