"""What staff can do: one module an operation, one registry."""

from billing.operations.activate import ActivateOrganization, ResumeBilling
from billing.operations.base import Course
from billing.operations.cancel import CancelSubscription
from billing.operations.discount import ApplyDiscount, RemoveDiscount
from billing.operations.owner_pages import UPDATE_CARD
from billing.operations.pause import PauseCollection, ResumeCollection
from billing.operations.portal import CreatePortalSession
from billing.operations.reactivate import ReactivateSubscription
from billing.operations.refund import RefundInvoice
from billing.operations.reprocess import ReprocessEvent
from billing.operations.resync import ResyncOrganization
from billing.operations.seat_schedule import ScheduleSeats, WithdrawScheduledSeats
from billing.operations.seats import ChangeSeats
from billing.operations.settlement import AnyOperation
from billing.operations.suspend import SuspendOrganization

# By the name in the ledger, so that whoever settles a row later knows how.
OPERATIONS: dict[str, AnyOperation] = {
    operation.type: operation
    for operation in (
        ChangeSeats(),
        CancelSubscription(),
        ReactivateSubscription(),
        PauseCollection(),
        ResumeCollection(),
        SuspendOrganization(),
        ActivateOrganization(),
        ScheduleSeats(),
        WithdrawScheduledSeats(),
        RefundInvoice(),
        ApplyDiscount(),
        RemoveDiscount(),
        CreatePortalSession(),
        ResyncOrganization(),
        ReprocessEvent(),
    )
}
# The same, what our own jobs do, and what owners do themselves.
COURSES: dict[str, Course] = {
    **OPERATIONS,
    ResumeBilling.type: ResumeBilling(),
    UPDATE_CARD.type: UPDATE_CARD,
}
