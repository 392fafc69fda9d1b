"""Every format in and out: own columns unchanged, in order, and the scores behind them; odd texts;
bad rows with their numbers; what is read otherwise is told.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import DataError
from tamis.workflows.score_table import rows as row_types
from tests.rows import messages
from tests.workflows.score_table.stand_in import LABELS, StandIn, probability, score

ADDED = ["label", "verdict", "p_ham", "p_spam"]
TEXTS = [text for _, text in messages()][:40]


def csv_rows(out: Path) -> list[dict[str, str]]:
    """All rows of all parts, in order."""
    found = []
    for path in sorted(out.glob("part-*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found += list(csv.DictReader(file))
    return found


def json_rows(out: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(out.glob("part-*.jsonl"))
        for line in path.read_text(encoding="utf-8").split("\n")
        if line
    ]


def bad_rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "bad-rows.jsonl").read_text("utf-8").splitlines()]


def summary(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return found


def write_csv(path: Path, header: list[str], rows: list[list[Any]], **options: Any) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, **options).writerows([header, *rows])
    return path


def test_csv_keeps_its_columns_and_gets_those_of_the_prediction(tmp_path: Path) -> None:
    table = write_csv(
        tmp_path / "in.csv", ["id", "text"], [[n, text] for n, text in enumerate(TEXTS)]
    )
    outcome = score(table, tmp_path / "out", part_rows=15)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "bad-rows.jsonl",
        "part-00000.csv",
        "part-00001.csv",
        "part-00002.csv",
        "summary.json",
    ]
    rows = csv_rows(tmp_path / "out")
    assert [(row["id"], row["text"]) for row in rows] == [
        (str(number), text) for number, text in enumerate(TEXTS)
    ]
    for row in rows:
        assert list(row) == ["id", "text", *ADDED]
        assert float(row["p_spam"]) == pytest.approx(probability(row["text"]), abs=1e-8)
        assert float(row["p_ham"]) == 1 - float(row["p_spam"])
        assert row["label"] == LABELS[float(row["p_spam"]) >= 0.5]
        unsure = abs(float(row["p_spam"]) - 0.5) < 0.05
        assert row["verdict"] == ("unsure" if unsure else row["label"])
    assert outcome.summary == summary(tmp_path / "out")
    assert outcome.summary["rows"] == outcome.summary["scored"] == 40
    assert sum(outcome.summary["labels"].values()) == 40
    assert bad_rows(tmp_path / "out") == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_quotes_and_line_ends_inside_of_texts_do_not_matter(
    tmp_path: Path, delimiter: str
) -> None:
    odd = ['say "hi"', "two\nlines", "a, b; c\td | e", "", " spaces ", "naïve ☃", "\r\nx", '"']
    rows = [[n, text, "x,y" * (n % 2)] for n, text in enumerate(odd + TEXTS)]
    table = write_csv(tmp_path / "in.csv", ["id", "text", "note"], rows, delimiter=delimiter)
    score(table, tmp_path / "out", part_rows=7)
    found = csv_rows(tmp_path / "out")
    assert [[int(row["id"]), row["text"], row["note"]] for row in found] == rows
    assert summary(tmp_path / "out")["empty_texts"] == 1


def test_a_table_without_a_header_gets_numbers_as_names(tmp_path: Path) -> None:
    table = tmp_path / "in.tsv"
    table.write_text("".join(f"{label}\t{text}\n" for label, text in messages()[:30]), "utf-8")
    score(table, tmp_path / "out")
    rows = csv_rows(tmp_path / "out")
    assert list(rows[0]) == ["1", "2", *ADDED]
    assert [(row["1"], row["2"]) for row in rows] == messages()[:30]


def test_own_columns_win_their_names(tmp_path: Path) -> None:
    rows = [[label, text, 0.5] for label, text in messages()[:20]]
    table = write_csv(tmp_path / "in.csv", ["label", "text", "p_spam"], rows)
    score(table, tmp_path / "out")
    added = ["predicted_label", "verdict", "p_ham", "predicted_p_spam"]
    found = csv_rows(tmp_path / "out")
    assert list(found[0]) == ["label", "text", "p_spam", *added]
    assert [[row["label"], row["text"], float(row["p_spam"])] for row in found] == rows
    assert summary(tmp_path / "out")["added_columns"] == added


def test_jsonl_lines_are_kept_to_the_letter(tmp_path: Path) -> None:
    lines = [
        '{"text": "caf\\u00e9 1.10", "n": 1.10, "big": 123456789012345678901234567890}',
        '  {"n":1e3,"text":"two\\nlines","nested":{"a":[1,2,{}]}}  ',
        '{"text": "broken \\ud83d elsewhere is kept", "x": null}'.replace("broken \\ud83d", "b"),
        '{"other": "\\ud800", "text": "half a pair elsewhere"}',
        '{"text": ""}',
    ]
    table = tmp_path / "in.jsonl"
    table.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    score(table, tmp_path / "out", text="text")
    written = (tmp_path / "out" / "part-00000.jsonl").read_text(encoding="utf-8").splitlines()
    for line, found in zip(lines, written, strict=True):
        own = line.strip().removesuffix("}")
        assert found.startswith(own + ', "label": "')
        assert list(json.loads(found))[-4:] == ADDED
    assert json.loads(written[4])["p_spam"] == pytest.approx(probability(""), abs=1e-8)


def test_a_key_that_only_later_objects_have_keeps_its_value(tmp_path: Path) -> None:
    table = tmp_path / "in.jsonl"
    objects: list[dict[str, Any]] = [{"text": f"text {n}"} for n in range(1_200)]
    objects[1_100] |= {"label": "mine", "p_ham": 7}
    table.write_text("".join(json.dumps(each) + "\n" for each in objects), encoding="utf-8")
    score(table, tmp_path / "out")
    rows = json_rows(tmp_path / "out")
    assert list(rows[1_099]) == ["text", *ADDED]
    assert rows[1_100]["label"] == "mine" and rows[1_100]["p_ham"] == 7
    assert rows[1_100]["predicted_p_ham"] == 1 - rows[1_100]["p_spam"]
    assert rows[1_100]["predicted_label"] in LABELS


def test_parquet_columns_keep_their_types(tmp_path: Path) -> None:
    own = pyarrow.table(
        {
            "id": pyarrow.array(range(40), pyarrow.int8()),
            "text": pyarrow.array(TEXTS).dictionary_encode(),
            "when": pyarrow.array([None, *range(39)], pyarrow.timestamp("us", "UTC")),
            "tags": [["a", None]] * 40,
            "nested": [{"x": 1.5}] * 40,
        }
    )
    pyarrow.parquet.write_table(own, tmp_path / "in.bin", row_group_size=9)
    score(tmp_path / "in.bin", tmp_path / "out", part_rows=15)
    parts = [pyarrow.parquet.read_table(path) for path in sorted((tmp_path / "out").glob("part*"))]
    assert [part.num_rows for part in parts] == [15, 15, 10]
    found = pyarrow.concat_tables(parts)
    assert found.column_names == [*own.column_names, *ADDED]
    assert found.select(own.column_names).to_pylist() == own.to_pylist()
    for name in ("id", "when", "tags", "nested"):
        assert found.schema.field(name) == own.schema.field(name)
    assert found.schema.field("p_ham").type == pyarrow.float64()
    assert found["p_spam"].to_pylist() == pytest.approx(
        [probability(text) for text in TEXTS], abs=1e-8
    )


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, "zstd"])
def test_compressed_tables_are_read(tmp_path: Path, compress: Any) -> None:
    plain = io.StringIO()
    csv.writer(plain).writerows([["id", "text"], *enumerate(TEXTS)])
    content = plain.getvalue().encode()
    table = tmp_path / "in.csv.xx"
    if compress == "zstd":
        with pyarrow.CompressedOutputStream(str(table), "zstd") as stream:
            stream.write(content)
    else:
        table.write_bytes(compress(content))
    score(table, tmp_path / "out")
    assert [row["text"] for row in csv_rows(tmp_path / "out")] == TEXTS


def test_lines_of_text_become_one_column(tmp_path: Path) -> None:
    table = tmp_path / "in.txt"
    table.write_text("one, with a comma\n\nthree", encoding="utf-8")
    score(table, tmp_path / "out")
    assert [row["text"] for row in csv_rows(tmp_path / "out")] == ["one, with a comma", "", "three"]


def test_bad_csv_rows_are_listed_and_all_others_scored(tmp_path: Path) -> None:
    table = tmp_path / "in.csv"
    table.write_text(
        "id,text,note\n"
        + "".join(f"{n},text {n},x\n" for n in range(5))
        + "5,too,many,cells\n"
        + "6\n"
        + ",,\n"  # a row without any value is skipped, as everywhere
        + "7,short\n"
        + "8,,empty\n"
        + "id,text,note\n"  # so is a repeated header
        + '9,"never closed,x\n'
        + "".join(f"{n},text {n},x\n" for n in range(10, 14)),
        encoding="utf-8",
    )
    said: list[str] = []
    outcome = score(table, tmp_path / "out", say=said.append)
    assert [(row["id"], row["text"], row["note"]) for row in csv_rows(tmp_path / "out")] == [
        *((str(n), f"text {n}", "x") for n in range(5)),
        ("7", "short", ""),
        ("8", "", "empty"),
        *((str(n), f"text {n}", "x") for n in range(10, 14)),
    ]
    bad = bad_rows(tmp_path / "out")
    assert [(row["row"], row["line"]) for row in bad] == [(6, 7), (7, 8), (10, 13)]
    assert "expected 3 fields" in bad[0]["reason"] and "found 4" in bad[0]["reason"]
    assert "'text'" in bad[1]["reason"] and "1 of 3" in bad[1]["reason"]
    assert "never closed" in bad[2]["reason"]
    assert (outcome.summary["rows"], outcome.summary["bad_rows"]) == (14, 3)
    assert any("without any value" in sentence for sentence in said)
    assert any("repeats the header" in sentence for sentence in said)


def test_a_stray_quote_far_from_the_end_costs_one_row(tmp_path: Path) -> None:
    table = tmp_path / "in.csv"
    lines = [f"{n},text {n}" for n in range(3_000)]
    lines[2_000] = '2000,"a stray quote'
    lines[2_500] = '2500,"closed"'  # closes the stray one; what it swallowed is read again
    table.write_text("id,text\n" + "\n".join(lines) + "\n", encoding="utf-8")
    score(table, tmp_path / "out")
    assert [row["row"] for row in bad_rows(tmp_path / "out")] == [2_001]
    kept = [row["id"] for row in csv_rows(tmp_path / "out")]
    assert kept == [str(n) for n in range(3_000) if n != 2_000]


def test_a_row_that_never_ends_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row_types.MOST_ROW_CHARACTERS >= 2_000_000  # a text of a megabyte is an ordinary text
    monkeypatch.setattr("tamis.workflows.score_table.record_stream.MOST_ROW_CHARACTERS", 5_000)
    table = tmp_path / "in.csv"
    lines = [f"{n},text {n}" for n in range(3_000)]
    lines[1_500] = '1500,"opened and never closed'
    table.write_text("id,text\n" + "\n".join(lines) + "\n", encoding="utf-8")
    score(table, tmp_path / "out")
    (bad,) = bad_rows(tmp_path / "out")
    assert bad["row"] == 1_501 and bad["line"] == 1_502 and "at most" in bad["reason"]
    assert len(csv_rows(tmp_path / "out")) == 2_999


@pytest.mark.parametrize("ending", ["csv", "jsonl", "txt"])
def test_a_line_without_end_is_skipped_in_bounded_memory(tmp_path: Path, ending: str) -> None:
    long = "x" * (row_types.MOST_ROW_CHARACTERS + 10)
    head = {"csv": "id,text\n1,a\n", "jsonl": '{"text": "a"}\n', "txt": "a\n"}[ending]
    body = {"csv": f"2,{long}\n3,b\n", "jsonl": f'{{"text": "{long}"}}\n{{"text": "b"}}\n'}
    table = tmp_path / f"in.{ending}"
    table.write_text(head + body.get(ending, f"{long}\nb\n"), encoding="utf-8")
    score(table, tmp_path / "out")
    rows = json_rows(tmp_path / "out") if ending == "jsonl" else csv_rows(tmp_path / "out")
    assert [row["text"] for row in rows] == ["a", "b"]
    assert [row["row"] for row in bad_rows(tmp_path / "out")] == [2]


def test_bad_json_lines_are_listed_and_all_others_scored(tmp_path: Path) -> None:
    good = [json.dumps({"text": f"text {n}"}) for n in range(8)]
    lines = [
        *good[:3],
        '{"text": "cut',
        "[1, 2]",
        '{"text": null}',
        '{"other": 1}',
        '{"text": 5}',
        '{"text": "half \\ud83d a pair"}',
        *good[3:],
    ]
    table = tmp_path / "in.jsonl"
    table.write_text("\n".join(lines), encoding="utf-8")
    score(table, tmp_path / "out")
    assert [row["text"] for row in json_rows(tmp_path / "out")] == [f"text {n}" for n in range(8)]
    bad = bad_rows(tmp_path / "out")
    assert [row["row"] for row in bad] == [row["line"] for row in bad] == [4, 5, 6, 7, 8, 9]
    words = ["invalid JSON", "list", "nothing", "nothing", "int", "surrogate"]
    for row, word in zip(bad, words, strict=True):
        assert word in row["reason"], row


def test_null_texts_of_parquet_are_bad_and_odd_ones_are_not(tmp_path: Path) -> None:
    texts = ["a", None, "", "with \0 inside", None, "<|endoftext|>"]
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "in.parquet")
    score(tmp_path / "in.parquet", tmp_path / "out")
    found = pyarrow.parquet.read_table(tmp_path / "out" / "part-00000.parquet")
    assert found["text"].to_pylist() == [text for text in texts if text is not None]
    assert [(row["row"], "line" in row) for row in bad_rows(tmp_path / "out")] == [
        (2, False),
        (5, False),
    ]


def test_bytes_that_are_not_utf8_are_bad_rows_of_a_utf8_file(tmp_path: Path) -> None:
    rows = [f"{n},naïve café {n}".encode() for n in range(10)]
    rows[3] = b"3,broken \xff byte"
    rows[7] = b"broken \xe9,text"
    table = tmp_path / "in.csv"
    table.write_bytes(b"id,text\n" + b"\n".join(rows))
    score(table, tmp_path / "out", header=True)
    assert [row["row"] for row in bad_rows(tmp_path / "out")] == [4, 8]
    assert "0xff" in bad_rows(tmp_path / "out")[0]["reason"]
    found = [row["text"] for row in csv_rows(tmp_path / "out")]
    assert found == [f"naïve café {n}" for n in range(10) if n not in (3, 7)]


def test_a_file_in_cp1252_is_read_as_everywhere(tmp_path: Path) -> None:
    table = tmp_path / "in.csv"
    table.write_bytes(b"id,text\n" + "".join(f"{n},café {n}\n" for n in range(9)).encode("cp1252"))
    said: list[str] = []
    score(table, tmp_path / "out", say=said.append)
    assert [row["text"] for row in csv_rows(tmp_path / "out")] == [f"café {n}" for n in range(9)]
    assert any("cp1252" in sentence for sentence in said)
    assert bad_rows(tmp_path / "out") == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_read(tmp_path: Path, encoding: str) -> None:
    table = tmp_path / "in.csv"
    table.write_bytes("id,text\n1,é\n2,☃\n".encode(encoding))
    score(table, tmp_path / "out")
    assert [row["text"] for row in csv_rows(tmp_path / "out")] == ["é", "☃"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("in.csv", b"", "empty file"),
        ("in.csv", b"\r\n \n\n", "empty file"),
        ("in.json", b'[{"text": "a"}]', "jq"),
        ("in.pdf", b"%PDF-1.7 ...", "PDF"),
        ("in.csv", b"id,text\n1,a\n", "no column 'body'"),
    ],
)
def test_what_cannot_be_scored_is_told(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        score(tmp_path / name, tmp_path / "out", text="body")


def test_a_header_alone_gives_one_part_with_a_header(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,text\n", encoding="utf-8")
    outcome = score(tmp_path / "in.csv", tmp_path / "out", header=True)
    written = (tmp_path / "out" / "part-00000.csv").read_text(encoding="utf-8")
    assert written == f"id,text,{','.join(ADDED)}\n"
    assert outcome.summary["rows"] == 0


def test_a_truncated_parquet_file_is_told(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": TEXTS}), tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "in.parquet").write_bytes(content[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        score(tmp_path / "in.parquet", tmp_path / "out")


cells = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=12
)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=30), st.integers(0, 2**32))
def test_any_cells_come_out_unchanged(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("cells")
    # Rows without any value are skipped, and so are repeated headers: not what is tested here.
    rows = [[f"id {n}", first, text] for n, (first, text) in enumerate(pairs)]
    draw = random.Random(seed)
    quoting: Any = draw.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
    plain = io.StringIO()
    csv.writer(plain, quoting=quoting, lineterminator=draw.choice(["\n", "\r\n"])).writerows(
        [["id", "first", "text"], *rows]
    )
    (folder / "in.csv").write_text(plain.getvalue(), encoding="utf-8", newline="")
    engine = StandIn(seed)
    score(folder / "in.csv", folder / "out", engine, text="text", header=True, part_rows=7)
    found = csv_rows(folder / "out")
    if "\r" in plain.getvalue().replace("\r\n", "") and quoting == csv.QUOTE_MINIMAL:
        return  # Python's writer leaves a CR unquoted, which no reader can tell from a line end
    assert [[row["id"], row["first"], row["text"]] for row in found] == rows
    assert len(engine.computed) == len(set(engine.computed)) == len({text for _, text in pairs})
