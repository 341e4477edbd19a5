"""Reactivate: take a planned end back, or begin anew where the subscription has ended."""

from __future__ import annotations

import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from billing import stripe_api
from billing.inbox import EVERYTHING
from billing.models import OperationStep, SubscriptionEvent
from billing.money import format_money
from billing.operations.base import Intent, Settlement, Step, Told, Trace
from billing.operations.intent import in_progress
from billing.operations.reactivate_preview import (
    How,
    ReactivateChoices,
    ReactivatePreview,
    all_at_stripe,
    not_restored,
    preview_new,
    preview_undo,
)
from billing.operations.subscription import (
    SubscriptionOperation,
    confirmed,
    date_in_words,
    is_marked,
    live_subscriptions,
)
from billing.projection import from_unix
from billing.stripe_api import StripeObject
from organizations.models import Organization
from organizations.querysets import ENDED_STATUSES

# In the metadata of a new subscription: which ended one it continues. Unlike our mark, no later operation replaces it.
CONTINUES = "continues"


class ReactivateSubscription(SubscriptionOperation[ReactivateChoices, ReactivatePreview]):
    """Undo a scheduled cancellation; for an ended subscription make a new one, with its plan and seats."""

    type = "reactivate_subscription"
    label = gettext_lazy("Reactivation")
    attempt = gettext_lazy("reactivate a subscription")
    permission = "organizations.reactivate_subscription"
    choices_class = ReactivateChoices
    # What is charged was agreed to for as long as its preview is valid.
    resend_within = datetime.timedelta(seconds=settings.PREVIEW_MAX_AGE_SECONDS)

    def lock_key(self, subject: Organization, choices: ReactivateChoices) -> str:
        """A change of one subscription, or, where one is made, of what the customer has."""
        if choices.how == How.NEW:
            return _customer_lock(subject)
        return super().lock_key(subject, choices)

    def refuse_reason(self, subject: Organization) -> str | None:
        """Nothing is set to end and nothing has ended; where one of several is set to end, the page asks which."""
        live = live_subscriptions(subject)
        if len(live) > 1 and any(self.unfit(each) is None for each in live):
            return None
        return super().refuse_reason(subject) or in_progress(_customer_lock(subject))

    def unfit(self, subscription: StripeObject) -> str | None:
        """Goes on anyway, or a schedule made at Stripe ends it."""
        if subscription["status"] in ENDED_STATUSES:
            return None
        if not subscription.get("cancel_at"):
            return _("Nothing to reactivate: this subscription is not set to end.")
        if subscription.get("schedule"):
            return _(
                "A schedule at Stripe manages this subscription and says when it ends. Change the schedule at Stripe."
            )
        return None

    def preview(self, subject: Organization, choices: ReactivateChoices, at: int) -> ReactivatePreview:
        """The next invoice, or the first one of a new subscription, by Stripe's own preview."""
        subscription = self.read(subject, choices)
        if choices.how == How.NEW:
            return preview_new(subject, subscription)
        return preview_undo(subject, subscription, at)

    def prepare(
        self, subject: Organization, choices: ReactivateChoices, preview: ReactivatePreview, actor: User
    ) -> Intent:
        """One update, or one new subscription that names the one it continues."""
        before = {
            "status": preview.status,
            "ends_at": preview.ends_at.isoformat() if preview.ends_at else None,
        }
        columns: dict[str, Any] = {"previous_status": preview.status, "currency": preview.currency}
        if preview.is_new:
            params = {
                **preview.params,
                "metadata": {CONTINUES: preview.subscription_id},
                "expand": ["latest_invoice"],
            }
            step = Step("create", "POST", "/v1/subscriptions", params)
        else:
            step = Step("update", "POST", f"/v1/subscriptions/{preview.subscription_id}", preview.params)
            columns |= dict.fromkeys(("stripe_subscription_id", "stripe_object_id"), preview.subscription_id)
        return Intent(steps=(step,), before=before, columns=columns)

    def find_outcome(self, event: SubscriptionEvent, step: OperationStep) -> Trace:
        """The new subscription is among the customer's, and carries our mark or, since that, names the ended one."""
        plan = event.plan or {}
        if plan["how"] != How.NEW:
            return super().find_outcome(event, step)
        everything = all_at_stripe(event.stripe_customer_id or "")
        new = [each for each in everything if each["id"] not in plan["known"]]
        made = next((each for each in new if is_marked(each, event)), None) or next(
            (each for each in new if _continues(each, plan["subscription_id"])), None
        )
        if made is not None:
            made = stripe_api.call("GET", f"/v1/subscriptions/{made['id']}", expand=["latest_invoice"])
        return Trace(answer=made, still_agreed=all(each["status"] in ENDED_STATUSES for each in everything))

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """Stripe's answer is the subscription that goes on, or the new one with its first invoice."""
        plan, subscription = event.plan or {}, answers[0]
        columns: dict[str, Any] = {"status": subscription["status"]}
        after: dict[str, Any] = {"status": subscription["status"], "subscription": subscription["id"]}
        if plan["how"] == How.NEW:
            invoice = subscription["latest_invoice"]
            said = _began(plan, subscription, invoice)
            after |= {"invoice": invoice["id"], "due": invoice["amount_due"]}
            columns |= {
                "stripe_subscription_id": subscription["id"],
                "stripe_object_id": subscription["id"],
                "stripe_invoice_id": invoice["id"],
                "amount": invoice["total"],
                "quantity": plan["seats"],
            }
        else:
            ends = min(item["current_period_end"] for item in subscription["items"]["data"])
            said = _("The cancellation was undone. The subscription goes on, and renews on %(date)s.") % {
                "date": date_in_words(from_unix(ends) or timezone.now())
            }
        said = " ".join([said, *not_restored(plan.get("withdrawn_seats")), confirmed()])
        return Settlement(message=said, after=after, columns=columns)

    def retell(self, event: SubscriptionEvent) -> Told:
        """What goes on, or what was begun and invoiced."""
        plan = event.plan or {}
        # Rows of before these were looked for do not have it.
        withdrawn = plan.get("withdrawn_seats")
        lost = (
            [
                ngettext(
                    "the change to %(n)d seat that the cancellation withdrew was not restored",
                    "the change to %(n)d seats that the cancellation withdrew was not restored",
                    withdrawn,
                )
                % {"n": withdrawn}
            ]
            if withdrawn
            else []
        )
        if plan["how"] != How.NEW:
            return Told(_("undid the cancellation of the subscription"), tuple(lost))
        words = {"plan": plan["plan"], "seats": plan["seats"]}
        done = _("began a new subscription (%(plan)s)") % words
        if plan["seats"] is not None:
            done = (
                ngettext(
                    "began a new subscription (%(plan)s, %(seats)s seat)",
                    "began a new subscription (%(plan)s, %(seats)s seats)",
                    plan["seats"],
                )
                % words
            )
        return Told(done, (*_paid(event), *lost))

    def sync_objects(self, event: SubscriptionEvent) -> list[str]:
        """A new subscription has an invoice and a charge."""
        return [EVERYTHING] if (event.plan or {})["how"] == How.NEW else super().sync_objects(event)


def _customer_lock(organization: Organization) -> str:
    return f"subscriptions-of:{organization.stripe_customer_id}"


def _continues(subscription: StripeObject, ended: str) -> bool:
    return (subscription.get("metadata") or {}).get(CONTINUES) == ended


def _began(plan: dict[str, Any], subscription: StripeObject, invoice: StripeObject) -> str:
    """What was made, and what it cost."""
    words = {
        "id": subscription["id"],
        "plan": plan["plan"],
        "seats": plan["seats"],
        "sum": format_money(invoice["total"], invoice["currency"]),
        "due": format_money(invoice["amount_due"], invoice["currency"]),
    }
    made = _("A new subscription %(id)s was made: %(plan)s, %(seats)s seats.") % words
    if plan["seats"] is None:
        made = _("A new subscription %(id)s was made: %(plan)s.") % words
    if plan["collection"] == "send_invoice":
        return made + " " + _("Stripe sends the customer an invoice over %(sum)s.") % words
    return made + " " + _("%(due)s was charged.") % words


def _paid(event: SubscriptionEvent) -> list[str]:
    """What the first invoice came to, and how it was paid: from the customer's balance, and the rest by card."""
    plan, currency = event.plan or {}, event.currency or ""
    total = event.amount or 0
    # Rows of before it was kept have what was previewed, and agreed to.
    due = (event.after or {}).get("due", plan["due"])
    words = {
        "sum": format_money(total, currency),
        "due": format_money(due, currency),
        "balance": format_money(abs(due - total), currency),
    }
    said = [_("first invoice of %(sum)s") % words]
    if due == total:
        return said
    if total < 0:
        return [*said, _("%(balance)s credited to the customer's balance") % words]
    said.append(
        _("%(balance)s of it from the customer's balance") % words
        if due < total
        else _("with %(balance)s that the customer owed from before") % words
    )
    said.append(
        _("%(due)s to be paid") % words
        if plan["collection"] == "send_invoice"
        else _("%(due)s charged") % words
    )
    return said
