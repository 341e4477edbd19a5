"""The ModelAdmins, one module each. Importing this package registers them."""

from adminops.admin import (
    access_tokens,
    alerts,
    bulk,
    customer_syncs,
    events,
    mirror,
    organizations,
    people,
    reconciliation,
)

__all__ = [
    "access_tokens",
    "alerts",
    "bulk",
    "customer_syncs",
    "events",
    "mirror",
    "organizations",
    "people",
    "reconciliation",
]
