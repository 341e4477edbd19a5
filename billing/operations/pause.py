"""Pause and resume the collection of a subscription's invoices. Access and the subscription stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing.errors import OperationRefused
from billing.models import OperationStep, SubscriptionEvent
from billing.money import format_money
from billing.operations.base import Intent, Settlement, Step, Told, Trace
from billing.operations.collection import (
    Behavior,
    Due,
    Renewal,
    access_lock,
    find_outcome,
    invoices_at_stripe,
    is_paused_by_suspension,
    look_step,
    pause_in_words,
    pause_step,
    pausing_event,
    remembered,
    renewals,
    resume_step,
    upcoming_amount,
)
from billing.operations.intent import in_progress
from billing.operations.subscription import (
    SubscriptionChoices,
    SubscriptionOperation,
    SubscriptionPreview,
    confirmed,
    date_in_words,
    fingerprint,
    live_subscriptions,
)
from billing.projection import from_unix
from billing.stripe_api import StripeObject
from organizations.models import Organization


@dataclass(frozen=True)
class PauseChoices(SubscriptionChoices):
    """What becomes of invoices meanwhile, and until when (unix seconds; None until somebody resumes)."""

    behavior: str = Behavior.KEEP_AS_DRAFT.value
    resumes_at: int | None = None


@dataclass(frozen=True)
class PausePreview(SubscriptionPreview):
    """What pausing would do. Amounts in minor units of `currency`; `resumes_at` in unix seconds."""

    behavior: str
    resumes_at: int | None
    currency: str
    renewals: tuple[Renewal, ...]
    """The invoices that will not be collected; only the next where nobody said until when."""
    has_more_renewals: bool
    open_invoices: tuple[Due, ...]
    """Issued before, so that Stripe goes on collecting them."""
    drafts: tuple[Due, ...]
    """Made before, and not issued yet."""


@dataclass(frozen=True)
class ResumePreview(SubscriptionPreview):
    """What resuming would do. Amounts in minor units of `currency`."""

    pause: dict[str, Any]
    """The pause that ends, as Stripe has it."""
    paused_by: str
    """Who of us paused; empty where it was done elsewhere."""
    is_of_suspension: bool
    currency: str
    next_invoice: Renewal | None
    drafts: tuple[Due, ...]
    """What waited; nobody issues it by itself."""


class _CollectionOperation[ChoicesT: SubscriptionChoices, PreviewT: SubscriptionPreview](
    SubscriptionOperation[ChoicesT, PreviewT]
):
    """An operation on the pause of one subscription's collection."""

    permission = "organizations.pause_subscription"

    def lock_of(self, organization: Organization, subscription_id: str) -> str:
        """The lock of whoever pauses, resumes, suspends or lifts holds."""
        return access_lock(organization)

    def refuse_reason(self, subject: Organization) -> str | None:
        """Where there are several live subscriptions, one that it can be done to is enough."""
        if any(self.unfit(each) is None for each in live_subscriptions(subject)):
            return in_progress(access_lock(subject))
        return super().refuse_reason(subject)

    def find_outcome(self, event: SubscriptionEvent, step: OperationStep) -> Trace:
        """By the mark of a pause; and that the pause which was to end is still the one that was shown."""
        agreed = (event.plan or {}).get("pause")
        return find_outcome(event, step, lambda now: (now.get("pause_collection") or None) == agreed)


class PauseCollection(_CollectionOperation[PauseChoices, PausePreview]):
    """Stop collecting, while the subscription and its members go on."""

    type = "pause_collection"
    label = gettext_lazy("Pause of collection")
    attempt = gettext_lazy("pause collection")
    choices_class = PauseChoices

    def unfit(self, subscription: StripeObject) -> str | None:
        """Ended, or paused already."""
        if reason := super().unfit(subscription):
            return reason
        pause = subscription.get("pause_collection")
        if not pause:
            return None
        until = from_unix(pause.get("resumes_at"))
        if until is None:
            return _(
                "Collection is paused already, until somebody resumes it. Resume it first to pause it anew."
            )
        return _("Collection is paused already, until %(date)s. Resume it first to pause it anew.") % {
            "date": date_in_words(until)
        }

    def preview(self, subject: Organization, choices: PauseChoices, at: int) -> PausePreview:
        """Which invoices will not be collected, and which go on being collected, as Stripe has them."""
        if choices.resumes_at is not None and choices.resumes_at <= at:
            raise OperationRefused(_("The day on which collection resumes must be in the future."))
        subscription = self.read(subject, choices)
        to_come, has_more = renewals(
            subscription, upcoming_amount(subscription), from_unix(choices.resumes_at)
        )
        return PausePreview(
            subscription_id=subscription["id"],
            fingerprint=fingerprint(subscription),
            behavior=Behavior(choices.behavior).value,
            resumes_at=choices.resumes_at,
            currency=subscription["currency"],
            renewals=to_come,
            has_more_renewals=has_more,
            open_invoices=invoices_at_stripe(subscription["id"], "open"),
            drafts=invoices_at_stripe(subscription["id"], "draft"),
        )

    def prepare(
        self, subject: Organization, choices: PauseChoices, preview: PausePreview, actor: User
    ) -> Intent:
        """One update of the subscription."""
        behavior = Behavior(preview.behavior)
        return Intent(
            steps=(pause_step(preview.subscription_id, behavior, preview.resumes_at),),
            before={"pause_collection": None},
            columns=_columns(preview),
        )

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """Stripe's answer is the subscription with its pause."""
        plan = event.plan or {}
        # Found by its mark after an unknown outcome, the subscription may be resumed again by now.
        pause = answers[0].get("pause_collection") or plan
        return Settlement(
            message=_("Collection paused. %(what)s; members keep their access. %(confirmed)s")
            % {"what": pause_in_words(pause), "confirmed": confirmed()},
            after={"pause_collection": answers[0].get("pause_collection")},
            columns={"status": answers[0]["status"]},
        )

    def retell(self, event: SubscriptionEvent) -> Told:
        """What becomes of invoices, and until when."""
        plan, after = event.plan or {}, event.after or {}
        return Told(_("paused collection"), (pause_in_words(after["pause_collection"] or plan),))


class ResumeCollection(_CollectionOperation[SubscriptionChoices, ResumePreview]):
    """Collect again, whoever paused."""

    type = "resume_collection"
    label = gettext_lazy("Resumption of collection")
    attempt = gettext_lazy("resume collection")
    choices_class = SubscriptionChoices

    def unfit(self, subscription: StripeObject) -> str | None:
        """Ended, or not paused."""
        if reason := super().unfit(subscription):
            return reason
        if subscription.get("pause_collection"):
            return None
        return _("Collection is not paused, so there is nothing to resume.")

    def preview(self, subject: Organization, choices: SubscriptionChoices, at: int) -> ResumePreview:
        """When the next invoice comes, and what drafts waited, as Stripe has them."""
        subscription = self.read(subject, choices)
        to_come, _has_more = renewals(subscription, upcoming_amount(subscription), None)
        return ResumePreview(
            subscription_id=subscription["id"],
            fingerprint=fingerprint(subscription),
            pause=subscription["pause_collection"],
            paused_by=_who(subscription),
            is_of_suspension=is_paused_by_suspension(subscription),
            currency=subscription["currency"],
            next_invoice=next(iter(to_come), None),
            drafts=invoices_at_stripe(subscription["id"], "draft"),
        )

    def prepare(
        self, subject: Organization, choices: SubscriptionChoices, preview: ResumePreview, actor: User
    ) -> Intent:
        """One update of the subscription."""
        return Intent(
            steps=(resume_step(preview.subscription_id),),
            before={"pause_collection": preview.pause},
            columns=_columns(preview),
        )

    def following(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Step | None:
        """After what a suspension paused, a look at whether it has paused another."""
        is_last = len(answers) == 1 and (event.plan or {})["is_of_suspension"]
        return look_step(event.stripe_customer_id or "") if is_last else None

    def remember(self, answer: StripeObject) -> StripeObject:
        """Of all subscriptions that were looked at, whether they are paused and by whom."""
        return remembered(answer)

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """Stripe collects again; what holds say about billing stays so while they stop it elsewhere."""
        plan = event.plan or {}
        said = []
        if plan["is_of_suspension"] and event.organization:
            stopped = [each for each in answers[1]["data"] if is_paused_by_suspension(each)]
            if stopped:
                said.append(
                    ngettext(
                        "%(n)d other subscription stays paused by the suspension, until its hold ends.",
                        "%(n)d other subscriptions stay paused by the suspension, until its hold ends.",
                        len(stopped),
                    )
                    % {"n": len(stopped)}
                )
            else:
                event.organization.holds.filter(lifted_at__isnull=True).update(stops_billing=False)
        if waiting := plan["drafts"]:
            said.append(
                ngettext(
                    "%(n)d draft (%(sum)s) still waits for somebody to issue it at Stripe.",
                    "%(n)d drafts (%(sum)s) still wait for somebody to issue them at Stripe.",
                    len(waiting),
                )
                % {
                    "n": len(waiting),
                    "sum": format_money(sum(draft["amount"] for draft in waiting), plan["currency"]),
                }
            )
        return Settlement(
            message=" ".join([_("Collection resumed."), *said, confirmed()]),
            after={"pause_collection": answers[0].get("pause_collection"), "outcome": said},
            columns={"status": answers[0]["status"]},
        )

    def retell(self, event: SubscriptionEvent) -> Told:
        """Whose pause it was, and what waits still."""
        plan, after = event.plan or {}, event.after or {}
        whose = [_("it was paused by %(who)s") % {"who": plan["paused_by"]}] if plan["paused_by"] else []
        return Told(_("resumed collection"), (*whose, *after.get("outcome", ())))


def _columns(preview: SubscriptionPreview) -> dict[str, Any]:
    return {
        "stripe_subscription_id": preview.subscription_id,
        "stripe_object_id": preview.subscription_id,
    }


def _who(subscription: StripeObject) -> str:
    event = pausing_event(subscription)
    return (event.actor_label or "") if event else ""
