"""Messages to judge from every kind of file and stream, one at a time, with their own columns."""

from __future__ import annotations

import io
import itertools
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.files.columns import UsualColumn
from tamis.data.files.message_reader import read_messages
from tamis.data.tables import read_table
from tamis.errors import DataError

Write = Callable[..., Path]


def texts(source: object, text: str | None = None) -> list[str]:
    return [message.text for message in read_messages(source, text=text)]  # type: ignore[arg-type]


def test_a_text_file_is_a_text_a_line_whatever_it_holds(write: Write) -> None:
    content = 'label,text\nham, "hi"\r\n\n{"text": 1}\na\tb\n last '
    read = read_messages(write(content, "in.txt"))
    assert [message.text for message in read] == [
        "label,text",
        'ham, "hi"',
        "",
        '{"text": 1}',
        "a\tb",
        " last ",
    ]
    assert read.format == "text"
    assert [(m.line, m.columns) for m in read_messages(write("x\ny\n", "in.txt"))] == [
        (1, {"text": "x"}),
        (2, {"text": "y"}),
    ]
    for content in (
        "id,text\n1,hello\n",
        '{"text": "a"}\n{"text": "b"}\n',
        "ham\thello\nspam\twin\n",
    ):
        assert texts(write(content, "in.txt")) == content.splitlines()
    assert texts(write("id,text\n1,hello\n", "in.txt"), text="text") == ["hello"]
    assert texts(write("", "empty.txt")) == []


@pytest.mark.parametrize(
    ("content", "name", "format_", "expected"),
    [
        ('id,text\n1,hello\n2,"win, now"\n', "t", "csv", ["hello", "win, now"]),
        ("id;message;n\n1;hello;3\n2;win, now;4\n", "t.csv", "csv", ["hello", "win, now"]),
        (
            "ham\thello you there\nspam\twin money right now\n",
            "SMSSpamCollection",
            "tsv",
            ["hello you there", "win money right now"],
        ),
        ('text\nhello\n"win, now"\n', "t.csv", "csv", ["hello", "win, now"]),
        ("hello\nwin\n", "t.csv", "csv", ["hello", "win"]),
        ('{"n": 1, "text": "hello"}\n{"text": "win"}\n', "t", "jsonl", ["hello", "win"]),
        ('[{"text": "hello"}, {"text": "win"}]', "t", "json", ["hello", "win"]),
        ("Hi, you\nthere, there\n", "t", "text", ["Hi, you", "there, there"]),
        ("Hi you\nthere\tthere\n", "t.log", "text", ["Hi you", "there\tthere"]),
        ("Text, me\nhello, you, all\nhi\n", "t", "text", ["Text, me", "hello, you, all", "hi"]),
        ("\ufeffhello\nwin\n", "t.txt", "text", ["hello", "win"]),
    ],
)
def test_files_are_told_by_content(
    write: Write, content: str, name: str, format_: str, expected: list[str]
) -> None:
    read = read_messages(write(content, name))
    assert read.format == format_
    assert [message.text for message in read] == expected


def test_a_rows_own_columns_are_kept_in_order(write: Write) -> None:
    first, second = read_messages(write('when,sms,score\nmon,hello,0.10\ntue,"a\nb",x\n'))
    assert first.columns == {"when": "mon", "sms": "hello", "score": "0.10"} and list(
        first.columns
    ) == ["when", "sms", "score"]
    assert (second.line, second.text) == (3, "a\nb")
    (row,) = read_messages(write('{"id": 7, "text": "x", "tags": ["a"], "none": null}\n'))
    assert row.columns == {"id": 7, "text": "x", "tags": ["a"], "none": None}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_other_encodings_are_read(write: Write, encoding: str) -> None:
    read = read_messages(write("id,text\n1,café\n2,£5\n".encode(encoding)))
    assert [message.text for message in read] == ["café", "£5"]
    assert bool(read.notes) == (encoding == "cp1252")
    assert texts(write("café\n£5\n".encode(encoding), "x.txt")) == ["café", "£5"]


def test_parquet_and_mails_are_read(write: Write, tmp_path: Path) -> None:
    pl.DataFrame({"id": [1, 2], "text": ["hello", "win"]}).write_parquet(tmp_path / "p")
    assert [(m.text, m.columns["id"], m.line) for m in read_messages(tmp_path / "p")] == [
        ("hello", 1, 1),
        ("win", 2, 2),
    ]
    mail = b"From: a@b\nSubject: offer\nTo: c@d\n\nwin now\n"
    for name in ("m.eml", "m"):
        (message,) = read_messages(write(mail, name))
        assert message.text == "offer\nwin now"
        assert message.columns == {
            "from": "a@b",
            "date": "",
            "subject": "offer",
            "text": "offer\nwin now",
        }
    box = (
        b"From a Mon Jan  1 00:00:00 2024\n" + mail + b"\nFrom b Mon Jan  1 00:00:00 2024\n" + mail
    )
    read = read_messages(write(box, "m"))
    assert (read.format, len(list(read))) == ("mbox", 2)
    # The first mail of a mailbox may lack its separator.
    for name in ("m.mbox", "m.mbx.gz"):
        read = read_messages(write(box.split(b"\n", 1)[1], name))
        assert (read.format, len(list(read))) == ("mbox", 2)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: io.BytesIO(text.encode()),
        io.StringIO,
        lambda text: io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8"),
    ],
)
def test_a_stream_is_a_text_a_line_or_told_by_its_first_line(wrap: Callable[[str], object]) -> None:
    assert texts(wrap("text,me\nhello\n\né")) == ["text,me", "hello", "", "é"]
    assert texts(wrap("")) == []
    assert texts(wrap('{"text": "a"}\n{"text": "b"}\n')) == ["a", "b"]
    assert texts(wrap("From a 2024\nSubject: one\n\nbody\n")) == ["one\nbody"]
    assert texts(wrap('id,body\n1,"a\nb"\n2,c\n'), text="body") == ["a\nb", "c"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"id,text\n1,hello\n", "a table with a header"),
        (b"\xef\xbb\xbfLabel\tMessage\r\nham\thello\r\n", "a table with a header"),
        (b"Subject: hello\nFrom: me\n\nbody\n", "a mail"),
        (b"sep=;\r\nid;text\r\n1;hello\r\n", "a table"),
        (b"hello, see you at six; text me\n", None),
        (b"text\n", None),
        (b"Note: hello\n", None),
        (b"", None),
    ],
)
def test_a_stream_that_looks_like_more_than_lines_has_a_note(
    content: bytes, kind: str | None
) -> None:
    notes = read_messages(io.BytesIO(content)).notes
    assert len(notes) == (kind is not None)
    if kind:
        assert notes[0].startswith(f"standard input begins like {kind}") and "--file -" in notes[0]


def test_an_array_on_a_stream_is_json() -> None:
    assert texts(io.BytesIO(b'[{"text": "a"},\n {"text": "b"}]')) == ["a", "b"]
    assert texts(io.BytesIO(b"[brackets] and text\n")) == ["[brackets] and text"]


def test_a_stream_is_answered_line_by_line() -> None:
    asked: list[int] = []

    def lines() -> Iterator[bytes]:
        for number in itertools.count():
            asked.append(number)
            yield b"message %d\n" % number

    messages = read_messages(lines())  # type: ignore[arg-type]
    assert next(messages).text == "message 0"
    assert asked == [0]


def test_a_stream_line_that_is_no_utf8_is_cp1252_and_nul_is_text() -> None:
    assert texts(io.BytesIO(b"caf\xc3\xa9\ncaf\xe9\na\0b\n")) == ["café", "café", "a\0b"]
    with pytest.raises(DataError, match="line 2: byte 0x81 is neither UTF-8 nor cp1252"):
        texts(io.BytesIO(b"a\n\x81\n"))


def test_a_large_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("w") as file:
        file.write("id,text\n")
        file.writelines(
            f'{number},"a text of some length, {"x" * 150}"\n' for number in range(40_000)
        )
    tracemalloc.start()
    assert sum(1 for _ in read_messages(path)) == 40_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size / 2


@given(
    st.lists(
        st.text(alphabet=st.characters(blacklist_characters="\n\r", blacklist_categories=["Cs"])),
        max_size=9,
    )
)
def test_lines_are_read_to_the_character(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes("".join(line + "\n" for line in lines).encode())
    expected = [lines[0].removeprefix("\ufeff"), *lines[1:]] if lines else []
    assert texts(path) == expected
    assert texts(io.BytesIO(path.read_bytes())) == expected


BAD = [
    ("", "t.csv", "expected rows, found an empty file"),
    ("id,text\n1,a\n2,b,c\n", "t.csv", "line 3: expected 2 fields separated by comma, found 3"),
    (
        'id,text\n1,a\n2,"b\n',
        "t.csv",
        "line 3: a quoted field begins in this row and is never closed",
    ),
    ('{"text": "a"}\n{"text": 5}\n', "t", "line 2: expected a text in column 'text', found int 5"),
    ('{"text": "a"}\n{"id": 5}\n', "t", "line 2: expected a text in column 'text', found nothing"),
    (
        '{"text": "a"}\n{"text": "\\udc00"}\n',
        "t",
        "line 2: column 'text' contains half of a surrogate pair",
    ),
    ('{"text": "a"}\n{"te\n', "t", "line 2: expected a JSON object, found invalid JSON"),
    (
        "body,message\na,b\n",
        "t.csv",
        "expected one column that holds the text, found none or several candidates; "
        "the columns are 'body', 'message'",
    ),
    (
        "text,text\na,b\n",
        "t.csv",
        "expected one column that holds the text, found none or several candidates",
    ),
    ("id,id,text\na,b,c\n", "t.csv", "two columns have the same name"),
]


@pytest.mark.parametrize(("content", "name", "message"), BAD, ids=range(len(BAD)))
def test_bad_input_is_told_with_file_line_and_remedy(
    write: Write, content: str, name: str, message: str
) -> None:
    path = write(content, name)
    with pytest.raises(DataError, match=message) as caught:
        texts(path)
    assert str(caught.value).startswith(str(path))


def test_missing_files_directories_and_columns_are_told_at_once(
    tmp_path: Path, write: Write
) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_messages(tmp_path / "absent.txt")
    with pytest.raises(DataError, match="found a directory"):
        read_messages(tmp_path)
    with pytest.raises(
        DataError,
        match="there is no column 'txt'; the columns are 'id', 'text'; did you mean --text 'text'",
    ):
        read_messages(write("id,text\n1,a\n"), text="txt")
    with pytest.raises(DataError, match="Parquet cannot be read from a stream"):
        read_messages(io.BytesIO(b"PAR1"))


def test_the_sms_spam_collection_can_be_judged_as_it_is(real_sms: Path) -> None:
    read = read_messages(real_sms)
    assert tuple(message.text for message in read) == read_table(real_sms).texts
    assert json.dumps(read.notes) == "[]"


def test_a_table_without_rows_is_told_and_gives_no_message(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,message,label\n", encoding="utf-8")
    found = read_messages(path)
    assert list(found) == []
    assert found.notes == (
        f"{path} has no rows, only the names of its columns ('id', 'message', 'label').",
    )


def test_a_usual_text_column_does_not_make_a_file_a_table(tmp_path: Path) -> None:
    usual = UsualColumn("note")
    lines = tmp_path / "lines.txt"
    lines.write_text("one, two\nthree, four\n", encoding="utf-8")
    assert [one.text for one in read_messages(lines, text=usual)] == ["one, two", "three, four"]
    stream = io.BytesIO(b"one, two\nthree, four\n")
    assert [one.text for one in read_messages(stream, text=usual)] == ["one, two", "three, four"]
    # Two columns of words are as long as each other: the usual one is the text.
    table = tmp_path / "t.csv"
    rows = "".join(f"the good {n} of it,a fine {n} for us\n" for n in range(12))
    table.write_text(f"comments on this,note\n{rows}", encoding="utf-8")
    assert read_messages(table, text=usual).text_column == "note"
    with pytest.raises(DataError, match="one column that holds the text"):
        read_messages(table)
