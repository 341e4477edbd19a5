"""What an operation is: what a person chose, what they were shown, what is asked of Stripe, and how it ended.

The three steps around it, intent, call and settle, are `intent` and `settlement`
(docs/decisions/intent-call-settle.md). A new operation is a module here, a line in `billing.operations.OPERATIONS`,
and a row in the registry of the face.
"""

from __future__ import annotations

import builtins
import dataclasses
import datetime
import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self
from uuid import UUID, uuid4

from django.contrib.auth.models import User
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from billing.errors import StripeError
from billing.models import OperationStep, SubscriptionEvent
from billing.stripe_api import StripeObject
from organizations.models import Organization

type Subject = Organization | SubscriptionEvent
"""What an operation is done to: a customer, or one line of the ledger."""

# Stripe may forget a key after 24 hours, and then the same key acts again. An hour of margin, by the database's clock.
KEY_LIFETIME = datetime.timedelta(hours=23)


@dataclass(frozen=True)
class Choices:
    """What a person chose; a subclass has a field for each choice, of JSON's own types."""

    def to_dict(self) -> dict[str, Any]:
        """The choices as JSON holds them; `from_dict` is the inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Raises TypeError for what `to_dict` did not write."""
        return cls(**data)


@dataclass(frozen=True)
class Preview:
    """What an operation would do, as a person is shown it; a subclass has a field for each thing shown.

    The same choices at the same moment of the same world give an equal preview, so it holds no time of its own making.
    """

    def to_dict(self) -> dict[str, Any]:
        """The preview as JSON holds it, for the ledger: datetimes as ISO text."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self), default=_as_text))
        return plain

    @property
    def digest(self) -> str:
        """Equal for equal previews: what was agreed to is held against it."""
        told = json.dumps(dataclasses.asdict(self), default=_as_text, sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()


def _as_text(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    raise TypeError(f"a preview cannot hold a {type(value).__name__}")


@dataclass(frozen=True)
class Agreement:
    """That a person agreed to a preview: to which, and the id under which it is done, once."""

    at: int
    """The moment the preview is of, in unix seconds; what is prorated is prorated from then."""
    digest: str
    uuid: UUID = field(default_factory=uuid4)


@dataclass(frozen=True)
class Step:
    """One call to Stripe: a key belongs to one step, a step to one endpoint."""

    name: str
    method: str
    path: str
    params: dict[str, Any] = field(default_factory=dict)
    signed: bool = True
    """Whether the endpoint takes metadata, where our mark goes."""
    mark: str = "operation"
    """Under which name it goes there: operations that may be under way on one object at once need different ones."""
    required: bool = True
    """Whether a refusal by Stripe ends the operation; else the next step goes on, and the refusal is the answer."""


@dataclass(frozen=True)
class Intent:
    """What an operation decided to do, checked, before Stripe hears of it."""

    steps: tuple[Step, ...] = ()
    """What is asked of Stripe; steps that need an earlier answer come from `Operation.following`."""
    before: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    """What whoever settles the row later must know."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Further evidence for the ledger: ids, amounts, quantities."""


@dataclass(frozen=True)
class Settlement:
    """How an operation ended well, for the ledger and for the person."""

    message: str
    after: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """What was done, retold to whoever reads the ledger a year later."""

    done: str
    """As it follows the name of whoever did it: "changed seats 8 → 12"."""
    further: tuple[str, ...] = ()
    """What else they ask, a few words each: money, what the customer said, what else it changed."""


@dataclass(frozen=True)
class Trace:
    """What was found at Stripe of a step whose answer we do not have."""

    answer: StripeObject | None
    """What the step led to; None where there is no trace of it."""
    still_agreed: bool
    """Whether everything is as it was when the person agreed, so that the step may still be done."""


@dataclass(frozen=True)
class Failure:
    """How an operation ended badly, for the ledger and for the person."""

    message: str
    needs_a_person: bool = False
    """Whether something was done and something was not, so that somebody must look."""


class Course(ABC):
    """What comes after the intent: told from the ledger row alone, by whichever process settles it. Has no state."""

    type: ClassVar[str]
    """The name in the ledger and in the registries."""
    label: ClassVar[str | Promise]
    """What was done, in the timeline: "Change of seats"."""
    resend_within: ClassVar[datetime.timedelta] = KEY_LIFETIME
    """How long after the intent a step may be sent again, `KEY_LIFETIME` at most."""
    insists: ClassVar[bool] = False
    """Whether the intent itself has an effect here, so that a Stripe that is busy or away is asked again later."""

    def following(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Step | None:
        """The next step after all recorded ones were answered; None when there is none."""
        return None

    def find_outcome(self, event: SubscriptionEvent, step: OperationStep) -> Trace:
        """Look at Stripe for what the step led to. Raises StripeError where that cannot be told now."""
        raise NotImplementedError

    @abstractmethod
    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """What to record now that every step has its answer. Runs in the settling transaction."""

    def fail(self, event: SubscriptionEvent, done: list[OperationStep], error: StripeError) -> Failure:
        """What to record when Stripe refused after `done`. Runs in the settling transaction."""
        if not done:
            return Failure(str(error.message))
        return Failure(
            _("Only a part was done at Stripe (%(done)s); the rest was not: %(why)s")
            % {"done": ", ".join(step.name for step in done), "why": error.message},
            needs_a_person=True,
        )

    def remember(self, answer: StripeObject) -> StripeObject:
        """What of an answer the ledger keeps; a secret is taken out here."""
        return answer

    def sync_objects(self, event: SubscriptionEvent) -> list[str]:
        """What is to be read from Stripe again once the operation settled."""
        return [event.stripe_subscription_id] if event.stripe_subscription_id else []


class Operation[SubjectT: Subject, ChoicesT: Choices, PreviewT: Preview](Course):
    """A staff operation: what it checks, shows, asks of Stripe and records. Has no state of its own."""

    permission: ClassVar[str]
    attempt: ClassVar[str | Promise]
    """What somebody does who tries it, as it follows "tried to": "change seats"."""
    choices_class: ClassVar[builtins.type[Choices]]
    calls_stripe: ClassVar[bool] = True
    """Whether it needs a usable key of Stripe's."""
    shows_at_once: ClassVar[bool] = True
    """Whether the customer is read again before the person sees the next page."""

    # -- before: nothing is changed ---------------------------------------------------------------------

    def permits(self, actor: User, subject: SubjectT) -> bool:
        """Whether this person may do it at all. What members may do is told by their membership instead."""
        return actor.has_perm(self.permission)

    @abstractmethod
    def refuse_reason(self, subject: SubjectT) -> str | None:
        """Why it cannot be done now, as far as our own rows tell, in a sentence; None when it can."""

    @abstractmethod
    def preview(self, subject: SubjectT, choices: ChoicesT, at: int) -> PreviewT:
        """What it would do at `at` (unix seconds). May ask Stripe. Raises OperationRefused and StripeError."""

    @abstractmethod
    def lock_key(self, subject: SubjectT, choices: ChoicesT) -> str:
        """What nobody else may change while this is pending."""

    # -- the intent: in a transaction, the organization's row locked --------------------------------------

    @abstractmethod
    def prepare(self, subject: SubjectT, choices: ChoicesT, preview: PreviewT, actor: User) -> Intent:
        """Check once more against our rows, write what is ours to write, and say what is asked of Stripe.

        Raises OperationRefused, and PreviewOutdated where the preview no longer holds.
        """

    def take_effect(self, event: SubscriptionEvent) -> None:
        """Write what is ours to write and refers to the row of the intent, or to its reason, in its transaction."""

    def while_pending(self, event: SubscriptionEvent) -> str:
        """What to tell the person while the outcome is not known."""
        return _(
            "Stripe gave no clear answer, so we do not know yet whether it was done. We are finding out, mostly"
            " within a minute; do not repeat it. This page will say."
        )

    def attempted(self, event: SubscriptionEvent) -> str:
        """What a row that is not settled yet is to do, as it follows "began to": "change seats to 30"."""
        return str(self.attempt)

    # -- ever after -------------------------------------------------------------------------------------

    @abstractmethod
    def retell(self, event: SubscriptionEvent) -> Told:
        """What a row that ended well says, from its own columns and with no query.

        Raises KeyError, TypeError or ValueError for a row that an earlier version wrote otherwise.
        """
