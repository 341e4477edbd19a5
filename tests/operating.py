"""Staff operations as tests do them: show what would happen, then agree to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from billing.errors import BillingError
from billing.models import SubscriptionEvent
from billing.operations import OPERATIONS
from billing.operations.base import Agreement, Choices, Subject
from billing.operations.intent import agree, perform
from billing.operations.settlement import AnyOperation
from billing.operations.sweeper import settle_pending
from tests.factories import StaffFactory


@dataclass(frozen=True)
class Shown:
    """A preview that somebody looks at."""

    operation: AnyOperation
    subject: Subject
    choices: Choices
    preview: Any
    agreement: Agreement

    def apply(
        self, actor: User | None = None, reason: str = "new hires", ticket: str = "4711"
    ) -> SubscriptionEvent:
        """Agree to it; `actor` is somebody who may unless told."""
        return perform(
            self.operation,
            self.subject,
            choices=self.choices,
            agreed=self.agreement,
            actor=actor or StaffFactory(permissions=[self.operation.permission]),
            reason=reason,
            ticket=ticket,
        ).event


def show(type_: str, subject: Subject, *, at: int | None = None, **choices: Any) -> Shown:
    """What an operation of the registry would do with these choices. Raises BillingError."""
    operation = OPERATIONS[type_]
    chosen = operation.choices_class.from_dict(choices)
    preview, agreement = agree(operation, subject, chosen, at)
    return Shown(operation, subject, chosen, preview, agreement)


def make_due() -> None:
    """Let the sweeper take up every pending operation at once."""
    SubscriptionEvent.objects.filter(state="pending").update(next_attempt_at=timezone.now())


def grow_older(seconds: float) -> None:
    """Make it look as if every row had been written earlier; the ledger's triggers would refuse it."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            "UPDATE billing_subscriptionevent SET created_at = created_at - make_interval(secs => %s)",
            [seconds],
        )
        cursor.execute(
            "UPDATE billing_operationstep SET sent_at = sent_at - make_interval(secs => %s)", [seconds]
        )
        cursor.execute("SET session_replication_role = origin")


def settle_everything() -> None:
    """Let the sweeper do its work, until no operation can be under way any more."""
    ours = SubscriptionEvent.objects.filter(state="pending").exclude(source="stripe")
    for _ in range(6):
        if not ours.exists():
            return
        make_due()
        settle_pending()
        grow_older(60)


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What came of doing all these at the same moment: what each returned, or the BillingError it raised."""
    barrier = threading.Barrier(len(acts))
    outcomes: list[Any] = []

    def press(act: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            outcomes.append(act())
        except BillingError as error:
            outcomes.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=press, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def outcome_of(shown: Shown, actor: User) -> str:
    """Agree to a preview; returns the state of the ledger row."""
    return shown.apply(actor).state
