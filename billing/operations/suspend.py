"""Suspend an organization: its members lose access at once, and Stripe is told what was decided about billing.

Access is ours, so a suspension needs no answer of Stripe's: what it shows comes from the mirror, the hold is placed
with the intent, and what Stripe is to do is asked for until it is done (docs/decisions/one-shape-for-operations.md).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing import stripe_api
from billing.actors import person_name
from billing.errors import NotPermitted, OperationRefused, PreviewOutdated, StripeError, StripeRefused
from billing.metrics import recurring_amount
from billing.models import OperationStep, SubscriptionEvent
from billing.operations.base import Choices, Failure, Intent, Preview, Settlement, Step, Told, Trace
from billing.operations.collection import (
    MARK,
    SUSPENSION,
    Behavior,
    Due,
    access_lock,
    dues,
    look_step,
    pause_step,
    period_end,
    remembered,
    unpaused,
)
from billing.operations.intent import in_progress
from billing.operations.standing import Standing, StandingOperation
from billing.operations.subscription import date_in_words, is_marked
from billing.operations.suspension_outcome import outcome_in_words, write_on_hold
from billing.projection import from_unix
from billing.stripe_api import StripeObject
from organizations.models import Hold, Organization
from organizations.querysets import ENDED_STATUSES

LEGAL_PERMISSION = "organizations.place_legal_hold"


class Billing(models.TextChoices):
    """Whether Stripe goes on billing while members are locked out."""

    CONTINUES = "continues", gettext_lazy("Continues")
    STOPS = "stops", gettext_lazy("Stops: what falls due is voided")


class Invoices(models.TextChoices):
    """What becomes of invoices that are open already."""

    LEAVE = "leave", gettext_lazy("Leave them to Stripe")
    VOID = "void", gettext_lazy("Void them: nobody owes them any more")
    WRITE_OFF = "mark_uncollectible", gettext_lazy("Write them off as uncollectible")


@dataclass(frozen=True)
class SuspendChoices(Choices):
    """Which hold, until when (unix seconds; None until somebody lifts it), and what that means for billing."""

    kind: str
    ends_at: int | None = None
    billing: str = Billing.CONTINUES.value
    invoices: str = Invoices.LEAVE.value


@dataclass(frozen=True)
class Billed:
    """A live subscription; `amount` in minor units of `currency` is about what the invoice of `renews_at` comes to."""

    id: str
    renews_at: datetime.datetime | None
    amount: int
    currency: str
    is_paused: bool
    is_paused_by_us: bool
    paused_by: str
    """Who of us paused its collection; empty where nobody, or somebody at Stripe."""


@dataclass(frozen=True)
class SuspendPreview(Preview):
    """What suspending would do, as our own rows and the mirror tell."""

    kind: str
    ends_at: int | None
    billing: str
    invoices: str
    members: int
    """Active members, who lose access; 0 where they have none already."""
    held_by: tuple[str, ...]
    """The kinds of the holds that are open already."""
    subscriptions: tuple[Billed, ...]
    open_invoices: tuple[Due, ...]

    @property
    def stops_billing(self) -> bool:
        """Whether billing is to stop."""
        return self.billing == Billing.STOPS

    @property
    def to_pause(self) -> tuple[Billed, ...]:
        """The subscriptions whose collection is paused by this, as far as the mirror tells; a look at Stripe decides.

        A pause that is there is left as it is.
        """
        return tuple(each for each in self.subscriptions if self.stops_billing and not each.is_paused)

    @property
    def to_close(self) -> tuple[Due, ...]:
        """The open invoices that are voided or written off by this."""
        return self.open_invoices if self.invoices != Invoices.LEAVE else ()


class SuspendOrganization(StandingOperation[SuspendChoices, SuspendPreview]):
    """Place a hold."""

    type = SUSPENSION
    label = gettext_lazy("Suspension")
    attempt = gettext_lazy("suspend an organization")
    permission = "organizations.suspend_organization"
    choices_class = SuspendChoices
    calls_stripe = False  # only for what is chosen about billing, and then the preview asks for a key
    insists = True

    def refuse_reason(self, subject: Organization) -> str | None:
        """Only that somebody else is at it: holds of other kinds may be open."""
        return in_progress(access_lock(subject))

    def preview_of(
        self, subject: Organization, standing: Standing, choices: SuspendChoices, at: int
    ) -> SuspendPreview:
        """Who loses access, and what Stripe will go on collecting."""
        kind = Hold.Kind(choices.kind)
        if choices.ends_at is not None and choices.ends_at <= at:
            raise OperationRefused(_("The day on which the suspension ends must be in the future."))
        if reason := _held_already(standing.holds, kind):
            raise OperationRefused(reason)
        customer, held_by = subject.stripe_customer_id, tuple(hold.kind for hold in standing.open_holds)
        preview = SuspendPreview(
            kind=kind.value,
            ends_at=choices.ends_at,
            billing=Billing(choices.billing).value,
            invoices=Invoices(choices.invoices).value,
            members=0 if held_by else standing.members,
            held_by=held_by,
            subscriptions=tuple(_billed(each, standing) for each in standing.subscriptions),
            open_invoices=dues(standing.open_invoices),
        )
        if kind == Hold.Kind.NON_PAYMENT and (reason := _lifts_at_once(subject, preview)):
            raise OperationRefused(reason)
        needs_stripe = (preview.stops_billing and customer) or preview.to_close
        if needs_stripe and (problem := stripe_api.configuration_problem()):
            raise OperationRefused(problem)
        return preview

    def prepare(
        self, subject: Organization, choices: SuspendChoices, preview: SuspendPreview, actor: User
    ) -> Intent:
        """What Stripe is asked or told first; the hold refers to the intent's reason, so it is placed with it."""
        if choices.kind == Hold.Kind.LEGAL and not actor.has_perm(LEGAL_PERMISSION):
            raise NotPermitted(_("You may not place legal holds. Nothing was changed."), LEGAL_PERMISSION)
        unlifted = subject.holds.filter(lifted_at=None).select_related("placed_by")
        if reason := _held_already(unlifted, Hold.Kind(choices.kind)):
            raise PreviewOutdated(reason)
        customer = subject.stripe_customer_id
        looking = (look_step(customer),) if preview.stops_billing and customer else ()
        to_close = [invoice.id for invoice in preview.to_close]
        return Intent(
            steps=looking or _closing(to_close, preview.invoices),
            before={"holds": list(preview.held_by)},
            plan={"stops_billing": bool(looking), "to_close": to_close},
            columns={"stripe_subscription_id": subject.stripe_subscription_id},
        )

    def take_effect(self, event: SubscriptionEvent) -> None:
        """Access is closed from here on."""
        plan = event.plan or {}
        ends_at = plan["ends_at"]
        Hold.objects.create(
            organization=cast(Organization, event.organization),
            kind=plan["kind"],
            reason=event.reason or "",
            placed_by=event.actor,
            ends_at=datetime.datetime.fromtimestamp(ends_at, datetime.UTC) if ends_at else None,
            stops_billing=plan["stops_billing"],
        )

    def while_pending(self, event: SubscriptionEvent) -> str:
        """Access does not wait for Stripe."""
        return _(
            "Access is closed. Stripe has not confirmed yet what was decided about billing; it is being told until it"
            " does, so do not repeat it. This page will say."
        )

    def following(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Step | None:
        """After a look at the subscriptions their pauses, then the invoices, then a look at those Stripe refused.

        Raises StripeRefused where one of these is open still.
        """
        plan = event.plan or {}
        steps: list[Step] = []
        if plan["stops_billing"]:
            steps.append(look_step(event.stripe_customer_id or ""))
            steps += [pause_step(id_, Behavior.VOID) for id_ in unpaused(answers[0])]
        closing, closed = _closing(plan["to_close"], plan["invoices"]), answers[len(steps) :]
        refused = [
            (step, answer) for step, answer in zip(closing, closed, strict=False) if "refused" in answer
        ]
        steps += [*closing, *(_look_at(step) for step, _refusal in refused)]
        if len(answers) < len(steps):
            return steps[len(answers)]
        looked = closed[len(closing) :]
        for (_step, refusal), invoice in zip(refused, looked, strict=True):
            if invoice["status"] == "open":
                raise StripeRefused(refusal["refused"], f"{invoice['id']} was refused and is open")
        return None

    def find_outcome(self, event: SubscriptionEvent, step: OperationStep) -> Trace:
        """That a subscription is paused, whoever did it, or was by us, or has ended; that an invoice is closed."""
        if step.method == "GET":
            return Trace(None, still_agreed=True)
        thing = stripe_api.retrieve(_told_about(step.path))
        if thing["object"] == "subscription":
            is_over = thing["status"] in ENDED_STATUSES or bool(thing.get("pause_collection"))
            is_over = is_over or is_marked(thing, event, MARK)
        else:
            is_over = thing["status"] != "open"
        return Trace(thing if is_over else None, still_agreed=True)

    def remember(self, answer: StripeObject) -> StripeObject:
        """Of all subscriptions that were looked at, whether they are paused and by whom."""
        return remembered(answer)

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """Who lost access, and what Stripe did of what it was told."""
        plan = event.plan or {}
        write_on_hold(event)
        outcome = outcome_in_words(event)
        return Settlement(
            message=" ".join([_closed_in_words(plan), *outcome]),
            after={"holds": [*plan["held_by"], plan["kind"]], "outcome": outcome},
        )

    def retell(self, event: SubscriptionEvent) -> Told:
        """Which hold, until when, who lost access, and what Stripe did."""
        plan, after = event.plan or {}, event.after or {}
        kind, ends_at = Hold.Kind(plan["kind"]).label.lower(), from_unix(plan["ends_at"])
        done = _("suspended the organization (%(kind)s)") % {"kind": kind}
        if ends_at:
            done = _("suspended the organization (%(kind)s) until %(date)s") % {
                "kind": kind,
                "date": date_in_words(ends_at),
            }
        lost = _("other holds had closed access before")
        if not plan["held_by"]:
            lost = ngettext("%(n)d member lost access", "%(n)d members lost access", plan["members"]) % {
                "n": plan["members"]
            }
        billing = [] if plan["stops_billing"] else [_("Stripe goes on billing")]
        return Told(done, (lost, *billing, *after.get("outcome", ())))

    def fail(self, event: SubscriptionEvent, done: list[OperationStep], error: StripeError) -> Failure:
        """The suspension stands; that billing goes on all the same is for a person."""
        write_on_hold(event)
        said = [_closed_in_words(event.plan or {}), *outcome_in_words(event)]
        return Failure(
            " ".join([*said, str(error.message), _("Look at Stripe, and do there what is missing.")]),
            needs_a_person=True,
        )

    def sync_objects(self, event: SubscriptionEvent) -> list[str]:
        """Whatever Stripe was told about."""
        told = event.steps.filter(method="POST").values_list("path", flat=True)
        return [_told_about(path) for path in told]


def _held_already(unlifted: Iterable[Hold], kind: Hold.Kind) -> str | None:
    """That a hold of this kind is there, in a sentence saying whose; there is one of each kind at most."""
    hold = next((each for each in unlifted if each.kind == kind), None)
    if hold is None:
        return None
    if hold.ends_at and hold.ends_at <= timezone.now():
        return _(
            "The last suspension of this kind ended a moment ago. Nothing was changed; try again in a minute."
        )
    return _(
        "This organization is suspended for this already (%(kind)s), by %(who)s: “%(reason)s”. Nothing was changed."
        " Lift that hold first, or choose another kind."
    ) % {
        "kind": kind.label.lower(),
        "who": person_name(hold.placed_by) if hold.placed_by else _("the back office"),
        "reason": hold.reason,
    }


def _lifts_at_once(organization: Organization, preview: SuspendPreview) -> str | None:
    """Why a hold for non-payment would not last: it lifts by itself once nothing is overdue (billing/sync.py)."""
    if not organization.stripe_customer_id:
        return None
    if organization.billing_issue_since is None:
        return _(
            "Nothing is overdue, so a suspension for non-payment would lift by itself at once. Choose another kind."
        )
    if preview.to_close:
        return _(
            "Once its open invoices are voided or written off nothing is overdue, and a suspension for non-payment"
            " would lift by itself. Leave them to Stripe, or choose another kind."
        )
    return None


def _billed(subscription: StripeObject, standing: Standing) -> Billed:
    pausing = standing.pauses.get(subscription["id"])
    return Billed(
        id=subscription["id"],
        renews_at=None if subscription.get("cancel_at") else period_end(subscription),
        amount=recurring_amount(subscription),
        currency=subscription["currency"],
        is_paused=bool(subscription.get("pause_collection")),
        is_paused_by_us=standing.is_paused_by_suspension(subscription),
        paused_by=(pausing.actor_label or "") if pausing else "",
    )


def _closing(invoice_ids: list[str], how: str) -> tuple[Step, ...]:
    return tuple(_close(id_, how) for id_ in invoice_ids)


def _close(invoice_id: str, how: str) -> Step:
    """Close an open invoice; not required, since it may have been paid meanwhile."""
    if how == Invoices.VOID:
        name, path = "void", f"/v1/invoices/{invoice_id}/void"
    else:
        name, path = "write off", f"/v1/invoices/{invoice_id}/mark_uncollectible"
    return Step(f"{name} {invoice_id}", "POST", path, signed=False, required=False)


def _look_at(step: Step) -> Step:
    id_ = _told_about(step.path)
    return Step(f"look at {id_}", "GET", f"/v1/invoices/{id_}")


def _told_about(path: str) -> str:
    """The id of the subscription or the invoice that a step is about."""
    return path.split("/")[3]


def _closed_in_words(plan: dict[str, Any]) -> str:
    kind = Hold.Kind(plan["kind"]).label.lower()
    if plan["held_by"]:
        return _("Suspended (%(kind)s); other holds had closed access before.") % {"kind": kind}
    return ngettext(
        "Suspended (%(kind)s): %(n)d member has lost access.",
        "Suspended (%(kind)s): %(n)d members have lost access.",
        plan["members"],
    ) % {"kind": kind, "n": plan["members"]}
