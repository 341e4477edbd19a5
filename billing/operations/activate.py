"""Lift holds: members come in again once none is open, and Stripe bills again once none stops it.

Only a pause that a suspension of ours made is ended, and whether it is still there is looked up at Stripe before.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing import stripe_api
from billing.actors import person_name
from billing.errors import NotPermitted, OperationRefused, PreviewOutdated, StripeError
from billing.metrics import recurring_amount
from billing.models import OperationStep, SubscriptionEvent
from billing.one_look import read_once
from billing.operations.base import (
    Choices,
    Course,
    Failure,
    Intent,
    Preview,
    Settlement,
    Step,
    Told,
    Trace,
)
from billing.operations.collection import (
    LOOK,
    access_lock,
    find_outcome,
    is_paused_by_suspension,
    look_step,
    period_end,
    remembered,
    resuming_step,
)
from billing.operations.intent import in_progress, refuse_after
from billing.operations.standing import Standing, StandingOperation
from billing.operations.suspend import LEGAL_PERMISSION
from billing.stripe_api import StripeObject
from organizations.models import Hold, Organization
from organizations.querysets import HoldQuerySet


@dataclass(frozen=True)
class ActivateChoices(Choices):
    """Which of the open holds are lifted: by their keys, in ascending order, or every one."""

    holds: list[int] = field(default_factory=list)
    every: bool = False


@dataclass(frozen=True)
class HoldShown:
    """A hold as a preview names it."""

    id: int
    kind: str
    reason: str
    placed_by: str
    """Empty where our own jobs placed it."""
    stops_billing: bool


@dataclass(frozen=True)
class Resumed:
    """A subscription that is billed again; about `amount`, in minor units, is invoiced at `renews_at`."""

    id: str
    renews_at: datetime.datetime | None
    amount: int
    currency: str


@dataclass(frozen=True)
class ActivatePreview(Preview):
    """What lifting would do, as our own rows and the mirror tell."""

    lifted: tuple[HoldShown, ...]
    remaining: tuple[HoldShown, ...]
    members: int
    resumed: tuple[Resumed, ...]
    paused_by_others: int
    """Subscriptions whose collection somebody else paused, so that it stays so."""

    @property
    def opens(self) -> bool:
        """Whether members come in again."""
        return not self.remaining

    @property
    def resumes(self) -> bool:
        """Whether Stripe is to bill again, as far as it had stopped for a hold."""
        stopped = any(hold.stops_billing for hold in self.lifted) or bool(self.resumed)
        return stopped and not any(hold.stops_billing for hold in self.remaining)


# What else than a colleague places and lifts holds.
_HOLD_TYPES = ("hold.placed", "hold.lifted")


@read_once
def is_held(organization_id: int) -> bool:
    """Whether a hold keeps an organization's members out now."""
    return Hold.objects.open().filter(organization=organization_id).exists()


class _Resuming(Course):
    """Ends the pauses of suspensions, one subscription after the other, after a look at Stripe for which they are."""

    insists = True

    def following(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Step | None:
        """After the look, each subscription that a suspension paused."""
        return resuming_step(answers)

    def find_outcome(self, event: SubscriptionEvent, step: OperationStep) -> Trace:
        """By the mark, or by there being no pause any more."""
        return find_outcome(event, step, is_paused_by_suspension)

    def remember(self, answer: StripeObject) -> StripeObject:
        """Of all subscriptions that were looked at, whether they are paused and by whom."""
        return remembered(answer)

    def sync_objects(self, event: SubscriptionEvent) -> list[str]:
        """The subscriptions that are billed again."""
        return _resumed(event)


class ActivateOrganization(_Resuming, StandingOperation[ActivateChoices, ActivatePreview]):
    """Lift holds."""

    type = "activate_organization"
    label = gettext_lazy("Lifting of holds")
    attempt = gettext_lazy("lift holds")
    permission = "organizations.suspend_organization"
    choices_class = ActivateChoices
    calls_stripe = False  # only where billing resumes, and then the preview asks for a key

    def refuse_reason(self, subject: Organization) -> str | None:
        """Nothing to lift, or somebody else at it."""
        if not is_held(subject.pk):
            return _("No hold is open, so members have access already.")
        return in_progress(access_lock(subject))

    def preview_of(
        self, subject: Organization, standing: Standing, choices: ActivateChoices, at: int
    ) -> ActivatePreview:
        """Which holds remain, and whether Stripe bills again."""
        everything = [_shown(hold) for hold in standing.open_holds]
        lifted = tuple(hold for hold in everything if choices.every or hold.id in choices.holds)
        if not everything:
            raise OperationRefused(_("No hold is open, so members have access already. Nothing was changed."))
        if not lifted:
            raise OperationRefused(_("Choose at least one hold to lift."))
        if not choices.every and len(lifted) != len(choices.holds):
            raise OperationRefused(
                _("One of these holds is open no longer. Nothing was changed; look at those that are.")
            )
        remaining = tuple(hold for hold in everything if hold not in lifted)
        paused = [each for each in standing.subscriptions if each.get("pause_collection")]
        ours = [each for each in paused if standing.is_paused_by_suspension(each)]
        is_stopped = any(hold.stops_billing for hold in remaining)
        preview = ActivatePreview(
            lifted=lifted,
            remaining=remaining,
            members=standing.members,
            resumed=() if is_stopped else tuple(_resumption(each) for each in ours),
            paused_by_others=len(paused) - len(ours),
        )
        if preview.resumes and subject.stripe_customer_id and (problem := stripe_api.configuration_problem()):
            raise OperationRefused(problem)
        return preview

    def prepare(
        self, subject: Organization, choices: ActivateChoices, preview: ActivatePreview, actor: User
    ) -> Intent:
        """Look at Stripe first, where billing is to resume; which pauses are ended is told by that."""
        if any(hold.kind == Hold.Kind.LEGAL for hold in preview.lifted) and not actor.has_perm(
            LEGAL_PERMISSION
        ):
            raise NotPermitted(_("You may not lift legal holds. Nothing was changed."), LEGAL_PERMISSION)
        shown = {hold.id for hold in (*preview.lifted, *preview.remaining)}
        if set(subject.open_holds().values_list("pk", flat=True)) != shown:
            newest = SubscriptionEvent.objects.filter(organization=subject, type__in=_HOLD_TYPES)
            refuse_after(newest.exclude(message=None).order_by("-pk").first(), actor, choices)
            raise PreviewOutdated(
                _("The holds changed since this was shown. Nothing was changed by you; here they are anew.")
            )
        customer = subject.stripe_customer_id
        return Intent(
            steps=(look_step(customer),) if preview.resumes and customer else (),
            before={"holds": [hold.kind for hold in (*preview.lifted, *preview.remaining)]},
            columns={"stripe_subscription_id": subject.stripe_subscription_id},
        )

    def take_effect(self, event: SubscriptionEvent) -> None:
        """Access is open from here on, unless another hold remains."""
        lifted = [hold["id"] for hold in (event.plan or {})["lifted"]]
        Hold.objects.filter(pk__in=lifted).update(lifted_at=timezone.now(), lifted_by=event.actor)

    def while_pending(self, event: SubscriptionEvent) -> str:
        """Access does not wait for Stripe."""
        return _(
            "%(lifted)s Stripe has not confirmed yet that it bills again; it is being told until it does, so do not"
            " repeat it. This page will say."
        ) % {"lifted": _lifted_in_words(event)}

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """Which holds were lifted, who remains, and what Stripe bills again."""
        billing = list(filter(None, [_billing_in_words(event)]))
        return Settlement(
            message=" ".join([_lifted_in_words(event), *billing]),
            after={"holds": [hold["kind"] for hold in (event.plan or {})["remaining"]], "outcome": billing},
        )

    def retell(self, event: SubscriptionEvent) -> Told:
        """Which holds, who has access again, and whether Stripe bills."""
        plan, after = event.plan or {}, event.after or {}
        done = ngettext(
            "lifted a hold (%(kinds)s)", "lifted %(n)d holds (%(kinds)s)", len(plan["lifted"])
        ) % {"n": len(plan["lifted"]), "kinds": _kinds(plan["lifted"])}
        if plan["remaining"]:
            access = _("access stays closed by: %(holds)s") % {"holds": _kinds(plan["remaining"])}
        else:
            access = ngettext(
                "%(n)d member has access again", "%(n)d members have access again", plan["members"]
            ) % {"n": plan["members"]}
        return Told(done, (access, *after.get("outcome", ())))

    def fail(self, event: SubscriptionEvent, done: list[OperationStep], error: StripeError) -> Failure:
        """Access is open; that Stripe does not bill is for a person."""
        return Failure(f"{_lifted_in_words(event)} {_not_resumed(error)}", needs_a_person=True)


class ResumeBilling(_Resuming):
    """What our own job does once a hold that stopped billing has come to its end."""

    type = "resume_billing"
    label = gettext_lazy("Suspension ended, billing resumed")

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """The reason is why the hold ended."""
        return Settlement(message=f"{event.reason} {_billing_in_words(event)}")

    def fail(self, event: SubscriptionEvent, done: list[OperationStep], error: StripeError) -> Failure:
        """Nobody waits for this, so somebody must be told."""
        return Failure(f"{event.reason} {_not_resumed(error)}", needs_a_person=True)


def stopping(holds: HoldQuerySet) -> HoldQuerySet:
    """Those of the open holds during which Stripe shall not bill."""
    return holds.open().filter(stops_billing=True)


def _shown(hold: Hold) -> HoldShown:
    return HoldShown(
        id=hold.pk,
        kind=hold.kind,
        reason=hold.reason,
        placed_by=person_name(hold.placed_by) if hold.placed_by else "",
        stops_billing=hold.stops_billing,
    )


def _resumption(subscription: StripeObject) -> Resumed:
    return Resumed(
        id=subscription["id"],
        renews_at=None if subscription.get("cancel_at") else period_end(subscription),
        amount=recurring_amount(subscription),
        currency=subscription["currency"],
    )


def _resumed(event: SubscriptionEvent) -> list[str]:
    steps = event.steps.exclude(name=LOOK).order_by("position")
    return [path.rsplit("/", 1)[1] for path in steps.values_list("path", flat=True)]


def _lifted_in_words(event: SubscriptionEvent) -> str:
    plan = event.plan or {}
    lifted, remaining = (_kinds(plan[which]) for which in ("lifted", "remaining"))
    if remaining:
        return _("Lifted: %(lifted)s. Access stays closed by: %(remaining)s.") % {
            "lifted": lifted,
            "remaining": remaining,
        }
    return ngettext(
        "Lifted: %(lifted)s. %(n)d member has access again.",
        "Lifted: %(lifted)s. %(n)d members have access again.",
        plan["members"],
    ) % {"lifted": lifted, "n": plan["members"]}


def _kinds(holds: list[dict[str, str]]) -> str:
    return ", ".join(str(Hold.Kind(hold["kind"]).label).lower() for hold in holds)


def _billing_in_words(event: SubscriptionEvent) -> str:
    if not event.steps.exists():
        return ""
    if _resumed(event):
        return _("Stripe bills again.")
    return _("There was no pause of ours at Stripe any more, so nothing was changed there.")


def _not_resumed(error: StripeError) -> str:
    return _(
        "Billing could not be resumed at Stripe; look there, or resume collection from here. %(why)s"
    ) % {"why": error.message}
