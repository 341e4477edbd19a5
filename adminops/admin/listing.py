"""What every list of ours has: the views somebody keeps of it, the file it becomes, and figures above it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property

from adminops.admin.landing import LandingChangeList
from adminops.pages.lists.cards import Cards
from adminops.pages.lists.export import PERMISSION, export_url, report_of
from adminops.pages.lists.saved_views import View, normal, view_url_name, views_of


class BackOfficeChangeList(LandingChangeList):
    """A list of ours, for whoever looks at it. A subclass says what its cards are."""

    viewer: Any = None

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # The same rows, found already where they are few: what adds them up need not look for them again.
        self.queryset = self.paginator.object_list
        self.viewer = request.user
        if getattr(self.paginator, "is_capped", False):
            # Else the page would offer to select "all" of a number that is not all.
            self.result_count = len(self.result_list)

    @cached_property
    def cards(self) -> Cards:
        """What is listed comes to."""
        return Cards()

    @cached_property
    def views(self) -> list[View]:
        """The views to choose from: those that come ready, then one's own."""
        return views_of(self, self.viewer)

    @property
    def keep_view_url(self) -> str:
        """Where what is shown is kept under a name."""
        return reverse(view_url_name(self.model_admin, "keep"))

    @property
    def view_query(self) -> str:
        """What is shown, as a view keeps it."""
        return normal(urlencode(self.filter_params, doseq=True))

    @property
    def export_url(self) -> str:
        """Where what is shown is taken away as a file; empty for those who may not, and for lists without a report."""
        if report_of(self.model_admin) is None or not self.viewer.has_perm(PERMISSION):
            return ""
        # Not `get_query_string`, which would leave out `plan` along with `p`.
        return export_url(self.model_admin, f"?{self.view_query}")
