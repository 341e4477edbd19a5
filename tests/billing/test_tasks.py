"""The jobs: when they run, and that none of them holds up another."""

import datetime

import croniter
import pytest
from django.db import connection
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob

from billing import inbox, tasks
from billing.models import CustomerSync
from tests.factories import HoldFactory


def test_what_somebody_waits_for_runs_every_ten_seconds() -> None:
    start = datetime.datetime(2026, 11, 23, 11, 23, 5, tzinfo=datetime.UTC)
    for name in ("billing.tasks.settle_operations", "billing.tasks.sweep"):
        (periodic,) = [
            each for each in app.periodic_registry.periodic_tasks.values() if each.task.name == name
        ]
        times = croniter.croniter(periodic.cron, start, ret_type=datetime.datetime)
        seconds = [(times.get_next() - start).total_seconds() for _ in range(6)]
        assert seconds == [5, 15, 25, 35, 45, 55]


@pytest.mark.django_db(transaction=True)
def test_ended_holds_are_lifted_within_a_minute() -> None:
    (periodic,) = [
        each
        for each in app.periodic_registry.periodic_tasks.values()
        if each.task.name == "billing.tasks.lift_ended_holds"
    ]
    assert periodic.cron == "* * * * *"
    hold = HoldFactory(ends_at=timezone.now() - datetime.timedelta(seconds=1))
    tasks.lift_ended_holds(0)
    hold.refresh_from_db()
    assert hold.lifted_at == hold.ends_at


@pytest.mark.django_db(transaction=True)
def test_the_sweep_queues_one_job_for_each_customer_whose_job_was_lost() -> None:
    for number in range(3):
        inbox.request_sync(f"cus_{number}", ["sub_1"])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_events")
        cursor.execute("DELETE FROM procrastinate_jobs")
    CustomerSync.objects.filter(pk="cus_2").update(
        lease_until=datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
    )

    tasks.sweep(0)
    assert not ProcrastinateJob.objects.exists()  # queued a moment ago, so not lost yet

    CustomerSync.objects.update(queued_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    tasks.sweep(0)
    tasks.sweep(0)
    queued = list(ProcrastinateJob.objects.order_by("id").values_list("task_name", "args"))
    assert sorted(queued, key=str) == [
        ("billing.tasks.sync_customer", {"customer_id": f"cus_{number}"}) for number in range(2)
    ]
