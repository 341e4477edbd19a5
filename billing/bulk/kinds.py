"""What can be done to many."""

from typing import Any

from billing.bulk.access import ActivateMany, SuspendMany
from billing.bulk.base import BulkKind
from billing.bulk.readings import ReprocessMany, ResyncMany
from billing.bulk.refunds import RefundMany
from billing.bulk.subscriptions import CancelMany, ChangeSeatsOfMany

# By the operation's name, so that whoever does a row later knows how.
KINDS: dict[str, BulkKind[Any, Any, Any]] = {
    kind.type: kind
    for kind in (
        ChangeSeatsOfMany(),
        CancelMany(),
        SuspendMany(),
        ActivateMany(),
        ResyncMany(),
        RefundMany(),
        ReprocessMany(),
    )
}
