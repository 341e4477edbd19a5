"""The admin site: Unfold's, with our name."""

from django.utils.translation import gettext_lazy as _
from unfold.sites import UnfoldAdminSite


class BackOfficeSite(UnfoldAdminSite):
    """Where staff work."""

    site_title = _("Back office")
    site_header = _("Back office")
    index_title = _("Home")
