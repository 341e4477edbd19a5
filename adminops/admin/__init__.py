"""The ModelAdmins, one module each. Importing this package registers them."""

from adminops.admin import events, mirror, organizations, people

__all__ = ["events", "mirror", "organizations", "people"]
