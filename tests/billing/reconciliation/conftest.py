"""What the tests of the reconciliation have in common."""

from __future__ import annotations

import datetime

import pytest

from billing.reconciliation import driving, replay


@pytest.fixture(autouse=True)
def every_event_is_still_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine: no test listens to webhooks, and none of theirs is to count as lost for that."""
    monkeypatch.setattr(replay, "ON_ITS_WAY", datetime.timedelta(hours=1))


@pytest.fixture(autouse=True)
def whoever_waits_looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a few pages is over before a person would look a second time."""
    monkeypatch.setattr(driving, "GLANCE_SECONDS", 0.02)
