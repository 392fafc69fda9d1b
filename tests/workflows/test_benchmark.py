from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tamis.cli import bench as cli_bench
from tamis.cli.app import app
from tamis.compute.memory import release_memory, resident_mb
from tamis.errors import RunError
from tamis.gpt2.model import GPT2, Block, GPT2Classifier, GPT2Config, initialise
from tamis.gpt2.packing import pack
from tamis.gpt2.pooling import add_mean_pooling
from tamis.text.encoding import EncodedTexts
from tamis.text.tokenizer import Tokenizer
from tamis.workflows import benchmark, benchmark_contenders
from tamis.workflows.benchmark_contenders import (
    Subject,
    new_texts,
    products,
    subject,
    useful_operations,
    without_pooling,
)
from tamis.workflows.benchmark_results import Bench, Beside, Bulk, Single, Start


def tiny(*, mean: bool = True, classes: int = 2) -> Subject:
    tokenizer = Tokenizer.train(new_texts(50, 0), vocab_size=300)
    trunk = GPT2(
        GPT2Config(vocab_size=tokenizer.size, n_positions=64, n_embd=24, n_layer=2, n_head=2)
    )
    initialise(trunk, torch.Generator().manual_seed(1))
    if mean:
        add_mean_pooling(trunk)
    return Subject(
        "tiny",
        GPT2Classifier(trunk, classes).requires_grad_(False).eval(),
        tokenizer.prepared(add_bos=False),
        trained=False,
    )


def test_texts_are_never_the_same_twice_and_as_long_as_short_messages() -> None:
    first, again, other = new_texts(400, 1), new_texts(400, 1), new_texts(400, 2)
    assert first == again and not set(first) & set(other) and len(set(first)) == 400
    words = np.array([len(text.split()) - 1 for text in first])
    assert words.min() >= 2 and words.max() <= 60 and 13 < words.mean() < 21


def test_useful_operations_count_every_product_of_a_real_token() -> None:
    windows = (np.zeros(3, np.int32), np.zeros(7, np.int32))
    messages = EncodedTexts(windows, np.arange(3), np.arange(2))
    # A block of width 24: two operations a weight of 24 x 72, 24 x 24, 24 x 96 and 96 x 24, for 10
    # tokens, twice.
    block = 2 * (24 * 72 + 24 * 24 + 24 * 96 + 96 * 24)
    assert useful_operations(tiny().model.transformer, messages) == 2 * block * 10
    # Without pooling the last block needs keys and values of all tokens, the rest for the two last
    # tokens alone.
    assert (
        useful_operations(tiny(mean=False).model.transformer, messages)
        == block * 10 + 2 * 24 * 48 * 10 + (block - 2 * 24 * 48) * 2
    )
    assert sum(2 * a * b * c for a, b, c in products(tiny().model.transformer, 10)) == block * 10


def test_what_transformers_gets_is_the_last_token_without_the_pooling_block() -> None:
    of = tiny()
    plain = without_pooling(of.model)
    blocks = list(plain.transformer.h)
    assert len(blocks) == 2 == plain.transformer.config.n_layer and all(
        isinstance(b, Block) for b in blocks
    )
    ids = [np.array([1, 5, 9]), np.array([4, 2])]
    with torch.inference_mode():
        hidden = of.model.transformer.blocks(of.model.transformer.embed(pack(ids)), pack(ids), 0, 2)
        last = of.model.transformer.h[2].ln_1(hidden.index_select(0, pack(ids).last))  # type: ignore[operator]
        expected = pack(ids).restore(last @ of.model.score.weight.T)
        torch.testing.assert_close(plain(pack(ids)), expected)
    assert without_pooling(tiny(mean=False).model).transformer.config.n_layer == 2


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_transformers_reads_a_head_of_any_number_of_classes(classes: int, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    of = tiny(classes=classes)
    benchmark_contenders.transformers_model(of, tmp_path / "rival")(2)(new_texts(3, 0))
    assert json.loads((tmp_path / "rival" / "config.json").read_text())["id2label"] == {
        str(n): str(n) for n in range(classes)
    }


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, ...]]]:
    """A tiny subject, quick rivals, no fresh processes; the texts of every call, by type."""
    calls: dict[str, list[tuple[str, ...]]] = {}
    plain = benchmark_contenders.ours

    def ours(of: Subject, dtype: str):
        score = plain(of, dtype)  # type: ignore[arg-type]

        def run(texts):
            calls.setdefault(dtype, []).append(tuple(texts))
            return score(texts)

        return run

    monkeypatch.setattr(benchmark, "ours", ours)
    monkeypatch.setattr(benchmark, "subject", lambda _: tiny())
    monkeypatch.setattr("tamis.compute.device.available_dtypes", lambda _: ("fp32", "bf16"))
    monkeypatch.setattr(benchmark, "transformers_is_here", lambda: False)
    monkeypatch.setattr(benchmark, "CEILING_S", 0.01)
    monkeypatch.setattr(benchmark_contenders, "TRAINING_ROWS", 60)
    monkeypatch.setattr(
        benchmark, "fresh_process", lambda folder, dtype, threads: Start(dtype, 1.0, 2.0, 0.5, 99.0)
    )
    monkeypatch.setattr(
        benchmark, "label_agreement", lambda contenders, dtypes, count: dict.fromkeys(dtypes, 1.0)
    )
    return calls


def test_a_measurement_holds_every_contender_and_no_text_twice(
    seen: dict[str, list[tuple[str, ...]]],
) -> None:
    found = benchmark.bench("tiny", threads=1, seconds=1.0)
    disturbed = any("peak rate in fp32" in note for note in found.notes)
    names = [row.name for row in found.bulk]
    assert names == ["tamis fp32", "tamis bf16", "TF-IDF + logistic regression"]
    assert [row.name for row in found.single] == names and [s.dtype for s in found.start] == list(
        found.ceiling_gflops
    )
    assert (
        found.bulk[0].times_first == 1.0
        and (found.bulk[0].share_of_ceiling is None) == disturbed
        and found.bulk[-1].share_of_ceiling is None
    )
    assert all(
        len(row.rounds) == 3 and row.messages_per_s == sorted(row.rounds)[1] for row in found.bulk
    )
    assert all(0 < row.p50_ms <= row.p99_ms for row in found.single)
    assert any("transformers is not installed" in note for note in found.notes)
    long = [text for texts in seen["fp32"] for text in texts if len(text.split()) > 5]
    assert len(long) > 20 and len(set(long)) == len(long)


def test_in_a_round_all_contenders_get_the_same_texts(
    seen: dict[str, list[tuple[str, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        benchmark,
        "texts_per_round",
        lambda contenders, seconds: dict(zip(contenders, (24, 9, 24), strict=True)),
    )
    found = benchmark.bench("tiny", threads=1, seconds=1.0)
    rounds = {dtype: [texts for texts in calls if len(texts) > 1] for dtype, calls in seen.items()}
    assert [len(texts) for texts in rounds["fp32"]] == [24, 24, 24]
    assert rounds["bf16"] == [texts[:9] for texts in rounds["fp32"]]
    assert (
        [texts for texts in seen["fp32"] if len(texts) == 1]
        == [texts for texts in seen["bf16"] if len(texts) == 1]
        != []
    )
    assert [row.texts for row in found.bulk] == [24, 9, 24]
    assert (
        "tamis bf16 gets only the first 9 of the 24 texts of a round, because it is more than 8 "
        "times slower than tamis fp32." in found.notes
    )
    assert {row.calls for row in found.single} == {sum(len(texts) == 1 for texts in seen["fp32"])}


def test_only_a_contender_that_would_take_the_time_of_all_gets_fewer_texts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = {"first": 1 / 128, "slower": 5 / 128, "slowest": 64 / 128, "quick": 1 / 128}
    monkeypatch.setattr(benchmark, "seconds_of", lambda run, texts: seconds[run] * len(texts))
    found = benchmark.texts_per_round({name: name for name in seconds}, 11.25)  # type: ignore[misc]
    # A text costs 1 + 5 + 1 parts, and the slowest, 64 times as slow as the first, gets an eighth,
    # 8 parts: 96 texts in 96 x 15 / 128 s.
    assert found == {"first": 96, "slower": 96, "slowest": 12, "quick": 96}
    assert benchmark.texts_per_round({"first": "first"}, 1e-9) == {"first": 8}  # type: ignore[dict-item]


@pytest.mark.parametrize("mean", [True, False])
def test_that_transformers_is_spared_the_pooling_block_is_told(mean: bool, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    notes: list[str] = []
    assert [
        name.split(",")[0]
        for name in benchmark.time_rivals(tiny(mean=mean), tmp_path, notes, print)
    ] == [
        "TF-IDF + logistic regression",
        "transformers fp32",
    ]
    assert ("transformers pools the last token" in " ".join(notes)) is mean


def test_the_batch_that_takes_less_time_is_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    clock = {"now": 0.0}
    monkeypatch.setattr("time.perf_counter", lambda: clock["now"])

    def of_batch(rows: int):
        def run(texts):
            clock["now"] += {16: 2.0, 64: 3.0}[rows] + (
                9.0 if not calls else 0.0
            )  # whoever is first pays for the start
            calls.append(rows)

        return run

    assert benchmark_contenders.best_batch(of_batch, ["a"]) == 16 and calls == [16, 16, 64]


def test_the_command_prints_tables_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    bulk = [
        Bulk("tamis fp32", 400.0, 9000.0, 0.8, 1.0, [400.0], 1234),
        Bulk("TF-IDF + logistic regression", 9000.0, None, None, 22.5, [9000.0], 1234),
    ]
    single = [
        Single("tamis fp32", 3.0, 9.0, 177),
        Single("TF-IDF + logistic regression", 0.5, 1.0, 177),
    ]
    found = Bench(
        "nano",
        2,
        "2",
        {"fp32": 75.0},
        bulk,
        single,
        [Start("fp32", 1, 2, 0.1, 300.4)],
        {"fp32": 1.0, "int8": 0.998},
        ["so"],
        [Beside("tamis fp32", 240.0, 0.6, 4.25, 19.0)],
        0.03,
    )
    monkeypatch.setattr(benchmark, "bench", lambda model, **_: found)
    shown = CliRunner().invoke(app, ["bench", "nano"])
    assert shown.exit_code == 0
    assert (
        "80 %" in shown.stdout
        and "22.50" in shown.stdout
        and "300" in shown.stdout
        and "note: so" in shown.stdout
    )
    header, first = (line.split() for line in shown.stdout.splitlines()[2:4])
    assert header[-8:] == [
        "round",
        "single",
        "p50",
        "ms",
        "single",
        "p99",
        "ms",
        "calls",
    ] and first[-4:] == [
        "1,234",
        "3.0",
        "9.0",
        "177",
    ]
    assert "texts with the same label as in fp32: int8 99.80 %" in shown.stdout
    (beside,) = [line.split() for line in shown.stdout.splitlines() if "240" in line]
    assert beside == ["tamis", "fp32", "240", "60", "%", "4.2", "19.0"]
    assert json.loads(CliRunner().invoke(app, ["bench", "--json"]).stdout) == found.to_dict()
    assert cli_bench.app is app


def test_beside_a_neighbour_every_contender_is_measured_again_on_new_texts(
    seen: dict[str, list[tuple[str, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[bool] = []

    @contextlib.contextmanager
    def neighbour() -> Iterator[None]:
        inside.append(True)
        yield
        inside.append(False)

    monkeypatch.setattr(benchmark, "busy_neighbour", neighbour)
    monkeypatch.setattr(benchmark, "busy_cores", lambda: 1.3)
    found = benchmark.bench("tiny", threads=1, seconds=1.0, rivals=False, neighbour=True)
    assert inside == [True, False] and found.busy_cores == 1.3
    assert any("kept 1.3 cores busy" in note for note in found.notes)
    assert [row.name for row in found.beside] == [row.name for row in found.bulk]
    for row, idle in zip(found.beside, found.bulk, strict=True):
        assert row.share_of_idle == pytest.approx(row.messages_per_s / idle.messages_per_s)
        assert 0 < row.p50_ms <= row.p99_ms
    long = [text for texts in seen["fp32"] for text in texts if len(text.split()) > 5]
    assert len(set(long)) == len(long)


def test_without_a_neighbour_none_is_started(
    seen: dict[str, list[tuple[str, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "busy_neighbour", lambda: pytest.fail("a neighbour"))
    assert benchmark.bench("tiny", threads=1, seconds=0.5, rivals=False).beside == []


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        RunError,
        match="expected a run folder, a model folder, or a backbone by name or folder",
    ):
        subject(str(tmp_path / "nothing"))


def test_mapped_pages_are_handed_back_unless_they_were_written_to(tmp_path: Path) -> None:
    size = 32 << 20
    path, other = tmp_path / "big.bin", tmp_path / "written.bin"
    for file in (path, other):
        file.write_bytes(b"\x01" * size)
    mapped = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    written = torch.from_file(str(other), shared=False, size=size, dtype=torch.uint8)
    written[5] = 77
    assert int(mapped.sum()) == size and int(written[5]) == 77
    before = resident_mb()
    if before is None:
        pytest.skip("this system does not tell what a process holds")
    release_memory(path, other)
    after = resident_mb()
    assert after is not None and before - after > 0.8 * size / 1e6
    assert int(mapped.sum()) == size and int(written[5]) == 77 and int(written[6]) == 1


def bulk(name: str, share: float | None) -> Bulk:
    return Bulk(name, 100.0, 900.0, share, 1.0, [100.0] * 3, 50)


def test_a_share_above_the_peak_is_told_as_a_disturbed_measurement_and_not_shown() -> None:
    rows = [
        bulk("tamis fp32", 5.09),
        bulk("tamis bf16", 0.8),
        bulk("transformers fp32, batch 8", 0.9),
    ]
    limits = {"fp32": [40.0, 41.0, 42.0], "bf16": [300.0, 310.0, 305.0]}
    kept, notes = benchmark.without_disturbed_peaks(rows, limits)
    assert [row.share_of_ceiling for row in kept] == [None, 0.8, None]
    (note,) = notes
    assert "disturbed the measurement of the peak rate in fp32 (40 to 42 GFLOP/s in 3" in note
    assert [replace(row, share_of_ceiling=None) for row in rows] == [
        replace(row, share_of_ceiling=None) for row in kept
    ]


def test_a_peak_that_changes_between_rounds_was_disturbed() -> None:
    rows = [bulk("tamis fp32", 0.7), bulk("TF-IDF + logistic regression", None)]
    kept, notes = benchmark.without_disturbed_peaks(rows, {"fp32": [100.0, 160.0, 150.0]})
    assert kept[0].share_of_ceiling is None and "100 to 160 GFLOP/s" in notes[0]
    kept, notes = benchmark.without_disturbed_peaks(rows, {"fp32": [100.0, 130.0, 149.0]})
    assert kept == rows and not notes
