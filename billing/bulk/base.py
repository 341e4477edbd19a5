"""What it takes to do an operation to many: what each row would be, told from our own rows, and what must hold then."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.bulk.cautions import Caution
from billing.models import SubscriptionEvent
from billing.operations import OPERATIONS
from billing.operations.base import Choices, Preview, Subject
from billing.operations.intent import in_progress
from billing.operations.refund_account import Account
from billing.operations.settlement import AnyOperation
from billing.operations.standing import Standing
from billing.stripe_api import StripeObject
from organizations.models import Organization


@dataclass(frozen=True)
class Selected[SubjectT: Subject]:
    """What somebody ticked in a list."""

    key: str
    """Its key in that list."""
    subject: SubjectT
    """What the operation is done to."""
    label: str
    # Read for all rows together, so that a thousand cost no thousand.
    objects: tuple[StripeObject, ...] = ()
    """What of it the mirror has and its plan needs."""
    held: str | None = None
    """Whose act on it is in progress, in a sentence."""
    seats_used: int = 0
    """Seats that its active members occupy, where the plan tells of them."""
    standing: Standing | None = None
    """Where the plan is about access."""
    account: Account | None = None
    """What was paid and went back, where the plan is about that."""


@dataclass(frozen=True, order=True)
class Figure:
    """What is added up over all rows: numbers of one kind, of one currency, for the same length of time."""

    name: str
    currency: str = ""
    """Where it is an amount, in minor units."""
    interval: str = ""
    interval_count: int = 1
    """Where it recurs: every so many days, weeks, months or years."""


@dataclass(frozen=True)
class PlannedRow:
    """What would happen to one of many."""

    selected: Selected[Any]
    choices: Choices
    outlook: str
    """What will happen to it, in a few words."""
    basis: dict[str, Any]
    """What it is like now, as far as the outlook depends on it; of JSON's own types."""
    cautions: tuple[Caution, ...] = ()
    """What else there is about it that a person should know before agreeing."""
    figures: Mapping[Figure, int] = field(default_factory=dict)
    """What it adds to the sums of all rows."""
    seen: str = ""
    """What Stripe was found to say just now, where somebody looked. Told, not agreed to: it is in no digest."""

    @property
    def digest(self) -> str:
        """Equal for equal plans: what was shown is held against it."""
        shown = [self.outlook, *(caution.words for caution in self.cautions)]
        told = json.dumps([self.choices.to_dict(), self.basis, *shown], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:12]


class BulkKind[SubjectT: Subject, ChoicesT: Choices, PreviewT: Preview](ABC):
    """How one operation is done to many. Has no state of its own, and asks Stripe nothing, but in `looked_at`."""

    type: ClassVar[str]
    """The operation's, in `OPERATIONS`."""
    ticked_in: ClassVar[str]
    """Of which model's list, as `app_label.model_name`."""
    calls: ClassVar[int] = 0
    """How many calls to Stripe one row takes, with those that read what it changed."""
    calls_of_one_endpoint: ClassVar[int] = 1
    """How many of them go to the same endpoint, at most."""

    @property
    def operation(self) -> AnyOperation:
        """What is done to each."""
        return OPERATIONS[self.type]

    def counted(self, n: int) -> str:
        """ "1,000 organizations"."""
        words = {
            "organizations.organization": ngettext("%(n)s organization", "%(n)s organizations", n),
            "djstripe.invoice": ngettext("%(n)s invoice", "%(n)s invoices", n),
            "billing.subscriptionevent": ngettext("%(n)s event", "%(n)s events", n),
        }[self.ticked_in]
        return words % {"n": formats.number_format(n, force_grouping=True)}

    @abstractmethod
    def selected(self, keys: Sequence[str]) -> list[Selected[SubjectT]]:
        """What was ticked, in that order; what is no longer there is left out."""

    @abstractmethod
    def planned(self, selected: Selected[SubjectT], asked: dict[str, Any]) -> PlannedRow:
        """What would happen to this one. Raises OperationRefused with why it cannot be done to it."""

    def limit(self, actor: User) -> Callable[[PlannedRow], None]:
        """Given one planned row after another, raises NotPermitted for each beyond what this person may in all."""
        return lambda _row: None

    def sums(self, figures: Counter[Figure]) -> list[str]:
        """What all rows come to together, in words; `figures` are theirs, added up."""
        return []

    def looked_at(self, rows: Sequence[PlannedRow]) -> list[PlannedRow]:
        """The rows with what is `seen` at Stripe, for a page that shows them; most kinds need not look."""
        return list(rows)

    @property
    def source(self) -> str:
        """Where what is shown comes from, and what becomes of it, in a sentence or two."""
        return _(
            "Told from what was last read from Stripe. Each is held against Stripe when its turn comes, and left alone"
            " where it is no longer as shown."
        )

    @abstractmethod
    def hold(self, basis: dict[str, Any], subject: SubjectT, choices: ChoicesT, preview: PreviewT) -> None:
        """Hold what the person saw against the present. Raises OperationRefused where it is something else now."""


class OrganizationsKind[ChoicesT: Choices, PreviewT: Preview](BulkKind[Organization, ChoicesT, PreviewT]):
    """An operation on many organizations, ticked in their list."""

    ticked_in = "organizations.organization"

    def selected(self, keys: Sequence[str]) -> list[Selected[Organization]]:
        found = Organization.objects.in_bulk([int(key) for key in keys])
        return [Selected(key, found[int(key)], found[int(key)].name) for key in keys if int(key) in found]


def with_held[SubjectT: Subject](
    several: Sequence[Selected[SubjectT]], lock_key: Callable[[Selected[SubjectT]], str]
) -> list[Selected[SubjectT]]:
    """With whose act is in progress on each; `lock_key` is what the operation would hold."""
    keys = {each.key: lock_key(each) for each in several}
    pending = SubscriptionEvent.objects.filter(
        lock_key__in=set(keys.values()), state=SubscriptionEvent.State.PENDING
    )
    held = set(pending.values_list("lock_key", flat=True))
    return [
        replace(each, held=in_progress(key)) if (key := keys[each.key]) in held else each for each in several
    ]


def changed() -> str:
    """That a row is not what was agreed to any more, in a sentence."""
    return _("It changed since this was shown. Nothing was changed; look and try again.")
