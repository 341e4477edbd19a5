"""What a list becomes as a file: its columns, each with what stands in its cells."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import batched
from typing import Any

from django.db.models import QuerySet
from django.utils.functional import Promise

from billing.money import minor_digits

type Cell = str | int | Decimal | bool | datetime.datetime | datetime.date | None

ROWS_AT_ONCE = 2000


@dataclass(frozen=True)
class Column:
    """One column. Amounts stand in the currency's own units, as numbers, with the currency in a column beside them."""

    name: str
    title: str | Promise
    cell: Callable[[Any], Cell]


@dataclass(frozen=True)
class Report:
    """A list of the admin as a file.

    What the cells need besides the rows, `prepare` adds in the query for all of them, or `tell` to some at a time.
    """

    name: str
    title: str | Promise
    model: str
    """As app_label.model_name."""
    columns: tuple[Column, ...]
    prepare: Callable[[QuerySet[Any]], QuerySet[Any]] = lambda rows: rows
    tell: Callable[[Sequence[Any]], None] = lambda rows: None

    def chosen(self, names: Sequence[str]) -> list[Column]:
        """The columns of these names, in the report's own order."""
        return [column for column in self.columns if column.name in names]

    def rows(self, listed: QuerySet[Any], columns: Sequence[Column]) -> Iterator[list[Cell]]:
        """The cells of what is listed, in the list's order, read bit by bit whatever their number."""
        rows = self.prepare(listed).iterator(chunk_size=ROWS_AT_ONCE)
        for some in batched(rows, ROWS_AT_ONCE):
            self.tell(some)
            for row in some:
                yield [column.cell(row) for column in columns]


def amount(minor_units: int | None, currency: str | None) -> Decimal | None:
    """An amount as a number in the currency's own units: 1234 of "usd" is 12.34. None without a currency."""
    if minor_units is None or not currency:
        return None
    return Decimal(minor_units).scaleb(-minor_digits(currency))
