"""The cards above the list of customers: what is listed comes to, each a link that narrows the list to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.humanize.templatetags.humanize import intcomma
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from adminops.pages import words
from billing.figures import Figures, figures_of, stored_figures
from billing.money import format_money


@dataclass(frozen=True)
class Card:
    """A figure and what it counts."""

    value: str
    label: str
    url: str = ""
    tone: str = ""
    is_chosen: bool = False


@dataclass(frozen=True)
class Cards:
    """The cards, and what must be said of them."""

    shown: tuple[Card, ...] = ()
    remark: str = ""


def cards_of(changelist: Any) -> Cards:
    """The cards of what a list of organizations shows.

    More than the list counts is not added up for a page: without filters there are figures that a job keeps fresh.
    """
    if not changelist.paginator.is_capped:
        return Cards(_cards(figures_of(changelist.queryset, changelist.paginator.keys), changelist))
    if changelist.has_active_filters or changelist.query:
        return too_many(changelist)
    stored = stored_figures()
    if stored is None:
        return Cards(remark=_("What all of these come to is being added up; it will be here in a minute."))
    figures, computed_at = stored
    return Cards(
        _cards(figures, changelist), _("Added up at %(time)s.") % {"time": words.short_moment(computed_at)}
    )


def too_many(changelist: Any) -> Cards:
    """No cards: a list that is longer than is counted is not added up."""
    return Cards(
        remark=_("More than %(most)s are listed; narrow the list to see what they come to.")
        % {"most": intcomma(changelist.paginator.count)}
    )


def _cards(figures: Figures, changelist: Any) -> tuple[Card, ...]:
    def link(**params: str) -> dict[str, Any]:
        chosen = all(changelist.params.get(name) == value for name, value in params.items())
        return {"url": changelist.get_query_string(params), "is_chosen": chosen}

    counted: Callable[[int], str] = lambda number: str(intcomma(number))  # noqa: E731
    overdue = [format_money(each.overdue, each.currency) for each in figures.money if each.overdue]
    past_due = ngettext("past due", "past due", figures.past_due)
    return (
        Card(
            counted(figures.organizations),
            ngettext("organization", "organizations", figures.organizations),
            changelist.get_query_string(remove=["access", "paying", "overdue", "drift", "failed", "role"]),
        ),
        Card(counted(figures.active), _("with access"), **link(access="active")),
        Card(
            counted(figures.suspended),
            _("suspended"),
            tone="red" if figures.suspended else "",
            **link(access="suspended"),
        ),
        Card(counted(figures.members), ngettext("member", "members", figures.members), **link(role="any")),
        Card(counted(figures.paying), _("paying"), **link(paying="yes")),
        Card(
            " · ".join(format_money(each.mrr, each.currency) for each in figures.money if each.mrr) or "–",
            _("MRR"),
            **link(mrr_from="1", o=changelist.descending_by("mrr")),
        ),
        Card(
            counted(figures.past_due),
            f"{past_due}, {' · '.join(overdue)}" if overdue else past_due,
            tone="red" if figures.past_due else "",
            **link(overdue="0"),
        ),
        Card(
            counted(figures.differing),
            ngettext("with a difference", "with differences", figures.differing),
            tone="amber" if figures.differing else "",
            **link(drift="yes"),
        ),
        Card(
            counted(figures.failed_events),
            ngettext("failed event", "failed events", figures.failed_events),
            tone="amber" if figures.failed_events else "",
            **link(failed="yes"),
        ),
    )
