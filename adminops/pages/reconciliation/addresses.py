"""The addresses of these pages, all below `reconciliation/` of the admin."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, path

from adminops.pages.reconciliation import acts
from adminops.pages.reconciliation.overview import overview_view
from adminops.pages.reconciliation.settle import settle_views


def reconciliation_urls(site: Any) -> list[URLPattern]:
    """All of them, for those who are logged in."""
    views = {
        "": ("reconciliation", overview_view),
        "start/": ("reconciliation_start", acts.start_view),
        "<int:run_id>/stop/": ("reconciliation_stop", acts.stop_view),
        "<int:run_id>/resume/": ("reconciliation_resume", acts.resume_view),
        "<int:run_id>/agree/": ("reconciliation_agree", acts.agree_view),
        **{f"{name}/": (f"reconciliation_{name}", view) for name, view in settle_views().items()},
    }
    return [
        path(f"reconciliation/{address}", site.admin_view(view), name=name)
        for address, (name, view) in views.items()
    ]
