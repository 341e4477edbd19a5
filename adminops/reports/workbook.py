"""A workbook sent as it is read: each part of its archive is written and forgotten, so nothing waits for the last row.

The format is SpreadsheetML (ECMA-376, https://ecma-international.org/publications-and-standards/standards/ecma-376/),
of which a table needs little: docs/decisions/workbooks.md says why we write that ourselves.
"""

from __future__ import annotations

import datetime
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import batched, chain, count
from typing import Any
from xml.sax.saxutils import escape

from adminops.reports.base import Cell

# https://support.microsoft.com/office/excel-specifications-and-limits
ROWS_OF_A_SHEET = 1_048_576
LONGEST_CELL = 32_767
# Digits beyond these a spreadsheet loses without a word.
EXACT_DIGITS = 15

# A part beyond 2 GiB needs an extension of ZIP that Excel refuses where it is streamed.
_BYTES_OF_A_SHEET = 2**30
_ROWS_AT_ONCE = 200

# Day 0 of a spreadsheet. Before the first of March 1900 they do not agree which day is which.
_DAY_0 = datetime.date(1899, 12, 30)
_FIRST_DAY = datetime.date(1900, 3, 1)

# Styles, by their place in `cellXfs`.
_HEADER, _MOMENT, _DAY = 1, 2, 3
_WITH_DECIMALS = (4, 5, 6, 7)

_DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"

CONTENT_TYPE = f"{_KIND}.sheet"

# What XML cannot hold, and what a spreadsheet would take for the way it is written: `_x000D_`.
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


def workbook(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[bytes]:
    """The bytes of a workbook of `rows` under `header`, the first of them before a row is asked for.

    Strings stay strings: nothing in it is a formula or a link. Moments are in UTC. What is longer than a sheet goes on
    in the next one.
    """
    sent = _Sent()
    with zipfile.ZipFile(sent, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        archive.writestr("_rels/.rels", _relations([("officeDocument", "xl/workbook.xml")]))
        archive.writestr("xl/styles.xml", _styles())
        yield sent.taken()
        left, number = iter(rows), 0
        for number in count(1):
            with archive.open(f"xl/worksheets/sheet{number}.xml", "w") as part:
                for lines in _sheet(header, left):
                    part.write(lines)
                    if written := sent.taken():
                        yield written
            following = next(left, None)
            if following is None:
                break
            left = chain([following], left)
        archive.writestr("xl/workbook.xml", _contents(number))
        sheets = [("worksheet", f"worksheets/sheet{each}.xml") for each in range(1, number + 1)]
        archive.writestr("xl/_rels/workbook.xml.rels", _relations([*sheets, ("styles", "styles.xml")]))
        archive.writestr("[Content_Types].xml", _types(number))
    yield sent.taken()


class _Sent:
    """Where the archive is written: it can only go on, and what is taken is gone."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, written: Any) -> int:
        self._bytes += written
        return len(written)

    def flush(self) -> None:
        """There is nothing behind it."""

    def taken(self) -> bytes:
        """What was written since it was taken last."""
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken


def _sheet(header: Sequence[str], rows: Iterator[Sequence[Cell]]) -> Iterator[bytes]:
    """One sheet, piece by piece, of as many of `rows` as it holds; the others are left."""
    letters = [_letters(column) for column in range(len(header))]
    yield _beginning(header, letters).encode("utf-8", "replace")
    size, line = 0, 2
    while line <= ROWS_OF_A_SHEET and size < _BYTES_OF_A_SHEET:
        room = min(_ROWS_AT_ONCE, ROWS_OF_A_SHEET + 1 - line)
        some = next(batched(rows, room), ())
        if not some:
            break
        lines = "".join(_row(number, letters, row) for number, row in enumerate(some, line))
        written = lines.encode("utf-8", "replace")
        size, line = size + len(written), line + len(some)
        yield written
    yield b"</sheetData></worksheet>"


def _beginning(header: Sequence[str], letters: Sequence[str]) -> str:
    widths = "".join(
        f'<col min="{place}" max="{place}" width="{max(12, len(title) + 2)}" customWidth="1"/>'
        for place, title in enumerate(header, 1)
    )
    titles = "".join(
        _text(f"{letter}1", title, _HEADER) for letter, title in zip(letters, header, strict=True)
    )
    return (
        f'{_DECLARATION}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
        '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>'
        f'<cols>{widths}</cols><sheetData><row r="1">{titles}</row>'
    )


def _letters(column: int) -> str:
    """How a spreadsheet calls a column, the first being 0: "A", "Z", "AA"."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(ord("A") + rest) + name
    return name


def _row(number: int, letters: Sequence[str], row: Sequence[Cell]) -> str:
    cells = (_cell(f"{letter}{number}", cell) for letter, cell in zip(letters, row, strict=True))
    return f'<row r="{number}">{"".join(cells)}</row>'


def _cell(place: str, cell: Cell) -> str:
    if cell is None or cell == "":
        return ""
    if isinstance(cell, bool):
        return f'<c r="{place}" t="b"><v>{cell:d}</v></c>'
    if isinstance(cell, datetime.date):
        return _when(place, cell)
    if isinstance(cell, int | Decimal):
        return _amount(place, cell)
    return _text(place, str(cell))


def _amount(place: str, amount: int | Decimal) -> str:
    written = f"{amount:f}" if isinstance(amount, Decimal) else str(amount)
    if sum(character.isdigit() for character in written) > EXACT_DIGITS:
        return _text(place, written)
    decimals = len(written.partition(".")[2])
    style = _WITH_DECIMALS[min(decimals, 3)] if isinstance(amount, Decimal) else 0
    return _number(place, written, style)


def _when(place: str, when: datetime.date) -> str:
    """A day, or a moment to the second, as the days since day 0."""
    moment = when.astimezone(datetime.UTC) if isinstance(when, datetime.datetime) else None
    day = moment.date() if moment else when
    if day < _FIRST_DAY:
        return _text(place, moment.isoformat(timespec="seconds") if moment else when.isoformat())
    days = Decimal((day - _DAY_0).days)
    if moment is None:
        return _number(place, str(days), _DAY)
    part = Decimal(moment.hour * 3600 + moment.minute * 60 + moment.second) / 86400
    return _number(place, f"{days + part:.10f}", _MOMENT)


def _number(place: str, written: str, style: int) -> str:
    return f'<c r="{place}" s="{style}"><v>{written}</v></c>'


def _text(place: str, text: str, style: int = 0) -> str:
    return (
        f'<c r="{place}" s="{style}" t="inlineStr"><is><t xml:space="preserve">{_written(text)}</t></is></c>'
    )


def _written(text: str) -> str:
    """Text as XML, as much of it as a cell holds; a spreadsheet counts as UTF-16 does."""
    if 2 * len(text) > LONGEST_CELL:
        cut = text.encode("utf-16-le", "replace")[: 2 * LONGEST_CELL]
        text = cut.decode("utf-16-le", "ignore")
    one_way = text.replace("\r\n", "\n")
    return escape(_UNWRITABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", one_way))


def _contents(sheets: int) -> str:
    each = "".join(f'<sheet name="Sheet{n}" sheetId="{n}" r:id="rId{n}"/>' for n in range(1, sheets + 1))
    return (
        f'{_DECLARATION}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><bookViews><workbookView/></bookViews>'
        f"<sheets>{each}</sheets></workbook>"
    )


def _relations(targets: Sequence[tuple[str, str]]) -> str:
    each = "".join(
        f'<Relationship Id="rId{n}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(targets, 1)
    )
    return f'{_DECLARATION}<Relationships xmlns="{_PACKAGE}/relationships">{each}</Relationships>'


def _types(sheets: int) -> str:
    parts = {
        "/xl/workbook.xml": "sheet.main",
        "/xl/styles.xml": "styles",
        **{f"/xl/worksheets/sheet{n}.xml": "worksheet" for n in range(1, sheets + 1)},
    }
    each = "".join(
        f'<Override PartName="{name}" ContentType="{_KIND}.{kind}+xml"/>' for name, kind in parts.items()
    )
    return (
        f'{_DECLARATION}<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{each}</Types>'
    )


def _styles() -> str:
    # The numbers of these two are Excel's own; ours begin at 164.
    formats = ("0", "0.0", "0.00", "0.000")
    custom = {164: "yyyy-mm-dd hh:mm:ss", 165: "yyyy-mm-dd"} | {
        166 + place: written for place, written in enumerate(formats)
    }
    numbered = "".join(f'<numFmt numFmtId="{n}" formatCode="{code}"/>' for n, code in custom.items())
    used = "".join(
        f'<xf numFmtId="{n}" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
        for n in custom
    )
    font = '<sz val="11"/><name val="Calibri"/><family val="2"/>'
    plain = 'numFmtId="0" fontId="0" fillId="0" borderId="0"'
    return (
        f'{_DECLARATION}<styleSheet xmlns="{_MAIN}"><numFmts count="{len(custom)}">{numbered}</numFmts>'
        f'<fonts count="2"><font>{font}</font><font><b/>{font}</font></fonts>'
        '<fills count="2"><fill><patternFill patternType="none"/></fill>'
        '<fill><patternFill patternType="gray125"/></fill></fills>'
        '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
        f'<cellStyleXfs count="1"><xf {plain}/></cellStyleXfs>'
        f'<cellXfs count="{2 + len(custom)}"><xf {plain} xfId="0"/>'
        '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/>'
        f"{used}</cellXfs>"
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
    )
