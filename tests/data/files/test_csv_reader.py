"""The reader of delimited text against Python's csv module and pandas; the choice of delimiter and
quoting by nasty cases.
"""

from __future__ import annotations

import csv
import io
import time

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.files.csv_dialect import declared_separator, quoting_is_evident, sniff
from tamis.data.files.csv_reader import Layout, lines_of, records
from tamis.errors import DataError

TAB = "\t"


def fields(text: str, delimiter: str, *, quoted: bool) -> list[list[str]]:
    layout = Layout(delimiter, quoted)
    return [record.fields for record in records(lines_of(text, layout), layout, "file")]


@given(st.text(alphabet='a",;\t\r\n é'), st.sampled_from([",", ";", TAB]))
def test_quoted_reading_is_that_of_the_csv_module(text: str, delimiter: str) -> None:
    expected = [
        row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row
    ]
    try:
        assert fields(text, delimiter, quoted=True) == expected
    except DataError as error:
        # csv returns what an unclosed quote swallowed; here that is an error, and it must really be
        # unclosed.
        assert "never closed" in str(error)
        with pytest.raises(csv.Error, match=r"unexpected end of data|expected after"):
            list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


@given(st.lists(st.tuples(st.text(alphabet='x" \n\té'), st.text(alphabet='y"\r,')), min_size=1))
def test_quoted_reading_is_that_of_pandas(rows: list[tuple[str, str]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=TAB, quoting=csv.QUOTE_ALL).writerows(rows)
    frame = pd.read_csv(
        io.StringIO(buffer.getvalue(), newline=""),
        sep=TAB,
        header=None,
        keep_default_na=False,
        dtype=str,
    )
    assert fields(buffer.getvalue(), TAB, quoted=True) == frame.values.tolist()


def test_a_record_knows_the_line_where_it_begins() -> None:
    text = 'a,b\n\n"x\ny",2\r\n"p\r\nq\nr",3\nlast,4'
    layout = Layout(",", True)
    found = list(records(lines_of(text, layout), layout, "file"))
    assert [record.line for record in found] == [1, 3, 5, 8]
    assert found[2].fields == ["p\r\nq\nr", "3"]


def test_an_unclosed_quote_is_named_by_the_line_that_opens_it() -> None:
    with pytest.raises(
        DataError, match=r"file line 2: a quoted field begins in this row and is never closed"
    ):
        fields('a,b\nham,"hello\nspam,win\n', ",", quoted=True)


def test_a_field_of_many_quoted_lines_is_read_in_linear_time() -> None:
    text = '"' + 'a ""line"" of text\n' * 60_000 + '",ham\n'
    start = time.perf_counter()
    assert len(fields(text, ",", quoted=True)[0][0]) == 60_000 * len('a "line" of text\n')
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("label,text\nham,hello; you\nspam,win\n", ","),
        ('label,text\nham,"a\tb, c"\nspam,"d\te"\n', ","),
        ("label;text\nham;one, two\nspam;three, four, five\n", ";"),
        ("ham\thello, you\nham\tone, two\nspam\tx, y\n", TAB),
        ('ham,hello\nham,bye\nspam,"win, now"\n', ","),
        ("v1,v2,,,\nham,hello,,,\nspam,win,,,\n", ","),
        ("label,text\nham,one\nspam,two,too,many\nham,three\n", ","),
        ("ham;one, two\nspam;three, four\nham;five, six\nspam;seven, eight\n", ";"),
        ("a;one, two\nb;three, four\n", ";"),
        ("1,5;ham;one\n2,5;spam;two\n3,5;ham;six\n4,5;spam;ten\n", ";"),
        ("label|text\nham|one, two\nspam|three\n", "|"),
    ],
)
def test_the_delimiter_is_told_by_content(text: str, delimiter: str) -> None:
    layout = sniff(text)
    assert layout is not None and layout.delimiter == delimiter


@pytest.mark.parametrize(
    "text", ["", "just words\nand more words\n", "Hi, you\nno comma here\nnor here\nnor there\n"]
)
def test_text_without_columns_has_no_layout(text: str) -> None:
    assert sniff(text) is None


@pytest.mark.parametrize(
    ("text", "evident", "why"),
    [
        ('ham\the said "hi"\nham\tx\n', False, "quotes inside unquoted fields"),
        ('ham\t"hello" he said\nham\tx\n', False, "a quote that closes before the field ends"),
        ('ham\t"hello\nham\tx\n', False, "a quote that never closes"),
        (
            'ham\t"hello\nham\tbye"\nspam\tz\n',
            False,
            "closes in the next row, but the bare rows are all of one width",
        ),
        ('ham\t"hello"\nham\tx\nspam\ty\n', False, "one lone text in quotes"),
        ('ham\t"well, hello"\nham\tx\nspam\ty\n', False, "one lone text with a comma"),
        ('ham\t"say ""hi"" now"\nham\tx\n', True, "doubled quotes, none bare"),
        (
            'ham\t"say ""hi"" now"\nham\t"x" y\n',
            False,
            "doubled quotes, yet a broken one elsewhere",
        ),
        (
            'ham\t"two\nlines"\nham\tx\nspam\ty\n',
            True,
            "a line end inside; bare rows would be ragged",
        ),
        ('ham\t"a\tb"\nham\tx\nspam\ty\n', True, "a tab inside; bare rows would be ragged"),
        ('"label"\t"text"\n"ham"\t"hello"\n"spam"\t"win"\n', True, "everything quoted"),
        (
            'label\ttext\nham\t"hello"\nspam\t"win"\nham\t"x"\n',
            True,
            "a column quoted throughout below a bare header",
        ),
        ('1\t"hello"\n0\t"win"\n0\t"x"\n', True, "texts quoted, numbers not"),
        (
            'ham\t"a, b"\nham\t"c, d"\nspam\t"e, f"\nham\tx\n',
            True,
            "spreadsheets quote fields with a comma",
        ),
        (
            'ham\t"a, b"\nham\t"c, d"\nspam\t"e, f"\nham\tx, y\n',
            False,
            "no rule: a comma stands bare",
        ),
        ("ham\thello\n", False, "no quotes at all"),
        ('"say ""hi"" now"\tham\rwin\tspam\r', True, "quotes at the beginning of the file"),
        ('win\tspam\r"say ""hi"" now"\tham\r', True, "quotes after a carriage return"),
    ],
)
def test_quotes_between_tabs_are_quoting_only_where_that_is_evident(
    text: str, evident: bool, why: str
) -> None:
    assert quoting_is_evident(text, TAB) is evident, why


@pytest.mark.parametrize(
    ("text", "delimiter", "length"),
    [
        ("sep=;\na;b\n", ";", 6),
        ("SEP=,\r\na,b\r\n", ",", 7),
        ('"sep=|"\ra|b', "|", 8),
        ("sep=\t\na\tb\n", TAB, 6),
        ("sep=;;;\na;b;c;d\n", ";", 8),
    ],
)
def test_excels_line_declares_the_delimiter(text: str, delimiter: str, length: int) -> None:
    assert declared_separator(text) == (delimiter, length)


@pytest.mark.parametrize(
    "text", ["separate;x\n", "sep=ab\n", "sep=\n", "a;b\nsep=;\n", "sep=; x\n"]
)
def test_another_first_line_declares_nothing(text: str) -> None:
    assert declared_separator(text) is None


def test_escapes_are_read_as_the_csv_module_reads_them() -> None:
    rows = [["ham", 'he said "hi", ok'], ["spam", "back\\slash"], ["ham", '"'], ["spam", "x\ny"]]
    buffer = io.StringIO()
    csv.writer(buffer, escapechar="\\", doublequote=False).writerows(rows)
    layout = sniff(buffer.getvalue())
    assert layout is not None and layout.escaped
    found = records(lines_of(buffer.getvalue(), layout), layout, "file")
    assert [record.fields for record in found] == rows


def test_the_cut_end_of_a_sample_is_no_unclosed_quote() -> None:
    text = 'ham\t"say ""hi"""\nspam\t"cut here'
    assert quoting_is_evident(text, TAB, whole=False)
    assert not quoting_is_evident(text, TAB, whole=True)


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("other", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", TAB])
def test_a_line_end_that_only_one_field_has_is_a_part_of_it(
    end: str, other: str, delimiter: str
) -> None:
    rows = [["ham", f"text {number}"] for number in range(9)]
    rows[3][1] = f"two{other}three"
    text = "".join(delimiter.join(row) + end for row in rows)
    layout = sniff(text)
    assert layout is not None
    found = [record.fields for record in records(lines_of(text, layout), layout, "file")]
    assert found == rows or end in other


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ('"ham", "one, two"\n"spam", "three"\n"ham", "four"\n', ["ham", "one, two"]),
        ('"one, two", ham\n"three", spam\n"it is  ", ham\n', ["one, two", "ham"]),
        ("text, label\none, ham\nthree, spam\n", ["text", "label"]),
        ('label; text\nham; "one; ""two"""\nspam; three\n', ["label", "text"]),
    ],
)
def test_a_space_after_each_delimiter_is_no_part_of_the_fields(text: str, row: list[str]) -> None:
    layout = sniff(text)
    assert layout is not None
    assert layout.spaced
    found = [record.fields for record in records(lines_of(text, layout), layout, "file")]
    assert found[0] == row
    again = csv.reader(text.splitlines(), delimiter=layout.delimiter, skipinitialspace=True)
    assert found == list(again)


@pytest.mark.parametrize(
    "text",
    ["hello, friend\nbye, you\n", "label,text\nham, one\nspam, two\n", 'a,b\n1,2\n3, "4"x\n'],
)
def test_a_space_that_may_belong_to_a_text_stays(text: str) -> None:
    layout = sniff(text)
    assert layout is None or not layout.spaced
