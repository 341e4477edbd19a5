"""What a chance makes happen on the road of webhooks: acts at Stripe, misfortunes, workers that die, and quiet."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import stripe
from django.db import connection
from django.db.models import F, QuerySet
from django.utils import timezone
from djstripe.models import Price, Product

from billing import mirror, stripe_api, sync
from billing.differences import compare
from billing.models import CustomerSync, SubscriptionEvent
from billing.reading import read_everything
from organizations.models import Organization
from tests.conftest import Sandbox
from tests.stripe_world import World, make_customer, make_organization, make_price
from webhooks import backfill

WORKERS = 2
# So many seconds after the last act Stripe has told of everything that follows from it.
AFTERMATH = 3
CALL_FAULTS = ("error_429", "error_500", "drop_connection", "truncated_body", "timeout_before")
WEBHOOK_FAULTS = (
    "webhook_drop",
    "webhook_duplicate",
    "webhook_reorder",
    "webhook_delay",
    "webhook_wrong_signature",
)


class Killed(BaseException):
    """What a worker does not survive, and nothing of ours catches."""


class Story:
    """Some customers at Stripe, and what happens to them."""

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        self.sandbox, self.api = sandbox, sandbox.client.v1
        self.chance = random.Random(seed)
        self.price = make_price(sandbox.client)
        self.worlds = [make_customer(sandbox, price=self.price) for _ in range(self.chance.randint(1, 2))]
        self.organizations = [make_organization(world) for world in self.worlds]
        self.deleted: set[str] = set()

    def act(self) -> None:
        """Something happens at Stripe."""
        world = self.chance.choice(self.worlds)
        acts: list[Callable[[World], Any]] = [
            self.change_seats,
            self.change_seats,
            self.set_to_end,
            self.refund,
            self.rename_customer,
            self.rename_product,
            self.add_card,
            self.draft,
            self.end,
            self.delete,
        ]
        weights = [6, 6, 3, 3, 3, 2, 2, 2, 1, 1]
        with contextlib.suppress(stripe.InvalidRequestError):  # of what has ended, or was given back
            self.chance.choices(acts, weights)[0](world)

    def change_seats(self, world: World) -> None:
        items: Any = [{"id": world.item, "quantity": self.chance.randint(1, 40)}]
        behavior: Any = self.chance.choice(["always_invoice", "create_prorations", "none"])
        self.api.subscriptions.update(world.subscription, {"items": items, "proration_behavior": behavior})

    def set_to_end(self, world: World) -> None:
        ends = self.chance.random() < 0.5
        self.api.subscriptions.update(world.subscription, {"cancel_at_period_end": ends})

    def refund(self, world: World) -> None:
        for charge in mirror.charges_of(world.customer)[:1]:
            self.api.refunds.create({"charge": charge["id"], "amount": self.chance.randint(1, 500)})

    def rename_customer(self, world: World) -> None:
        self.api.customers.update(world.customer, {"name": f"Northwind {self.chance.randint(1, 999)}"})

    def rename_product(self, world: World) -> None:
        product = Price.objects.get(id=self.price).stripe_data["product"]
        self.api.products.update(product, {"name": f"Team {self.chance.randint(1, 999)}"})

    def add_card(self, world: World) -> None:
        self.api.payment_methods.attach("pm_card_mastercard", {"customer": world.customer})

    def draft(self, world: World) -> None:
        invoice = self.api.invoices.create({"customer": world.customer})
        if self.chance.random() < 0.5:
            self.api.invoices.delete(str(invoice.id))

    def end(self, world: World) -> None:
        self.api.subscriptions.cancel(world.subscription)

    def delete(self, world: World) -> None:
        self.api.customers.delete(world.customer)
        self.deleted.add(world.customer)

    def misfortune(self) -> None:
        """What goes wrong from now on, and what no longer does."""
        if self.chance.random() < 0.3:
            self.sandbox.control("DELETE", "faults")
        kind = self.chance.choice(WEBHOOK_FAULTS)
        some = {"times": -1, "percent": self.chance.randint(20, 60), "seed": self.chance.randint(0, 999)}
        self.sandbox.control("POST", "faults", {"kind": kind, "seconds": 0.3, **some})
        slow = {"kind": "latency", "method": "GET", "seconds": 0, "jitter": 0.08}
        self.sandbox.control("POST", "faults", {**slow, **some})
        kind = self.chance.choice(CALL_FAULTS)
        calls = {"times": self.chance.randint(1, 4), "percent": 50, "seed": self.chance.randint(0, 999)}
        self.sandbox.control("POST", "faults", {"kind": kind, "method": "GET", "seconds": 1, **calls})


def deadly[**P, R](whole: Callable[P, R], fate: Callable[[], float]) -> Callable[P, R]:
    """A function before or after which its process may die: under 0.06 before, over 0.94 after."""

    def wrapped(*args: P.args, **named: P.kwargs) -> R:
        told = fate()
        if told < 0.06:
            raise Killed
        done = whole(*args, **named)
        if told > 0.94:
            raise Killed
        return done

    return wrapped


def behind() -> QuerySet[CustomerSync]:
    """Whoever has something that is still to be read."""
    return CustomerSync.objects.filter(wanted__gt=F("done"))


@contextmanager
def workers(chance: random.Random, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers that read what is wanted, some of whom die; another takes each one's place."""
    stop, deaths, lock = threading.Event(), random.Random(chance.random()), threading.Lock()

    def fate() -> float:
        with lock:
            drawn = deaths.random()
        return drawn if threading.current_thread() in threads and not stop.is_set() else 0.5

    def work() -> None:
        while not stop.is_set():
            for key in behind().values_list("pk", flat=True):
                with contextlib.suppress(Killed):
                    sync.sync_customer(key)
                # In truth a lease runs out by itself; nobody wants to wait for that here.
                if deaths.random() < 0.1:
                    CustomerSync.objects.filter(pk=key).update(lease_until=timezone.now())
            time.sleep(0.01)
        connection.close()

    with monkeypatch.context() as patch:
        patch.setattr(sync, "_read", deadly(sync._read, fate))
        patch.setattr(sync, "_settle", deadly(sync._settle, fate))
        patch.setattr(sync, "_settle_catalogue", deadly(sync._settle_catalogue, fate))
        patch.setattr(mirror, "upsert", deadly(mirror.upsert, fate))
        # What is asked again is asked as often, only sooner.
        patch.setattr(stripe_api, "PAUSE_SECONDS", (0.01, 0.04))
        threads = [threading.Thread(target=work) for _ in range(WORKERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def play(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it all happen, while workers read what they hear of."""
    with workers(story.chance, monkeypatch):
        for _ in range(story.chance.randint(6, 14)):
            if story.chance.random() < 0.5:
                story.misfortune()
            story.act()
            time.sleep(story.chance.random() * 0.1)


def grow_quiet(sandbox: Sandbox, settings: Any) -> None:
    """Nothing goes wrong any more; what is on its way arrives, and the jobs that look for what got lost run once."""
    calm(sandbox, settings)
    backfill.recover()
    read_what_is_wanted()


def calm(sandbox: Sandbox, settings: Any) -> None:
    """Nothing goes wrong any more, and what is on its way arrives."""
    sandbox.control("DELETE", "faults")
    settings.STRIPE_READ_TIMEOUT = 60
    # Stripe has the last word: seconds after a refund, it tells the reference by itself. Then its clock stands still.
    sandbox.control("POST", "clock", {"advance": AFTERMATH})
    # What is to be delivered again much later is found in the list first, and known when it comes.
    let_arrive(sandbox, 0.6)


def let_arrive(sandbox: Sandbox, seconds: float) -> None:
    """Wait for webhooks that are on their way, so many seconds at most."""
    patience = time.monotonic() + seconds
    while sandbox.control("GET", "deliveries")["waiting"] and time.monotonic() < patience:
        time.sleep(0.02)


def read_what_is_wanted() -> None:
    """What workers do in the end: read all that is still to be read."""
    # The dead hold no lease for ever. One by one, for what arrives now locks several.
    for key in CustomerSync.objects.filter(lease_until__isnull=False).values_list("pk", flat=True):
        CustomerSync.objects.filter(pk=key).update(lease_token=None, lease_until=None)
    for _ in range(20):
        waiting = dict(behind().values_list("pk", "objects_wanted"))
        if not waiting:
            return
        for key, wanted in waiting.items():
            # Nobody wants to wait for the next attempt of what failed.
            sync.request_sync(key, wanted)
            sync.sync_customer(key)
    raise AssertionError("it never grew quiet")


def hold_to_stripe(story: Story) -> None:
    """Our rows are Stripe's: nothing is stale, nothing is missing."""
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


def hold_to_events() -> None:
    """Every event that Stripe lists is ours, and none waits."""
    listed = {event["id"]: event["type"] for page in stripe_api.list_pages("/v1/events") for event in page}
    kept = SubscriptionEvent.objects.filter(source="stripe")
    assert dict(kept.values_list("stripe_event_id", "type")) == listed
    open_ones = kept.filter(state__in=["pending", "failed", "parked"])
    waiting = list(open_ones.values_list("type", "state", "error"))
    assert not waiting, waiting
