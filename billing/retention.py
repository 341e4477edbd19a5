"""What is not kept for ever: the bodies of Stripe's events after a time, and what is personal of one customer.

The database refuses both to everybody else: only under the setting `billing.retention` do its triggers let a payload
go, or a label or former details be taken off a line of the ledger (migrations 0002, 0015 and 0019). Each deletion is
told by the ledger itself, in the same transaction.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from django.db import connection, transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing import mirror
from billing.customer_details import erase_details
from billing.errors import OperationRefused
from billing.ledger import record_system_event
from billing.models import BulkRow, EventPayload, SubscriptionEvent
from organizations.models import Note, Organization

PURGED = "payloads.purged"
ERASED = "personal_data.erased"

# So many are deleted in a transaction.
AT_ONCE = 20_000


def purge_payloads(until: datetime.datetime) -> int:
    """Delete the bodies of events recorded before `until` (aware), and those of erased customers. Returns how many."""
    purged = 0
    while number := _purge_some(until):
        purged += number
    for customer_id in erased_customers():
        # What Stripe told of them since.
        with transaction.atomic():
            number = _delete_payloads(_ids_of(customer_id))
            if number:
                message = ngettext(
                    "The body of %(n)d event of an erased customer was deleted.",
                    "The bodies of %(n)d events of an erased customer were deleted.",
                    number,
                )
                record_system_event(PURGED, None, message % {"n": number}, after={"customer": customer_id})
        purged += number
    return purged


def erased_customers() -> list[str]:
    """The ids of customers at Stripe whose personal data were erased here."""
    rows = SubscriptionEvent.objects.filter(type=ERASED, stripe_customer_id__isnull=False)
    return sorted({str(each) for each in rows.values_list("stripe_customer_id", flat=True)})


def _purge_some(until: datetime.datetime) -> int:
    """Delete one batch, the oldest first, and say so in the ledger."""
    with transaction.atomic():
        old = EventPayload.objects.filter(event__created_at__lt=until).order_by("event_id")
        ids = list(old.values_list("event_id", flat=True)[:AT_ONCE])
        if not ids:
            return 0
        number = _delete_payloads(ids)
        message = ngettext(
            "The body of %(n)d event recorded before %(date)s was deleted.",
            "The bodies of %(n)d events recorded before %(date)s were deleted.",
            number,
        ) % {"n": number, "date": f"{until:%Y-%m-%d}"}
        record_system_event(PURGED, None, message, after={"first": ids[0], "last": ids[-1], "n": number})
    return number


@dataclass(frozen=True)
class Erased:
    """What was erased of one customer, in numbers."""

    payloads: int
    objects: int
    """Of Stripe's, in the mirror."""
    labels: int
    notes: int


def erase_personal_data(organization_id: int) -> Erased:
    """Erase what is personal of one customer: bodies of events, names and addresses in the mirror, labels, notes.

    What happened, when and for how much stays. Raises OperationRefused while Stripe still has the customer, because the
    next reading would bring everything back.
    """
    with transaction.atomic():
        organization = Organization.objects.select_for_update(no_key=True).get(pk=organization_id)
        customer_id = organization.stripe_customer_id
        if customer_id and not (mirror.customer(customer_id) or {}).get("deleted"):
            raise OperationRefused(
                _(
                    "Stripe still has this customer, and the next reading would bring everything back. Nothing was"
                    " erased; delete the customer at Stripe first, wait until the page here says so, and try again."
                )
            )
        name = _("Erased customer %(number)d") % {"number": organization.pk}
        Organization.objects.filter(pk=organization.pk).update(
            name=name, slug=f"erased-{organization.pk}", billing_email=""
        )
        notes, _models = Note.objects.filter(organization=organization).delete()
        BulkRow.objects.filter(organization=organization).update(label=name)
        erased = Erased(
            payloads=_delete_payloads(_ids_of(customer_id)) if customer_id else 0,
            objects=mirror.erase(customer_id) if customer_id else 0,
            labels=_relabel(organization, name),
            notes=notes,
        )
        organization.name = name
        record_system_event(
            ERASED, organization, _("What was personal of this customer was erased."), after=asdict(erased)
        )
    return erased


def _ids_of(customer_id: str) -> list[int]:
    rows = EventPayload.objects.filter(event__stripe_customer_id=customer_id)
    return list(rows.values_list("event_id", flat=True))


def _delete_payloads(ids: Sequence[int]) -> int:
    """Runs inside the caller's transaction, until whose end the database lets payloads go."""
    _permit()
    number, _models = EventPayload.objects.filter(event_id__in=ids).delete()
    _forbid()
    return number


def _relabel(organization: Organization, name: str) -> int:
    """Take the old name off the lines of the ledger, and what its details were before."""
    _permit()
    erase_details(organization)
    lines = SubscriptionEvent.objects.filter(organization=organization).exclude(organization_label=None)
    number = lines.update(organization_label=name)
    _forbid()
    return number


def _permit() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL billing.retention = 'on'")


def _forbid() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL billing.retention = 'off'")
