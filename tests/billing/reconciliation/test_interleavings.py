"""After quiet and one incremental run our rows are Stripe's, whatever crossed: a chance decides (tests/seeds.py).

Staff act and their answers get lost, things change at Stripe, webhooks are dropped for good, and runs of the
reconciliation go on at the same time; some of them are stopped, and some die (tests/webhooks/stories.py).
"""

from __future__ import annotations

import contextlib
import datetime
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import stripe
from django.db import close_old_connections, connections
from django.utils import timezone
from pytest_django import Settings

from billing import mirror
from billing.errors import BillingError, OperationRefused
from billing.models import Discrepancy, ReconciliationRun, ReconciliationSlice, SubscriptionEvent
from billing.operations import OPERATIONS
from billing.reconciliation import bookkeeping, listing, looking, mending, replay, runs
from billing.reconciliation.checks import CHECKS, Policy
from tests.billing.reconciliation.running import reconcile
from tests.conftest import Sandbox
from tests.factories import StaffFactory
from tests.operating import settle_everything, show
from tests.seeds import seeded
from tests.webhooks.stories import (
    Killed,
    Story,
    behind,
    calm,
    deadly,
    hold_to_events,
    hold_to_stripe,
    let_arrive,
    read_what_is_wanted,
    workers,
)

pytestmark = pytest.mark.django_db(transaction=True)

LOST_ANSWERS = ("error_500", "error_500_after", "drop_connection", "drop_connection_after", "timeout_after")
RUNNING = ReconciliationRun.objects.filter(state="running")


class Interleaving(Story):
    """Staff, Stripe, and runs, all at the same customers."""

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        super().__init__(sandbox, seed)
        self.actor = StaffFactory(permissions=sorted({each.permission for each in OPERATIONS.values()}))
        self.runs: list[threading.Thread] = []
        self.others: list[threading.Thread] = []
        self.broken: list[BaseException] = []

    def aside(self, threads: list[threading.Thread], act: Callable[[], Any]) -> None:
        """Let somebody do something while all else goes on."""

        def carry_out() -> None:
            try:
                with contextlib.suppress(Killed, BillingError):
                    act()
            except BaseException as error:  # a thread's failure is the test's
                self.broken.append(error)
            finally:
                connections.close_all()

        threads.append(threading.Thread(target=carry_out))
        threads[-1].start()

    def staff(self) -> None:
        """A colleague looks at an organization and does something, and the answer may get lost."""
        organization = self.chance.choice(self.organizations)
        organization.refresh_from_db()
        paid = [
            each for each in mirror.invoices_of(organization.stripe_customer_id or "") if each["amount_paid"]
        ]
        seats = {"seats": self.chance.randint(1, 40)}
        acts: list[tuple[str, dict[str, Any]]] = [
            ("change_seats", seats),
            ("change_seats", {**seats, "proration": self.chance.choice(["always_invoice", "none"])}),
            ("schedule_seats", {**seats, "when": "renewal"}),
            ("withdraw_scheduled_seats", {}),
            ("cancel_subscription", {}),
            ("cancel_subscription", {"when": "now", "prorate": True, "invoice_now": True}),
            ("reactivate_subscription", {}),
            ("reactivate_subscription", {"how": "new"}),
            ("pause_collection", {}),
            ("resume_collection", {}),
            (
                "suspend_organization",
                {"kind": "manual", "billing": self.chance.choice(["stops", "continues"])},
            ),
            ("activate_organization", {}),
        ]
        if paid:
            refund = {"invoice": self.chance.choice(paid)["id"], "amount": self.chance.randint(1, 900)}
            acts += 2 * [
                ("refund_invoice", {**refund, "destination": self.chance.choice(["card", "balance"])})
            ]
        type_, choices = self.chance.choice(acts)
        lost = {"kind": self.chance.choice(LOST_ANSWERS), "method": "POST", "seconds": 0.5}
        is_lost = self.chance.random() < 0.3

        def act() -> None:
            shown = show(type_, organization, **choices)
            if is_lost:
                self.sandbox.control("POST", "faults", lost)
            shown.apply(self.actor)

        self.aside(self.others, act)

    def run(self) -> None:
        """A run is started, or one that was left is taken up; somebody may stop it at any moment."""
        kind = self.chance.choice(["full", "incremental", "incremental"])
        stops, wait = self.chance.random() < 0.3, self.chance.random() * 0.3
        bury_the_dead(self.runs)
        try:
            left = runs.resumable(kind) if self.chance.random() < 0.5 else None
            run = left or runs.start(kind, workers=0)
            if left and left.state == "stopped":
                runs.resume(left, workers=0)
        except OperationRefused:
            return

        def stop() -> None:
            time.sleep(wait)
            runs.stop(run)

        self.aside(self.runs, lambda: runs.advance(run.pk))
        if stops:
            self.aside(self.others, stop)

    def act_at_stripe(self) -> None:
        """Something happens at Stripe; an answer that was to be lost to staff may be lost to the dashboard."""
        with contextlib.suppress(stripe.StripeError):
            self.act()

    def play(self) -> None:
        """Let it all happen."""
        for _ in range(self.chance.randint(6, 14)):
            if self.chance.random() < 0.4:
                self.misfortune()
            what: list[Callable[[], None]] = [self.staff, self.act_at_stripe, self.run]
            self.chance.choices(what, [4, 4, 3])[0]()
            time.sleep(self.chance.random() * 0.15)
        self.sandbox.control("DELETE", "faults")
        for thread in [*self.runs, *self.others]:
            thread.join()


def bury_the_dead(threads: list[threading.Thread]) -> None:
    """In truth the leases of the dead run out; nobody wants to wait for that here."""
    if not any(each.is_alive() for each in threads):
        RUNNING.update(lease_token=None, lease_until=None)
        ReconciliationSlice.objects.filter(done_at=None).update(
            lease_token=None, lease_until=None, due_at=timezone.now()
        )


@contextmanager
def mortal_runs(story: Interleaving, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs die as they read, write, or go on to the next thing."""
    deaths, lock = random.Random(story.chance.random()), threading.Lock()

    def fate() -> float:
        with lock:
            drawn = deaths.random()
        return drawn if threading.current_thread() in story.runs else 0.5

    with monkeypatch.context() as patch:
        for module, names in (
            (listing, ("write_page", "_advance", "look_for_unseen")),
            (bookkeeping, ("renew", "enter")),
            (replay, ("_record",)),
            (looking, ("compare_all", "compare_some")),
            (mending, ("mend_all",)),
        ):
            for name in names:
                patch.setattr(module, name, deadly(getattr(module, name), fate))
        yield


def end_runs() -> None:
    """Whoever was left behind is carried on to the end."""
    for _ in range(5):
        bury_the_dead([])
        for run in RUNNING:
            runs.advance(run.pk)
    assert not RUNNING.exists()


@seeded
def test_after_quiet_and_one_incremental_run_we_hold_what_stripe_does(
    sandbox: Sandbox,
    settings: Settings,
    arriving_webhooks: str,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    settings.STRIPE_CALLS_PER_SECOND = 0  # everybody is hurried, and nobody else calls it
    monkeypatch.setattr(listing, "BUSY_SECONDS", (0.05, 0.1))
    # Whoever waits for the catalogue waits for the lease of a reader that died: shorter here than the test may last.
    monkeypatch.setattr(listing, "LEASE_SECONDS", 5)
    monkeypatch.setattr(mending, "PATIENCE_SECONDS", 0.5)
    # Together they leave no overlap that would hide what a run before has missed.
    monkeypatch.setattr(replay, "OVERLAP", datetime.timedelta(seconds=5))
    monkeypatch.setattr(replay, "ON_ITS_WAY", -datetime.timedelta(seconds=5))
    story = Interleaving(sandbox, seed)
    let_arrive(sandbox, 5)
    read_what_is_wanted()
    reconcile()
    settings.STRIPE_READ_TIMEOUT = 0.3
    with workers(story.chance, monkeypatch), mortal_runs(story, monkeypatch):
        story.play()
    assert story.broken == []
    calm(sandbox, settings)
    settle_everything()
    read_what_is_wanted()
    end_runs()
    run = reconcile("incremental")
    assert (run.state, run.errors, run.left_alone) == ("done", 0, 0), (run.message, run.log)
    # What the events named without a customer, workers read after the run has asked them to.
    assert not behind().filter(customer_id__startswith="cus_").exists()
    read_what_is_wanted()
    hold_to_stripe(story)
    hold_to_events()
    assert not SubscriptionEvent.objects.filter(state="pending").exclude(source="stripe").exists()
    mended = [each.type for each in CHECKS.values() if each.policy is Policy.FIX]
    left = Discrepancy.objects.open().filter(type__in=mended)
    assert list(left.values_list("type", "ours", "theirs", "note")) == []
    close_old_connections()
