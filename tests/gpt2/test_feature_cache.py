"""The store of frozen states: nothing is computed twice, nothing wrong is ever taken."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.gpt2 import feature_cache as module
from tamis.gpt2 import features
from tamis.gpt2.feature_cache import FeatureCache
from tamis.gpt2.features import all_tokens, last_tokens
from tamis.gpt2.model import GPT2
from tamis.gpt2.pooling import add_mean_pooling
from tests.tiny import messages, trunk


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "FROZEN_TOKENS", 20)


class CutError(Exception):
    """Stands for whatever stops the work."""


@contextmanager
def counted(model: GPT2, stop_at: int = 10**9) -> Iterator[list[int]]:
    """Batches that the trunk computes; the one numbered `stop_at` fails."""
    batches: list[int] = []

    def hook(*_: object) -> None:
        if len(batches) == stop_at:
            raise CutError
        batches.append(1)

    handle = model.wte.register_forward_hook(hook)
    try:
        yield batches
    finally:
        handle.remove()


def test_states_of_another_device_are_never_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module, "trunk_fingerprint", lambda *_, **__: "the same weights"
    )  # `meta`, which stands for a card, holds none
    store, of = FeatureCache(tmp_path), messages()
    with store.open(trunk(), of, "last", (3, 2)) as entry:
        entry.finish()
    with store.open(trunk().to("meta"), of, "last", (3, 2)) as entry:
        assert not entry.complete
    with store.open(trunk(), of, "last", (3, 2)) as entry:
        assert entry.complete


def test_a_second_run_computes_nothing_and_gives_the_same_bytes(tmp_path: Path) -> None:
    model, of, store = trunk(), messages(), FeatureCache(tmp_path / "states")
    plain = last_tokens(model, of)
    with counted(model) as batches:
        first = np.array(last_tokens(model, of, cache=store))
        assert len(batches) > 4
    with counted(trunk()) as batches:
        second = last_tokens(trunk(), messages(), cache=store)
        assert batches == []
    assert first.tobytes() == second.tobytes() == plain.tobytes()
    assert [file.suffix for file in (tmp_path / "states").iterdir()] == [".npy"]


def test_what_was_interrupted_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    model, of = trunk(), messages()
    plain, store = all_tokens(model, of, 2), FeatureCache(tmp_path)
    with counted(model) as batches:
        all_tokens(model, of, 2)
    every = len(batches)
    for stop_at in (2, 1):
        with counted(model, stop_at) as batches, pytest.raises(CutError):
            all_tokens(model, of, 2, cache=store)
        assert not list(tmp_path.glob("*.npy"))
    with counted(model) as batches:
        found = all_tokens(model, of, 2, cache=store)
        assert len(batches) == every - 3
    assert np.asarray(found).tobytes() == plain.tobytes()


def test_a_kill_between_two_marks_costs_the_work_since_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAVE_EVERY_S", -1.0)  # a mark after every batch
    model, of, store = trunk(), messages(), FeatureCache(tmp_path)
    with counted(model) as batches:
        plain = last_tokens(model, of)
    every, original = len(batches), module.Entry.mark
    with counted(model, 3), pytest.raises(CutError), monkeypatch.context() as patch:
        left = [2]  # what a kill leaves is the last mark that was written

        def mark(self: module.Entry) -> None:
            if left[0]:
                left[0] -= 1
                original(self)

        patch.setattr(module.Entry, "mark", mark)
        last_tokens(model, of, cache=store)
    with counted(model) as batches:
        found = last_tokens(model, of, cache=store)
    assert len(batches) == every - 2 and np.asarray(found).tobytes() == plain.tobytes()


def test_two_at_once_both_get_the_numbers(tmp_path: Path) -> None:
    model, of, store = trunk(), messages(), FeatureCache(tmp_path)
    shape, plain = (len(of.windows), 12), last_tokens(model, of)
    with store.open(model, of, "last, 20", shape, final_norm=False) as first:
        assert not first.complete
        second = last_tokens(
            model, of, cache=store
        )  # the other one holds the entry: computed in memory
        assert second.tobytes() == plain.tobytes() and not list(tmp_path.glob("*.npy"))
        first.array[:] = plain
        first.finish()
    with counted(model) as batches:
        assert last_tokens(model, of, cache=store).tobytes() == plain.tobytes() and not batches


def test_what_differs_in_any_part_is_another_entry(tmp_path: Path) -> None:
    store, of = FeatureCache(tmp_path), messages()
    last_tokens(trunk(), of, cache=store)
    all_tokens(trunk(), of, 1, cache=store)
    all_tokens(trunk(), of, 2, cache=store)
    last_tokens(trunk(seed=4), of, cache=store)
    last_tokens(trunk(), messages(seed=2), cache=store)
    last_tokens(add_mean_pooling(trunk()), of, cache=store)
    last_tokens(trunk().cast(torch.bfloat16), of, cache=store)
    torch.set_num_threads(2)
    last_tokens(trunk(), of, cache=store)
    assert len(list(tmp_path.glob("*.npy"))) == 8


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "shape", "type"])
def test_a_damaged_entry_is_computed_again(damage: str, tmp_path: Path) -> None:
    model, of, store = trunk(), messages(), FeatureCache(tmp_path)
    plain = np.array(last_tokens(model, of, cache=store))
    (entry,) = tmp_path.glob("*.npy")
    whole = entry.read_bytes()
    if damage in ("shape", "type"):
        np.save(entry, plain[:-1] if damage == "shape" else plain.astype(np.float64))
    else:
        entry.write_bytes(
            {"empty": b"", "cut": whole[:-5], "garbage": bytes(range(256)) * 9}[damage]
        )
    with counted(model) as batches:
        found = last_tokens(model, of, cache=store)
    assert batches and np.asarray(found).tobytes() == plain.tobytes() == np.load(entry).tobytes()


@given(place=st.integers(0, 127), byte=st.integers(0, 255))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_header_with_any_byte_changed_is_no_crash(tmp_path: Path, place: int, byte: int) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.ones((5, 3), dtype=np.float32))
    content = bytearray(path.read_bytes())
    content[place] = byte
    path.write_bytes(content)
    found = module.open_array(path, (5, 3), "r")
    assert found is None or found.shape == (5, 3)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"batches": "many"}', '{"batches": -3}', '{"batches": 99}']
)
def test_a_damaged_mark_starts_anew(content: str, tmp_path: Path) -> None:
    model, of, store = trunk(), messages(), FeatureCache(tmp_path)
    plain = last_tokens(model, of)
    with counted(model, 2), pytest.raises(CutError):
        last_tokens(model, of, cache=store)
    (mark,) = tmp_path.glob("*.json")
    mark.write_text(content)
    (part,) = tmp_path.glob("*.part")
    part.write_bytes(
        part.read_bytes()[:128] + b"\x00" * (len(part.read_bytes()) - 128)
    )  # whatever was there is lost
    assert np.asarray(last_tokens(model, of, cache=store)).tobytes() == plain.tobytes()


def test_the_entries_unused_for_longest_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, of = FeatureCache(tmp_path), messages()
    for seed, age in ((1, 300), (2, 100), (3, 200)):
        before = set(tmp_path.glob("*.npy"))
        last_tokens(trunk(seed=seed), of, cache=store)
        (new,) = set(tmp_path.glob("*.npy")) - before
        os.utime(new, (1e9 - age, 1e9 - age))
    last_tokens(trunk(seed=1), of, cache=store)  # used again, so now the youngest
    size = new.stat().st_size
    monkeypatch.setattr(module, "LIMIT_BYTES", 3 * size)
    last_tokens(trunk(seed=4), of, cache=store)
    assert len(list(tmp_path.glob("*.npy"))) == 3
    for seed, kept in ((1, True), (2, True), (3, False), (4, True)):
        if kept:
            with counted(model := trunk(seed=seed)) as batches:
                last_tokens(model, of, cache=store)
            assert not batches, seed
    assert new.exists() is False  # seed 3


def test_an_entry_larger_than_the_limit_is_kept_for_its_own_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT_BYTES", 1)
    store, of = FeatureCache(tmp_path), messages()
    foreign = tmp_path / "mine.npy"  # a file of somebody else
    foreign.write_bytes(b"kept")
    last_tokens(trunk(seed=1), of, cache=store)
    last_tokens(trunk(seed=2), of, cache=store)
    assert len(list(tmp_path.glob("*.npy"))) == 2 and foreign.read_bytes() == b"kept"


def test_an_entry_begun_in_other_batches_is_not_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, of, store = trunk(), messages(), FeatureCache(tmp_path)
    with counted(model, 3), pytest.raises(CutError):
        last_tokens(model, of, cache=store)
    monkeypatch.setattr(features, "FROZEN_TOKENS", 37)  # three batches are other rows now
    assert (
        np.asarray(last_tokens(model, of, cache=store)).tobytes()
        == last_tokens(model, of).tobytes()
    )
