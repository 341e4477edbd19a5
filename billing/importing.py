"""Taking an existing Stripe account's customers in as organizations.

Each customer is matched or created in a transaction of its own, together with the request to read it and a row in
the ledger; then it is read. So a run that dies is simply run again: what is connected stays connected, nothing is
made twice, and what was asked for and not yet read is read then, or by the worker.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import Max, Q
from django.utils.text import slugify
from django.utils.translation import gettext as _

from billing import stripe_api
from billing.ledger import record_system_event
from billing.models import CustomerSync, SubscriptionEvent
from billing.projection import from_unix
from billing.stripe_api import StripeObject
from billing.sync import EVERYTHING, request_sync, sync_customer
from billing.threads import in_threads
from organizations.models import KEY_LIKE, Organization

EVENT_TYPE = "organization.imported"

# The key in a customer's metadata that names the organization, by its slug.
METADATA_KEY = "organization"

# Customers read at the same time; what each waits for is Stripe.
READERS = 4

_SLUG = re.compile(r"^[-a-zA-Z0-9_]{1,80}$")
_SLUG_LENGTH = Organization._meta.get_field("slug").max_length or 80
_EMAIL_LENGTH = Organization._meta.get_field("billing_email").max_length or 254
_NAME_LENGTH = Organization._meta.get_field("name").max_length or 200


class Outcome(StrEnum):
    """What became of a customer."""

    KNOWN = "known"
    """It is connected already."""
    MATCHED = "matched"
    """An organization of ours was connected to it."""
    CREATED = "created"
    """A new organization was made for it."""
    UNDECIDED = "undecided"
    """More than one organization could be meant, or the one that is meant has another customer. A person decides."""


@dataclass(frozen=True)
class Imported:
    """One customer of Stripe's, and what was done with it; or, in a dry run, what would be."""

    customer_id: str
    outcome: Outcome
    name: str
    slug: str = ""
    because: str = ""
    """By what it was matched, or why it was not."""
    problem: str = ""
    """Why it could not be read; the worker goes on trying."""


def import_organizations(*, dry_run: bool = False) -> Generator[Imported, None, None]:
    """Take in every customer of the Stripe account, newest first, a page at a time. Yields each when it is done.

    With `dry_run`, nothing is written and nothing but the list of customers is read. Raises StripeError when the list
    itself cannot be read; a customer that cannot be read is told by its `problem`. Closed early, it finishes the
    customers it is at.
    """
    claimed = _Claims()
    for page in stripe_api.list_pages("/v1/customers"):
        known = dict(
            Organization.objects.filter(stripe_customer_id__in=[each["id"] for each in page]).values_list(
                "stripe_customer_id", "slug"
            )
        )
        placed = []
        for customer in page:
            if customer["id"] in known:
                placed.append(Imported(customer["id"], Outcome.KNOWN, _name(customer), known[customer["id"]]))
            elif dry_run:
                placed.append(_plan(customer, claimed).imported)
            else:
                placed.append(_place(customer))
        yield from placed if dry_run else _read(placed)


def read_in_full_at(customer_ids: Iterable[str]) -> dict[str, datetime]:
    """Since when we know everything of each customer: the moment before its import read it all.

    An event that Stripe made before that moment has nothing left to tell.
    """
    ids = list(customer_ids)
    unread = CustomerSync.objects.filter(customer_id__in=ids, objects_wanted__has_key=EVERYTHING).values_list(
        "customer_id", flat=True
    )
    imported = (
        SubscriptionEvent.objects.filter(type=EVENT_TYPE, stripe_customer_id__in=ids)
        .exclude(stripe_customer_id__in=unread)
        .values("stripe_customer_id")
        .annotate(at=Max("created_at"))
    )
    return {str(row["stripe_customer_id"]): row["at"] for row in imported}


# -- whose customer it is ---------------------------------------------------------------------------------


@dataclass
class _Plan:
    """What to do with a customer. `organization` is the one to connect, None for a new one."""

    imported: Imported
    organization: Organization | None = None


class _Claims:
    """Organizations and slugs that a dry run has given away already."""

    def __init__(self) -> None:
        self.organizations: set[int] = set()
        self.slugs: set[str] = set()


def _plan(customer: StripeObject, claimed: _Claims | None = None) -> _Plan:
    """Whose customer it is: as its metadata says, else by its exact name or e-mail, else nobody's yet."""
    claimed = claimed or _Claims()
    told = _text((customer.get("metadata") or {}).get(METADATA_KEY))
    told = _no_key(told) if _SLUG.match(told) else ""

    def undecided(because: str) -> _Plan:
        return _Plan(Imported(customer["id"], Outcome.UNDECIDED, _name(customer), told, because))

    def matched(organization: Organization, because: str) -> _Plan:
        claimed.organizations.add(organization.pk)
        return _Plan(
            Imported(customer["id"], Outcome.MATCHED, organization.name, organization.slug, because),
            organization,
        )

    if told and (organization := Organization.objects.filter(slug=told).first()):
        if organization.stripe_customer_id or organization.pk in claimed.organizations:
            return undecided(_("The organization its metadata names has another customer."))
        return matched(organization, _("metadata"))
    candidates = _candidates(customer, claimed)
    if len(candidates) > 1:
        return undecided(_("Several organizations have this name or e-mail."))
    if candidates:
        return matched(candidates[0], _("name or e-mail"))
    slug = _free_slug(customer, told, claimed)
    return _Plan(Imported(customer["id"], Outcome.CREATED, _name(customer), slug))


def _candidates(customer: StripeObject, claimed: _Claims) -> list[Organization]:
    """Organizations without a customer that have this name or e-mail; those that have both, if any do."""
    name, email = _text(customer.get("name")), _email(customer)
    alike = Q()
    if name:
        alike |= Q(name__iexact=name)
    if email:
        alike |= Q(billing_email__iexact=email)
    if not alike:
        return []
    found = list(
        Organization.objects.filter(alike, stripe_customer_id__isnull=True).exclude(
            pk__in=claimed.organizations
        )
    )
    both = [
        each
        for each in found
        if each.name.casefold() == name.casefold() and each.billing_email.casefold() == email.casefold()
    ]
    return both if len(both) == 1 else found


def _text(value: object) -> str:
    """What people typed at Stripe, as a column can hold it: no NUL, no blanks around it."""
    return str(value or "").replace("\0", "").strip()


def _name(customer: StripeObject) -> str:
    name = _text(customer.get("name")) or _text(customer.get("email")) or customer["id"]
    return str(name)[:_NAME_LENGTH].strip()


def _email(customer: StripeObject) -> str:
    email = _text(customer.get("email"))
    try:
        validate_email(email)
    except ValidationError:
        return ""
    return email if len(email) <= _EMAIL_LENGTH else ""


def _free_slug(customer: StripeObject, told: str, claimed: _Claims) -> str:
    """The slug that the metadata tell, else one made of the name; with a number where it is taken."""
    wanted = (
        told
        or _no_key(slugify(_name(customer))[:_SLUG_LENGTH].strip("-_"))
        or customer["id"].replace("_", "-").lower()
    )
    slug, number = wanted, 1
    while slug in claimed.slugs or Organization.objects.filter(slug=slug).exists():
        number += 1
        slug = f"{wanted[: _SLUG_LENGTH - len(str(number)) - 1]}-{number}"
    claimed.slugs.add(slug)
    return slug


def _no_key(slug: str) -> str:
    """A slug like this one that is not taken for an organization's number or its Stripe customer."""
    return f"org-{slug}"[:_SLUG_LENGTH] if re.match(KEY_LIKE, slug) else slug


# -- writing it down --------------------------------------------------------------------------------------


def _place(customer: StripeObject) -> Imported:
    """Connect or create, write it down and ask for the reading, all or nothing."""
    for last_try in (False, True):
        try:
            with transaction.atomic():
                return _connect(customer)
        except IntegrityError:
            if last_try:
                raise
    raise AssertionError("unreachable")


def _connect(customer: StripeObject) -> Imported:
    plan = _plan(customer)
    known = Organization.objects.filter(stripe_customer_id=customer["id"]).first()
    if known:  # another import was faster; asked last, or what it just did would look like somebody else's
        return Imported(customer["id"], Outcome.KNOWN, known.name, known.slug)
    imported, organization = plan.imported, plan.organization
    if imported.outcome is Outcome.UNDECIDED:
        return imported
    if organization is None:
        organization = Organization(name=imported.name, slug=imported.slug, billing_email=_email(customer))
        created = from_unix(customer.get("created"))
        if created:
            organization.created_at = created
        organization.stripe_customer_id = customer["id"]
        organization.save(force_insert=True)
        message = _("Taken in from Stripe as a new organization.")
    else:
        updated = Organization.objects.filter(pk=organization.pk, stripe_customer_id__isnull=True).update(
            stripe_customer_id=customer["id"]
        )
        if not updated:
            raise IntegrityError("connected meanwhile")
        organization.stripe_customer_id = customer["id"]
        message = _("Connected to its customer at Stripe, found by its %(because)s.") % {
            "because": imported.because
        }
    record_system_event(
        EVENT_TYPE,
        organization,
        message,
        after={"outcome": imported.outcome.value, "customer": customer["id"], "slug": organization.slug},
        livemode=customer.get("livemode"),
    )
    # The inbox before the events, as the sync locks them; the other way round, each could wait for the other.
    request_sync(customer["id"])
    _adopt_events(organization)
    return imported


def _adopt_events(organization: Organization) -> None:
    """Give the organization what the ledger already knew of its customer; what nobody wanted then waits again."""
    orphans = SubscriptionEvent.objects.filter(
        stripe_customer_id=organization.stripe_customer_id, organization__isnull=True
    )
    ids = list(orphans.values_list("id", flat=True))
    if not ids:
        return
    orphans.update(organization=organization, organization_label=organization.name)
    # Ignored with a reason: its customer was nobody's. Ignored without one: its type is of no use, then as now.
    SubscriptionEvent.objects.filter(
        id__in=ids, source=SubscriptionEvent.Source.STRIPE, state=SubscriptionEvent.State.IGNORED
    ).exclude(error="").update(state=SubscriptionEvent.State.PENDING, error="", processed_at=None)


# -- reading ----------------------------------------------------------------------------------------------


def _read(placed: Sequence[Imported]) -> Iterator[Imported]:
    """Read from Stripe what an import has asked for, this one's or an earlier one's that died, several at a time."""
    ids = [each.customer_id for each in placed if each.outcome is not Outcome.UNDECIDED]
    waiting = set(
        CustomerSync.objects.filter(customer_id__in=ids, objects_wanted__has_key=EVERYTHING).values_list(
            "customer_id", flat=True
        )
    )
    yield from (each for each in placed if each.customer_id not in waiting)
    yield from in_threads(
        [each for each in placed if each.customer_id in waiting],
        lambda each: replace(each, problem=_read_one(each.customer_id)),
        threads=READERS,
    )


def _read_one(customer_id: str) -> str:
    """Read one customer now. Returns why that failed, or an empty string."""
    try:
        sync_customer(customer_id)
        row = (
            CustomerSync.objects.filter(pk=customer_id, objects_wanted__has_key=EVERYTHING)
            .values("last_error")
            .first()
        )
    except Exception as error:  # whatever it is, the others are not to wait for it
        return f"{type(error).__name__}: {error}"
    return row["last_error"] if row else ""
