"""Everything staff can do, one row each.

A row here is all an operation needs from the face: its button, its address, its limit and its page follow from it;
its permission and what it does are its `Operation` in `billing/operations/`, what it asks and shows its
`OperationPage` in `adminops/pages/`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.utils.translation import gettext_lazy as _

from adminops.pages.operations.action import StaffAction
from adminops.pages.operations.cancel import CancelPage
from adminops.pages.operations.discount import ApplyDiscountPage, RemoveDiscountPage
from adminops.pages.operations.pause import PausePage, ResumePage
from adminops.pages.operations.portal import PortalPage
from adminops.pages.operations.reactivate import ReactivatePage
from adminops.pages.operations.refund import RefundPage
from adminops.pages.operations.reprocess import ReprocessPage
from adminops.pages.operations.resync import ResyncPage
from adminops.pages.operations.seats import ChangeSeatsPage
from adminops.pages.operations.suspend import ActivatePage, SuspendPage
from billing import mirror
from billing.models import SubscriptionEvent
from billing.one_look import one_look
from billing.operations.base import Subject
from billing.operations.intent import know_what_is_in_progress

ACTIONS: tuple[StaffAction, ...] = (
    StaffAction(
        label=_("Change seats"),
        icon="airline_seat_recline_normal",
        rate="10/m",
        path="seats",
        page=ChangeSeatsPage,
        is_foremost=True,
    ),
    StaffAction(
        label=_("Cancel subscription"),
        icon="event_busy",
        rate="5/m",
        path="cancel",
        page=CancelPage,
        is_foremost=True,
    ),
    StaffAction(
        label=_("Reactivate"),
        icon="restart_alt",
        rate="5/m",
        path="reactivate",
        page=ReactivatePage,
        is_foremost=True,
    ),
    StaffAction(
        label=_("Refund"),
        icon="undo",
        rate="3/m",
        path="refund",
        page=RefundPage,
        is_foremost=True,
    ),
    StaffAction(
        label=_("Pause collection"),
        icon="pause_circle",
        rate="5/m",
        path="pause",
        page=PausePage,
    ),
    StaffAction(
        label=_("Resume collection"),
        icon="play_circle",
        rate="5/m",
        path="resume",
        page=ResumePage,
    ),
    StaffAction(
        label=_("Suspend"),
        icon="lock",
        rate="5/m",
        path="suspend",
        page=SuspendPage,
    ),
    StaffAction(
        label=_("Lift holds"),
        icon="lock_open",
        rate="5/m",
        path="activate",
        page=ActivatePage,
    ),
    StaffAction(
        label=_("Apply coupon"),
        icon="sell",
        rate="5/m",
        path="coupon",
        page=ApplyDiscountPage,
    ),
    StaffAction(
        label=_("Remove coupon"),
        icon="label_off",
        rate="5/m",
        path="remove-coupon",
        page=RemoveDiscountPage,
    ),
    StaffAction(
        label=_("Portal link"),
        icon="link",
        rate="5/m",
        path="portal",
        page=PortalPage,
    ),
    StaffAction(
        label=_("Resync"),
        icon="sync",
        rate="10/m",
        path="resync",
        page=ResyncPage,
    ),
    StaffAction(
        label=_("Process again"),
        icon="replay",
        rate="10/m",
        path="reprocess",
        page=ReprocessPage,
        subject_class=SubscriptionEvent,
    ),
)


@dataclass(frozen=True)
class Offer:
    """An action that a person may take; `refusal` says why not just now."""

    action: StaffAction
    url: str
    refusal: str | None


def offered(user: Any, subject: Subject) -> list[Offer]:
    """The actions this person may take. Those they have no permission for are not even named."""
    with one_look():
        return [
            Offer(action, action.url(subject), action.refusal(subject))
            for action in ACTIONS
            if isinstance(subject, action.subject_class) and user.has_perm(action.permission)
        ]


def offered_on_event(user: Any, event: SubscriptionEvent) -> list[Offer]:
    """What this person may do about an event: to itself, to the invoice it names, and to its organization."""
    organization = event.organization
    with one_look():
        if organization is None:
            return offered(user, event)
        # Otherwise each action would look up its own lock.
        know_what_is_in_progress(
            SubscriptionEvent.objects.filter(
                organization=organization, state=SubscriptionEvent.State.PENDING, lock_key__isnull=False
            )
        )
        offers = offered(user, event)
        of_organization = {offer.action.name: offer for offer in offered(user, organization)}
        invoice = event.stripe_invoice_id or mirror.invoice_of_charge(event.stripe_charge_id or "")
    refund, resync = of_organization.get("refund_invoice"), of_organization.get("resync_organization")
    if refund and invoice:
        offers.append(replace(refund, url=f"{refund.url}?{urlencode({'invoice': invoice})}"))
    if resync:
        offers.append(resync)
    return offers


def action_named(name: str) -> StaffAction:
    """The action of that name. Raises KeyError."""
    return {action.name: action for action in ACTIONS}[name]
