"""Filters for money and time, so that templates say what they show and not how."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.contrib.auth.models import User
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.templatetags.unfold import header_title

from adminops.pages import badges, words
from adminops.pages.lists import empty
from adminops.pages.trail import trail_of
from billing.actors import person_name
from billing.money import format_money
from billing.stripe_api import dashboard_url

register = template.Library()

NOTHING = format_html('<span class="bo-nothing">{}</span>', "–")


def time_tag(moment: datetime | None, text: str) -> SafeString:
    """A short time that tells the exact one on hover, and to machines."""
    if moment is None:
        return NOTHING
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), words.exact_moment(moment), text
    )


@register.filter
def person(user: User) -> str:
    """ "Ann Archer"."""
    return person_name(user)


@register.filter
def day(moment: datetime | None) -> SafeString:
    """ "12 Dec"."""
    return time_tag(moment, words.short_date(moment)) if moment else NOTHING


@register.filter
def moment(value: datetime | None) -> SafeString:
    """ "today 14:02"."""
    return time_tag(value, words.short_moment(value)) if value else NOTHING


@register.filter
def ago(value: datetime | None) -> SafeString:
    """ "2 h"."""
    return time_tag(value, words.ago(value)) if value else NOTHING


@register.filter
def unix(seconds: int | None) -> datetime | None:
    """Stripe's time as ours."""
    return words.from_unix(seconds)


@register.filter
def money(amount: int | None, currency: str | None) -> str:
    """Minor units of a currency, as a person writes them."""
    return NOTHING if amount is None or not currency else format_money(amount, currency)


@register.filter
def stripe_badge(item: dict[str, Any]) -> badges.Badge | str:
    """The badge of an object as Stripe sent it."""
    return badges.stripe_badge(item) or ""


@register.filter
def at_stripe(item: dict[str, Any] | str, livemode: bool | None = None) -> str:
    """The page of an object in Stripe's dashboard: as Stripe sent it, or by its id and mode."""
    if isinstance(item, str):
        return dashboard_url(item, livemode)
    return dashboard_url(item["id"], item.get("livemode"))


@register.simple_tag
def icon(name: str) -> SafeString:
    """A decoration; what it stands beside says the same in words."""
    return format_html('<span class="material-symbols-outlined bo-icon" aria-hidden="true">{}</span>', name)


@register.simple_tag
def what_would_come(changelist: Any) -> str:
    """What an empty list would hold, and how it comes there."""
    return empty.what_would_come(changelist.opts.label_lower)


@register.simple_tag
def nothing_found(changelist: Any) -> empty.Nothing:
    """That a search found nothing."""
    return empty.nothing_found(changelist)


@register.simple_tag(takes_context=True)
def trail(context: Any) -> str:
    """The way to this page; the theme's own for pages of what the navigation does not lead to."""
    steps = trail_of(context)
    if not steps:
        return str(header_title(context))
    return render_to_string("unfold/helpers/header_title.html", {"parts": steps}, request=context.request)
