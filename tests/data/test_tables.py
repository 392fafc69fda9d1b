"""Tables read from every format: against pandas and polars, by hand-made rows, and each bad input
with its message.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.catalog import CATALOG
from tamis.data.files import parquet_reader
from tamis.data.frames import frame_table
from tamis.data.tables import Table, check_trainable, read_table
from tamis.errors import DataError, MissingExtraError

Write = Callable[..., Path]
# csv and tables hold no NUL; half surrogates are no characters.
ANY_TEXT = st.text(alphabet=st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]))
LABEL = st.sampled_from(["ham", "spam", "other, kind", 'a "b"'])


def rows_of(table: Table) -> list[tuple[str, str]]:
    return list(zip(table.labels, table.texts, strict=True))


@pytest.mark.parametrize(
    ("content", "format_"),
    [
        ("label,text\nham,hello\nspam,win\n", "csv"),
        ("label;text\nham;hello\nspam;win\n", "csv"),
        ("text,label\nhello,ham\nwin,spam\n", "csv"),
        ("label\ttext\nham\thello\nspam\twin\n", "tsv"),
        ("ham\thello\nspam\twin\n", "tsv"),
        ("id,Message,Category\n1,hello,ham\n2,win,spam\n", "csv"),
        ("v1,v2,,,\nham,hello,,,\nspam,win,,,\n", "csv"),
        (
            '{"label": "ham", "text": "hello"}\n\n{"text": "win", "label": "spam", "id": 3}\n',
            "jsonl",
        ),
        ('[\n {"label": "ham", "text": "hello"},\n {"label": "spam", "text": "win"}\n]\n', "json"),
        ("\ufefflabel,text\r\nham,hello\r\nspam,win\r\n", "csv"),
        ("label,text\rham,hello\rspam,win\r", "csv"),
    ],
)
@pytest.mark.parametrize("name", ["table.csv", "table.jsonl", "table"])
def test_the_content_tells_the_format_and_the_columns(
    write: Write, content: str, format_: str, name: str
) -> None:
    table = read_table(write(content, name))
    assert rows_of(table) == [("ham", "hello"), ("spam", "win")]
    assert table.format == format_
    assert table.classes == ("ham", "spam")
    assert table.counts == {"ham": 1, "spam": 1}


def test_lines_columns_and_fingerprint_are_those_of_the_file(write: Write) -> None:
    path = write('Class,n,SMS\nham,1,"two\nlines"\n\nspam,2,win\n')
    table = read_table(str(path))
    assert (table.lines, table.text_column, table.label_column, table.source) == (
        (2, 5),
        "SMS",
        "Class",
        str(path),
    )
    assert table.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    assert table.where(1) == f"{path} line 5"
    assert rows_of(table.select([1])) == [("spam", "win")]


def test_a_headerless_table_is_named_by_position(write: Write) -> None:
    table = read_table(
        write("a\tham\thello you\nb\tspam\twin now\nc\tham\tbye for ever\n"), text="3", label="2"
    )
    assert (table.text_column, table.label_column, table.labels) == (
        "3",
        "2",
        ("ham", "spam", "ham"),
    )


def test_a_first_message_labelled_spam_is_no_header(write: Write) -> None:
    assert len(read_table(write("spam\tfree entry\nham\thello\nspam\twin\n"))) == 3


def test_a_header_of_unknown_names_is_told_by_its_values(write: Write) -> None:
    body = "".join(f"{'pos' if n % 2 else 'neg'}\tsome words number {n}\n" for n in range(12))
    assert len(read_table(write("mood\twords\n" + body))) == 12
    assert len(read_table(write(body))) == 12


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark_and_utf8_are_read(write: Write, encoding: str) -> None:
    table = read_table(write("label,text\nham,naïve 你好 🎂\nspam,win\n".encode(encoding)))
    assert table.texts[0] == "naïve 你好 🎂"
    assert (table.encoding, table.notes) == (encoding, ())


def test_other_bytes_are_cp1252_with_a_note(write: Write) -> None:
    path = write("v1,v2,,,\r\nham,caf\xe9 \x80,,,\r\nspam,\xa3100,more,,\r\n".encode("latin-1"))
    table = read_table(path)
    assert table.texts == ("café €", "£100")
    assert table.encoding == "cp1252"
    assert table.notes == (
        f"{path} is not UTF-8 (byte 0xe9 in line 2) and was read as cp1252.",
        "1 rows have values in columns without a name (3, 4, 5); these are not part of their "
        "texts.",
    )


def test_a_mix_of_utf8_and_cp1252_is_said(write: Write) -> None:
    table = read_table(write(b"label,text\nham,caf\xc3\xa9\nspam,\xa3100\n"))
    assert "1 characters that look like UTF-8" in table.notes[1]


@given(st.lists(st.tuples(LABEL, ANY_TEXT), min_size=1))
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("label", "text"), *rows])
    assert rows_of(read_table(path)) == rows


@given(st.lists(st.tuples(LABEL, ANY_TEXT), min_size=1))
def test_what_json_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    objects = [{"label": label, "text": text} for label, text in rows]
    for name, content in {
        "round.jsonl": "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects),
        "round.json": json.dumps(objects, indent=1),
    }.items():
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(content.encode("utf-8"))
        assert rows_of(read_table(path)) == rows


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ham", "spam"]), ANY_TEXT.filter(lambda t: not set(t) & set("\t\r\n"))
        ),
        min_size=2,
    )
)
def test_an_unquoted_tab_file_keeps_every_quote(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    rows = [("ham", 'this one has a "quote" inside'), *rows]
    path = tmp_path_factory.getbasetemp() / "bare.tsv"
    path.write_bytes("".join(f"{label}\t{text}\n" for label, text in rows).encode())
    assert rows_of(read_table(path, text="2", label="1")) == rows


def test_pandas_quoting_is_what_pandas_reads(write: Write) -> None:
    path = write('ham\t"open\nham\tshut"\nspam\twin "now"\nham\t"a" b\n')
    assert len(read_table(path)) == 4
    table = read_table(path, quoting="pandas")
    frame = pd.read_csv(path, sep="\t", header=None)
    assert rows_of(table) == [tuple(row) for row in frame.values.tolist()]
    assert len(table) == 3


def test_parquet_is_read_in_the_order_of_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "no-ending"
    texts = [f'text "{n}",\n{n}' for n in range(9_001)]
    pl.DataFrame(
        {"id": range(9_001), "text": texts, "label": [n % 3 for n in range(9_001)]}
    ).write_parquet(path)
    table = read_table(path)
    assert table.texts == tuple(texts)
    assert table.labels[:4] == ("0", "1", "2", "0")
    assert table.where(0) == f"{path} row 1"


def test_parquet_without_polars_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"text": ["a"], "label": ["b"]}).write_parquet(path)
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(
        MissingExtraError, match=r"reading Parquet needs .*pip install .*\[tables\]"
    ):
        read_table(path)


def test_a_truncated_parquet_file_is_an_error(write: Write) -> None:
    with pytest.raises(DataError, match="begins like Parquet but cannot be read"):
        read_table(write(parquet_reader.MAGIC + b"rubbish" * 9))


def test_labels_of_json_may_be_numbers_and_truths(write: Write) -> None:
    table = read_table(
        write(
            '{"label": 1, "text": "a"}\n{"label": true, "text": "b"}\n{"label": 2.5, "text": "c"}\n'
        )
    )
    assert table.labels == ("1", "true", "2.5")


def test_texts_are_kept_to_the_character(write: Write) -> None:
    table = read_table(write("label,text\nham,  two  blanks \u200b\nspam,\u2028x\x85y\x0cz\n"))
    assert table.texts == ("  two  blanks \u200b", "\u2028x\x85y\x0cz")


def test_a_row_of_a_megabyte_is_read(write: Write) -> None:
    long = 'word "quoted", ' * 80_000
    buffer = io.StringIO()
    csv.writer(buffer).writerows([("label", "text"), ("ham", long), ("spam", "win")])
    assert read_table(write(buffer.getvalue())).texts == (long, "win")
    assert read_table(write(f"ham\t{long}\nspam\twin\n")).texts == (long, "win")
    assert csv.field_size_limit() == 131_072  # the process's own limit is left alone


BAD = [
    (b"", "expected rows, found an empty file"),
    (b"\n \n", "expected rows, found an empty file"),
    (b"label,text\n", "has no rows, only the names of its columns"),
    (b"only words\nno columns\n", "expected a table"),
    (
        b"label,text\nham,a\nspam,b,c\n",
        r"line 3: expected 2 fields separated by comma, found 3; fix the row \(quote texts",
    ),
    (
        b"ham\ta\nspam\tb\tc\nham\td\n",
        r"line 2: expected 2 fields separated by tab, found 3; fix the row \(replace a tab",
    ),
    (b"label,text\nham,a\n  ,b\n", r"line 3: expected a label in column 'label', found none"),
    (b"label,text\nham,a\x00b\n", "line 2: expected text, found a NUL byte"),
    ("label,text\nham,a\n".encode("utf-16-le"), "this looks like UTF-16 without a byte-order mark"),
    (
        b"label,text\nham,\x81\xe9\n",
        r"line 2: byte 0x81 is not UTF-8, and byte 0x81 in line 2 is not cp1252",
    ),
    (b"\xff\xfel\x00\x00\xd8a\x00", "the byte-order mark says utf-16"),
    (
        b'label,text\nham,"open\nspam,b\n',
        "line 2: a quoted field begins in this row and is never closed",
    ),
    (
        b'{"label": "ham", "text": "a"}\n{"label": "ham", "te\n',
        "line 2: expected a JSON object, found invalid JSON",
    ),
    (
        b'{"label": "ham", "text": "a"}\n[1]\n',
        "line 2: expected a JSON object such as .* found a list",
    ),
    (b'{"label": "ham", "text": 5}\n', "line 1: expected a text in column 'text', found int 5"),
    (
        b'{"label": "ham", "text": null}\n',
        "line 1: expected a text in column 'text', found nothing",
    ),
    (b'{"label": null, "text": "a"}\n', "line 1: expected a label in column 'label', found none"),
    (
        b'{"text": "a", "label": "x"}\n{"text": "a"}\n',
        "line 2: expected a label in column 'label', found none",
    ),
    (
        b'{"label": ["x"], "text": "a"}\n',
        "line 1: expected one label in column 'label', found list",
    ),
    (b'{"label": "x", "text": "a\\u0000"}\n', "line 1: column 'text' contains a NUL character"),
    (
        b'{"label": "x", "text": "\\ud800"}\n',
        "line 1: column 'text' contains half of a surrogate pair",
    ),
    (
        b'[{"label": "x", "text": "a"},\n {"label": }]\n',
        "line 2: expected a JSON object, found invalid JSON",
    ),
    (
        b'[{"label": "x", "text": "a"}\n {"label": "y"}]\n',
        r"line 2: expected a comma or \] in the JSON array",
    ),
    (
        b'[{"label": "x", "text": "a"}] trailing\n',
        "expected the end of the file after the JSON array",
    ),
    (
        b"subject,body\n" + b"".join(b"hello %d,how are you %d\n" % (n, n) for n in range(11)),
        "expected one column that holds the label, found none or several candidates; the columns "
        "are 'subject', 'body'; choose one with --label COLUMN",
    ),
    (b"text,message,label\na,b,ham\nc,d,spam\n", None),
    (
        b"body,message,label\na,b,ham\nc,d,spam\n",
        "expected one column that holds the text, found none or several candidates.*choose "
        "one with --text COLUMN",
    ),
]


@pytest.mark.parametrize(("content", "message"), BAD, ids=range(len(BAD)))
def test_bad_input_is_told_with_file_line_and_remedy(
    write: Write, content: bytes, message: str | None
) -> None:
    path = write(content, "bad.csv")
    if message is None:
        assert read_table(path).text_column == "text"  # the plainest name wins
        return
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_and_a_directory_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="expected a file, found a directory"):
        read_table(tmp_path)


def test_a_wrong_column_name_lists_the_columns_and_the_nearest(write: Write) -> None:
    path = write("label,text\nham,a\nspam,b\n")
    with pytest.raises(
        DataError,
        match=r"there is no column 'texts'; the columns are 'label', 'text'; did you mean --text "
        r"'text'?",
    ):
        read_table(path, text="texts")
    with pytest.raises(DataError, match="column 'text' was given both"):
        read_table(path, text="text", label="text")


TRAINING = [
    (
        [("ham", "a"), ("ham", "b")],
        "expected at least two classes in column 'label', found only 'ham'",
    ),
    (
        [("ham", "a"), ("Ham", "b"), ("ham", "c"), ("spam", "d")],
        "line 3: the labels 'Ham', 'ham' differ only in case or white space",
    ),
    (
        [("ham", "a"), ("ham ", "b"), ("ham", "c"), ("spam", "d")],
        "the labels 'ham', 'ham ' differ only in case or white space",
    ),
    (
        [("a", "1"), ("b", "2"), ("c", "3")],
        "expected at least two rows for each class, found 3 rows for 3 classes",
    ),
    (
        [("ham", "a"), ("spam", " \t "), ("ham", "c"), ("spam", "d")],
        "line 3: expected a text to train on, found an empty one",
    ),
]


@pytest.mark.parametrize(("rows", "message"), TRAINING, ids=range(len(TRAINING)))
def test_what_cannot_be_trained_on_can_be_read_but_is_told(
    write: Write, rows: list[tuple[str, str]], message: str
) -> None:
    table = read_table(write("label,text\n" + "".join(f"{label},{text}\n" for label, text in rows)))
    assert rows_of(table) == rows
    with pytest.raises(DataError, match=message):
        check_trainable(table)


def test_rows_from_memory_are_checked_for_their_number() -> None:
    assert Table.of(["a"], ["x"]).fingerprint != Table.of(["a"], ["y"]).fingerprint
    with pytest.raises(DataError, match="got 1 texts and 2 labels"):
        Table.of(["a"], ["x", "y"])


def test_reading_tables_imports_nothing_heavy() -> None:
    code = (
        f"import sys; sys.path = {sys.path!r}; import tamis.data.tables, "
        "tamis.data.files.message_reader, tamis.data.catalog; "
        "print({'sklearn', 'scipy', 'polars', 'torch'} & set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "set()\n"
    )


def test_the_sms_spam_collection_has_its_real_rows_and_those_of_pandas(real_sms: Path) -> None:
    start = time.process_time()
    table = read_table(real_sms)
    assert time.process_time() - start < 1
    assert (len(table), table.counts) == (5_574, {"ham": 4_827, "spam": 747})
    assert (len(set(table.texts)), table.lines[-1], table.notes) == (5_171, 5_574, ())
    assert (table.fingerprint, real_sms.stat().st_size) == (
        CATALOG["sms-spam"].member_sha256,
        CATALOG["sms-spam"].member_size,
    )
    again = read_table(real_sms, quoting="pandas")
    frame = pd.read_csv(real_sms, sep="\t", header=None)
    assert (len(again), again.counts) == (5_572, {"ham": 4_825, "spam": 747})
    assert rows_of(again) == [tuple(row) for row in frame.values.tolist()]


@pytest.mark.parametrize(
    ("name", "rows", "classes"),
    [
        ("banking77/train.tsv", 10_003, 77),
        ("banking77/test.tsv", 3_080, 77),
        ("trec6/train.tsv", 5_452, 6),
        ("trec6/test.tsv", 500, 6),
        ("tweeteval-offensive/train.tsv", 11_916, 2),
        ("tweeteval-irony/train.tsv", 2_862, 2),
        ("tweeteval-irony/val.tsv", 955, 2),
        ("rotten-tomatoes/all.tsv", 10_662, 2),
    ],
)
def test_the_other_sets_are_read_line_by_line(
    real_data: Path, name: str, rows: int, classes: int
) -> None:
    path = real_data / name
    table = read_table(path)
    assert (len(table), len(table.classes)) == (rows, classes)
    lines = path.read_text("utf-8").split("\n")[1:]
    assert [f"{label}\t{text}" for label, text in rows_of(table)] == [
        line for line in lines if line
    ]


def test_rows_without_a_label_are_skipped_and_counted_if_asked_for(write: Write) -> None:
    path = write("text,label\nhello you,ham\nwin now,\nno field\nbye all,ham\nfree,spam\nx, \n")
    with pytest.raises(DataError, match=r"3 rows are faulty.*or skip such rows with --skip-unlab"):
        read_table(path)
    table = read_table(path, skip_unlabelled=True)
    assert table.labels == ("ham", "ham", "spam") and table.lines == (2, 5, 6)
    assert table.notes[-1] == f"{path}: 3 rows without a label were skipped."
    assert not read_table(write("text,label\na b,ham\n"), skip_unlabelled=True).notes
    with pytest.raises(DataError, match=r"no row has a label in column 'label'; fill in some"):
        read_table(write("text,label\na b,\nc d,\n"), skip_unlabelled=True)


def test_an_unlabelled_row_is_skipped_in_every_format(write: Write) -> None:
    rows = '{"text": "a b", "label": null}\n{"text": "c d", "label": 1}\n{"text": "e"}\n'
    table = read_table(write(rows, "t.jsonl"), skip_unlabelled=True)
    assert (table.texts, table.labels) == (("c d",), ("1",))
    assert frame_table({"text": ["a", "b"], "label": [None, "x"]}, skip_unlabelled=True).lines == (
        2,
    )


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv"])
def test_other_faults_are_still_told_where_rows_without_labels_are_skipped(
    write: Write, name: str
) -> None:
    rows = {
        "t.jsonl": '{"text": "a b", "label": null}\n{"text": 5, "label": "x"}\n',
        "t.csv": 'text,label\na b,\n" x,y,ham\n',
    }
    with pytest.raises(DataError, match=r"line [23]: (expected a text|a quoted field|expected 2)"):
        read_table(write(rows[name], name), skip_unlabelled=True)
