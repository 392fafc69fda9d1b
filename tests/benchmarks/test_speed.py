"""The speed benchmark's own parts: the reference's network is GPT-2, contenders run in turn, texts
are new every time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.speed import __main__ as speed
from benchmarks.speed import reference, shared
from benchmarks.speed.jobs import by_command, whole_job
from benchmarks.speed.shared import Rows, in_turn, renewed, written
from tamis.gpt2.model import GPT2Config
from tamis.gpt2.packing import pack
from tamis.text.tokenizer import Tokenizer
from tests.rows import messages
from tests.tiny import trunk

TEXTS = [text for _, text in messages()]
LABELS = np.array([label == "spam" for label, _ in messages()], dtype=np.int64)


def test_the_references_network_computes_gpt2s_hidden_states() -> None:
    model = trunk(GPT2Config(vocab_size=37, n_positions=23, n_embd=12, n_layer=3, n_head=3))
    theirs = reference.GPTModel(model, 5).eval()
    ids = [np.random.default_rng(i).integers(0, 37, size=11).astype(np.int32) for i in range(3)]
    with torch.no_grad():
        ours = model(pack(ids)).view(3, 11, -1)
        logits = theirs(torch.from_numpy(np.stack(ids).astype(np.int64)))
        torch.testing.assert_close(logits, theirs.out_head(ours), atol=1e-4, rtol=1e-4)


def test_padding_cuts_and_fills() -> None:
    rows = reference.padded([np.array([1, 2, 3], np.int32), np.arange(9, dtype=np.int32)], length=5)
    assert rows.tolist() == [[1, 2, 3, reference.PAD, reference.PAD], [0, 1, 2, 3, 4]]


def test_the_references_job_trains_head_and_final_norm_only() -> None:
    model = trunk(GPT2Config(vocab_size=50257, n_positions=120, n_embd=12, n_layer=1, n_head=2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ids = [np.arange(1, 3 + i % 7, dtype=np.int32) for i in range(20)]
    times = reference.run_job(model, ids, LABELS[:20], ids[:5])
    assert min(times.fit, times.train_figures, times.test_figures) > 0
    assert times.whole == times.fit + times.train_figures + times.test_figures
    assert all(
        torch.equal(before[name], tensor) for name, tensor in model.state_dict().items()
    )  # it works on a copy


def test_contenders_run_in_turn() -> None:
    order: list[str] = []

    def contender(name: str, seconds: float):
        def run(number: int) -> float:
            order.append(f"{name}{number}")
            return seconds + number

        return run

    found = in_turn({"a": contender("a", 1.0), "b": contender("b", 5.0)}, 3)
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert [timed.median for timed in found] == [2.0, 6.0]


def test_texts_are_new_in_every_round() -> None:
    rounds = [renewed(TEXTS, number) for number in range(3)]
    assert all(
        not set(a) & set(b)
        for a, b in ((rounds[0], rounds[1]), (rounds[1], rounds[2]), (rounds[0], TEXTS))
    )
    assert [text[: len(old)] for text, old in zip(rounds[0], TEXTS, strict=True)] == TEXTS


def test_tamis_does_the_whole_job(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(TEXTS, vocab_size=300)
    config = GPT2Config(vocab_size=tokenizer.size, n_positions=64, n_embd=12, n_layer=1, n_head=2)
    folder = written(tmp_path, shared.trunk(config), tokenizer)
    assert whole_job(folder, Rows(TEXTS, LABELS, TEXTS[:7], LABELS[:7]), threads=1) > 0


def test_a_share_of_the_rows_keeps_their_order() -> None:
    part = Rows(TEXTS * 3, np.tile(LABELS, 3), TEXTS * 2, np.tile(LABELS, 2)).part(0.5)
    assert part.train_texts == (TEXTS * 3)[: len(part.train_texts)] and len(
        part.train_texts
    ) == round(len(TEXTS) * 1.5)
    assert len(part.test_texts) == len(part.test_labels) == len(TEXTS)


def test_a_type_that_the_processor_only_emulates_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speeds = {"fp32": 100.0, "bf16": 9.9, "int8": 10.1}
    monkeypatch.setattr(
        "benchmarks.speed.__main__.measure_matmul",
        lambda shapes, dtype, seconds, threads: speeds[dtype],
    )
    assert speed.worth_timing(("fp32", "bf16", "int8"), 2) == ("fp32", "int8")
    assert "bf16 is skipped: 9.9 GFLOP/s" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_is_timed_with_its_report_and_its_failure_is_told(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(TEXTS, vocab_size=300)
    config = GPT2Config(vocab_size=tokenizer.size, n_positions=64, n_embd=12, n_layer=1, n_head=2)
    folder = written(tmp_path, shared.trunk(config), tokenizer)
    rows = Rows(TEXTS[:90], LABELS[:90], TEXTS[90:], LABELS[90:])
    assert by_command(folder, rows, threads=1) > 0
    with pytest.raises(RuntimeError, match=r"tamis train [\s\S]*no folder"):
        by_command(tmp_path / "no folder", rows, threads=1)
