"""Files of any size that a spreadsheet opens: made as they are read, never whole in memory, and never a formula."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.http import HttpResponseBase, StreamingHttpResponse

from adminops.pages.lists.spreadsheet import safe_cell
from adminops.reports.base import Cell
from adminops.reports.workbook import CONTENT_TYPE, workbook

CSV, XLSX = "csv", "xlsx"


def file_response(
    kind: str, name: str, header: Sequence[str], rows: Iterable[Sequence[Cell]]
) -> HttpResponseBase:
    """A download of `rows` under `header`, as CSV or XLSX: either begins before a row is read, and keeps none."""
    content, content_type = (
        (workbook(header, rows), CONTENT_TYPE)
        if kind == XLSX
        else (_lines(header, rows), "text/csv; charset=utf-8")
    )
    return StreamingHttpResponse(
        content,
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}.{kind}"'},
    )


class _Echo:
    """Where a csv writer writes: it hands back what it is given."""

    def write(self, text: str) -> str:
        return text


def _lines(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[bytes]:
    writer: Any = csv.writer(_Echo())
    # The mark by which a spreadsheet knows UTF-8.
    yield ("\ufeff" + writer.writerow(header)).encode()
    for row in rows:
        yield writer.writerow([safe_cell(_as_text(cell)) for cell in row]).encode("utf-8", "replace")


def _as_text(cell: Cell) -> object:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, datetime.datetime):
        return cell.astimezone(datetime.UTC).isoformat(timespec="seconds")
    return cell.isoformat() if isinstance(cell, datetime.date) else cell
