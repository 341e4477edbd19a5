"""What stands above a page: its group and its list, in the words of the navigation, and whose page it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise


@dataclass(frozen=True)
class Step:
    """A step of the way to a page; without a `link` where there is no page for it, or none for this person."""

    title: str | Promise
    link: str = ""


def trail_of(context: Mapping[str, Any]) -> list[Step]:
    """The way to a page of a model that has a list in the navigation; empty for all others."""
    opts = context.get("opts")
    listing = _address(opts, "changelist") if opts else ""
    for group in context.get("sidebar_navigation") or []:
        for item in group["items"]:
            if not listing or str(item["link"]) != listing:
                continue
            may_see = item.get("has_permission", True)
            one = context.get("original")
            steps = [Step(group["title"]), Step(item["title"], listing if may_see else "")]
            if one is None or isinstance(one, str):
                return steps
            link = _address(one._meta, "change", one.pk) if may_see else ""
            return [*steps, Step(context.get("subtitle") or str(one), link)]
    return []


def _address(opts: Any, view: str, *args: Any) -> str:
    try:
        return reverse(f"admin:{opts.app_label}_{opts.model_name}_{view}", args=args)
    except NoReverseMatch:
        return ""
