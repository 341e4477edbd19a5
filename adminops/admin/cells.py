"""What cells of several lists show alike."""

from __future__ import annotations

from django.urls import reverse
from django.utils.html import format_html


def below(text: str) -> str:
    """Small, under what a cell says first."""
    return format_html('<span class="bo-below">{}</span>', text) if text else ""


def organization_link(key: int | None, name: str) -> str:
    """The name of an organization, leading to its page."""
    url = reverse("admin:organizations_organization_change", args=[key])
    return format_html('<a class="bo-link" href="{}">{}</a>', url, name)
