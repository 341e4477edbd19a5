"""The ModelAdmins, one module each. Importing this package registers them."""

from adminops.admin import alerts, bulk, events, mirror, organizations, people

__all__ = ["alerts", "bulk", "events", "mirror", "organizations", "people"]
