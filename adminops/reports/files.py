"""Files of any size that a spreadsheet opens: made as they are read, never whole in memory, and never a formula."""

from __future__ import annotations

import csv
import datetime
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import IO, Any

import xlsxwriter
from django.http import FileResponse, HttpResponseBase, StreamingHttpResponse

from adminops.pages.lists.spreadsheet import safe_cell
from adminops.reports.base import Cell

# https://support.microsoft.com/office/excel-specifications-and-limits
ROWS_OF_A_SHEET = 1_048_576
LONGEST_CELL = 32_767
# Digits beyond these a spreadsheet loses without a word.
EXACT_DIGITS = 15

CSV, XLSX = "csv", "xlsx"


def file_response(
    kind: str, name: str, header: Sequence[str], rows: Iterable[Sequence[Cell]]
) -> HttpResponseBase:
    """A download of `rows` under `header`, as CSV (streamed) or XLSX (made whole in a temporary file, row by row).

    Neither holds more in memory for many rows than for few; a workbook's first byte waits for its last row, because a
    ZIP archive is read from its end.
    """
    if kind == XLSX:
        # Closed, and with that deleted, by the response.
        return FileResponse(_workbook(header, rows), as_attachment=True, filename=f"{name}.xlsx")
    return StreamingHttpResponse(
        _lines(header, rows),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
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


def _workbook(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115  (the response closes it)
    # Strings stay strings: nothing is taken for a formula, a link or a number.
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "remove_timezone": True,
    }
    with xlsxwriter.Workbook(file, options) as workbook:
        formats = {
            "header": workbook.add_format({"bold": True}),
            "moment": workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            "amount": [workbook.add_format({"num_format": f"0.{'0' * n}" if n else "0"}) for n in range(4)],
        }
        sheet, line = None, 0
        for row in rows:
            if sheet is None or line == ROWS_OF_A_SHEET:
                sheet, line = _sheet(workbook, header, formats), 1
            for column, cell in enumerate(row):
                _write(sheet, line, column, cell, formats)
            line += 1
        if sheet is None:
            _sheet(workbook, header, formats)
    file.seek(0)
    return file


def _sheet(workbook: Any, header: Sequence[str], formats: dict[str, Any]) -> Any:
    sheet = workbook.add_worksheet()
    sheet.freeze_panes(1, 0)
    for column, title in enumerate(header):
        sheet.write_string(0, column, title, formats["header"])
        sheet.set_column(column, column, max(12, len(title) + 2))
    return sheet


def _write(sheet: Any, line: int, column: int, cell: Cell, formats: dict[str, Any]) -> None:
    cell_is_exact = not isinstance(cell, Decimal | int) or len(str(cell).replace(".", "")) <= EXACT_DIGITS
    if cell is None:
        return
    if isinstance(cell, bool):
        sheet.write_boolean(line, column, cell)
    elif isinstance(cell, datetime.datetime):
        sheet.write_datetime(
            line, column, cell.astimezone(datetime.UTC).replace(tzinfo=None), formats["moment"]
        )
    elif isinstance(cell, Decimal) and cell_is_exact:
        places = -int(cell.as_tuple().exponent)
        sheet.write_number(line, column, cell, formats["amount"][min(max(places, 0), 3)])
    elif isinstance(cell, int) and cell_is_exact:
        sheet.write_number(line, column, cell)
    else:
        sheet.write_string(line, column, str(_as_text(cell))[:LONGEST_CELL])
