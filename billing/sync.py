"""The one writer: what Stripe says about a customer reaches our rows here, and nowhere else.

Lease first, fetch second, write only while the lease holds (docs/decisions/one-writer.md). So the order in which
webhooks arrive does not matter, an answer read earlier is never written later, and no transaction is open while we
wait for Stripe. It works alike from a worker and from a request that wants to show the new state at once.
"""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from billing import inbox, mirror, stripe_api
from billing.errors import ObjectMissing, StripeBusy, StripeError
from billing.inbox import EVERYTHING, Lease, request_sync
from billing.ledger import record_system_event
from billing.models import CustomerSync, SubscriptionEvent
from billing.projection import is_paid_up, project
from billing.stripe_api import StripeObject
from organizations.models import Hold, Organization

__all__ = ["EVERYTHING", "request_sync", "sync_customer"]

log = logging.getLogger(__name__)


@dataclass
class _Answers:
    """What a round of reading brought: per wanted object its Stripe objects, or the failure."""

    read: dict[str, list[StripeObject]] = field(default_factory=dict)
    failed: dict[str, tuple[StripeError | Exception, str]] = field(default_factory=dict)


def sync_customer(customer_id: str) -> bool:
    """Read from Stripe whatever of this customer is due, and write it. Returns False when somebody else is at it.

    The somebody else sees all that was requested before this call, so the caller need not wait or repeat.
    """
    lease = inbox.take_lease(customer_id)
    if lease is None:
        return False
    while lease is not None:
        waiting = _waiting_events(lease)
        answers = _read(lease)
        if not _settle(lease, answers, waiting):
            return False
        lease = inbox.due_objects(customer_id, lease.token)
    return True


def _waiting_events(lease: Lease) -> list[int]:
    """The webhooks that this round answers: those that stood in the ledger before the first call to Stripe."""
    # A failed one waits for its next try; only a parked one has given up.
    events = SubscriptionEvent.objects.filter(
        state__in=(SubscriptionEvent.State.PENDING, SubscriptionEvent.State.FAILED),
        source=SubscriptionEvent.Source.STRIPE,
    )
    if not lease.customer_id.startswith("cus_"):
        events = events.filter(stripe_charge_id=lease.customer_id, stripe_customer_id__isnull=True)
    else:
        events = events.filter(stripe_customer_id=lease.customer_id)
        if EVERYTHING not in lease.objects:
            events = events.filter(stripe_object_id__in=list(lease.objects))
    return list(events.order_by("id").values_list("id", flat=True))


def _read(lease: Lease) -> _Answers:
    """Fetch each due object, no transaction open. A failure concerns that object only."""
    answers = _Answers()
    for object_id in lease.objects:
        if not inbox.renew(lease.customer_id, lease.token):
            break
        try:
            answers.read[object_id] = _fetch(lease.customer_id, object_id)
        except StripeError as error:
            answers.failed[object_id] = (error, traceback.format_exc())
    return answers


def _fetch(customer_id: str, object_id: str) -> list[StripeObject]:
    if object_id == EVERYTHING:
        return _fetch_everything(customer_id)
    try:
        found = stripe_api.retrieve(object_id)
    except ObjectMissing:
        return []  # deleted at Stripe; what the mirror knows of it stays, and the next full read tells the rest
    card = (found.get("invoice_settings") or {}).get("default_payment_method")
    if isinstance(card, str) and not mirror.knows_payment_method(card):
        return [stripe_api.retrieve(card), found]
    return [found]


def _fetch_everything(customer_id: str) -> list[StripeObject]:
    """All that the mirror keeps of one customer, parents first."""
    customer = stripe_api.retrieve(customer_id)
    found = [customer]
    for path, params in (
        (f"/v1/customers/{customer_id}/payment_methods", {}),
        ("/v1/subscriptions", {"customer": customer_id, "status": "all"}),
        ("/v1/payment_intents", {"customer": customer_id}),
        ("/v1/charges", {"customer": customer_id}),
        ("/v1/invoices", {"customer": customer_id}),
    ):
        if customer.get("deleted") and path.startswith("/v1/customers"):
            continue
        for page in stripe_api.list_pages(path, params):
            found.extend(page)
    subscriptions = [each for each in found if each["object"] == "subscription"]
    found.extend(stripe_api.retrieve(product) for product in mirror.unknown_products(subscriptions))
    for charge in [each for each in found if each["object"] == "charge"]:
        if charge.get("amount_refunded"):
            found.extend(
                row for page in stripe_api.list_pages("/v1/refunds", {"charge": charge["id"]}) for row in page
            )
        if charge.get("disputed"):
            found.extend(
                row
                for page in stripe_api.list_pages("/v1/disputes", {"charge": charge["id"]})
                for row in page
            )
    return found


def _settle(lease: Lease, answers: _Answers, waiting: list[int]) -> bool:
    """Write what was read, if the lease still holds; say whether it did."""
    with transaction.atomic():
        row = (
            CustomerSync.objects.select_for_update()
            .filter(pk=lease.customer_id, lease_token=lease.token, lease_until__gt=timezone.now())
            .first()
        )
        if row is None:
            return False
        for object_id, objects in list(answers.read.items()):
            try:
                with transaction.atomic():
                    mirror.upsert(objects)
            except Exception as error:  # a poison object must not delay its neighbours
                log.exception("Writing %s of %s failed", object_id, lease.customer_id)
                del answers.read[object_id]
                answers.failed[object_id] = (error, traceback.format_exc())
        try:
            with transaction.atomic():
                owner = _project(lease.customer_id) if lease.customer_id.startswith("cus_") else None
        except Exception as error:
            log.exception("Projecting %s failed", lease.customer_id)
            answers.failed.update({id_: (error, traceback.format_exc()) for id_ in answers.read})
            answers.read.clear()
            owner = None
        if not lease.customer_id.startswith("cus_"):
            _hand_over(lease, answers, waiting)
        else:
            _close_events(answers, waiting, owner)
        _mark(row, lease, answers)
    return True


def _hand_over(lease: Lease, answers: _Answers, waiting: list[int]) -> None:
    """A refund or dispute of a charge we had never seen: now its customer is known, who takes the events over."""
    charge = next((o for objects in answers.read.values() for o in objects if o["object"] == "charge"), None)
    events = SubscriptionEvent.objects.filter(id__in=waiting)
    if charge is None:
        return
    if not charge.get("customer"):
        events.update(
            state=SubscriptionEvent.State.IGNORED,
            processed_at=timezone.now(),
            error=_("This charge belongs to no customer."),
        )
        return
    organization = Organization.objects.filter(stripe_customer_id=charge["customer"]).first()
    events.update(
        stripe_customer_id=charge["customer"],
        organization=organization,
        organization_label=organization.name if organization else None,
    )
    objects = {charge["id"], *events.values_list("stripe_object_id", flat=True)}
    request_sync(charge["customer"], [id_ for id_ in objects if id_])


def _project(customer_id: str) -> Organization | None:
    """Bring the organization's columns up to what the mirror now says. Returns whose they are, if anybody's."""
    # NO KEY, so that a webhook's row that refers to the organization need not wait for us.
    organization: Organization | None = (
        Organization.objects.select_for_update(no_key=True).filter(stripe_customer_id=customer_id).first()
    )
    customer = mirror.customer(customer_id)
    if organization is None or customer is None:
        return organization
    now = timezone.now()
    columns = project(
        customer,
        mirror.subscriptions_of(customer_id),
        mirror.payment_methods_of(customer_id),
        mirror.invoices_of(customer_id),
        now,
    )
    if columns["billing_issue_since"] and organization.billing_issue_since:
        columns["billing_issue_since"] = min(columns["billing_issue_since"], organization.billing_issue_since)
    Organization.objects.filter(pk=organization.pk).update(**columns, synced_at=now)
    if is_paid_up(columns):
        _lift_non_payment(organization)
    return organization


def _lift_non_payment(organization: Organization) -> None:
    """The one hold that lifts by itself: it said that something is owed, and nothing is."""
    lifted = Hold.objects.filter(
        organization=organization, kind=Hold.Kind.NON_PAYMENT, lifted_at__isnull=True
    ).update(lifted_at=timezone.now())
    if lifted:
        record_system_event(
            "hold.lifted", organization, _("Everything is paid, so the hold for non-payment was lifted.")
        )


def _close_events(answers: _Answers, waiting: list[int], owner: Organization | None) -> None:
    """Mark the webhooks of what was read as done, and those of what failed with why and when next."""
    now = timezone.now()
    events = SubscriptionEvent.objects.filter(id__in=waiting)
    if EVERYTHING not in answers.read:
        events = events.filter(stripe_object_id__in=list(answers.read))
    settled: dict[str, Any] = {
        "processed_at": now,
        "attempts": F("attempts") + 1,
        "error": "",
        "traceback": "",
        "next_attempt_at": None,
    }
    if owner is None:
        settled |= {
            "state": SubscriptionEvent.State.IGNORED,
            "error": _("No organization here has this Stripe customer."),
        }
    else:
        settled |= {"state": SubscriptionEvent.State.DONE}
    events.update(**settled)
    for object_id, (error, trace) in answers.failed.items():
        for event in SubscriptionEvent.objects.filter(id__in=waiting, stripe_object_id=object_id):
            event.state = SubscriptionEvent.State.FAILED
            event.attempts += 1
            event.error = str(error)
            event.traceback = trace
            event.next_attempt_at = now + inbox.backoff(event.attempts)
            event.save(update_fields=["state", "attempts", "error", "traceback", "next_attempt_at"])


def _mark(row: CustomerSync, lease: Lease, answers: _Answers) -> None:
    """Take what was read off the row, unless it was asked for again meanwhile, and put off what failed."""
    now = timezone.now()
    wanted: dict[str, dict[str, Any]] = row.objects_wanted
    for object_id in answers.read:
        if wanted.get(object_id, {}).get("version") == lease.objects[object_id].get("version"):
            wanted.pop(object_id, None)
    for object_id, (error, _trace) in answers.failed.items():
        state = wanted.setdefault(object_id, {"version": row.wanted})
        if isinstance(error, StripeBusy):
            delay = inbox.backoff(1) / 10  # a request to slow down is no fault of the object's
        else:
            state["attempts"] = state.get("attempts", 0) + 1
            delay = inbox.backoff(state["attempts"])
        state["due"] = (now + delay).isoformat()
        row.last_error = f"{object_id}: {error}"
    if not wanted:
        row.done, row.last_error, row.next_attempt_at = row.wanted, "", None
    else:
        row.next_attempt_at = min(
            (state.get("due") or now.isoformat() for state in wanted.values()), default=None
        )
    if answers.read:
        row.synced_at = now
    row.objects_wanted = wanted
    row.save(update_fields=["objects_wanted", "done", "last_error", "next_attempt_at", "synced_at"])
