"""Over-refund is impossible whatever happens at once: a chance decides (tests/seeds.py).

Colleagues refund and credit the same invoice at the same moment, some click twice, somebody refunds in Stripe's
dashboard, a bank takes the payment back and decides whose it is, answers get lost, refunds fail later, webhooks come in
and customers are read meanwhile.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe
from django.db import connection
from pytest_django import Settings

from billing.errors import BillingError
from billing.models import SubscriptionEvent
from billing.sync import sync_customer
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.factories import StaffFactory
from tests.operating import settle_everything, show
from tests.seeds import seeded
from tests.stripe_world import charges_at_stripe, make_customer, make_organization

pytestmark = pytest.mark.django_db(transaction=True)

FAULTS = ("timeout_before", "timeout_after", "error_500_after", "drop_connection", "drop_connection_after")
OURS = SubscriptionEvent.objects.filter(type="refund_invoice")


class Story:
    """One paid invoice, and those who give it back."""

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        self.sandbox, self.api = sandbox, sandbox.client.v1
        self.chance = random.Random(seed)
        self.world = make_customer(sandbox, seats=self.chance.randint(1, 12))
        self.organization: Organization = make_organization(self.world)
        invoice = self.api.invoices.list({"customer": self.world.customer}).data[0]
        self.invoice, self.paid = invoice.id, invoice.amount_paid
        (self.charge,) = charges_at_stripe(sandbox, self.world)
        self.actors = [StaffFactory(permissions=["organizations.refund_invoice"]) for _ in range(3)]
        self.in_dashboard: list[int] = []
        """What was refunded in the dashboard in this round."""
        self.late = 0
        """What of it came after our last look, so that nobody here could have known; and what a bank takes twice."""

    def refunds(self) -> list[Any]:
        """The refunds whose money is not back with us."""
        every = self.api.refunds.list({"charge": self.charge.id, "limit": 100}).data
        return [each for each in every if each.status not in ("failed", "canceled")]

    def disputes(self) -> list[Any]:
        """The disputes that nobody won for us: the bank has the money, for the time being or for ever."""
        every = self.api.disputes.list({"charge": self.charge.id, "limit": 100}).data
        return [each for each in every if each.status != "won"]

    def given(self) -> int:
        """What went back and stayed there."""
        balance = self.api.customers.retrieve(self.world.customer).balance or 0
        gone: int = sum(each.amount for each in [*self.refunds(), *self.disputes()])
        return gone - balance

    def amount(self) -> int | None:
        """All that is left, or some of it, or too much."""
        return self.chance.choice([None, self.chance.randint(1, self.paid), self.chance.randint(1, 2900)])

    def colleague(self) -> Callable[[], Any]:
        """Somebody who looks and agrees, perhaps twice."""
        actor, clicks = self.chance.choice(self.actors), self.chance.choice([1, 1, 2])
        choices: dict[str, Any] = {
            "invoice": self.invoice,
            "amount": self.amount(),
            "destination": self.chance.choice(["card", "balance"]),
        }

        def act() -> None:
            shown = show("refund_invoice", self.organization, **choices)
            for _ in range(clicks):
                shown.apply(actor)

        return act

    def dashboard(self) -> Callable[[], Any]:
        """Somebody who looked at Stripe, and refunds there a moment later."""
        left = self.paid - self.given()
        amount, wait = self.chance.randint(1, max(1, left)), self.chance.random() / 2

        def act() -> None:
            time.sleep(wait)
            if left > 0:
                self.api.refunds.create({"charge": self.charge.id, "amount": amount})
                self.in_dashboard.append(amount)

        return act

    def bank(self) -> Callable[[], Any]:
        """The customer's bank, which decides the dispute that is open."""
        is_open = (each for each in self.disputes() if each.status == "needs_response")
        dispute, won, wait = next(is_open, None), self.chance.random() < 0.4, self.chance.random() / 2

        def act() -> None:
            time.sleep(wait)
            if dispute:
                self.sandbox.control("POST", "disputes", {"dispute": dispute.id, "won": won})

        return act

    def dispute(self) -> None:
        """The customer asks their bank for money back, perhaps for what they have been given already."""
        if self.api.charges.retrieve(self.charge.id).disputed:
            return  # once for each charge
        asked = {"charge": self.charge.id, "amount": self.chance.randint(1, self.paid)}
        self.sandbox.control("POST", "disputes", asked)
        self.late = max(self.late, self.given() - self.paid)

    def reader(self) -> Callable[[], Any]:
        """A worker that reads the customer."""
        return lambda: sync_customer(self.world.customer)

    def round(self) -> None:
        """Several of them at the same moment, and answers that get lost."""
        self.sandbox.control("DELETE", "log")
        self.in_dashboard.clear()
        makers = (self.colleague, self.colleague, self.dashboard, self.dashboard, self.reader)
        acts = [self.colleague(), *(self.chance.choice(makers)() for _ in range(self.chance.randint(1, 3)))]
        if self.chance.random() < 0.5:
            acts.append(self.bank())
        for path in ("/v1/refunds", "/v1/credit_notes", "^/v1/customers/.*/balance_transactions"):
            # The dashboard names the charge, and is spared.
            mine = {"object": self.charge.payment_intent} if path == "/v1/refunds" else {}
            which = {"method": "POST", "path": path, **mine}
            if self.chance.random() < 0.3:
                self.sandbox.control("POST", "faults", {"kind": self.chance.choice(FAULTS), **which})
            # Our calls are slow, so that much happens between our last look and their effect.
            slow = {"kind": "latency", "times": -1, "seconds": 0.2, "jitter": 0.3}
            self.sandbox.control("POST", "faults", {**slow, **which})
        at_once(acts)
        self.sandbox.control("DELETE", "faults")
        settle_everything()
        self.late += self._late()

    def _late(self) -> int:
        """At most what the dashboard gave in this round after our last look."""
        calls = self.sandbox.control("GET", "log")["calls"]
        done = [(at, call) for at, call in enumerate(calls) if call["key"] and call["status"] == 200]
        # Our keys name a step after a colon; those of Stripe's own client do not.
        ours = [at for at, call in done if ":" in call["key"]]
        looks = [at for at, call in enumerate(calls) if (call["method"], call["path"]) == LOOK]
        # Ours, or that of a colleague who looked even sooner; where we did nothing, we did not look either.
        look = next((at for at in looks if at > max(ours)), len(calls)) if ours else -1
        late = [at for at, call in done if at > look and ":" not in call["key"]]
        return sum(sorted(self.in_dashboard, reverse=True)[: len(late)])

    def check(self) -> None:
        """What must hold."""
        assert self.given() <= self.paid + self.late
        assert sum(each.amount for each in self.refunds()) <= self.charge.amount
        made: dict[str, list[int]] = {}
        refunds = self.api.refunds.list({"charge": self.charge.id, "limit": 100}).data
        notes = self.api.credit_notes.list({"invoice": self.invoice, "limit": 100}).data
        every: list[Any] = [*refunds, *notes]
        marked = [each for each in every if "operation" in (each.metadata or {})]
        for each in marked:
            made.setdefault(each.metadata["operation"], []).append(each.amount)
        for event in OURS.all():
            assert event.state in ("done", "failed"), (event.state, event.error)
            once = [event.amount] if event.state == "done" else []
            assert made.pop(str(event.uuid), []) == once, event.message
        assert made == {}


LOOK = ("GET", "/v1/refunds")


def at_once(acts: list[Callable[[], Any]]) -> None:
    barrier = threading.Barrier(len(acts))
    broken: list[BaseException] = []

    def play(act: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            with contextlib.suppress(BillingError, stripe.InvalidRequestError):
                act()
        except BaseException as error:  # a thread's failure is the test's
            broken.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=play, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []


@seeded
def test_no_more_goes_back_than_was_paid(
    sandbox: Sandbox, settings: Settings, arriving_webhooks: str, seed: int
) -> None:
    settings.STRIPE_READ_TIMEOUT = 0.7
    story = Story(sandbox, seed)
    for _ in range(2):
        if story.chance.random() < 0.4:
            story.dispute()
        story.round()
        story.check()
        if story.refunds() and story.chance.random() < 0.3:
            failing = story.chance.choice(story.refunds())
            sandbox.control("POST", "refunds", {"refund": failing.id, "status": "failed"})
    story.round()
    story.check()
    while sandbox.control("GET", "deliveries")["waiting"]:
        time.sleep(0.05)
