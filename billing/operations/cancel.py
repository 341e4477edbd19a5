"""Cancel: at the end of the period, or now with what was previewed of its money."""

from __future__ import annotations

import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import stripe_api
from billing.errors import ObjectMissing, StripeError
from billing.inbox import EVERYTHING
from billing.models import OperationStep, SubscriptionEvent
from billing.money import format_money
from billing.operations.base import Failure, Intent, Settlement, Step, Told, Trace
from billing.operations.cancel_preview import (
    CancelChoices,
    CancelPreview,
    Feedback,
    When,
    preview_cancellation,
)
from billing.operations.subscription import (
    SubscriptionOperation,
    confirmed,
    date_in_words,
    fingerprint,
    is_marked,
)
from billing.projection import from_unix
from billing.stripe_api import StripeObject
from organizations.models import Organization
from organizations.querysets import ENDED_STATUSES

RELEASE = "release"
CANCEL = "cancel"


class CancelSubscription(SubscriptionOperation[CancelChoices, CancelPreview]):
    """End a subscription. A schedule of ours is released first, for Stripe cancels nothing that a schedule manages."""

    type = "cancel_subscription"
    label = gettext_lazy("Cancellation")
    attempt = gettext_lazy("cancel a subscription")
    permission = "organizations.cancel_subscription"
    choices_class = CancelChoices
    # What is credited was agreed to for as long as its preview is valid.
    resend_within = datetime.timedelta(seconds=settings.PREVIEW_MAX_AGE_SECONDS)

    def preview(self, subject: Organization, choices: CancelChoices, at: int) -> CancelPreview:
        """What is credited and invoiced, by Stripe's own preview, and what stays open."""
        return preview_cancellation(subject, self.read(subject, choices), choices, at)

    def prepare(
        self, subject: Organization, choices: CancelChoices, preview: CancelPreview, actor: User
    ) -> Intent:
        """The release, where there is something to release, and the end of the period; see `following` for "now"."""
        steps = []
        if preview.schedule_id:
            path = f"/v1/subscription_schedules/{preview.schedule_id}/release"
            steps.append(Step(RELEASE, "POST", path, signed=False))
        if not preview.is_now:
            params: dict[str, Any] = {"cancel_at_period_end": True}
            if told := _told(choices.feedback, choices.comment):
                params["cancellation_details"] = told
            steps.append(Step("update", "POST", f"/v1/subscriptions/{preview.subscription_id}", params))
        return Intent(
            steps=tuple(steps),
            before={
                "status": preview.status,
                "cancel_at": preview.scheduled_end.isoformat() if preview.scheduled_end else None,
                "recurring": preview.recurring,
            },
            columns={
                "stripe_subscription_id": preview.subscription_id,
                "stripe_object_id": preview.subscription_id,
                "previous_status": preview.status,
                "currency": preview.currency,
            },
        )

    def following(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Step | None:
        """The end at once.

        Its endpoint takes neither an idempotency key nor metadata. A second one is refused, so it ends nothing twice;
        and our mark goes into the comment, the one text it takes, so that our cancellation is told from anybody else's.
        """
        plan = event.plan or {}
        if plan["when"] != When.NOW or len(answers) > bool(plan["schedule_id"]):
            return None
        choices = CancelChoices.from_dict(plan["choices"])
        comment = f"{choices.comment} ({_mark(event)})" if choices.comment else _mark(event)
        return Step(
            CANCEL,
            "DELETE",
            f"/v1/subscriptions/{plan['subscription_id']}",
            {
                "prorate": choices.prorate,
                "invoice_now": choices.invoice_now,
                "cancellation_details": _told(choices.feedback, comment),
                "expand": ["latest_invoice"],
            },
        )

    def find_outcome(self, event: SubscriptionEvent, step: OperationStep) -> Trace:
        """A released schedule says so; an update carries our mark in the metadata, an end in its comment."""
        plan = event.plan or {}
        path = f"/v1/subscriptions/{plan['subscription_id']}"
        subscription = stripe_api.call("GET", path, expand=["latest_invoice"])
        done: StripeObject | None = subscription
        if step.name == RELEASE:
            schedule = stripe_api.call("GET", step.path.removesuffix("/release"))
            done = schedule if schedule["status"] == "released" else None
        elif step.name == CANCEL:
            done = subscription if _is_ended_by(subscription, event) else None
        elif not is_marked(subscription, event):
            done = None
        # The release is our own first step, so that it is gone is no news.
        as_agreed = {**subscription, "schedule": subscription.get("schedule") or plan["schedule_id"] or None}
        return Trace(answer=done, still_agreed=fingerprint(as_agreed) == plan.get("fingerprint"))

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """Stripe's last answer is the subscription, set to end or ended."""
        plan, subscription = event.plan or {}, answers[-1]
        said, columns = [], {"status": subscription["status"]}
        after = {key: subscription.get(key) for key in ("status", "cancel_at", "ended_at")}
        if plan["when"] == When.NOW:
            said.append(_("The subscription was cancelled and has ended."))
            invoice = _final_invoice(plan, subscription)
            if invoice:
                said.append(_outcome(invoice))
                after["final_invoice"] = invoice["id"]
                after["final_invoice_status"] = invoice["status"]
                columns |= {"amount": invoice["total"], "stripe_invoice_id": invoice["id"]}
            elif plan["credited"]:
                said.append(_("The credit for unused time waits at Stripe for an invoice."))
        else:
            end = from_unix(subscription.get("cancel_at"))
            said.append(
                _("The subscription is set to end on %(date)s.")
                % {"date": date_in_words(end) if end else "?"}
            )
        if plan["planned_seats"]:
            said.append(
                _("The planned change to %(seats)s seats was withdrawn.") % {"seats": plan["planned_seats"]}
            )
        said.append(confirmed())
        return Settlement(message=" ".join(said), after=after, columns=columns)

    def retell(self, event: SubscriptionEvent) -> Told:
        """When it ends, what the customer said, and the money: credited, invoiced, still owed."""
        plan, after = event.plan or {}, event.after or {}
        is_now = plan["when"] == When.NOW
        end = from_unix(after.get("cancel_at"))
        done = _("cancelled the subscription at once")
        if not is_now:
            done = _("set the subscription to end on %(date)s") % {"date": date_in_words(end) if end else "?"}
        further = (
            [_said(plan["choices"]), *_money(event, plan, after)] if is_now else [_said(plan["choices"])]
        )
        owed: dict[str, int] = {}
        for each in plan["unpaid"]:
            owed[each["currency"]] = owed.get(each["currency"], 0) + each["amount"]
        further += [
            _("%(sum)s of earlier invoices still owed") % {"sum": format_money(amount, currency)}
            for currency, amount in owed.items()
            if amount
        ]
        if plan["planned_seats"]:
            further.append(
                _("the planned change to %(seats)s seats was withdrawn") % {"seats": plan["planned_seats"]}
            )
        return Told(done, tuple(filter(None, further)))

    def fail(self, event: SubscriptionEvent, done: list[OperationStep], error: StripeError) -> Failure:
        """A release without the cancellation leaves planned seats withdrawn, which somebody must decide about."""
        why = str(error.message)
        if isinstance(error, ObjectMissing):
            why = _(
                "Stripe says that this subscription has ended already: somebody else was a moment faster."
            )
        if done and (event.plan or {})["planned_seats"]:
            return Failure(
                _(
                    "The planned change of seats was withdrawn, but the subscription was not cancelled: %(why)s"
                )
                % {"why": why},
                needs_a_person=True,
            )
        return Failure(why)

    def sync_objects(self, event: SubscriptionEvent) -> list[str]:
        """An end at once changes the subscription's invoices as well."""
        return [EVERYTHING] if (event.plan or {})["when"] == When.NOW else super().sync_objects(event)


def _mark(event: SubscriptionEvent) -> str:
    return f"operation {event.uuid}"


def _told(feedback: str, comment: str) -> dict[str, str]:
    """What the customer said, where something was said."""
    return {name: text for name, text in (("feedback", feedback), ("comment", comment)) if text}


def _said(choices: dict[str, Any]) -> str:
    """What the customer said, for the ledger; empty where nothing."""
    feedback, comment = choices["feedback"], choices["comment"]
    words = {"feedback": Feedback(feedback).label.lower() if feedback else "", "comment": comment}
    if feedback and comment:
        return _("the customer said: %(feedback)s, “%(comment)s”") % words
    if feedback:
        return _("the customer said: %(feedback)s") % words
    return _("the customer said: “%(comment)s”") % words if comment else ""


def _money(event: SubscriptionEvent, plan: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What an end at once credited and invoiced."""
    said = []
    if plan["credited"]:
        said.append(
            _("%(sum)s credited for unused time") % {"sum": format_money(-plan["credited"], plan["currency"])}
        )
    elif not plan["choices"]["prorate"]:
        said.append(_("nothing credited for unused time"))
    if after.get("final_invoice") and event.amount is not None:
        words = {"sum": format_money(abs(event.amount), plan["currency"])}
        if event.amount < 0:
            said.append(_("final invoice: %(sum)s to the customer's balance") % words)
        elif after.get("final_invoice_status") == "open":
            said.append(_("final invoice of %(sum)s still owed") % words)
        else:
            said.append(_("final invoice of %(sum)s") % words)
    return said


def _is_ended_by(subscription: StripeObject, event: SubscriptionEvent) -> bool:
    comment = (subscription.get("cancellation_details") or {}).get("comment") or ""
    return subscription["status"] in ENDED_STATUSES and _mark(event) in comment


def _final_invoice(plan: dict[str, Any], subscription: StripeObject) -> StripeObject | None:
    """The invoice that the end brought; None where it brought none."""
    latest = subscription.get("latest_invoice")
    if not plan["is_invoiced"] or not isinstance(latest, dict) or latest["id"] == plan["latest_invoice"]:
        return None
    return latest


def _outcome(invoice: StripeObject) -> str:
    """What became of the final invoice."""
    words = {
        "number": invoice.get("number") or invoice["id"],
        "sum": format_money(abs(invoice["total"]), invoice["currency"]),
        "due": format_money(invoice["amount_due"], invoice["currency"]),
    }
    if invoice["total"] < 0:
        return _("Final invoice %(number)s credited %(sum)s to the customer's balance.") % words
    if invoice["status"] == "paid":
        if invoice["amount_due"] == invoice["total"]:
            return _("Final invoice %(number)s came to %(sum)s, which was charged.") % words
        if not invoice["amount_due"]:
            return (
                _(
                    "Final invoice %(number)s came to %(sum)s, which the customer's balance paid; nothing was charged."
                )
                % words
            )
        return (
            _("Final invoice %(number)s came to %(sum)s; %(due)s was charged after the customer's balance.")
            % words
        )
    if invoice["collection_method"] == "send_invoice":
        return _("Final invoice %(number)s over %(sum)s goes to the customer by mail.") % words
    return (
        _("Final invoice %(number)s over %(sum)s was not paid, and Stripe does not try again by itself.")
        % words
    )
