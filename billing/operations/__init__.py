"""What staff can do at Stripe: one module an operation, one registry."""

from billing.operations.base import Operation
from billing.operations.seats import ChangeSeats

# By the name in the ledger, so that whoever settles a row later knows how.
OPERATIONS: dict[str, type[Operation]] = {operation.type: operation for operation in (ChangeSeats,)}
