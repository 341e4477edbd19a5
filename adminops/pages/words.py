"""Dates and spans in the few words that fit a cell, and refusals in no more than their place needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext


def no_value(text: str, title: object) -> str:
    """That what an address asks for is nothing to narrow a list by, of the filter that is called so."""
    said = _("“%(text)s” is no value for “%(filter)s”, so the list is not filtered by it.")
    return said % {"text": text[:40], "filter": title}


def short_date(moment: datetime) -> str:
    """ "12 Dec", with the year only where it is not this one."""
    local = timezone.localtime(moment)
    return date_format(local, "j M" if local.year == timezone.localtime().year else "j M Y")


def short_moment(moment: datetime) -> str:
    """ "today 14:02", "12 Nov 00:00"."""
    local = timezone.localtime(moment)
    if local.date() == timezone.localdate():
        return _("today %(time)s") % {"time": date_format(local, "H:i")}
    return f"{short_date(moment)} {date_format(local, 'H:i')}"


def exact_moment(moment: datetime) -> str:
    """To the second and with its time zone, for whoever hovers."""
    return date_format(timezone.localtime(moment), "j F Y, H:i:s T")


def ago(moment: datetime) -> str:
    """How long ago, coarsely: "now", "5 min", "2 h", "9 d", "3 mo", "2 y"."""
    minutes = int((timezone.now() - moment).total_seconds() // 60)
    if minutes < 1:
        return _("now")
    if minutes < 60:
        return _("%(count)d min") % {"count": minutes}
    if minutes < 48 * 60:
        return _("%(count)d h") % {"count": minutes // 60}
    days = minutes // (24 * 60)
    if days < 60:
        return _("%(count)d d") % {"count": days}
    if days < 730:
        return _("%(count)d mo") % {"count": days // 30}
    return _("%(count)d y") % {"count": days // 365}


def long_ago(moment: datetime) -> str:
    """How long ago, in whole words: "just now", "5 minutes ago", "2 days ago"."""
    if timezone.now() - moment < timedelta(minutes=1):
        return _("just now")
    return _("%(age)s ago") % {"age": timesince(moment, depth=1)}


def roughly(seconds: int) -> str:
    """How long something takes, coarsely: "less than a minute", "about 5 minutes", "about 2 hours"."""
    if seconds < 60:
        return _("less than a minute")
    minutes = round(seconds / 60)
    if minutes < 100:
        return ngettext("about %(count)d minute", "about %(count)d minutes", minutes) % {"count": minutes}
    hours = round(minutes / 60)
    return ngettext("about %(count)d hour", "about %(count)d hours", hours) % {"count": hours}


def duration(seconds: int) -> str:
    """How long something took: "41 s", "12 min", "2 h 5 min"."""
    if seconds < 100:
        return _("%(count)d s") % {"count": seconds}
    hours, minutes = divmod(round(seconds / 60), 60)
    if not hours:
        return _("%(count)d min") % {"count": minutes}
    return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}


def days_since(moment: datetime) -> str:
    """ "9 days", or "today"."""
    days = (timezone.localdate() - timezone.localtime(moment).date()).days
    if days < 1:
        return _("today")
    return ngettext("%(count)d day", "%(count)d days", days) % {"count": days}


def from_unix(seconds: float | None) -> datetime | None:
    """Stripe's time as ours."""
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=UTC)


def without_reassurance(sentence: str) -> str:
    """A refusal as somebody reads it who only asked what would happen: that nothing was changed goes without saying."""
    for reassurance in (_("Nothing was changed."), _("Nothing was changed;")):
        before, found, after = sentence.partition(reassurance)
        if found:
            advice = after.strip()
            sentence = f"{before.strip()} {advice[:1].upper()}{advice[1:]}".strip()
    return sentence
