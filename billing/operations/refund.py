"""Refund an invoice, to its card or to the customer's balance: once, and never more than was paid.

Stripe caps the refunds of a payment and the credit notes of an invoice, each for itself; nobody caps both together.
Among ourselves the lock does, one refund of an invoice at a time. Against somebody who gives back in Stripe's
dashboard at the same moment, we look again afterwards: what then went back beyond what was paid is taken off the
customer's balance again, which of the two is the one that can be undone.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing import authority, mirror, stripe_api
from billing.errors import Attempt, StripeError, StripeRefused
from billing.models import OperationStep, SubscriptionEvent
from billing.money import format_money
from billing.operations.base import Failure, Intent, Operation, Settlement, Step, Told, Trace
from billing.operations.failed_refunds import failure_in_words
from billing.operations.refund_account import GONE_WRONG, TAKE_BACK, Payment, read_account
from billing.operations.refund_preview import (
    REFUND_INVOICE,
    RefundChoices,
    RefundPreview,
    StripeReason,
    lock_key_of,
    preview_refund,
)
from billing.operations.subscription import is_marked
from billing.stripe_api import StripeObject
from organizations.models import Organization

# What a credit note calls the same reasons; it has no word for a customer's wish.
_REASONS_OF_NOTES = {
    StripeReason.DUPLICATE.value: "duplicate",
    StripeReason.FRAUDULENT.value: "fraudulent",
}


class RefundInvoice(Operation[Organization, RefundChoices, RefundPreview]):
    """Give back part or all of what was paid for one invoice."""

    type = REFUND_INVOICE
    label = gettext_lazy("Refund")
    attempt = gettext_lazy("refund an invoice")
    permission = "organizations.refund_invoice"
    choices_class = RefundChoices

    def refuse_reason(self, subject: Organization) -> str | None:
        """Connected, and something was paid."""
        if not subject.stripe_customer_id:
            return _("This organization is not connected to a Stripe customer.")
        if not mirror.has_paid_invoice(subject.stripe_customer_id):
            return _("No invoice of this organization has been paid, so nothing can go back.")
        return None

    def preview(self, subject: Organization, choices: RefundChoices, at: int) -> RefundPreview:
        """From Stripe's present state."""
        return preview_refund(subject, choices)

    def lock_key(self, subject: Organization, choices: RefundChoices) -> str:
        """One invoice, one refund at a time."""
        return lock_key_of(choices.invoice)

    def prepare(
        self, subject: Organization, choices: RefundChoices, preview: RefundPreview, actor: User
    ) -> Intent:
        """Within what the person may give back: one refund, or one credit note."""
        account, payment = preview.account, preview.payment
        columns = {
            "amount": preview.amount,
            "currency": preview.currency,
            "stripe_invoice_id": preview.invoice_id,
            "stripe_charge_id": preview.charge_id,
        }
        authority.hold_to_limit(
            actor,
            preview.amount,
            preview.currency,
            self.permission,
            self.type,
            Attempt(_of_invoice(preview.amount, preview.currency, preview.number), columns),
        )
        return Intent(
            steps=(_refund(preview, payment) if payment else _credit(preview),),
            before={
                "paid": account.paid,
                "refunded": account.refunded,
                "pending": account.pending,
                "credited": account.credited,
                "lost": account.lost,
            },
            columns=columns,
        )

    def following(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Step | None:
        """Look again: what went back at Stripe at the same moment, and was too much, is taken back.

        Raises StripeRefused where the refund did not go through after all.
        """
        if len(answers) > 1:
            return None
        if answers[0].get("status") in GONE_WRONG:
            raise StripeRefused(
                _("The refund of %(amount)s did not go through: %(why)s. The money is still with us.")
                % {"amount": _money(event), "why": failure_in_words(answers[0].get("failure_reason"))},
                f"{answers[0]['id']} is {answers[0]['status']}",
            )
        account = read_account(stripe_api.retrieve(event.stripe_invoice_id or ""))
        too_much = min(account.excess, account.credited)
        if too_much <= 0:
            return None
        return Step(
            TAKE_BACK,
            "POST",
            f"/v1/customers/{event.stripe_customer_id}/balance_transactions",
            {
                "amount": too_much,
                "currency": event.currency,
                "description": f"Given back twice of invoice {(event.plan or {})['number']}",
            },
        )

    def find_outcome(self, event: SubscriptionEvent, step: OperationStep) -> Trace:
        """Everything a step makes carries our mark."""
        if step.name == TAKE_BACK:
            made = _marked(event, step.path, {})
            return Trace(made, still_agreed=True)
        if step.path == "/v1/refunds":
            made = _marked(event, step.path, _payment_of(step.params))
        else:
            made = _marked(event, step.path, {"invoice": step.params["invoice"]})
        if made is not None:
            return Trace(made, still_agreed=True)
        account = read_account(stripe_api.retrieve(event.stripe_invoice_id or ""))
        return Trace(None, still_agreed=account.fingerprint == (event.plan or {}).get("fingerprint"))

    def settle(self, event: SubscriptionEvent, answers: list[StripeObject]) -> Settlement:
        """Stripe's answer is the refund, or the credit note."""
        made = answers[0]
        is_refund = made["object"] == "refund"
        taken_back = sum(answer["amount"] for answer in answers[1:])
        said = [_refunded(event, made) if is_refund else _credited(event)]
        if taken_back:
            said.append(
                _(
                    "At the same moment something else of this invoice was given back at Stripe, together %(sum)s more"
                    " than was paid; that much was taken off the customer's balance again."
                )
                % {"sum": format_money(taken_back, event.currency or "")}
            )
        return Settlement(
            message=" ".join(said),
            after={"given_back": event.amount, "taken_back": taken_back},
            columns={
                "stripe_object_id": made["id"],
                "stripe_refund_id": made["id"] if is_refund else None,
                "status": made["status"],
            },
        )

    def attempted(self, event: SubscriptionEvent) -> str:
        """How much of which invoice."""
        return _of_invoice(event.amount or 0, event.currency or "", (event.plan or {})["number"])

    def retell(self, event: SubscriptionEvent) -> Told:
        """How much of which invoice went where, and what Stripe was told as the reason."""
        plan, after = event.plan or {}, event.after or {}
        further = []
        if event.stripe_refund_id:
            done = _("refunded %(amount)s of invoice %(number)s to the card %(card)s") % _words(event)
            if event.status == "requires_action":
                further.append(_("Stripe asked the customer where the money shall go"))
            elif event.status != "succeeded":
                further.append(_("the bank had not confirmed it when it was made"))
        else:
            done = _("credited %(amount)s of invoice %(number)s to the customer's balance") % _words(event)
        if plan["stripe_reason"]:
            label = StripeReason(plan["stripe_reason"]).label
            further.append(_("reason given to Stripe: %(reason)s") % {"reason": label.lower()})
        if after["taken_back"]:
            further.append(
                _("%(sum)s taken off the balance again, given back twice")
                % {"sum": format_money(after["taken_back"], event.currency or "")}
            )
        return Told(done, tuple(further))

    def fail(self, event: SubscriptionEvent, done: list[OperationStep], error: StripeError) -> Failure:
        """A refund that did not go through gave nothing; a second step that failed wants a person."""
        if done and (done[0].answer or {}).get("status") in GONE_WRONG:
            return Failure(str(error.message))
        if done:
            return Failure(
                _(
                    "%(amount)s was given back, and it may be more than was paid, because something else was given"
                    " back at Stripe at the same moment. It could not be put right: %(why)s Look at the invoice at"
                    " Stripe."
                )
                % {"amount": _money(event), "why": error.message},
                needs_a_person=True,
            )
        return super().fail(event, done, error)

    def sync_objects(self, event: SubscriptionEvent) -> list[str]:
        """The invoice, the charge and its refund, and the customer, whose balance it may be."""
        made = [(step.answer or {}).get("id") for step in event.steps.filter(name="refund")]
        ids = [event.stripe_invoice_id, event.stripe_charge_id, event.stripe_customer_id, *made]
        return [id_ for id_ in ids if id_]


def _refund(preview: RefundPreview, payment: Payment) -> Step:
    """https://docs.stripe.com/api/refunds/create"""
    kind = "payment_intent" if payment.id.startswith("pi_") else "charge"
    params: dict[str, Any] = {kind: payment.id, "amount": preview.amount}
    if preview.stripe_reason:
        params["reason"] = preview.stripe_reason
    return Step("refund", "POST", "/v1/refunds", params)


def _credit(preview: RefundPreview) -> Step:
    """https://docs.stripe.com/api/credit_notes/create: Stripe caps it at what the invoice came to."""
    params: dict[str, Any] = {
        "invoice": preview.invoice_id,
        "amount": preview.amount,
        "credit_amount": preview.amount,
    }
    if preview.stripe_reason in _REASONS_OF_NOTES:
        params["reason"] = _REASONS_OF_NOTES[preview.stripe_reason]
    return Step("credit", "POST", "/v1/credit_notes", params)


def _of_invoice(amount: int, currency: str, number: str) -> str:
    return _("refund %(amount)s of %(number)s") % {
        "amount": format_money(amount, currency),
        "number": number,
    }


def _payment_of(params: dict[str, Any]) -> dict[str, str]:
    return {kind: params[kind] for kind in ("payment_intent", "charge") if kind in params}


def _marked(event: SubscriptionEvent, path: str, params: dict[str, str]) -> StripeObject | None:
    """What carries this operation's mark in a list at Stripe."""
    pages = stripe_api.list_pages(path, params)
    return next((each for page in pages for each in page if is_marked(each, event)), None)


def _money(event: SubscriptionEvent) -> str:
    return format_money(event.amount or 0, event.currency or "")


def _words(event: SubscriptionEvent) -> dict[str, str]:
    """How much, of which invoice, and to which card where it was one."""
    plan = event.plan or {}
    payment = plan["payment"] or {"last4": "", "card": ""}
    return {
        "amount": _money(event),
        "number": plan["number"],
        "card": f"•••• {payment['last4']}" if payment["last4"] else payment["card"],
    }


def _refunded(event: SubscriptionEvent, refund: StripeObject) -> str:
    words = {**_words(event), "time": formats.time_format(timezone.localtime(), "H:i:s")}
    if refund["status"] == "succeeded":
        return (
            _("%(amount)s of invoice %(number)s refunded to the card %(card)s. Stripe confirmed at %(time)s.")
            % words
        )
    if refund["status"] == "requires_action":
        return (
            _(
                "Stripe accepted the refund of %(amount)s of invoice %(number)s at %(time)s and has asked the customer"
                " where the money shall go; until they answer it stays pending."
            )
            % words
        )
    return (
        _(
            "Stripe accepted the refund of %(amount)s of invoice %(number)s to the card %(card)s at %(time)s;"
            " the bank has not confirmed it yet."
        )
        % words
    )


def _credited(event: SubscriptionEvent) -> str:
    return _(
        "%(amount)s of invoice %(number)s credited to the customer's balance, for the next invoices."
        " Stripe confirmed at %(time)s."
    ) % {
        **_words(event),
        "time": formats.time_format(timezone.localtime(), "H:i:s"),
    }
