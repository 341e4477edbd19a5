"""The project and the staff's face."""

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig
from django.utils.translation import gettext_lazy as _


class AdminOpsConfig(AppConfig):
    name = "adminops"
    default = True
    verbose_name = _("Back office")

    def ready(self) -> None:
        """Register the system checks that name wrong or missing settings."""
        from adminops import checks  # noqa: F401


class BackOfficeAdminConfig(SimpleAdminConfig):
    """Django's admin with our site, and only the ModelAdmins we name: no autodiscovery of other apps'."""

    default_site = "adminops.admin.site.BackOfficeSite"

    def ready(self) -> None:
        """Register our ModelAdmins."""
        super().ready()
        from adminops import admin  # noqa: F401
