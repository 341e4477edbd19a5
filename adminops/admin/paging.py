"""Pages of lists whose tables grow without end: counted up to a cap, and said so."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

MOST_COUNTED = 10_000
"""How far a list is counted and paged. Whoever wants what is beyond narrows it: no page costs more than this."""


class CappedPaginator(Paginator):
    """Counts no further than `MOST_COUNTED`, so that a page of a long list costs what one of a short list costs."""

    template_name = "adminops/capped_pagination.html"

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        # Keys only: so an index that found them is all that is read.
        return int(rows.order_by().values("pk")[: MOST_COUNTED + 1].count())

    @cached_property
    def count(self) -> int:
        return min(self._counted, MOST_COUNTED)

    @property
    def is_capped(self) -> bool:
        """Whether there are more than were counted."""
        return self._counted > MOST_COUNTED
