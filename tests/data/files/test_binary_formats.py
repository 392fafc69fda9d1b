"""Binary files are refused by the name of their format, wherever a table or a text is read."""

from __future__ import annotations

import gzip
import io
import pickle
import sqlite3
import tarfile
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.files.binary_formats import binary_format
from tamis.data.files.message_reader import read_messages
from tamis.data.tables import read_table
from tamis.errors import DataError
from tamis.training.pretraining.documents import read_documents

Write = Callable[..., Path]


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return file.getvalue()


def a_tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return file.getvalue()


def a_wave() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(100))
    return file.getvalue()


def an_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


def a_database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "base") as base:
        base.execute("create table t (x)")
    base.close()
    return (folder / "base").read_bytes()


BINARY: list[tuple[str, bytes]] = [
    ("PDF", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\nhello\n"),
    ("RTF", b"{\\rtf1\\ansi hello}"),
    ("Word document", zipped("[Content_Types].xml", "word/document.xml")),
    ("PowerPoint", zipped("[Content_Types].xml", "ppt/presentation.xml")),
    ("ZIP", zipped("a.txt", "b.txt")),
    ("old Office", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)),
    ("PNG", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\n"),
    ("JPEG", b"\xff\xd8\xff\xe0\0\x10JFIF\0\n"),
    ("GIF", b"GIF89a\1\0\1\0\n"),
    ("BMP", b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0"),
    ("WAV", a_wave()),
    ("MP3", b"ID3\x03\0\0\0\0\n"),
    ("tar", a_tar()),
    ("NumPy", an_array()),
    ("ELF", b"\x7fELF\x02\x01\x01\0\0\n"),
    ("Windows", b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff" + bytes(60) + b"\n"),
    ("7z", b"7z\xbc\xaf\x27\x1c\0\4\n"),
    ("Zstandard", b"\x28\xb5\x2f\xfd\4\0\n"),
    ("UTF-16 without", "first text\nsecond text\n".encode("utf-16-le")),
    ("UTF-16 without", "first text\nsecond text\n".encode("utf-16-be")),
    ("unknown format", np.random.default_rng(0).bytes(4000)),
    ("unknown format", bytes(200)),
    ("gzip", gzip.compress(gzip.compress(b"hello\n"))),
    *(("pickle", pickle.dumps([{"text": "hello"}], protocol)) for protocol in range(6)),
]


@pytest.mark.parametrize(("name", "content"), BINARY, ids=range(len(BINARY)))
def test_a_binary_file_is_refused_by_its_name_everywhere(
    write: Write, name: str, content: bytes
) -> None:
    for file in ("a", "a.txt", "a.csv", "a.eml", "a.mbox"):
        path = write(content, file)
        with pytest.raises(DataError, match=name) as caught:
            list(read_messages(path))
        assert str(caught.value).startswith(str(path))
    with pytest.raises(DataError, match=name):
        read_table(path)
    with pytest.raises(DataError, match=name):
        read_documents(path, "flat")
    if name not in ("tar", "Word document", "PowerPoint", "Windows", "unknown format"):
        # The first line shows it.
        with pytest.raises(DataError, match=rf"standard input: .*{name}"):
            list(read_messages(io.BytesIO(content)))


def test_a_database_is_refused_by_its_name(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found an SQLite database; export its rows as CSV"):
        read_table(write(a_database(tmp_path), "data.csv"))


@pytest.mark.parametrize(
    "text",
    [
        b"GIF is a format\n", b"BM is a bank\n", b"MZ\n", b"ID3 tags\n", b"ORC and elf\n", b"BZh\n",
        b"PK is short\n", b"wOFF\n", b"RDX\n", b"GGUF\n", b"a\0b\n", b"caf\xe9 \x93quoted\x94\n",
        "日本語".encode("iso2022_jp") + b"\n", b"tab\tbell\a\n", b"\xff\xfeh\0i\0\n\0",
        "Привет, как дела".encode("koi8-r"), b"(lp of mine)\n", b"copy_reg\n", b"",
    ],
)  # fmt: skip
def test_a_text_is_no_binary_file(text: bytes) -> None:
    assert binary_format(text) is None


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=300))
def test_no_utf8_text_without_controls_is_binary(text: str) -> None:
    if not text.startswith(("%PDF", "%!PS", "{\\rtf")):
        assert binary_format(text.encode()) is None
