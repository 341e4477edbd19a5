"""What became of a suspension at Stripe, told from the answers its steps got, in words and on its hold."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from billing.models import SubscriptionEvent
from billing.money import format_money
from billing.operations.collection import is_paused_by_suspension, pause_in_words
from billing.stripe_api import StripeObject
from organizations.querysets import ENDED_STATUSES


def write_on_hold(event: SubscriptionEvent) -> None:
    """The hold stops billing only where a subscription is paused by a suspension: that is what lifting it ends."""
    plan = event.plan or {}
    if plan["stops_billing"] and event.organization:
        holds = event.organization.holds.filter(kind=plan["kind"], lifted_at=None)
        holds.update(stops_billing=any(map(is_paused_by_suspension, _subscriptions(event) or ())))


def outcome_in_words(event: SubscriptionEvent) -> list[str]:
    """Of each subscription and each invoice that was decided about, what is so now, in sentences."""
    return [*_billing_in_words(event), *_invoices_in_words(event)]


def _billing_in_words(event: SubscriptionEvent) -> list[str]:
    if not (event.plan or {})["stops_billing"]:
        return []
    subscriptions = _subscriptions(event)
    if subscriptions is None:
        return [_("Stripe was not told to stop billing, so it may go on billing.")]
    if not subscriptions:
        return [_("Stripe has no subscription that could be billed.")]
    stopped = [each for each in subscriptions if is_paused_by_suspension(each)]
    if len(stopped) == len(subscriptions):
        return [_("Billing is stopped: Stripe voids what falls due.")]
    said = []
    if stopped:
        said.append(
            _("Billing of %(ids)s is stopped: Stripe voids what falls due.")
            % {"ids": ", ".join(each["id"] for each in stopped)}
        )
    for each in subscriptions:
        pause = each.get("pause_collection")
        if not pause:
            said.append(
                _("Collection of %(id)s is not paused, so Stripe may go on billing it.") % {"id": each["id"]}
            )
        elif each not in stopped:
            said.append(
                _(
                    "Collection of %(id)s was paused already, and not by a suspension, so that pause is left as it is."
                    " %(pause)s."
                )
                % {"id": each["id"], "pause": pause_in_words(pause)}
            )
    return said


def _subscriptions(event: SubscriptionEvent) -> list[StripeObject] | None:
    """The living subscriptions as Stripe last told of them; None where it was not asked or did not answer."""
    answers = [
        step.answer for step in event.steps.order_by("position") if step.answer and _is_of_billing(step.path)
    ]
    if not answers:
        return None
    looked, *paused = answers
    newest = {each["id"]: each for each in (*looked["data"], *paused)}
    return [each for each in newest.values() if each["status"] not in ENDED_STATUSES]


def _is_of_billing(path: str) -> bool:
    return path.startswith("/v1/subscriptions")


def _invoices_in_words(event: SubscriptionEvent) -> list[str]:
    plan = event.plan or {}
    shown = {invoice["id"]: invoice for invoice in plan["open_invoices"]}
    # A look at an invoice comes after the refusal it explains.
    steps = event.steps.filter(path__startswith="/v1/invoices/").order_by("position")
    answers = {step.path.split("/")[3]: step.answer or {} for step in steps}
    return [
        _invoice_in_words(shown[id_], plan["invoices"], answers.get(id_, {}).get("status"))
        for id_ in plan["to_close"]
    ]


def _invoice_in_words(invoice: dict[str, Any], decided: str, status: str | None) -> str:
    words = {
        "number": invoice["number"] or invoice["id"],
        "sum": format_money(invoice["amount"], invoice["currency"]),
    }
    is_voiding = decided == "void"
    if status == "paid":
        return _("Invoice %(number)s (%(sum)s) was paid meanwhile, so it was not changed.") % words
    if status == "void":
        return (
            _("Invoice %(number)s (%(sum)s) was voided.")
            if is_voiding
            else _(
                "Invoice %(number)s (%(sum)s) was voided by somebody else meanwhile, so it was not changed."
            )
        ) % words
    if status == "uncollectible":
        return (
            _(
                "Invoice %(number)s (%(sum)s) was written off by somebody else meanwhile, so it was not changed."
            )
            if is_voiding
            else _("Invoice %(number)s (%(sum)s) was written off.")
        ) % words
    return (
        _("Invoice %(number)s (%(sum)s) was not voided.")
        if is_voiding
        else _("Invoice %(number)s (%(sum)s) was not written off.")
    ) % words
