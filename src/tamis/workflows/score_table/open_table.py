"""Opens a table of any format that can be scored in parts. The content decides, as in
`tamis.data.files.message_reader`.
"""

from __future__ import annotations

import io

from tamis.data.files import excel_reader, json_reader, mail_reader, parquet_reader
from tamis.data.files.binary_formats import refuse_binary
from tamis.data.files.columns import firm
from tamis.data.files.csv_dialect import declared_separator
from tamis.data.files.table_messages import table_layout
from tamis.data.files.text_messages import ends_lines_with_returns
from tamis.errors import DataError
from tamis.workflows.score_table.delimited_table import delimited_table, lines_table
from tamis.workflows.score_table.json_table import json_table
from tamis.workflows.score_table.parquet_table import parquet_table
from tamis.workflows.score_table.rows import Table
from tamis.workflows.score_table.source import TableSource
from tamis.workflows.score_table.survey import Survey

_TABLE_ENDINGS = frozenset((".csv", ".tsv", ".tab"))


def open_table(
    source: TableSource, known: Survey, *, text: str | None = None, header: bool | None = None
) -> Table:
    """Open a table.

    Args:
        source: the file.
        known: its survey.
        text: text column; None: found by name or content. A `columns.UsualColumn` is only a hint.
        header: whether the first row of delimited text names the columns; None: decided by content.

    Raises:
        DataError: it has a format that cannot be scored in parts; or its header or text column
            cannot be told.
        MissingExtraError: it is Parquet and pyarrow is not installed.
    """
    name, head = source.name, known.head
    if head.startswith(parquet_reader.MAGIC):
        return parquet_table(source, text)
    if excel_reader.begins_like_excel(head):
        raise _refused(name, "an Excel workbook", "save the sheet as CSV")
    asked = firm(text) is not None or header is not None
    if not asked and source.ending not in _TABLE_ENDINGS and mail_reader.is_mbox(head):
        raise _refused(name, "a mailbox", "use tamis predict --file")
    refuse_binary(head, name, "a table (CSV, TSV, JSONL or Parquet)")
    start, whole = _start(source, known)
    lines_only = source.ending == ".txt" and not asked and declared_separator(start) is None
    if not lines_only and json_reader.begins_like_json(start):
        if start.lstrip().startswith("["):
            raise _refused(name, "a JSON array", "write one object a line (jq -c '.[]' FILE)")
        return json_table(source, known, text)
    sure = asked or source.ending in _TABLE_ENDINGS
    layout = None if lines_only else table_layout(start, whole=whole, sure=sure)
    if layout is None:
        return lines_table(source, known, returns=ends_lines_with_returns(start))
    return delimited_table(source, known, start, layout, (text, header))


def _start(source: TableSource, known: Survey) -> tuple[str, bool]:
    """Return the first characters of a text, and whether they are all of it."""
    if known.errors == "strict" and known.size == len(known.head):
        return known.head.decode(known.encoding), True
    file: io.TextIOWrapper
    with source.text(known.encoding, known.errors, "") as file:
        start = file.read(len(known.head))
        return start, not file.read(1)


def _refused(name: str, found: str, remedy: str) -> DataError:
    return DataError(
        f"{name}: expected a table that can be read in parts (CSV, TSV, JSONL or Parquet), found "
        f"{found}; {remedy}"
    )
