"""A store of corrections through kills, repeats, deletions and odd texts."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.errors import DataError, RunError
from tamis.feedback.store import CorrectionStore, NewCorrection, with_model_labels

ODD = [
    "",
    " ",
    "a\x00b",
    "<|endoftext|>",
    "é e\u0301 👨‍👩‍👧",
    "x" * 100_000,
    "'; DROP TABLE corrections; --",
]


def bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


def test_what_is_kept_comes_back_in_order_from_a_new_store(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path / "new" / "store.sqlite")
    ids = store.add([NewCorrection(text, "spam", user="u", force=True) for text in ODD])
    assert ids == sorted(set(ids)) and len(ids) == len(ODD)
    again = CorrectionStore(tmp_path / "new" / "store.sqlite")
    assert [(c.text, c.label, c.user, c.force, c.id) for c in again.all()] == [
        (t, "spam", "u", True, i) for t, i in zip(ODD, ids, strict=True)
    ]
    assert all(c.created.endswith("+00:00") for c in again.all())


def test_the_same_text_again_replaces_the_label_and_keeps_the_id(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path / "store.sqlite")
    (first,) = store.add([NewCorrection("win now", "spam")])
    again, other = store.add(
        [NewCorrection("win now", "ham"), NewCorrection("win now", "ham", user="other")]
    )
    assert again == first < other
    assert [(c.label, c.user) for c in store.all()] == [("ham", ""), ("ham", "other")]
    store.add([NewCorrection("win now", "spam")], model="second")
    assert len(store.all()) == 3 and len(store.all(model="second")) == 1


def test_an_undone_correction_leaves_no_byte_of_its_text(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path / "store.sqlite")
    secret, kept = "the secret 0900 word", "something else"
    wanted, _ = store.add([NewCorrection(secret, "spam"), NewCorrection(kept, "ham")])
    assert secret.encode() in bytes_of(tmp_path)
    assert store.remove(wanted) and not store.remove(wanted)
    assert secret.encode() not in bytes_of(tmp_path) and kept.encode() in bytes_of(tmp_path)
    assert store.remove_all() == 1 and kept.encode() not in bytes_of(tmp_path)
    assert store.all() == [] and store.add([NewCorrection(kept, "ham")]) == [
        3
    ]  # an id is never given twice


def test_undoing_all_reaches_no_further_than_the_model_and_the_user_that_are_named(
    tmp_path: Path,
) -> None:
    store = CorrectionStore(tmp_path / "store.sqlite")
    for model in ("one", "two"):
        store.add(
            [NewCorrection(f"{model} {user}", "spam", user=user) for user in ("", "anna", "bo")],
            model=model,
        )

    def left() -> list[str]:
        return [item.text for item in store.all()]

    assert (
        store.remove_all(model="one", user="anna") == 1
        and "one anna" not in left()
        and len(left()) == 5
    )
    assert store.remove_all(model="one", user="") == 1 and left() == [
        "one bo",
        "two ",
        "two anna",
        "two bo",
    ]
    assert store.remove_all(model="three") == 0 and store.remove_all(model="one") == 1
    assert left() == ["two ", "two anna", "two bo"] and b"one bo" not in bytes_of(tmp_path)
    assert store.remove_all(user="bo") == 1 and store.remove_all() == 2 and left() == []


def test_all_of_a_request_is_kept_or_nothing(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path / "store.sqlite")
    with pytest.raises(DataError, match="item 1: not valid Unicode"):
        store.add([NewCorrection("fine", "ham"), NewCorrection("\ud800", "ham")])
    assert store.all() == []
    store.add([NewCorrection("fine", "ham")])


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    program = """
import os, sys
from tamis.feedback.store import CorrectionStore, NewCorrection, with_model_labels
store = CorrectionStore(sys.argv[1])
for i in range(10_000):
    store.add([NewCorrection(f"text {i}", "spam")])
    print(i, flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "s.sqlite")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(40)]
    process.kill()
    acknowledged += [int(line) for line in process.stdout.read().splitlines() if line.strip()]
    process.wait()
    process.stdout.close()
    texts = {c.text for c in CorrectionStore(tmp_path / "s.sqlite").all()}
    assert {f"text {i}" for i in acknowledged} <= texts and len(texts) <= len(acknowledged) + 1


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path / "store.sqlite")

    def write(name: int) -> None:
        for i in range(15):
            store.add([NewCorrection(f"{name} {i}", "ham")])

    threads = [threading.Thread(target=write, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({c.id for c in store.all()}) == 75


def test_a_backup_is_a_store(tmp_path: Path) -> None:
    store = CorrectionStore(tmp_path / "store.sqlite")
    store.add([NewCorrection(text, "ham") for text in ODD])
    store.backup(tmp_path / "copy.sqlite")
    assert CorrectionStore(tmp_path / "copy.sqlite").all() == store.all()


def test_another_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"these are notes, not a store" * 50)
    with pytest.raises(RunError, match="not a store of corrections"):
        CorrectionStore(path)
    assert path.read_bytes() == b"these are notes, not a store" * 50
    newer = tmp_path / "newer.sqlite"
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RunError, match="newer tamis"):
        CorrectionStore(newer)


@pytest.mark.parametrize(
    "table",
    [
        "CREATE TABLE orders (id)",
        "CREATE TABLE corrections (id, note)",
        "CREATE VIEW v AS SELECT 1",
    ],
)
def test_the_database_of_another_program_is_refused_and_left_alone(
    tmp_path: Path, table: str
) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(table)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(RunError, match="the database of another program"):
        CorrectionStore(path)
    assert path.read_bytes() == before and not path.with_name("other.sqlite-wal").exists()


def test_a_locked_store_is_not_called_a_foreign_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamis.feedback.store.BUSY_S", 0.05)
    path = tmp_path / "s.sqlite"
    CorrectionStore(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RunError, match="is locked by another process"):
        CorrectionStore(path)
    other.close()


@pytest.mark.parametrize(
    ("label", "kept"),
    [("1", "1"), ("1.0", "1"), ("+1", "1"), ("0.00", "0"), ("0", "0"), ("-0", "0")],
)
def test_labels_are_compared_as_tables_compare_them(label: str, kept: str) -> None:
    (found,) = with_model_labels([NewCorrection("a", label, "me", force=True)], ["0", "1"])
    assert found == NewCorrection("a", kept, "me", force=True)


@pytest.mark.parametrize("label", ["2", "01", "1,0", "one", ""])
def test_a_label_that_equals_none_is_refused(label: str) -> None:
    with pytest.raises(DataError, match="is not one of the model's labels"):
        with_model_labels([NewCorrection("a", label)], ["0", "1"])


def test_an_exact_label_has_precedence() -> None:
    items = [NewCorrection("a", label) for label in ("1.0", "1", "true", "TRUE")]
    found = with_model_labels(items, ["1", "1.0", "True"])
    assert [item.label for item in found] == ["1.0", "1", "True", "True"]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["ham", "spam", None])), max_size=12)
)
def test_it_behaves_like_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str | None]]
) -> None:
    store = CorrectionStore(tmp_path_factory.mktemp("store") / "s.sqlite")
    plain: dict[str, str] = {}
    for text, label in steps:
        if label is None:
            found = next((c.id for c in store.all() if c.text == text), -1)
            assert store.remove(found) == (plain.pop(text, None) is not None)
        else:
            store.add([NewCorrection(text, label)])
            plain[text] = label
    assert {c.text: c.label for c in store.all()} == plain
    store.close()
