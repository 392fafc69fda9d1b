"""Excel and OpenDocument workbooks, read with python-calamine (extra `tables`).

python-calamine reads .xlsx, .xlsm, .xlsb, .xls and .ods, needs no other package, and is maintained
together with the Rust library that polars reads Excel with. Numbers of rows are those of the sheet.
"""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

from tamis.data.files.cells import Row, trimmed
from tamis.errors import DataError, MissingExtraError

_ZIP, _COMPOUND = b"PK\x03\x04", bytes.fromhex("d0cf11e0a1b11ae1")
_OPEN_DOCUMENT = b"application/vnd.oasis.opendocument.spreadsheet"


class Sheet(NamedTuple):
    """The rows of the first sheet that has any, and a note if others have some too."""

    rows: list[Row]
    notes: tuple[str, ...]


def begins_like_excel(content: bytes) -> bool:
    """Return whether `content`, the first 200 kB of a file or all of it, is a workbook."""
    if content.startswith(_COMPOUND):
        # Word and Outlook use the same container; the name of the stream tells the program.
        return any(
            name.encode("utf-16-le") in content for name in ("Workbook", "Book", "EncryptedPackage")
        )
    if not content.startswith(_ZIP):
        return False
    return content[30:90].startswith(b"mimetype" + _OPEN_DOCUMENT) or b"xl/" in content


def excel_sheet(content: bytes, source: str) -> Sheet:
    """Read the first sheet that has rows; other sheets are named in a note.

    Raises:
        MissingExtraError: python-calamine is not installed.
        DataError: the workbook is damaged, encrypted or has no rows.
    """
    calamine = import_calamine("reading Excel")
    try:
        workbook = calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheets = {
            name: list(_rows(workbook.get_sheet_by_name(name)))
            for name, about in zip(workbook.sheet_names, workbook.sheets_metadata, strict=True)
            if about.typ == calamine.SheetTypeEnum.WorkSheet
            and about.visible == calamine.SheetVisibleEnum.Visible
        }
    except calamine.PasswordError:
        raise DataError(
            f"{source}: the workbook is protected by a password; save it without one"
        ) from None
    except (calamine.CalamineError, OSError, ValueError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{source}: begins like an Excel workbook but cannot be read ({reason}); save it "
            "again, or as CSV"
        ) from None
    filled = {name: rows for name, rows in sheets.items() if rows}
    if not filled:
        raise DataError(
            f"{source}: expected rows, found no visible sheet with values; give a sheet with a "
            "label and a text in each row"
        )
    first, *others = filled
    notes = (
        [f"{source}: only sheet {first!r} was read, not {', '.join(map(repr, others))}."]
        if others
        else []
    )
    return Sheet(filled[first], tuple(notes))


def import_calamine(purpose: str) -> ModuleType:
    """Import python-calamine.

    Raises:
        MissingExtraError: it is not installed; the message contains `purpose`.
    """
    try:
        import python_calamine
    except ImportError:
        raise MissingExtraError("python-calamine", "tables", purpose) from None
    return python_calamine


def _rows(sheet: object) -> Iterator[Row]:
    """Yield the rows that have values, without the empty columns at both sides of the table."""
    rows: list[list[object]] = sheet.to_python(skip_empty_area=False)  # type: ignore[attr-defined]
    filled = [
        (number, trimmed([_value(cell) for cell in cells])) for number, cells in enumerate(rows, 1)
    ]
    filled = [(number, cells) for number, cells in filled if cells]
    left = min(
        (next(i for i, cell in enumerate(cells) if cell is not None) for _, cells in filled),
        default=0,
    )
    # A sheet is a rectangle: a cell that is missing at the end of a row is an empty one.
    width = max((len(cells) for _, cells in filled), default=0)
    for number, cells in filled:
        yield Row(number, [*cells, *[None] * (width - len(cells))][left:])


def _value(cell: object) -> object:
    """Return a cell: text, number, truth, or a date as text; None if it is empty."""
    if isinstance(cell, str):
        return cell if cell.strip() else None
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)  # Excel stores every number as a float
    if isinstance(cell, datetime.date | datetime.time | datetime.timedelta):
        return str(cell)
    return cell
