"""Pages of lists whose tables grow without end: counted up to a cap, and said so."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.core.paginator import Paginator
from django.utils.functional import cached_property

from organizations.querysets import Among

MOST_COUNTED = 10_000
"""How far a list is counted and paged. Whoever wants what is beyond narrows it: no page costs more than this."""

FEW = 1_000
"""With no more than this, they are remembered when they are counted: what found them need not find them again."""


class CappedPaginator(Paginator):
    """Counts no further than `MOST_COUNTED`, so that a page of a long list costs what one of a short list costs."""

    template_name = "adminops/capped_pagination.html"

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        # Keys only: so an index that found them is all that is read.
        some = rows.order_by().values("pk")[: MOST_COUNTED + 1]
        self._read: list[Any] = some.aggregate(keys=ArrayAgg("pk"))["keys"] or []
        if len(self._read) <= FEW:
            self.object_list = rows.filter(Among(self._read)) if self._read else rows.none()
        return len(self._read)

    @cached_property
    def count(self) -> int:
        return min(self._counted, MOST_COUNTED)

    @property
    def keys(self) -> list[Any] | None:
        """The keys of all that is listed; None where that is more than is counted."""
        return None if self.is_capped else self._read

    @property
    def is_capped(self) -> bool:
        """Whether there are more than were counted."""
        return self._counted > MOST_COUNTED
