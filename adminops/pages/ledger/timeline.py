"""An organization's history: the ledger, newest first, as a colleague reads it a year later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef
from django.db.models.functions import JSONObject
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.functional import cached_property
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from adminops.pages import words
from adminops.pages.badges import Badge, event_badge
from adminops.pages.ledger import event_words
from adminops.pages.ledger.answers import answer_in_words
from adminops.pages.ledger.families import FAMILIES, of_family
from adminops.pages.ledger.folding import Fold, fold, happened, paying
from billing import customer_details, mirror
from billing.actors import person_name
from billing.customer_details import DETAILS_CHANGED
from billing.denials import TYPE as DENIED
from billing.models import OperationStep, SubscriptionEvent
from billing.operations import OPERATIONS
from billing.operations.base import Told
from billing.operations.failed_refunds import REFUNDS_READ, failure_in_words
from billing.operations.refund_account import GONE_WRONG
from billing.stripe_api import StripeObject
from organizations.models import Organization

MAY_SEE = "billing.view_subscriptionevent"

LINES_SHOWN = 20
# What is folded into these lines; no more rows come, though PostgreSQL may pass over more where a kind is asked for.
_ROWS_READ = 200
# Longer words stand on the event's own page.
_MOST_CHARACTERS = 300

KIND, BY = "kind", "by"
Source = SubscriptionEvent.Source
_SOURCES = {Source.STRIPE.value: Source.STRIPE.label, Source.SYSTEM.value: Source.SYSTEM.label}

# Along with its row, so that however many rows are one query: what is told of each call to Stripe.
_CALLS = (
    OperationStep.objects.filter(event=OuterRef("pk"))
    .order_by("position")
    .values(told=JSONObject(method="method", path="path", answered_at="answered_at", error="error"))
)

# What staff do and is told as following their name: operations, and what asks nothing of Stripe.
_RETOLD: dict[str, Callable[[SubscriptionEvent], Told]] = {
    **{name: operation.retell for name, operation in OPERATIONS.items()},
    DETAILS_CHANGED: customer_details.retell,
}

_QUIET = frozenset({SubscriptionEvent.State.DONE, SubscriptionEvent.State.IGNORED})


@dataclass(frozen=True)
class Line:
    """One line of a timeline: "Ann Archer" "changed seats 8 → 12": "new hires", and what follows from it."""

    event: SubscriptionEvent
    when: datetime
    who: str
    """A colleague by name; empty where the words are a sentence of their own."""
    by: str
    """Who did it, also where the words do not begin with them."""
    what: str
    reason: str
    further: tuple[str, ...]
    """Money, what the customer said, how Stripe answered: a few words each."""
    badge: Badge
    needs_a_look: bool
    url: str
    beneath: tuple[Line, ...] = ()
    """Rows that tell of the same thing."""
    undone: str = ""
    """That it came to nothing later, and why: "failed later: the card was lost or stolen"."""
    undone_url: str = ""
    """Where that is told; empty for whoever may not see it."""


@dataclass(frozen=True)
class Option:
    """One answer to a question of the filter."""

    value: str
    label: str
    is_chosen: bool


class Timeline:
    """The newest lines about an organization, of one kind or by one person where `query` asks for that.

    `invoices` gives those of its invoices, as Stripe sent them, that are at hand; `colleagues` who acted lately.
    """

    def __init__(
        self,
        organization: Organization,
        user: Any,
        query: Mapping[str, Any],
        invoices: Callable[[], Iterable[StripeObject]],
        colleagues: Callable[[], Iterable[User]],
    ) -> None:
        self._organization = organization
        self._user = user
        self._query = query
        self._invoices = invoices
        self._colleagues = colleagues
        self.is_shown: bool = user.has_perm(MAY_SEE)

    @property
    def _kind(self) -> str:
        kind = str(self._query.get(KIND, ""))
        return kind if kind in FAMILIES else ""

    @property
    def _by(self) -> str:
        by = str(self._query.get(BY, ""))
        return by if by in self._everybody else ""

    @property
    def is_narrowed(self) -> bool:
        """Whether only a kind or a person was asked for."""
        return bool(self._kind or self._by)

    @property
    def slips(self) -> list[str]:
        """What of the address it cannot use, each in a sentence."""
        asked = ((KIND, self._kind, _("Kind")), (BY, self._by, _("By")))
        return [
            words.no_value(text, title)
            for name, used, title in asked
            if (text := str(self._query.get(name, "")).strip()) and not used
        ]

    @property
    def kinds(self) -> list[Option]:
        """What one can ask for: kinds of things."""
        everything = Option("", _("Everything"), not self._kind)
        return [
            everything,
            *(Option(kind, str(family.label), kind == self._kind) for kind, family in FAMILIES.items()),
        ]

    @property
    def people(self) -> list[Option]:
        """What one can ask for: who did it."""
        return [Option(value, label, value == self._by) for value, label in self._everybody.items()]

    @cached_property
    def lines(self) -> list[Line]:
        """The newest, by when they happened; read by key, which is indexed, and which a late delivery changes."""
        lines = sorted(map(self._line, self._folds), key=lambda line: line.when, reverse=True)
        return lines[:LINES_SHOWN]

    @property
    def is_settling(self) -> bool:
        """Whether somebody acted on it a moment ago, so that Stripe's answer to it is still to come."""
        recent = timezone.now() - timedelta(minutes=1)
        return any(
            event.source == Source.STAFF
            and (event.state == SubscriptionEvent.State.PENDING or event.created_at > recent)
            for event in self._rows[:LINES_SHOWN]
        )

    @property
    def older_url(self) -> str:
        """Where the list of events goes on after these lines; empty where these are all."""
        shown = sum(1 + len(line.beneath) for line in self.lines)
        if shown == len(self._rows) < _ROWS_READ:
            return ""
        asked: dict[str, Any] = {}
        if self._kind:
            asked["kind"] = self._kind
        if self._by in _SOURCES:
            asked["source__exact"] = self._by
        elif self._by:
            asked["actor__id__exact"] = self._by
        # Lines are in the order of what happened, the list is in that of the keys: begin with what is not shown.
        shown_keys = {each.event.pk for line in self.lines for each in (line, *line.beneath)}
        newest = max((row.pk for row in self._rows if row.pk not in shown_keys), default=None)
        before = min(shown_keys, default=0) if newest is None else newest + 1
        return self._listing({**asked, "before": before})

    def _listing(self, asked: dict[str, Any]) -> str:
        asked = {"organization__id__exact": self._organization.pk, **asked}
        return f"{reverse('admin:billing_subscriptionevent_changelist')}?{urlencode(asked)}"

    @cached_property
    def _rows(self) -> list[Any]:
        events = SubscriptionEvent.objects.filter(organization=self._organization)
        if self._kind:
            events = events.filter(of_family(self._kind))
        if self._by in _SOURCES:
            events = events.filter(source=self._by)
        elif self._by:
            events = events.filter(actor_id=int(self._by))
        return list(
            events.annotate(calls=ArraySubquery(_CALLS))
            .select_related("actor")
            .defer("traceback", "error")
            .order_by("-id")[:_ROWS_READ]
        )

    @cached_property
    def _steps(self) -> dict[int, list[OperationStep]]:
        return {event.pk: [_step(event, call) for call in event.calls] for event in self._rows if event.calls}

    @cached_property
    def _folds(self) -> list[Fold]:
        return fold(self._rows, self._steps, paying(self._invoices()))

    @cached_property
    def _everybody(self) -> dict[str, str]:
        return {
            "": _("Everybody"),
            **{str(user.pk): person_name(user) for user in self._colleagues()},
            **{name: str(label) for name, label in _SOURCES.items()},
        }

    def _line(self, fold: Fold) -> Line:
        line = self._line_of(fold.head)
        others = fold.others
        if not others:
            return line
        further = line.further
        if fold.is_denied:
            times = len(fold.events)
            further = (*further, ngettext("tried %(n)d time", "tried %(n)d times", times) % {"n": times})
        elif fold.head.source == Source.STRIPE:
            # What became of an invoice or a payment, its own line says.
            told = [
                change
                for event in others
                if event.type.startswith("customer.subscription.")
                for change in event_words.changes(event)
            ]
            further = (*further, *(change for change in dict.fromkeys(told) if change not in line.what))
        beneath = tuple(map(self._line_of, others))
        troubled = next((each for each in beneath if each.needs_a_look), None)
        is_troubled = troubled is not None and not line.needs_a_look
        return Line(
            event=line.event,
            when=line.when,
            who=line.who,
            by=line.by,
            what=line.what,
            reason=line.reason,
            further=further,
            badge=troubled.badge if troubled and is_troubled else line.badge,
            needs_a_look=line.needs_a_look or is_troubled,
            url=line.url,
            beneath=beneath,
            undone=line.undone,
            undone_url=line.undone_url,
        )

    def _line_of(self, event: SubscriptionEvent) -> Line:
        told, by = retold(event), event_words.by_whom(event)
        is_act = event.source == Source.STAFF and event.type in OPERATIONS
        answer = answer_in_words(event, self._steps.get(event.pk, ())) if is_act else ""
        undone, undone_url = self._undone(event) if is_act else ("", "")
        return Line(
            event=event,
            when=happened(event),
            who=by if told else "",
            by=by,
            what=_clipped(told.done if told else event_words.occurred(event)),
            reason=_clipped(event.reason or "") if is_act or event.type == DENIED else "",
            further=tuple(_clipped(each) for each in (*(told.further if told else ()), answer) if each),
            badge=event_badge(event),
            needs_a_look=event.state not in _QUIET,
            url=reverse("admin:billing_subscriptionevent_change", args=[event.pk]),
            undone=undone,
            undone_url=undone_url,
        )

    @cached_property
    def _refunds_gone_wrong(self) -> dict[str, StripeObject]:
        """By their ids; those that the customer page reads anyway."""
        customer_id = self._organization.stripe_customer_id
        refunds = mirror.refunds_of(customer_id, limit=REFUNDS_READ) if customer_id else []
        return {refund["id"]: refund for refund in refunds if refund.get("status") in GONE_WRONG}

    def _undone(self, event: SubscriptionEvent) -> tuple[str, str]:
        """That a refund of staff's came back after it was made, and where that is told."""
        if not event.stripe_refund_id or event.state != SubscriptionEvent.State.DONE:
            return "", ""
        refund = self._refunds_gone_wrong.get(event.stripe_refund_id)
        if refund is None:
            return "", ""
        said = _("canceled later")
        if refund["status"] == "failed":
            said = _("failed later: %(why)s") % {"why": failure_in_words(refund.get("failure_reason"))}
        if not self._user.has_perm("djstripe.view_refund"):
            return said, ""
        return said, f"{reverse('admin:djstripe_refund_changelist')}?{urlencode({'q': refund['id']})}"


def _step(event: SubscriptionEvent, call: dict[str, Any]) -> OperationStep:
    answered_at = parse_datetime(call["answered_at"]) if call["answered_at"] else None
    return OperationStep(**{**call, "answered_at": answered_at, "event": event})


def retold(event: SubscriptionEvent) -> Told | None:
    """What a colleague did, or asked for in vain; None for what is no such act, or says nothing but its message."""
    retell = _RETOLD.get(event.type)
    if event.source != Source.STAFF or retell is None:
        return None
    if event.state != SubscriptionEvent.State.DONE:
        return Told(event_words.attempted(event))
    try:
        return retell(event)
    except (KeyError, TypeError, ValueError):
        # Written by an earlier version: what it said then is what there is.
        return None


def _clipped(text: str) -> str:
    return Truncator(text).chars(_MOST_CHARACTERS)
