"""Lists paged by key, newest first: no page costs more than another, however long the table and whatever is asked.

What narrows such a list is of two kinds. A lane has an index that holds its rows in the order of their keys, so its
newest are read off it. Anything else is looked for among those, or among the newest of all, at most so many at a time:
a page that has not found enough by then says how far it looked, and leads on from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from django.contrib.admin.views.main import PAGE_VAR
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from adminops.admin.listing import BackOfficeChangeList

BEFORE, AFTER = "before", "after"

# How many rows of a lane, or keys of the whole table, one page looks through: both take some tens of milliseconds.
MOST_OF_A_LANE = 5_000
MOST_KEYS = 100_000

# Conditions of which a row fulfils one; an index serves each, in the order of the keys.
type Lane = list[Q]

_LONGEST_QUOTED = 20


def any_of(lane: Lane) -> Q:
    """A lane as one condition; without a condition in it, no row fulfils it."""
    return reduce(or_, lane) if lane else Q(pk__in=[])


@dataclass(frozen=True)
class Keys:
    """Keys from `low`, included, to `high`, not included; either may be open."""

    low: int | None = None
    high: int | None = None

    def and_from(self, low: int) -> Keys:
        """Those of them from `low` on."""
        return Keys(low if self.low is None else max(low, self.low), self.high)

    def and_below(self, high: int) -> Keys:
        """Those of them below `high`."""
        return Keys(self.low, high if self.high is None else min(high, self.high))

    @property
    def condition(self) -> Q:
        """The rows with these keys."""
        condition = Q() if self.low is None else Q(pk__gte=self.low)
        return condition if self.high is None else condition & Q(pk__lt=self.high)


class EndlessPaginator(Paginator):
    """A paginator that counts nothing; `KeysetChangeList` cuts the pages."""

    template_name = "adminops/keyset_pagination.html"
    is_endless = True

    @cached_property
    def count(self) -> int:
        return 0


class KeysetChangeList(BackOfficeChangeList):
    """A list paged by its key, newest first, by `?before=<id>` and `?after=<id>`.

    A filter may have a method `lane()`, which says its lane or None, and `keys()`, which bounds the keys.
    """

    newer_url: str | None = None
    older_url: str | None = None
    looked_to: Any = None
    """The row at which this page stopped looking, where it did so before it was full."""
    looks_on: bool = False
    """Whether it looks from older rows to newer ones."""

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        lookups: dict[str, Any] = super().get_filters_params(params)
        return {name: value for name, value in lookups.items() if name not in (BEFORE, AFTER)}

    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[str]:
        return ["-id"]

    def get_ordering_field_columns(self) -> dict[int, str]:
        # No column is sorted by, whatever the address says.
        return {}

    def search_lane(self) -> Lane | None:
        """The lane of what was typed into the search box, where something was."""
        return None

    def lanes(self) -> Iterator[Lane]:
        """What narrows this list and has an index of its own; the narrowest comes first."""
        candidates = [self.search_lane(), *(_said_by(spec, "lane") for spec in self._narrowing)]
        yield from (lane for lane in candidates if lane is not None)

    @cached_property
    def _narrowing(self) -> list[Any]:
        return [spec for spec in self.filter_specs if any(spec.used_parameters.values())]

    def _key(self, name: str) -> int | None:
        value = str(self.params.get(name, ""))
        return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None

    def get_results(self, request: HttpRequest) -> None:
        self.viewer = request.user
        if request.GET.get(PAGE_VAR):
            self.page_num = 1
            self.wrong_page = _(
                "This list has no page numbers: it goes from newer to older. The newest are shown."
            )
        size = self.list_per_page
        for name in (BEFORE, AFTER):
            asked = self.params.get(name)
            if asked and self._key(name) is None:
                self.wrong_page = _("“%(text)s” is no place in this list. The newest are shown.") % {
                    "text": str(asked)[:_LONGEST_QUOTED]
                }
        if self.wrong_page:
            # It leads to where it does not ask again.
            self._leave_place()
        before, after = self._key(BEFORE), self._key(AFTER)
        self.looks_on = after is not None
        keys = Keys()
        for spec in self._narrowing:
            bounds = _said_by(spec, "keys")
            keys = bounds if bounds is not None else keys
        if after is not None:
            rows, reached = self._look(keys.and_from(after + 1), "id")
        else:
            rows, reached = self._look(keys if before is None else keys.and_below(before), "-id")
        is_full = len(rows) > size
        rows = rows[:size]
        # Where to go on in the direction of looking: behind the last row shown, or behind the last looked at.
        further = rows[-1].pk if is_full else reached
        if after is not None:
            rows.reverse()
            newer, older = further, rows[-1].pk if rows else after + 1
        else:
            newer = None if before is None else rows[0].pk if rows else before - 1
            older = further
        if newer is not None:
            self.newer_url = self.get_query_string({AFTER: newer}, remove=[BEFORE])
        if older is not None:
            self.older_url = self.get_query_string({BEFORE: older}, remove=[AFTER])
        if reached is not None and not is_full:
            self.looked_to = self._row_at(reached)
        # Whoever searches or narrows from here begins with the newest: their list is another.
        self._leave_place()
        self.newest_url = self.get_query_string()
        self.result_list = rows
        self.result_count = len(rows)
        self.full_result_count = len(rows)
        self.show_admin_actions = False
        self.can_show_all = False
        self.multi_page = False
        self.paginator = EndlessPaginator([], size)

    def _leave_place(self) -> None:
        for params in (self.params, self.filter_params):
            for name in (BEFORE, AFTER):
                params.pop(name, None)

    def _row_at(self, key: int) -> Any:
        """The row of this key, or the last one looked at before it."""
        rows = self.model._default_manager
        if self.looks_on:
            return rows.filter(pk__lte=key).order_by("-pk").first()
        return rows.filter(pk__gte=key).order_by("pk").first()

    def _look(self, keys: Keys, order: str) -> tuple[list[Any], int | None]:
        """A page of rows and one more; and the last key looked at, where there may be more behind it."""
        listed = self.queryset.order_by(order)
        enough = self.list_per_page + 1
        lane = next(self.lanes(), None)
        asked = len(self._narrowing) + bool(self.query)
        if lane is not None:
            most = enough if asked == 1 else MOST_OF_A_LANE
            found = self._newest_of(lane, keys, order, most)
            reached = found[-1] if len(found) == most else None
            return list(listed.filter(pk__in=found)[:enough]), reached
        reached = None
        if asked:
            keys, reached = self._within_reach(keys, order)
        return list(listed.filter(keys.condition)[:enough]), reached

    def _newest_of(self, lane: Lane, keys: Keys, order: str, most: int) -> list[int]:
        if not lane:
            return []
        rows = self.model._default_manager.filter(keys.condition).order_by(order)
        arms: list[QuerySet[Any, Any]] = [
            rows.filter(each).values_list("pk", flat=True)[:most] for each in lane
        ]
        first, *others = arms
        return list(first.union(*others, all=True).order_by(order)[:most] if others else first)

    def _within_reach(self, keys: Keys, order: str) -> tuple[Keys, int | None]:
        """As many of the keys as one page looks through, and the last of them where that is not all."""
        rows = self.model._default_manager.filter(keys.condition).order_by(order)
        first = rows.values_list("pk", flat=True).first()
        if first is None:
            return keys, None
        if order == "id":
            last = first + MOST_KEYS - 1
            return (keys.and_below(last + 1), last) if rows.filter(pk__gt=last).exists() else (keys, None)
        last = first - MOST_KEYS + 1
        return (keys.and_from(last), last) if rows.filter(pk__lt=last).exists() else (keys, None)


def _said_by(spec: Any, what: str) -> Any:
    method = getattr(spec, what, None)
    return method() if method else None
