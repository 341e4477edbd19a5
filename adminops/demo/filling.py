"""What the demo's back office holds besides what Stripe knows: staff and what they did, members, holds, and trouble.

Every step looks first whether its work is there, so that a broken-off run is simply run again; a last row in the
ledger says that all of it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any

import httpx
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from adminops.demo.history.shop import refuse_reason
from adminops.demo.people import Crowd, add_members, crowd_of, seeded
from adminops.demo.staff import ACCESS_TOKEN, MEMBERS, STAFF
from billing import mirror, stripe_api
from billing.importing import METADATA_KEY, import_organizations
from billing.inbox import LEASE_SECONDS
from billing.ledger import record_system_event
from billing.models import CustomerSync, SubscriptionEvent
from billing.operations import OPERATIONS
from billing.operations.base import Choices
from billing.operations.intent import agree, perform
from billing.operations.seat_preview import Proration, SeatChoices
from billing.operations.suspend import SuspendChoices
from billing.projection import from_unix
from billing.reconciliation import runs
from billing.sync import EVERYTHING, sync_customer
from organizations.access.tokens import AccessToken, digest_of
from organizations.models import Hold, Membership, Note, Organization
from webhooks.backfill import LISTED, backfill_events

FILLED = "demo.filled"

# The groups that come with the migrations, by the role that a person of the demo has.
ROLES = {"finance": "Finance", "support": "Support"}

# Members are not made by chance where the tour, or a warning, needs a certain number.
CROWDS = {
    "Northwind Labs": Crowd(active=7, invited=1, removed=1),
    "Kestrel Aerospace": Crowd(active=28, suspended=1, removed=3),
}

# (organization, by how many seats, when it is billed, by whom, why, ticket): done at Stripe for real.
STAFF_ACTS = (
    (
        "Lantern Street Studios",
        2,
        Proration.NEXT_INVOICE,
        "support",
        "Two animators start on Monday; Dana asked by e-mail.",
        "SUP-2291",
    ),
    (
        "Meridian Mapworks",
        -2,
        Proration.NEXT_INVOICE,
        "support",
        "Two people left; credit goes on the next invoice as agreed on the phone.",
        "SUP-2304",
    ),
    (
        "Sakura Denki KK",
        3,
        Proration.INVOICE_NOW,
        "support",
        "Purchase order 88-1204 covers three more seats and wants its own invoice.",
        "FIN-518",
    ),
    (
        "Pinecrest Dental Group",
        1,
        Proration.NONE,
        "support",
        "Goodwill after the outage: the extra seat is free until renewal.",
        "SUP-2317",
    ),
)

NON_PAYMENT = (
    "Tamarind Travel",
    "The invoice has been open for more than a week; four reminders went unanswered.",
)
ABUSE = (
    "Umber Design Co",
    "One login was used from forty addresses to copy our template library. Waiting for their answer.",
    "SUP-2288",
)
# A yearly customer, so that no webhook mends the difference by itself for months.
DRIFTED = ("Yarrow Biotech", 4)
# Pays by the year, too: somebody typed a card of theirs into our table.
MISTYPED = "Tidewater Insurance Partners"
# Whose customer at Stripe it is, and whom its metadata name: somebody copied them from another.
CLAIMED = ("Paperboat Games", "Lantern Street Studios")
UNREADABLE = "Harborline Freight"

NOTES = {
    "Northwind Labs": "Customer since the first week. Dana in operations decides about seats.",
    "Tidewater Insurance Partners": "Pays by the year; wants the renewal quote sixty days ahead.",
    "Brightwater Schools Trust": "Public body: purchase order number on every invoice, pays by bank transfer.",
    "Kestrel Aerospace": "Wanted to leave, stays with fewer seats. Call again before the next renewal.",
    "Aiko Sushi KK": "Please write in Japanese. The card belongs to the owner, who is travelling.",
    "Halcyon Health": "Refunded a month that was billed by mistake. Handle with care.",
    "Paperboat Games": "Dispute is about a double booking at their bank; evidence is being collected.",
}

type Say = Callable[[str], None]


class NotADemo(Exception):
    """The settings could be a real installation's; the message says which, in a sentence."""


def fill(say: Say) -> bool:
    """Fill the database. Returns False, and changes nothing, where that is done already.

    Raises NotADemo unless Stripe is a sandbox on this machine, StripeError when it does not answer.
    """
    if reason := refuse_reason(settings.STRIPE_API_BASE, settings.STRIPE_SECRET_KEY):
        raise NotADemo(reason)
    if SubscriptionEvent.objects.filter(type=FILLED).exists():
        return False
    say(_take_in())
    staff = _staff()
    say(_members())
    _notes(staff["support"])
    _let_members_log_in()
    _let_a_product_ask()
    say(_staff_acts(staff))
    _hold_for_non_payment()
    _hold_for_abuse(staff["admin"])
    _break_a_webhook()
    _claim_twice()
    say(_backfill())
    _drift()
    # What a person finds in the morning; the workers take it up.
    runs.start("full")
    with transaction.atomic():
        record_system_event(FILLED, None, "The demo's data are complete.")
    return True


# -- from Stripe ------------------------------------------------------------------------------------------


def _take_in() -> str:
    taken = list(import_organizations())
    troubled = [each for each in taken if each.problem]
    if troubled:
        raise RuntimeError(f"{troubled[0].name} could not be read: {troubled[0].problem}")
    _read_the_rest(objects_wanted__has_key=EVERYTHING)
    return f"{len(taken)} customers taken in."


def _read_the_rest(**which: Any) -> None:
    """Read what is asked for and not read yet. A run that was killed leaves leases, and they are waited for."""
    deadline = time.monotonic() + LEASE_SECONDS + 10
    while True:
        now = timezone.now()
        waiting = CustomerSync.objects.filter(wanted__gt=F("done"), next_attempt_at__lte=now, **which)
        ids = list(waiting.values_list("customer_id", flat=True))
        if not ids:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{ids[0]} could not be read: another process holds it.")
        read = [sync_customer(customer_id) for customer_id in ids]
        if not any(read):
            time.sleep(1)


def _backfill() -> str:
    """Take in the events of thirty days, and read what the latest of them are about."""
    *_parts, progress = backfill_events(timezone.now() - LISTED)
    _read_the_rest()
    return f"{progress.new} events taken in."


# -- staff ------------------------------------------------------------------------------------------------


def _staff() -> dict[str, User]:
    """The three who can log in, by user name, and the groups two of them belong to."""
    people = {}
    for login in STAFF:
        user, is_new = User.objects.get_or_create(
            username=login.username,
            defaults={
                "email": f"{login.username}@backoffice.example",
                "first_name": login.username.capitalize(),
                "is_staff": True,
                "is_superuser": login.role == "administrator",
            },
        )
        if is_new:
            user.set_password(login.password)
            user.save(update_fields=["password"])
        if login.role in ROLES:
            user.groups.add(Group.objects.get(name=ROLES[login.role]))
        people[login.username] = user
    return people


def _staff_acts(staff: dict[str, User]) -> str:
    """Seats changed by staff, through the same door as from the page."""
    done = 0
    for name, by, proration, who, reason, ticket in STAFF_ACTS:
        organization = _organization(name)
        if SubscriptionEvent.objects.filter(organization=organization, ticket=ticket).exists():
            continue
        choices = SeatChoices(seats=(organization.seats or 0) + by, proration=proration)
        _act("change_seats", organization, choices, staff[who], reason, ticket)
        done += 1
    return f"{done} changes by staff made at Stripe."


def _act(
    type_: str, organization: Organization, choices: Choices, actor: User, reason: str, ticket: str
) -> None:
    """What one of the staff did, through the same door as from the page."""
    operation = OPERATIONS[type_]
    _preview, agreement = agree(operation, organization, choices)
    event = perform(
        operation,
        organization,
        choices=choices,
        agreed=agreement,
        actor=actor,
        reason=reason,
        ticket=ticket,
    ).event
    if event.state != SubscriptionEvent.State.DONE:
        raise RuntimeError(
            f"{operation.label} of {organization.name} came out as {event.state}: {event.error}"
        )


def _notes(author: User) -> None:
    """What one of the staff wrote down about some of them."""
    for organization in Organization.objects.filter(name__in=NOTES, staff_notes=None):
        Note.objects.create(organization=organization, author=author, text=NOTES[organization.name])


# -- members ------------------------------------------------------------------------------------


def _members() -> str:
    organizations = list(Organization.objects.order_by("pk"))
    chance: dict[int, Random] = seeded(organizations)
    now = timezone.now()
    added = 0
    for organization in organizations:
        random = chance[organization.pk]
        crowd = CROWDS.get(organization.name) or crowd_of(organization, random)
        customer = mirror.customer(organization.stripe_customer_id or "") or {}
        country = (customer.get("address") or {}).get("country") or "US"
        ended = _ended_at(organization)
        added += add_members(organization, crowd, country=country, random=random, until=ended or now)
    return f"{added} members added."


def _let_members_log_in() -> None:
    """Give the first fitting member of each a name and a password that the demo prints."""
    for login in MEMBERS:
        place = (
            Membership.objects.filter(
                organization__name=login.organization, role=login.role, status=Membership.Status.ACTIVE
            )
            .select_related("user")
            .earliest("pk")
        )
        if place.user.username != login.username:
            place.user.username, place.user.email = login.username, login.email
            place.user.set_password(login.password)
            place.user.save(update_fields=["username", "email", "password"])


def _let_a_product_ask() -> None:
    AccessToken.objects.get_or_create(
        digest=digest_of(ACCESS_TOKEN), defaults={"name": "The demo's product", "ending": ACCESS_TOKEN[-4:]}
    )


def _ended_at(organization: Organization) -> datetime | None:
    subscription = mirror.subscription(organization.stripe_subscription_id or "") or {}
    return from_unix(subscription.get("ended_at"))


# -- holds ------------------------------------------------------------------------------------------------


def _hold_for_non_payment() -> None:
    """A hold that our own jobs placed; it is lifted by itself as soon as everything is paid."""
    name, reason = NON_PAYMENT
    organization = _organization(name)
    with transaction.atomic():
        if not organization.holds.filter(kind=Hold.Kind.NON_PAYMENT).exists():
            Hold.objects.create(organization=organization, kind=Hold.Kind.NON_PAYMENT, reason=reason)
            record_system_event("hold.placed", organization, f"Suspended for non-payment: {reason}")


def _hold_for_abuse(administrator: User) -> None:
    """A hold that the administrator placed; only a person lifts it."""
    name, reason, ticket = ABUSE
    organization = _organization(name)
    if not organization.holds.filter(kind=Hold.Kind.ABUSE).exists():
        _act(
            "suspend_organization",
            organization,
            SuspendChoices(kind=Hold.Kind.ABUSE.value),
            administrator,
            reason,
            ticket,
        )


# -- trouble ----------------------------------------------------------------------------------------------


def _break_a_webhook() -> None:
    """Make something happen at Stripe that cannot be read: a changed invoice that the sandbox will not show alone.

    The event about it comes in with the others, and its reading fails for as long as the sandbox runs; after the
    sandbox is started again, the next retry succeeds.
    """
    organization = _organization(UNREADABLE)
    invoice = mirror.invoices_of(organization.stripe_customer_id or "", limit=1)[0]["id"]
    stripe_api.call(
        "POST",
        f"/v1/invoices/{invoice}",
        {"metadata": {"purchase_order": "HF-20417"}},
        idempotency_key=f"demo:{invoice}",
    )
    fault = {"kind": "error_500", "method": "GET", "path": f"/v1/invoices/{invoice}", "times": -1}
    with httpx.Client(base_url=settings.STRIPE_API_BASE, timeout=10, trust_env=False) as control:
        known = control.get("/_sandbox/faults").raise_for_status().json()["faults"]
        if not any(each["path"] == fault["path"] for each in known):
            control.post("/_sandbox/faults", json=fault).raise_for_status()


def _claim_twice() -> None:
    """Have a customer's metadata name another organization; the reconciliation shows it, and cannot mend it."""
    whose, other = (_organization(name) for name in CLAIMED)
    path = f"/v1/customers/{whose.stripe_customer_id}"
    stripe_api.call("POST", path, {"metadata": {METADATA_KEY: other.slug}}, idempotency_key=f"demo:{path}")


def _drift() -> None:
    """Somebody wrote into our table by hand; the reconciliation is to find it."""
    Organization.objects.filter(name=MISTYPED).update(card_last4="0000")
    name, by = DRIFTED
    organization = _organization(name)
    item = mirror.subscription(organization.stripe_subscription_id or "")
    at_stripe = item["items"]["data"][0]["quantity"] if item else 0
    Organization.objects.filter(pk=organization.pk).update(seats=at_stripe + by)


def _organization(name: str) -> Organization:
    return Organization.objects.get(name=name)
