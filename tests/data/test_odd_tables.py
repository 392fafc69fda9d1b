"""Tables as people have them: survey and Kaggle exports, index columns, concatenated files, Excel's
CSV, numbers as labels. Each is read right, or refused with a message that says what to do; none
gives a wrong answer without a word.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import polars as pl
import pytest

from tamis.data.files.message_reader import read_messages
from tamis.data.tables import check_trainable, rare_label_notes, read_table
from tamis.errors import DataError

Write = Callable[..., Path]
WORDS = "see you at six then call me when the keys win a free prize of the dinner now".split()
TEXTS = [
    " ".join(WORDS[(7 * n + k) % len(WORDS)] for k in range(3 + n % 8)) + f" {n}" for n in range(60)
]
LABELS = ["spam" if n % 3 == 1 else "ham" for n in range(60)]


def pairs(names: dict[str, str] | None = None) -> list[tuple[str, str]]:
    """(label, text) of all messages; `names` renames the labels."""
    return [((names or {}).get(c, c), t) for c, t in zip(LABELS, TEXTS, strict=True)]


def table(rows: Iterable[Sequence[object]], delimiter: str = ",", line_end: str = "\n") -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    return buffer.getvalue()


def label_first(names: dict[str, str] | None = None) -> list[list[object]]:
    return [[label, text] for label, text in pairs(names)]


def text_first(names: dict[str, str] | None = None) -> list[list[object]]:
    return [[text, label] for label, text in pairs(names)]


def numbered(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    return [[number, *row] for number, row in enumerate(rows)]


def commas(rows: Iterable[Sequence[object]]) -> list[list[str]]:
    """The rows with exactly one comma in each text."""
    return [[str(cell).replace(" ", ", ", 1) for cell in row] for row in rows]


YES_NO = {"ham": "No", "spam": "Yes"}
ZERO_ONE = {"ham": "0", "spam": "1"}
WITH_HEADER = {
    "survey": table([["Please paste the message here:", "Is it spam?"], *text_first(YES_NO)]),
    "survey with a long question": table(
        [
            ["Copy the exact text of the last message that you received on your phone", "Spam?"],
            *text_first(YES_NO),
        ]
    ),
    "survey with times": table(
        [["Timestamp", "What did it say?", "Was it unwanted?"]]
        + [[f"2024/03/{1 + n % 28:02d} 9:11 AM", t, c] for n, (c, t) in enumerate(pairs(YES_NO))]
    ),
    "required questions": table([["Message *", "Verdict *"], *text_first(YES_NO)]),
    "numbered questions": table(
        [["1. Paste the text", "2. Spam (1) or not (0)?"], *text_first(ZERO_ONE)]
    ),
    "German": table([["Nachricht", "Klasse"], *text_first(YES_NO)], ";", "\r\n"),
    "German, a comma in each text": table([["Nachricht", "Klasse"], *commas(text_first())], ";"),
    "unknown names": table([["mood", "words"], *label_first()]),
    "Chinese names": table([["内容", "类别"], *text_first()]),
    "index of pandas": table([["", "0", "1"], *numbered(label_first())]),
    "index of pandas, labels are numbers": table(
        [["", "0", "1"], *numbered(label_first(ZERO_ONE))]
    ),
    "numbers of columns": table([["0", "1"], *label_first()]),
    "index with a name": table([["Unnamed: 0", "Category", "Message"], *numbered(label_first())]),
    "row numbers of R": '"label","text"\n'
    + "".join(f'"{n}","{c}","{t}"\n' for n, (c, t) in enumerate(pairs(), 1)),
    "empty named columns": table([["v1", "v2", "", ""], *([*r, "", ""] for r in label_first())]),
    "never filled column": table([["mood", "words", "notes"], *([*r, ""] for r in label_first())]),
    "codes and times": table(
        [["ts", "who", "what", "kind"]]
        + [[1_700_000_000 + 37 * n, f"+4477{n:07}", t, c] for n, (c, t) in enumerate(pairs())]
    ),
    "one date in all rows": table(
        [["day", "comment text", "spam?"], *(["2024-01-02", *r] for r in text_first())]
    ),
    "sep=": "sep=,\n" + table([["label", "text"], *label_first()]),
    "sep=; and CR LF": "SEP=;\r\n" + table([["a", "b"], *label_first()], ";", "\r\n"),
    "sep= in quotes": '"sep=;"\n' + table([["label", "text"], *label_first()], ";"),
    "sep=^": "sep=^\n" + table([["label", "text"], *label_first()], "^"),
    "header again": table([["label", "text"], *label_first()[:9], ["label", "text"]])
    + table(label_first()[9:]),
    "header again in capitals": table([["label", "text"], *label_first()[:9], ["Label", "TEXT "]])
    + table(label_first()[9:]),
    "header again after a byte-order mark": table([["label", "text"], *label_first()[:9]])
    + "\ufeff"
    + table([["label", "text"], *label_first()[9:]]),
    "header of other names": table([["label", "text"], *label_first()[:9]])
    + table([["category", "message"], *label_first()[9:]]),
    "survey again": table([["Paste it here:", "Spam?"], *text_first(YES_NO)[:9]])
    + table([["Paste it here:", "Spam?"], *text_first(YES_NO)[9:]]),
    "blank rows": table([["label", "text"], *label_first()[:9], ["", ""], [" ", ""]])
    + table([*label_first()[9:], ["", ""], ["", ""]]),
    "delimiter at the end of rows": "label,text\n" + "".join(f"{c},{t},\n" for c, t in pairs()),
    "cells are missing at the end": table(
        [["label", "text", "who", "note"]]
        + [[c, t, "x", "y"][: 2 + n % 3] for n, (c, t) in enumerate(pairs())]
    ),
    "backslash before quotes": "label,text\n"
    + "".join(f'{c},"he said \\"{t}\\", ok"\n' for c, t in pairs()),
    "backslash at the end of a text": table(
        [["label", "text"], *([c, t + ", C:\\"] for c, t in pairs())]
    ),
    "vertical bars": table([["label", "text"], *label_first()], "|"),
    "line ends in texts": table([["label", "text"], *([c, "a\r\n" + t] for c, t in pairs())]),
    "texts of digits": table(
        [["label", "text"], *([c, 7919 * n] for n, (c, _) in enumerate(pairs()))]
    ),
}
WITHOUT_HEADER = {
    "comma": table(label_first()),
    "tab": table(text_first(), "\t"),
    "semicolon, a comma in each text": table(commas(label_first()), ";"),
    "bar, commas in the texts": table(commas(label_first()), "|"),
    "yes and no": table(label_first(YES_NO)),
    "zero and one": table(label_first(ZERO_ONE)),
    "many classes": table([f"intent {n % 20}", t] for n, (_, t) in enumerate(pairs())),
    "stars, the first occurs once": table(
        [str(5 if n == 0 else 1 + n % 4), t] for n, (_, t) in enumerate(pairs())
    ),
    "first text is a word": table([["ham", "ok"], *label_first()]),
    "first text is the name of a column": table([["ham", "message"], *label_first()]),
    "texts of digits": table([c, 7919 * n] for n, (c, _) in enumerate(pairs())),
    "addresses": table([[f"https://a.example/?{n}", c, t] for n, (c, t) in enumerate(pairs())]),
    "constant and other columns": table(
        [ZERO_ONE[c], 1_467_810_369 + n, "Mon Apr 06 22:19:45 2009", "NO_QUERY", f"user{n}", t]
        for n, (c, t) in enumerate(pairs())
    ),
    "sorted by label": table(sorted(label_first(), key=lambda row: str(row[0]))),
    "sep=": "sep=;\r\n" + table(label_first(), ";", "\r\n"),
}


def cells_of(content: str, name: str) -> list[list[str]]:
    """What Python's csv reads, after what the name says was put around the rows is taken off."""
    body = content.split("\n", 1)[1] if content.lower().lstrip('"').startswith("sep=") else content
    dialect = {"delimiter": next((d for d in "|^" if d in body), ";" if ";" in body else ",")}
    if name == "backslash before quotes":
        dialect |= {"escapechar": "\\", "doublequote": False}  # type: ignore[dict-item]
    if name == "tab":
        dialect = {"delimiter": "\t"}
    return [row for row in csv.reader(io.StringIO(body, newline=""), **dialect) if any(row)]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", WITH_HEADER)
def test_a_header_is_told_by_evidence(write: Write, name: str) -> None:
    path = write(WITH_HEADER[name], "t.csv")
    read = read_table(path)
    cells = cells_of(WITH_HEADER[name], name)
    assert read.has_header
    assert len(read) == 60
    found = set(zip(read.labels, read.texts, strict=True))
    assert len({label for label, _ in found}) == 2
    for label, text in found:  # every label stands beside its text in a row of the file
        assert any(label in row and text in row for row in cells)
    assert [message.text for message in read_messages(path)] == list(read.texts)


@pytest.mark.parametrize("name", WITHOUT_HEADER)
def test_a_first_message_is_no_header(write: Write, name: str) -> None:
    content = WITHOUT_HEADER[name]
    cells = cells_of(content, name)
    read = read_table(write(content, "t.csv"))
    assert not read.has_header
    assert len(read) == len(cells)
    for label, text, row in zip(read.labels, read.texts, cells, strict=True):
        assert label in row and text in row


def test_the_label_is_found_in_a_large_table_that_is_sorted_by_it(write: Write) -> None:
    rows = [["ham" if n < 1_200 else "spam", f"{TEXTS[n % 60]} {n}", "x"] for n in range(2_400)]
    read = read_table(write(table(rows), "t.csv"))
    assert (read.label_column, read.text_column) == ("1", "2")
    assert read.counts == {"ham": 1_200, "spam": 1_200}


UNCLEAR = {
    "a label and a text that are names": table([["spam", "text"], *label_first()]),
    "numbers of columns, or the text 1": table([["0", "1"], *label_first(ZERO_ONE)]),
    "few rows": "mood,words\nhappy,what a lovely day it is\nsad,what a terrible day\n",
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_where_both_readings_fit_the_user_is_asked(write: Write, name: str) -> None:
    path = write(UNCLEAR[name], "t.csv")
    rows = cells_of(UNCLEAR[name], name)
    first = ", ".join(map(repr, rows[0]))
    with pytest.raises(DataError, match="this row can be read in two ways") as caught:
        read_table(path)
    assert f"as the names of the columns ({first}) above {len(rows) - 1} rows" in str(caught.value)
    assert f"as the first of {len(rows)} rows with the values {first}" in str(caught.value)
    assert "give --header if it names the columns, --no-header if it does not" in str(caught.value)
    label, text = rows[0]
    assert len(read_table(path, header=True, text=text, label=label)) == len(rows) - 1
    assert len(read_table(path, header=False, text="2", label="1")) == len(rows)
    with pytest.raises(DataError, match="this row can be read in two ways"):
        read_messages(path)
    assert sum(1 for _ in read_messages(path, header=True, text=text)) == len(rows) - 1


@pytest.mark.parametrize("first", ["Ok", "foo"])
def test_a_short_first_line_of_a_single_column_is_asked_about(write: Write, first: str) -> None:
    path = write(first + "\n" + "\n".join(TEXTS) + "\n", "t.csv")
    with pytest.raises(DataError, match="this row can be read in two ways"):
        read_messages(path)
    assert next(iter(read_messages(path, header=False))).text == first
    assert next(iter(read_messages(path, header=True))).text == TEXTS[0]


@pytest.mark.parametrize(
    "first", ["text", "Nachricht", "Review Text", "Comment (optional)", "Feedback", "E-Mail Body"]
)
def test_a_known_name_heads_a_single_column(write: Write, first: str) -> None:
    path = write(first + "\n" + "\n".join(TEXTS) + f"\n{first}\nlast one\n", "t.csv")
    read = read_messages(path)
    assert [message.text for message in read] == [*TEXTS, "last one"]
    note = f"{path}: 1 row that repeats the header was skipped (line 62)."
    assert read.ending_notes() == (note,)


def test_a_header_of_unknown_names_is_told_to_the_user(write: Write) -> None:
    path = write(WITH_HEADER["unknown names"], "t.csv")
    note = (
        f"{path} line 1 was read as the names of the columns ('mood', 'words'); if it is a "
        "message, use --no-header."
    )
    assert read_table(path).notes == (note,)
    assert read_messages(path).notes == (note,)
    assert read_table(path, header=True).notes == ()
    assert read_table(path, text="words").notes == ()


REFUSED = [
    (
        table([["label", "text"], *label_first()[:9], ["text", "label"], *text_first()[9:]]),
        r"line 11: found a header line \('text', 'label'\) that does not fit 'label', 'text'",
    ),
    (
        table([*label_first()[:9], ["label", "text"], *label_first()[9:]]),
        r"line 10: found a header line \('label', 'text'\) that does not fit a table without",
    ),
    (
        "Export of 2024\n" + table([["label", "text"], *label_first()]),
        r"line 1: expected 2 cells, as most rows below have, found one \('Export of 2024'\)",
    ),
    (
        "Export of 2024,,\n" + table([["label", "text", "n"], *([*r, 1] for r in label_first())]),
        r"line 1: expected 3 cells, as most rows below have, found one \('Export of 2024'\)",
    ),
    (
        table([["label", "text"], *label_first()]) + "# end of the export\n",
        r"line 62: expected a text in column 'text', found only 1 of 2 fields",
    ),
    (
        table([["text", "label"], *([t, f"3.{(1, 10, 2)[n % 3]}"] for n, t in enumerate(TEXTS))]),
        r"the labels '3\.1' and '3\.10' are the same number; write the number the same way",
    ),
    (
        "text\n" + "\n".join(" ".join(row) for row in commas([[t] for t in TEXTS])),
        r"line 1: expected 2 cells, .* if it names the only column, quote the texts",
    ),
]


@pytest.mark.parametrize(("content", "message"), REFUSED)
def test_what_cannot_be_read_is_refused(write: Write, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write(content, "t.csv"))


def test_sentences_with_a_comma_are_not_cut_at_it(write: Write) -> None:
    content = "".join(f"{row[0]}\n" for row in commas([[text] for text in TEXTS]))
    with pytest.raises(DataError, match=r"as one text with a comma in it, or as 2 columns"):
        read_messages(write(content, "t.csv"))
    assert len(list(read_messages(write(content, "t.txt")))) == 60


def test_every_faulty_row_is_named_in_one_run(write: Write) -> None:
    rows = ["label,text", "ham,one", ",two", "spam,three,3", "ham", "spam,", "ham,six"]
    path = write("\n".join(rows), "t.csv")
    with pytest.raises(DataError) as caught:
        read_table(path, to_train=True)
    assert str(caught.value) == (
        f"{path}: 4 rows are faulty: line 3: expected a label in column 'label', found none; "
        "line 4: expected 2 fields separated by comma, found 3; "
        "line 5: expected a text in column 'text', found only 1 of 2 fields; "
        "line 6: expected a text to train on, found an empty one; to correct them: "
        "fill it in or remove the row, or skip such rows with --skip-unlabelled; or fix the row "
        "(quote texts that contain the delimiter); or fill it in or remove the row"
    )


def test_of_many_faulty_rows_the_first_ten_and_their_number_are_named(write: Write) -> None:
    content = "label,text\n" + "ham,a\n,b\n" * 1_234 + 'ham,"open'
    with pytest.raises(DataError) as caught:
        read_table(write(content, "t.csv"))
    assert "1,235 rows are faulty: line 3: " in str(caught.value)
    assert "line 21: expected a label in column 'label', found none; and 1,225 more" in str(
        caught.value
    )
    assert "line 23" not in str(caught.value)


def test_faulty_lines_of_json_and_of_messages_are_named_together(write: Write) -> None:
    sound = '{"text": "a", "label": "x"}'
    lines = [sound, "{bad", '{"text": 5, "label": "x"}', "[1]", sound]
    with pytest.raises(DataError, match=r"3 rows are faulty: line 2: .*; line 3: .*; line 4: "):
        read_table(write("\n".join(lines), "t.jsonl"))
    messages = read_messages(write("\n".join(lines), "t.jsonl"))
    assert next(messages).text == "a"
    with pytest.raises(DataError, match=r"3 rows are faulty: line 2: .*; line 3: .*; line 4: "):
        next(messages)  # that of line 5 is not yielded
    wide = read_messages(write("id,text\n1,a\n2,b,c\n3,d\n4\n", "t.csv"))
    with pytest.raises(DataError, match=r"2 rows are faulty: line 3: .*; line 5: .*only 1 of 2"):
        list(wide)


def test_a_stream_ends_at_its_first_faulty_row() -> None:
    def lines() -> Iterable[bytes]:
        yield b"id,text\n"
        for number in range(1_100):
            yield b"%d,words\n" % number
        yield b"1,2,3\n"
        raise AssertionError("the stream was read on")

    read = read_messages(lines(), text="text")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="line 1102: expected 2 fields"):
        list(read)


def test_labels_of_one_row_are_named_before_training(write: Write) -> None:
    rows: list[Sequence[object]] = [
        *label_first(),
        ["hma", "one of a kind"],
        ["phish", "another one"],
    ]
    read = read_table(write(table([["label", "text"], *rows]), "t.csv"))
    check_trainable(read)
    (note,) = rare_label_notes(read)
    assert "labels with a single row: 'hma' (line 62), 'phish' (line 63);" in note
    assert rare_label_notes(read_table(write(WITHOUT_HEADER["comma"]))) == []


def test_words_for_missing_values_are_told_if_they_are_labels(write: Write) -> None:
    rows: list[list[object]] = [["nan" if n % 9 == 0 else c, t] for n, (c, t) in enumerate(pairs())]
    (note,) = read_table(write(table([["label", "text"], *rows]), "t.csv")).notes
    assert "the label 'nan' (7 rows) is a class here, but some programs write it" in note


NUMBERS = [
    ([0, 1, 2, 10, 11], ["0", "1", "2", "10", "11"]),
    ([0.0, 0, 1, 1.0, 0.0], ["0", "1"]),
    (["0", "1.0", "1", "0.00", "1"], ["0", "1"]),
    (["+1", "-1", "-1.0", "1", "0"], ["-1", "0", "1"]),
    (["1.5", "10.5", "2", "2.0", "1.5"], ["1.5", "2", "10.5"]),
    (["01", "1", "1", "01", "1"], ["01", "1"]),
    (["10", "9", "x", "9", "10"], ["10", "9", "x"]),
]


@pytest.mark.parametrize(("labels", "classes"), NUMBERS, ids=range(len(NUMBERS)))
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json", "t.parquet"])
def test_numbers_as_labels_are_compared_and_ordered_as_numbers(
    tmp_path: Path, labels: list[object], classes: list[str], name: str
) -> None:
    rows = [{"text": f"words number {n}", "label": c} for n, c in enumerate(labels * 3)]
    path = tmp_path / name
    if name == "t.csv":
        path.write_text(table([["text", "label"], *([r["text"], r["label"]] for r in rows)]))
    elif name == "t.parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        lines = [json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) if name == "t.jsonl" else f"[{','.join(lines)}]")
    assert list(read_table(path).classes) == classes


def test_a_label_that_is_not_a_number_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    values = [1.0, math.nan, 0.0, None]
    pl.DataFrame({"text": ["a", "b", "c", "d"], "label": values}).write_parquet(path)
    with pytest.raises(DataError, match=r"2 rows are faulty: row 2: .*found none; row 4: "):
        read_table(path)


def test_a_row_of_delimiters_in_a_table_of_messages_is_counted(write: Write) -> None:
    path = write("id,text\n1,a\n,\n2,b\n,\n,\n", "t.csv")
    read = read_messages(path)
    assert [message.text for message in read] == ["a", "b"]
    assert read.ending_notes() == (
        f"{path}: 3 rows without any value were skipped (line 3, 5, 6).",
    )


def test_lines_of_white_space_in_a_table_are_skipped(write: Write) -> None:
    lines = [
        "  ",
        "text,label",
        "hello there,ham",
        "   ",
        "win now,spam",
        "\t",
        "good bye,ham",
        " ",
    ]
    path = write("\n".join(lines) + "\n", "spaces.csv")
    table = read_table(path)
    assert table.texts == ("hello there", "win now", "good bye")
    assert table.lines == (3, 5, 7)
    messages = read_messages(path)
    assert [message.text for message in messages] == list(table.texts)
    note = f"{path}: 4 rows without any value were skipped (line 1, 4, 6, 8)."
    assert table.notes == (note,)
    assert messages.ending_notes() == (note,)
    # Messages are read one at a time after the first thousand.
    many = write("id,text\n" + "1,hello\n" * 1_100 + "  \n2,bye\n", "many.csv")
    messages = read_messages(many)
    assert sum(1 for _ in messages) == 1_101
    assert messages.ending_notes() == (f"{many}: 1 row without any value was skipped (line 1102).",)


def test_white_space_in_a_single_column_is_an_empty_text(write: Write) -> None:
    path = write("text\nhello\n  \nbye\n", "one.csv")
    assert [message.text for message in read_messages(path)] == ["hello", "  ", "bye"]


def test_a_second_byte_order_mark_is_no_part_of_a_name(write: Write) -> None:
    rows = "hello,ham\nbye,ham\nwin,spam\n"
    assert read_table(write("\ufeff\ufefftext,label\n" + rows, "marks.csv")).text_column == "text"


def test_excels_line_makes_a_table_of_a_text_file(write: Write) -> None:
    path = write("sep=;\nid;text\n1;hello, you\n2;bye, you\n", "a.txt")
    assert [message.text for message in read_messages(path)] == ["hello, you", "bye, you"]
    lines = write("sep=; is a line\nhello; you\n", "b.txt")
    assert [message.text for message in read_messages(lines)] == ["sep=; is a line", "hello; you"]


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_a_bare_line_feed_in_a_field_does_not_end_the_row(write: Write, end: str) -> None:
    rows = [f"text {number},{'ham' if number % 2 else 'spam'}" for number in range(9)]
    rows[4] = "one\ntwo,spam"
    path = write(end.join(["text,label", *rows, ""]), "ends.csv")
    assert read_table(path).texts[4] == "one\ntwo"
    assert [message.text for message in read_messages(path)][4] == "one\ntwo"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{\n "text": "a",\n "label": "b"\n}\n', "line 2: expected one JSON object per line"),
        ('{"data": [\n{"text": "a"}\n]}\n', "found an object that goes over several lines"),
        ('{"data": [{"text": "a", "label": "b"}]}', "rows under the key 'data'"),
        ('{"text": {"0": "a"}, "label": {"0": "b"}}', "with the columns 'text', 'label'"),
        ('{"text": ["a", "c"], "label": ["b", "d"]}', "to_json.FILE, orient='records'"),
        ('[["a", "b"], ["c", "d"]]', "expected a JSON object such as .*, found a list"),
        ('["hello", "good bye"]', "expected a JSON object such as .*, found a str"),
    ],
)
def test_json_of_another_form_is_refused_by_its_form(
    write: Write, content: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write(content, "a.json"))


@pytest.mark.parametrize("content", ['["hello", "bye"]\n', "[[1, 2]]\n"])
def test_json_without_objects_is_no_text(write: Write, content: str) -> None:
    with pytest.raises(DataError, match="expected a JSON object"):
        list(read_messages(write(content, "a.json")))


@pytest.mark.parametrize("content", ['["hello" he said\nbye\n', "[link] hello\n[[a]] bye\n"])
def test_a_text_that_begins_with_a_bracket_is_a_text(write: Write, content: str) -> None:
    assert [each.text for each in read_messages(write(content, "a"))] == content.splitlines()
