"""The page of one event: everything the ledger keeps of it, and the ways from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from adminops.pages.badges import event_badge, retry_badge
from adminops.pages.ledger import documents, event_words, payload
from adminops.pages.ledger.answers import answer_in_words, declined_in_words, failure_in_words
from billing.denials import TYPE as DENIED
from billing.models import SubscriptionEvent
from billing.stripe_ids import prefix_of

# Who may read how our own code failed; it can quote what a customer wrote.
SEE_TRACEBACKS = "billing.view_traceback"

# Who may read what Stripe sent, wherever it stands: it holds what customers told Stripe.
SEE_PAYLOADS = "billing.view_eventpayload"

# Which of our lists finds an object by its id, by the prefix of the id.
_MIRRORED = {
    "sub": "subscription",
    "in": "invoice",
    "ch": "charge",
    "py": "charge",
    "pi": "charge",
    "re": "refund",
    "pyr": "refund",
    "du": "dispute",
    "dp": "dispute",
    "pm": "paymentmethod",
    "price": "price",
    "prod": "product",
}


@dataclass(frozen=True)
class NamedId:
    """An id of Stripe's that an event names. `url` is our own page of it, empty where there is none."""

    title: str | Promise
    id: str
    url: str = ""


def event_context(event: SubscriptionEvent, viewer: Any) -> dict[str, Any]:
    """What the page of one event shows to somebody."""
    sees_tracebacks = viewer.has_perm(SEE_TRACEBACKS)
    sees_payloads = viewer.has_perm(SEE_PAYLOADS)
    kept = getattr(event, "payload", None) if sees_payloads else None
    steps = list(event.steps.all())
    ids = list(_ids(event, viewer))
    told = {each.id for each in ids}
    is_act = event.source != SubscriptionEvent.Source.STRIPE
    is_ignored = event.state == SubscriptionEvent.State.IGNORED
    return {
        "event": event,
        "badge": event_badge(event),
        "retry": retry_badge(event),
        "is_ignored": is_ignored,
        "type_in_words": event_words.type_in_words(event.type),
        "by": event_words.by_whom(event),
        "login": event.actor_label if event.actor_label != event_words.by_whom(event) else "",
        "bulk_job": (event.after or {}).get("bulk_job") if event.type == DENIED else None,
        "answer": answer_in_words(event, steps) if is_act and steps else "",
        "failed": "" if is_act else failure_in_words(event),
        # What Stripe itself said of an act; of a webhook, why we could not use it. Why we left it aside is a sentence.
        "error": event.error if sees_tracebacks or is_ignored else "",
        "quantity_change": event_words.change_of_quantity(event),
        "status_change": event_words.change_of_status(event),
        "ids": ids,
        "steps": [
            {
                "step": step,
                "declined": declined_in_words(event, step),
                "params": payload.pretty(step.params),
                "answer": payload.pretty(step.answer) if step.answer is not None and sees_payloads else "",
                "error": payload.pretty(step.error) if step.error is not None and sees_tracebacks else "",
            }
            for step in steps
        ],
        "documents": [
            {
                "title": title,
                "facts": documents.facts(documents.untold(value, told, event.amount), event.currency),
                "record": payload.pretty(value),
            }
            for title, value in (
                (_("Before"), event.before),
                (_("What was intended"), event.plan),
                (_("After"), event.after),
            )
            if value
        ],
        "sees_tracebacks": sees_tracebacks,
        "sees_payloads": sees_payloads,
        "body": payload.pretty_body(kept.body) if kept else None,
        "payload_url": reverse("admin:billing_subscriptionevent_payload", args=[event.pk]) if kept else None,
        "title": event_words.type_in_words(event.type),
        "subtitle": None,
    }


def _ids(event: SubscriptionEvent, viewer: Any) -> Iterator[NamedId]:
    named = {
        event.stripe_event_id: _("Event"),
        event.stripe_customer_id: _("Customer"),
        event.stripe_subscription_id: _("Subscription"),
        event.stripe_invoice_id: _("Invoice"),
        event.stripe_charge_id: _("Charge"),
        event.stripe_refund_id: _("Refund"),
    }
    named.setdefault(event.stripe_object_id, _("Object"))
    for stripe_id, title in named.items():
        if stripe_id:
            yield NamedId(title, stripe_id, _our_page(event, stripe_id, viewer))


def _our_page(event: SubscriptionEvent, stripe_id: str, viewer: Any) -> str:
    prefix = prefix_of(stripe_id)
    if event.organization_id and viewer.has_perm("organizations.view_organization"):
        if stripe_id == event.stripe_customer_id:
            return reverse("admin:organizations_organization_change", args=[event.organization_id])
        if prefix == "in" and "/" not in stripe_id:
            return reverse(
                "admin:organizations_organization_invoice", args=[event.organization_id, stripe_id]
            )
    model = _MIRRORED.get(prefix)
    if model is None or not viewer.has_perm(f"djstripe.view_{model}"):
        return ""
    return f"{reverse(f'admin:djstripe_{model}_changelist')}?{urlencode({'q': stripe_id})}"
