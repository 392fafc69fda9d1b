"""Pipes, standard input and compressed files: the same rows as from a plain file."""

from __future__ import annotations

import bz2
import gc
import gzip
import io
import lzma
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from tamis.data.catalog import resolve
from tamis.data.files.byte_sources import is_piped, local_file, source_name, temporary_copy
from tamis.data.files.message_reader import read_messages, read_one_message
from tamis.data.tables import read_table
from tamis.errors import DataError

Write = Callable[..., Path]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
MAIL = b"From: a@b\nSubject: offer\nTo: c@d\n\nwin now\n"
BOX = (
    b"From a@b Mon Jan  1 10:00:00 2024\n" + MAIL + b"\nFrom c@d Mon Jan  1 10:00:00 2024\n" + MAIL
)
SOURCES: dict[str, tuple[bytes, list[str]]] = {
    "text": (b"win a prize\nsee you\n", ["win a prize", "see you"]),
    "commas": (b"Hi, you\nthere, there\n", ["Hi, you", "there, there"]),
    "csv": (b'id,text\n1,hello\n2,"win, now"\n', ["hello", "win, now"]),
    "jsonl": (b'{"text": "a"}\n{"text": "b"}\n', ["a", "b"]),
    "json": (b'[{"text": "a"},\n{"text": "b"}]', ["a", "b"]),
    "mail": (MAIL, ["offer\nwin now"]),
    "mbox": (BOX, ["offer\nwin now"] * 2),
    "returns": (b"one\rtwo\rthree", ["one", "two", "three"]),
    "csv with returns": (b'id,text\r1,hello\r2,"win, now"\r', ["hello", "win, now"]),
    "jsonl with returns": (b'{"text": "a"}\r{"text": "b"}\r', ["a", "b"]),
    "mbox with returns": (BOX.replace(b"\n", b"\r"), ["offer\nwin now"] * 2),
    "empty": (b"", []),
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")


def texts(source: object, text: str | None = None) -> list[str]:
    return [message.text for message in read_messages(source, text=text)]  # type: ignore[arg-type]


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    """A named pipe that holds some bytes once."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs named pipes")
    threads: list[threading.Thread] = []

    def piped(content: bytes) -> Path:
        path = tmp_path / f"pipe{len(threads)}"
        os.mkfifo(path)
        thread = threading.Thread(target=lambda: path.write_bytes(content), daemon=True)
        thread.start()
        threads.append(thread)
        return path

    yield piped
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_pipes_and_compressed_files_give_the_same_texts(
    write: Write, pipe: Callable[[bytes], Path], name: str, encoding: str
) -> None:
    content, expected = SOURCES[name]
    if content:
        content = content.decode().encode(encoding)
    assert texts(write(content, "plain")) == expected
    assert texts(pipe(content)) == expected
    for ending, compress in COMPRESS.items():
        assert texts(write(compress(content), f"packed{ending}")) == expected
        assert texts(write(compress(content), "packed")) == expected
        assert texts(pipe(compress(content))) == expected


@pytest.mark.parametrize(
    "name", ["text", "jsonl", "mbox", "returns", "jsonl with returns", "empty"]
)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_stream_is_decompressed_and_transcoded(name: str, encoding: str) -> None:
    content, expected = SOURCES[name]
    if content:
        content = content.decode().encode(encoding)
    assert texts(io.BytesIO(content)) == expected
    for compress in COMPRESS.values():
        assert texts(io.BytesIO(compress(content))) == expected
        assert (
            texts(io.BytesIO(compress(content[:9]) + compress(content[9:]) + bytes(4))) == expected
        )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_one_message_is_read_in_every_encoding(encoding: str) -> None:
    assert read_one_message(io.BytesIO(MAIL.decode().encode(encoding))).text == "offer\nwin now"
    assert read_one_message(io.BytesIO("größer\n".encode(encoding))).text == "größer"
    assert read_one_message(io.BytesIO(gzip.compress(MAIL))).text == "offer\nwin now"
    with pytest.raises(DataError, match="found a PDF document"):
        read_one_message(io.BytesIO(b"%PDF-1.4\n"))


def test_plain_lines_of_a_pipe_are_answered_before_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    answered = threading.Event()

    def write_slowly() -> None:
        with path.open("wb", buffering=0) as file:
            file.write(b"first line\n")
            assert answered.wait(10)
            file.write(b"second, line\n")

    thread = threading.Thread(target=write_slowly, daemon=True)
    thread.start()
    messages = read_messages(path)
    assert next(messages).text == "first line"
    answered.set()
    assert [message.text for message in messages] == ["second, line"]
    thread.join(10)


@pytest.mark.parametrize("compress", COMPRESS.values(), ids=COMPRESS)
def test_damaged_compression_is_told(write: Write, compress: Callable[[bytes], bytes]) -> None:
    whole = compress(b"some text that is long enough\n" * 50)
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 0xFF
    for content in (whole[: len(whole) // 2], bytes(damaged)):
        path = write(content, "packed")
        with pytest.raises(DataError, match="cannot be decompressed") as caught:
            texts(path)
        assert str(caught.value).startswith(str(path))
        with pytest.raises(DataError, match="cannot be decompressed"):
            read_table(path)
        with pytest.raises(DataError, match=r"standard input: .* cannot be decompressed"):
            texts(io.BytesIO(content))


def test_labelled_tables_come_from_pipes_and_compressed_files(
    write: Write, pipe: Callable[[bytes], Path], tmp_path: Path
) -> None:
    content = b"label,text\nham,hello you\nspam,win now\nham,see you\n"
    plain = read_table(write(content, "plain.csv"))
    packed = read_table(write(gzip.compress(content), "table.csv.gz"))
    piped = read_table(pipe(content))
    for table in (packed, piped):
        assert (table.texts, table.labels) == (plain.texts, plain.labels)
        assert table.fingerprint == plain.fingerprint
    pl.DataFrame({"label": ["a", "b"], "text": ["x", "y"]}).write_parquet(tmp_path / "p")
    parquet = (tmp_path / "p").read_bytes()
    assert read_table(pipe(parquet)).texts == ("x", "y")
    assert read_table(write(lzma.compress(parquet), "p.xz")).texts == ("x", "y")
    assert texts(pipe(parquet)) == ["x", "y"]
    pl.DataFrame({"text": ["x"] * 20_000}).write_parquet(tmp_path / "long")  # read in pieces
    assert len(texts(pipe((tmp_path / "long").read_bytes()))) == 20_000
    assert resolve(str(tmp_path / "table.csv.gz")).name == "table"
    waiting = pipe(content)
    assert resolve(str(waiting)).name == "pipe"
    assert read_table(waiting).texts == plain.texts


def test_a_temporary_copy_goes_with_its_messages(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path))
        copy = temporary_copy([b"a,b\n"], "x")
        messages = read_messages(copy.path)
        assert len(list(tmp_path.iterdir())) == 1
        assert next(messages).text == "a,b"
        del copy, messages
        gc.collect()
        assert not list(tmp_path.iterdir())


def test_the_ending_of_a_packed_file_is_that_inside(write: Write) -> None:
    assert local_file(write(gzip.compress(b"x"), "a.CSV.gz")).ending == ".csv"
    assert texts(write(gzip.compress(b"label,text\nham,hi\n"), "a.txt.gz")) == [
        "label,text",
        "ham,hi",
    ]
    assert (source_name("-"), source_name("a")) == ("standard input", "a")
    assert is_piped("-") and not is_piped("no such file")


@pytest.mark.parametrize("way", ["-", "/dev/stdin", None])
def test_standard_input_is_read_once_under_every_name(way: str | None) -> None:
    if way == "/dev/stdin" and not Path(way).exists():
        pytest.skip("needs /dev/stdin")
    code = (
        "import sys\nfrom tamis.data.files.message_reader import read_messages\n"
        "source = sys.argv[1] if len(sys.argv) > 1 else sys.stdin\n"
        "print([message.text for message in read_messages(source)])"
    )
    for content in (
        "win a prize\nsee you\n".encode("utf-16"),
        gzip.compress(b"win a prize\nsee you\n"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *([way] if way else [])],
            input=content,
            capture_output=True,
            env={"PYTHONPATH": "src"},
            check=True,
        )
        assert done.stdout.decode() == "['win a prize', 'see you']\n"
