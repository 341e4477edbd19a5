"""The ModelAdmins, one module each. Importing this package registers them."""

from adminops.admin import bulk, events, mirror, organizations, people

__all__ = ["bulk", "events", "mirror", "organizations", "people"]
