"""Once things are quiet our rows are Stripe's, whatever happened on the way: a chance decides (tests/seeds.py).

Things happen at Stripe one after the other, webhooks get lost, come twice, late, in another order and with a wrong
signature, Stripe is slow, busy, broken or silent, and workers are killed in the middle of what they do (stories.py).
"""

from __future__ import annotations

import datetime

import pytest
from django.db import close_old_connections
from pytest_django import Settings

from tests.conftest import Sandbox
from tests.seeds import seeded
from tests.webhooks.stories import Story, grow_quiet, hold_to_events, hold_to_stripe, play
from webhooks import backfill

pytestmark = pytest.mark.django_db(transaction=True)


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
    hold_to_stripe(story)
    hold_to_events()
    close_old_connections()
