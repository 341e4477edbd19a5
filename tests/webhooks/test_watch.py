"""Whether the road is in order is looked at by itself: one alert for as long as it is not, with what to do."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from billing import road_watch, stripe_api, tasks
from billing.alerts import watch
from billing.models import Alert, SubscriptionEvent, Watermark
from tests.adminops.pages import Page
from tests.conftest import Sandbox
from tests.factories import StaffFactory, SubscriptionEventFactory
from tests.operating import grow_older
from tests.stripe_world import make_customer, make_organization
from tests.webhooks.signing import deliver
from webhooks import backfill
from webhooks.tasks import recover

pytestmark = pytest.mark.django_db(transaction=True)


def alerts(kind: str) -> list[Alert]:
    return list(Alert.objects.filter(kind=kind).order_by("id"))


def ago(minutes: float) -> datetime.datetime:
    return timezone.now() - datetime.timedelta(minutes=minutes)


def test_something_that_lasts_is_told_once_and_again_when_it_comes_back(settings: Settings) -> None:
    settings.ALERT_EMAILS = ["oncall@example.com"]
    assert watch("backlog", "Events wait.")
    assert not watch("backlog", "More events wait.")
    watch("backlog", None)
    (first,) = alerts("backlog")
    assert first.ended_at is not None
    assert not watch("backlog", "They wait again.")  # a moment later it is still the same
    assert [alert.ended_at for alert in alerts("backlog")] == [None]
    watch("backlog", None)
    Alert.objects.update(ended_at=ago(90))
    assert watch("backlog", "They wait anew.")
    for alert in alerts("backlog"):
        tasks.mail_alert(alert.pk)
    assert [sent.body.splitlines()[0] for sent in mail.outbox] == [
        "No organization: Events wait.",
        "No organization: They wait anew.",
    ]
    assert "manage.py work" in mail.outbox[0].body


def test_what_is_over_says_so_in_the_list() -> None:
    watch("backlog", "Events wait.")
    watch("backlog", None)
    colleague = Client()
    colleague.force_login(StaffFactory(permissions=["billing.view_alert"]))
    assert "over since" in Page(colleague.get("/admin/billing/alert/")).text


def test_events_that_wait_too_long_are_told(settings: Settings) -> None:
    SubscriptionEventFactory(state="pending")
    assert road_watch.backlog() is None
    grow_older(settings.WEBHOOK_BACKLOG_MINUTES * 60 + 5)
    assert "1 event" in (road_watch.backlog() or "")
    SubscriptionEvent.objects.update(state="failed")  # it has its own time, and its own end
    assert road_watch.backlog() is None


@pytest.mark.parametrize(
    ("offset", "words"), [(0, None), (40, None), (90, "90 seconds behind"), (-90, "90 seconds ahead of")]
)
def test_a_clock_that_is_off_is_told(sandbox: Sandbox, offset: int, words: str | None) -> None:
    sandbox.control("POST", "settings", {"date_offset": offset})
    said = road_watch.clock()
    if words is None:
        assert said is None
    else:
        assert words in (said or "").replace("89", "90").replace("91", "90")


def test_silence_is_told_while_stripe_has_events(sandbox: Sandbox, client: Client) -> None:
    now = timezone.now()
    assert road_watch.silence() is None
    SubscriptionEventFactory(recovered=False, occurred_at=now)
    grow_older(2 * 3600)
    assert road_watch.silence() is None  # nothing happened at Stripe either
    SubscriptionEventFactory(recovered=True, occurred_at=ago(5))
    assert road_watch.silence() is None  # not for long enough
    SubscriptionEventFactory(recovered=True, occurred_at=ago(45))
    assert "No webhook has arrived since" in (road_watch.silence() or "")
    assert "were never delivered" in (road_watch.missed() or "")
    SubscriptionEventFactory(recovered=False, occurred_at=now)
    assert road_watch.silence() is None


def test_an_endpoint_that_never_delivered_anything_is_told() -> None:
    SubscriptionEventFactory(recovered=True, occurred_at=ago(45))
    assert road_watch.silence() == "Stripe has events, and not one webhook has ever arrived here."


def test_a_look_costs_one_call_and_survives_a_stripe_that_is_away(sandbox: Sandbox) -> None:
    sandbox.control("DELETE", "log")
    road_watch.look()
    assert len(sandbox.control("GET", "log")["calls"]) == 1
    sandbox.control("POST", "faults", {"kind": "error_500", "times": -1})
    road_watch.look()
    assert not Alert.objects.exists()


# -- the job that finds what got lost ------------------------------------------------------------------------


def test_the_job_takes_in_what_never_arrived_and_goes_on_from_there(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    monkeypatch.setattr(backfill, "ON_ITS_WAY", -datetime.timedelta(seconds=2))
    world = make_customer(sandbox)
    make_organization(world)
    listed: Any = sandbox.client.raw_request("get", "/v1/events", type="customer.subscription.created").data
    deliver(client, listed["data"][0])

    recover(0)

    events = SubscriptionEvent.objects.filter(source="stripe")
    assert events.filter(recovered=True).count() > 5
    assert events.get(type="customer.subscription.created").recovered is False
    mark = Watermark.objects.get().reached_at
    assert abs((mark - timezone.now()).total_seconds()) < 20

    count = events.count()
    recover(0)
    assert (events.count(), Watermark.objects.get().reached_at > mark) == (count, True)


def test_a_job_that_could_not_read_begins_there_the_next_time(sandbox: Sandbox) -> None:
    sandbox.control("POST", "faults", {"kind": "error_429", "path": "/v1/events", "times": -1})
    recover(0)
    assert not Watermark.objects.exists()


def test_a_full_day_is_read_in_parts_and_in_order(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "AT_ONCE", 100)
    begin = sandbox.control("GET", "clock")["now"] - 40_000
    sandbox.control("POST", "clock", {"now": begin})
    for _number in range(8):
        make_customer(sandbox)
        sandbox.control("POST", "clock", {"advance": 5_000})
    most = 0
    take_in = backfill.take_in

    def counted(events: Any) -> Any:
        nonlocal most
        most = max(most, len(events))
        return take_in(events)

    monkeypatch.setattr(backfill, "take_in", counted)
    *_parts, result = backfill.backfill_events(timezone.now() - datetime.timedelta(days=1))

    listed = sum(len(page) for page in stripe_api.list_pages("/v1/events"))
    moments = list(
        SubscriptionEvent.objects.filter(source="stripe").order_by("id").values_list("occurred_at")
    )
    assert (result.new, len(moments)) == (listed, listed)
    assert most <= 100
    assert listed > 100
    assert moments == sorted(moments)
